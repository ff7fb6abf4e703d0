package phone

import (
	"context"
)

// power is whether the phone's owner lets it reach WhatsApp, and answer for its history. Guarded by the phone's mutex.
type power struct {
	silent bool
	off    bool
	change chan struct{} // closed, and forgotten, when off changes; nil while nobody waits
	parked chan struct{} // made when off was asked for, closed when the phone is off
}

// SetSilent makes the phone ignore requests for its history, as phones in the background do, or answer those to come again.
func (p *Phone) SetSilent(silent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.power.silent = silent
}

func (p *Phone) isSilent() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.power.silent
}

// SetOffline switches the phone off, or on again: what is sent to it meanwhile waits at the server, and what it is told to do waits
// with it. It returns when the phone has disconnected, or is online. Errors as of [Phone.WaitOnline].
func (p *Phone) SetOffline(ctx context.Context, off bool) error {
	p.mu.Lock()
	if off != p.power.off {
		p.power.off = off
		if p.power.change != nil {
			close(p.power.change)
			p.power.change = nil
		}
		if off {
			p.power.parked = make(chan struct{})
		}
	}
	parked := p.power.parked
	p.mu.Unlock()
	if !off {
		return p.WaitOnline(ctx)
	}
	select {
	case <-parked:
		return nil
	case <-p.ctx.Done():
		return p.endErr()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// switchedOff returns a channel that is closed when the phone is switched off; nil if it is off.
func (p *Phone) switchedOff() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.power.off {
		return nil
	}
	return p.changing()
}

// changing is the channel of the next change; the mutex is held.
func (p *Phone) changing() <-chan struct{} {
	if p.power.change == nil {
		p.power.change = make(chan struct{})
	}
	return p.power.change
}

// waitSwitchedOn waits, disconnected, until the phone is on. False if it is closed.
func (p *Phone) waitSwitchedOn() bool {
	for p.ctx.Err() == nil {
		p.mu.Lock()
		if !p.power.off {
			p.mu.Unlock()
			return true
		}
		change := p.changing()
		select {
		case <-p.power.parked:
		default:
			close(p.power.parked)
		}
		p.mu.Unlock()
		select {
		case <-change:
		case <-p.ctx.Done():
		}
	}
	return false
}
