package session

import (
	"errors"
	"fmt"
	"time"

	"github.com/wafleet/wafleet/tenant"
)

// Errors of the fleet. Callers match with [errors.Is] and [errors.As].
var (
	// ErrNotPaired says that the tenant has no linked device.
	ErrNotPaired = errors.New("no device is linked")
	// ErrAlreadyPaired says that a device is linked: it must be logged out before another is paired.
	ErrAlreadyPaired = errors.New("a device is linked already")
	// ErrPairingActive says that a pairing is under way in another way (QR or code) or for another number.
	ErrPairingActive = errors.New("a pairing is under way")
	// ErrSuspended says that the tenant is suspended: its session neither connects nor pairs.
	ErrSuspended = errors.New("the tenant is suspended")
	// ErrNoPairing says that no pairing is under way.
	ErrNoPairing = errors.New("no pairing is under way")
	// ErrInvalidPhone says that WhatsApp does not take the phone number for pairing.
	ErrInvalidPhone = errors.New("phone number is not accepted")
	// ErrStopping says that the node is stopping.
	ErrStopping = errors.New("the node is stopping")
	// ErrTransfer says that WhatsApp's media servers did not take or deliver a file. Nothing was stored; try again.
	ErrTransfer = errors.New("transfer of the file failed")
	// ErrMediaGone says that neither WhatsApp nor the phone has a file any more.
	ErrMediaGone = errors.New("the file is gone")
	// ErrMediaDamaged says that what WhatsApp delivered is not the file that the sender announced, or that it is too large.
	ErrMediaDamaged = errors.New("the file is damaged")
	// ErrPhoneSilent says that the phone did not answer in time when it was asked for a file that WhatsApp has dropped.
	ErrPhoneSilent = errors.New("the phone did not answer")
	// ErrNoAnswer says that WhatsApp did not answer a question in time. Nothing was done.
	ErrNoAnswer = errors.New("WhatsApp did not answer")
	// ErrBusy says that too much of the kind is under way for the tenant already.
	ErrBusy = errors.New("too much is under way")
	// ErrPanicked says that the session's code panicked; the panic was contained and counted.
	ErrPanicked = errors.New("internal fault in the session")
)

// OfflineError says that the session is not online. View says why and what to do.
type OfflineError struct {
	View View
	// Pending is the message of an earlier call that is stored and waits for the session; empty if there is none.
	Pending tenant.MessageID
}

// Error is for logs.
func (e *OfflineError) Error() string {
	return fmt.Sprintf("session is %s", e.View.State)
}

// RetryAfter is how long a caller should wait before trying again.
func (e *OfflineError) RetryAfter(now time.Time) time.Duration {
	const least = 2 * time.Second
	return max(least, e.View.Until.Sub(now))
}

// UnansweredError says that WhatsApp did not answer in time. The message is stored as pending and goes out again under the
// same id, so that nobody gets it twice.
type UnansweredError struct {
	Message tenant.Message
	// Unsure says that it was the store that did not answer: the message may be stored or not.
	Unsure bool
	Err    error
}

// Error is for logs.
func (e *UnansweredError) Error() string { return fmt.Sprintf("no answer from WhatsApp: %v", e.Err) }

// Unwrap is the cause.
func (e *UnansweredError) Unwrap() error { return e.Err }

// RejectedError says that WhatsApp refused the message; it is stored as failed.
type RejectedError struct {
	Message tenant.Message
	Code    int // WhatsApp's; 0 of a message that failed earlier, for whatever reason
}

// Error is for logs.
func (e *RejectedError) Error() string {
	return fmt.Sprintf("WhatsApp refused the message with code %d", e.Code)
}
