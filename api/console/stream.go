package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// Times of streams.
const (
	// heartbeat is how often a quiet stream looks at everything again, the link too, and sends a comment.
	heartbeat = 15 * time.Second
	// glance is how often it looks whether a pairing has begun, which nothing tells it. It asks no database.
	glance = time.Second
	// longest is how long a stream may last; the page then comes again.
	longest = 15 * time.Minute
	// reopen is how long the browser waits before it comes again, in milliseconds.
	reopen = 2000
)

// follow sends the screen and its changes as server-sent events named "screen", until nothing follows.
func (p *Pairing) follow(w http.ResponseWriter, r *http.Request) {
	v := p.visit(w, r)
	if v == nil {
		return
	}
	r.Header.Set("Accept", jsonType) // for what is answered in place of a stream
	looking, cancel := context.WithTimeout(r.Context(), p.cfg.ReadTimeout)
	first := p.look(looking, v)
	cancel()
	if first.Status == http.StatusNotFound || first.Stage == stageBusy {
		p.answer(w, r, v, first) // the script asks again, as it does for whatever is no stream
		return
	}
	life, leave, err := p.enter(r.Context(), v.token)
	if err != nil {
		s := p.plain(v, stageBusy, v.texts.BusyTitle, v.texts.BusyText)
		s.Reason, s.Status = "busy", http.StatusTooManyRequests
		p.answer(w, r, v, s)
		return
	}
	defer leave()
	life, end := context.WithTimeout(life, longest)
	defer end()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would hold the events back
	control := http.NewResponseController(w)
	write := func(text string) bool {
		_ = control.SetWriteDeadline(time.Now().Add(p.cfg.WriteTimeout))
		_, err := io.WriteString(w, text)
		return err == nil && control.Flush() == nil
	}
	if write(fmt.Sprintf("retry: %d\n\n", reopen)) {
		p.keep(life, v, first, write)
	}
}

var errTooManyPages = errors.New("too many pages of a link are open")

// enter admits a stream.
func (p *Pairing) enter(ctx context.Context, token tenant.PairingToken) (life context.Context, leave func(), err error) {
	link := token.ID()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.streams[link] >= streamsPerLink {
		return nil, nil, errTooManyPages
	}
	life, closed, err := p.cfg.Stream(ctx, link.Tenant())
	if err != nil {
		return nil, nil, err
	}
	p.streams[link]++
	return life, func() {
		closed()
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.streams[link]--; p.streams[link] == 0 {
			delete(p.streams, link)
		}
	}, nil
}

// keep keeps a page up to date. write says false when the client left.
func (p *Pairing) keep(life context.Context, v *visit, s *screen, write func(text string) bool) {
	sent := ""
	for {
		u, err := p.update(v, s)
		if err != nil {
			p.cfg.Log(life).ErrorContext(life, "pairing page could not be rendered", "error", err)
			return
		}
		next := ": still here\n\n"
		if mark := u.Name + u.HTML; mark != sent {
			data, err := json.Marshal(u)
			if err != nil {
				return
			}
			sent, next = mark, fmt.Sprintf("event: screen\ndata: %s\n\n", data)
		}
		if !write(next) || u.Final {
			return
		}
		if !p.await(life, v.token.ID().Tenant(), &v.view) {
			return
		}
		looking, cancel := context.WithTimeout(life, p.cfg.ReadTimeout)
		v.mine, v.view = false, session.PairingView{}
		s = p.look(looking, v)
		cancel()
		if life.Err() != nil {
			return
		}
	}
}

// await waits until the pairing is not as it was seen last, or it is time to look again. False: the stream is over.
func (p *Pairing) await(life context.Context, id tenant.ID, seen *session.PairingView) bool {
	beat := time.NewTimer(heartbeat)
	defer beat.Stop()
	for {
		short, cancel := context.WithTimeout(life, glance)
		now, err := p.cfg.Sessions.PairingChanged(short, id, seen.Version)
		if errors.Is(err, session.ErrNoPairing) || errors.Is(err, session.ErrStopping) {
			<-short.Done() // there is nothing to wait for
		}
		cancel()
		if life.Err() != nil {
			return false
		}
		if err != nil {
			// A session that came to rest and began anew counts from 1 again.
			now, _ = p.cfg.Sessions.Pairing(life, id)
		}
		if now.Version != seen.Version {
			return true
		}
		select {
		case <-beat.C:
			return true
		default:
		}
	}
}
