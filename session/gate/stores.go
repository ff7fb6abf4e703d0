package gate

import (
	"context"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

var (
	_ store.SessionStore = (*sessions)(nil)
	_ store.EventBuffer  = (*buffer)(nil)
)

// sessions is a device's session store behind its gate.
type sessions struct {
	gate  *Gate
	inner store.SessionStore
}

// HasSession needs no gate: whoever acts on the answer reads the session afterwards.
func (s *sessions) HasSession(ctx context.Context, address string) (bool, error) {
	return s.inner.HasSession(ctx, address)
}

// GetSession begins a round inside Send, reads on inside a hold, and notes the version it read outside of one.
func (s *sessions) GetSession(ctx context.Context, address string) (session []byte, err error) {
	read := func() error {
		session, err = s.inner.GetSession(ctx, address)
		return err
	}
	if h := s.gate.holdIn(ctx); h != nil {
		if err = h.take(ctx, address); err != nil {
			return nil, err
		}
		err = s.gate.locked(ctx, read)
		h.note(address, session)
		return session, err
	}
	err = s.gate.locked(ctx, func() error {
		if err := read(); err != nil {
			return err
		}
		s.gate.remember(address, session)
		return nil
	})
	return session, err
}

// GetManySessions begins a round inside Send.
func (s *sessions) GetManySessions(ctx context.Context, addresses []string) (found map[string][]byte, err error) {
	h := s.gate.holdIn(ctx)
	if h != nil {
		if err = h.take(ctx, many); err != nil {
			return nil, err
		}
	}
	err = s.gate.locked(ctx, func() error {
		if found, err = s.inner.GetManySessions(ctx, addresses); err != nil || h != nil {
			return err
		}
		for _, address := range addresses {
			s.gate.remember(address, found[address])
		}
		return nil
	})
	return found, err
}

// PutSession answers [ErrMoved] if the session has moved since it was read.
func (s *sessions) PutSession(ctx context.Context, address string, session []byte) error {
	write := func() error { return s.inner.PutSession(ctx, address, session) }
	if h := s.gate.holdIn(ctx); h != nil {
		if before := h.before(address); before != nil {
			session = restore(before, session)
			h.note(address, session)
		}
		if ok, err := h.put(address, write); ok {
			return err
		}
	}
	return s.gate.locked(ctx, func() error {
		current, err := s.inner.GetSession(ctx, address)
		if err != nil {
			return err
		}
		if !s.gate.unmoved(address, current) {
			return s.gate.conflict()
		}
		return write()
	})
}

// PutManySessions ends the round inside Send. Outside of it, it answers [ErrMoved] and writes nothing if one of
// the sessions has moved since it was read.
func (s *sessions) PutManySessions(ctx context.Context, changed map[string][]byte) error {
	write := func() error { return s.inner.PutManySessions(ctx, changed) }
	if h := s.gate.holdIn(ctx); h != nil {
		if ok, err := h.put(many, write); ok {
			return err
		}
	}
	return s.gate.locked(ctx, func() error {
		addresses := make([]string, 0, len(changed))
		for address := range changed {
			addresses = append(addresses, address)
		}
		current, err := s.inner.GetManySessions(ctx, addresses)
		if err != nil {
			return err
		}
		moved := false
		for _, address := range addresses {
			moved = !s.gate.unmoved(address, current[address]) || moved // forget the reads of all
		}
		if moved {
			return s.gate.conflict()
		}
		return write()
	})
}

// DeleteAllSessions waits for the gate.
func (s *sessions) DeleteAllSessions(ctx context.Context, phone string) error {
	return s.gate.locked(ctx, func() error { return s.inner.DeleteAllSessions(ctx, phone) })
}

// DeleteSession waits for the gate.
func (s *sessions) DeleteSession(ctx context.Context, address string) error {
	return s.gate.locked(ctx, func() error { return s.inner.DeleteSession(ctx, address) })
}

// MigratePNToLID waits for the gate: it moves sessions to other addresses.
func (s *sessions) MigratePNToLID(ctx context.Context, pn, lid types.JID) error {
	return s.gate.locked(ctx, func() error { return s.inner.MigratePNToLID(ctx, pn, lid) })
}

// buffer is a device's event buffer; of its methods only the transaction needs the gate.
type buffer struct {
	store.EventBuffer

	gate *Gate
}

// DoDecryptionTxn holds the gate until the transaction has ended. Called with a context that holds it already (nested, or
// in the middle of a send), it relies on that.
func (b *buffer) DoDecryptionTxn(ctx context.Context, fn func(context.Context) error) error {
	fn = b.gate.guard(fn)
	if h := b.gate.holdIn(ctx); h != nil && h.pin() {
		defer h.unpin()
		return b.EventBuffer.DoDecryptionTxn(ctx, fn)
	}
	if err := b.gate.lock(ctx); err != nil {
		return err
	}
	h := &hold{gate: b.gate, held: true, whole: true}
	defer h.finish()
	return b.EventBuffer.DoDecryptionTxn(context.WithValue(ctx, holdKey{b.gate}, h), fn)
}
