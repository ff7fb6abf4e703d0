package gate

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// hold is one holder's claim on the gate: of a Send (gets and loses it several times), or of a decryption (has it from
// beginning to end). It knows whether its gate is held by it, which the gate itself cannot tell.
type hold struct {
	gate *Gate

	mu      sync.Mutex
	held    bool
	whole   bool              // a transaction: no write ends it
	read    map[string][]byte // what a transaction has read, by address
	single  string            // address of the GetSession that took the gate; empty after GetManySessions
	done    bool              // Send or the transaction has returned; a context that outlives it holds nothing
	pins    int               // operations that rely on the gate at this moment
	overdue bool              // time is up, but an operation is at work
	expired bool              // the gate was taken away: what was read in this round may have moved
	refused bool              // a write was refused for that reason
	timer   *time.Timer
}

// many, in place of an address, stands for GetManySessions and PutManySessions.
const many = ""

// take gets the gate for a round of get and put, if the hold does not have it.
func (h *hold) take(ctx context.Context, address string) error {
	h.mu.Lock()
	held, broken := h.held, h.expired && address != many
	h.mu.Unlock()
	if held {
		return nil
	}
	if broken { // a read in the middle of a round that has lost the gate must not look like a new round
		return ErrMoved
	}
	if err := h.gate.lock(ctx); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done || h.held { // a goroutine that outlived Send, or a second one with the same context
		h.gate.unlock()
		if h.done {
			return fmt.Errorf("send has ended: %w", context.Canceled)
		}
		return nil
	}
	h.held, h.single, h.expired, h.overdue = true, address, false, false
	h.timer = time.AfterFunc(h.gate.maxHold, h.expire)
	return nil
}

// pin says that an operation relies on the hold until unpin. False if the gate is not held by it.
func (h *hold) pin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.held {
		return false
	}
	h.pins++
	return true
}

func (h *hold) unpin() {
	h.mu.Lock()
	h.pins--
	late := h.overdue && h.pins == 0 && h.held
	if late {
		h.drop()
		h.expired = true
	}
	h.mu.Unlock()
	if late {
		h.reportExpired()
	}
}

func (h *hold) expire() {
	h.mu.Lock()
	if !h.held || h.pins > 0 {
		h.overdue = h.held
		h.mu.Unlock()
		return
	}
	h.drop()
	h.expired = true
	h.mu.Unlock()
	h.reportExpired()
}

func (h *hold) reportExpired() {
	if h.gate.hooks.Expired != nil {
		h.gate.hooks.Expired()
	}
}

// put runs op if the hold still has the gate, and gives it back if op ends the round: any PutManySessions does, and the
// PutSession of the address whose GetSession began it. A round that has lost the gate gets ErrMoved.
// ok is false, and op was not run, if the hold never had the gate; then it is a write like any other.
func (h *hold) put(address string, op func() error) (ok bool, err error) {
	h.mu.Lock()
	switch {
	case h.expired:
		h.expired, h.refused = false, true // the next round begins anew
		h.mu.Unlock()
		return true, h.gate.conflict()
	case !h.held:
		h.mu.Unlock()
		return false, nil
	}
	h.pins++
	ends := !h.whole && (address == many || address == h.single)
	h.mu.Unlock()
	defer func() {
		if ends {
			h.release()
		}
		h.unpin()
	}()
	return true, op()
}

func (h *hold) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held {
		h.drop()
	}
}

// finish ends the hold for good.
func (h *hold) finish() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done = true
	if h.held {
		h.drop()
	}
}

// drop gives the gate back; h.mu is held, and so is the gate.
func (h *hold) drop() {
	h.held = false
	if h.timer != nil {
		h.timer.Stop()
		h.timer = nil
	}
	h.gate.unlock()
}

func (h *hold) ended() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.done
}

// note remembers what a transaction has read or written.
func (h *hold) note(address string, session []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.whole && session != nil {
		if h.read == nil {
			h.read = make(map[string][]byte, 1)
		}
		h.read[address] = session
	}
}

// before answers what a transaction has read; nil if it is none, or read nothing.
func (h *hold) before(address string) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.read[address]
}

func (h *hold) wasRefused() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refused
}
