package relay

import (
	"fmt"

	waBinary "go.mau.fi/whatsmeow/binary"
)

// Inject puts a stanza into a device's queue as it is, after what lies there: for what no client would send, and what a server would
// not let through. It leaves the queue when the device acknowledges it. Errors: ErrUnknownAccount, also for an unknown device.
func (s *Server) Inject(phone string, device uint16, n waBinary.Node) error {
	acct := s.account(phone)
	if acct == nil {
		return fmt.Errorf("%w: %s", ErrUnknownAccount, redact(phone))
	}
	d := acct.device(device)
	if d == nil {
		return fmt.Errorf("%w: %s has no device %d", ErrUnknownAccount, redact(phone), device)
	}
	s.deliver(d, n, "")
	return nil
}
