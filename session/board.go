package session

import (
	"context"
	"sync/atomic"
)

// board is where a session shows its pairing. One goroutine writes, any number read and wait.
type board struct{ now atomic.Pointer[notice] }

type notice struct {
	view    PairingView
	changed chan struct{} // closed when another notice hangs here
}

func (b *board) show(view PairingView) {
	old := b.now.Load()
	if old != nil {
		view.Version = old.view.Version
	}
	view.Version++
	b.now.Store(&notice{view: view, changed: make(chan struct{})})
	if old != nil {
		close(old.changed)
	}
}

// read returns the current or last pairing. Returns ErrNoPairing.
func (b *board) read() (PairingView, error) {
	n := b.now.Load()
	if n == nil {
		return PairingView{}, ErrNoPairing
	}
	return n.view, nil
}

// await returns the first view for which ok holds. gone ends the waiting when the writer ends.
func (b *board) await(ctx context.Context, gone <-chan struct{}, ok func(*PairingView) bool) (PairingView, error) {
	for {
		n := b.now.Load()
		if n == nil {
			return PairingView{}, ErrNoPairing
		}
		if ok(&n.view) {
			return n.view, nil
		}
		select {
		case <-n.changed:
		case <-gone:
			if b.now.Load() == n {
				return n.view, ErrStopping
			}
		case <-ctx.Done():
			return n.view, context.Cause(ctx)
		}
	}
}
