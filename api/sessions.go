package api

import (
	"context"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/spool"
	"github.com/wafleet/wafleet/tenant"
)

// Sessions is what the API needs of the fleet. Every method returns tenant.ErrNotFound for a tenant that does not exist and
// session.ErrStopping while the node stops.
type Sessions interface {
	ContentSessions
	JoinSessions
	GroupSessions
	PeopleSessions
	chatSettings
	synchronizer
	HistorySessions
	OnceSessions
	MoveSessions
	LimitSessions
	LinkSessions

	// Fresh is a tenant's handle for one request, whose reads know what has become of messages by now; see session.Fleet.
	Fresh(h tenant.Handle) tenant.Handle
	// View returns a snapshot of the tenant's session. It never blocks on the session.
	View(ctx context.Context, id tenant.ID) (session.View, error)
	// SendText sends a text and returns the stored message. Returns tenant.ErrChatNotFound, tenant.ErrMessageNotFound (ReplyTo),
	// *session.OfflineError, *session.UnansweredError, *session.RejectedError.
	SendText(ctx context.Context, id tenant.ID, chat tenant.ChatID, m session.TextMessage) (tenant.Message, error)

	// EditText replaces the text of a message of ours and returns the message as it is now. Returns tenant.ErrChatNotFound,
	// tenant.ErrMessageNotFound, *session.OfflineError, session.ErrForbidden, session.ErrDeleted, session.ErrNotText,
	// session.ErrEditWindow, *session.UncertainError, *session.RefusedError, in this order.
	EditText(ctx context.Context, id tenant.ID, ref session.MessageRef, text string) (tenant.Message, error)
	// DeleteMessage deletes a message of ours for everyone. Errors as of EditText.
	DeleteMessage(ctx context.Context, id tenant.ID, ref session.MessageRef) error
	// React puts our reaction to a message, or takes it back if emoji is empty. Errors as of EditText.
	React(ctx context.Context, id tenant.ID, ref session.MessageRef, emoji string) (tenant.Message, error)

	// MarkRead tells WhatsApp that a chat was read, and counts it as read. Returns tenant.ErrChatNotFound,
	// *session.OfflineError, *session.UncertainError.
	MarkRead(ctx context.Context, id tenant.ID, chat tenant.ChatID) error
	// ShowTyping shows that we are typing. Errors as of MarkRead.
	ShowTyping(ctx context.Context, id tenant.ID, chat tenant.ChatID, state session.Typing) error

	PollSessions
	OperatorSessions

	// Live returns a channel of what happens now and is in no journal. Stop releases it.
	Live(id tenant.ID) (events <-chan tenant.Event, stop func())
	// NewFile makes a temporary file, which the caller discards. Returns spool.ErrFull.
	NewFile(id tenant.ID) (*spool.File, error)
	// SendFile sends a file and returns the stored message. Returns what SendText does, session.ErrTransfer, spool.ErrFull.
	SendFile(ctx context.Context, id tenant.ID, chat tenant.ChatID, m *session.FileMessage) (tenant.Message, error)
	// FetchFile fetches a message's file, which the caller discards. Returns tenant.ErrNoMedia, *session.OfflineError,
	// session.ErrMediaGone, session.ErrMediaDamaged, session.ErrPhoneSilent, session.ErrTransfer, spool.ErrFull.
	FetchFile(ctx context.Context, id tenant.ID, m *tenant.Message) (*spool.File, error)

	// StartPairing starts pairing by QR code, or joins one under way. Returns session.ErrAlreadyPaired, session.ErrPairingActive.
	StartPairing(ctx context.Context, id tenant.ID) (session.PairingView, error)
	// StartPhonePairing starts pairing by code. Returns session.ErrAlreadyPaired, session.ErrPairingActive, session.ErrInvalidPhone.
	StartPhonePairing(ctx context.Context, id tenant.ID, phone string) (session.PairingView, error)
	// Pairing returns the current pairing or the last one. Returns session.ErrNoPairing.
	Pairing(ctx context.Context, id tenant.ID) (session.PairingView, error)
	// PairingChanged waits until the pairing's version is above the given one. Returns session.ErrNoPairing.
	PairingChanged(ctx context.Context, id tenant.ID, version int) (session.PairingView, error)
	// CancelPairing ends a pairing. Returns session.ErrNoPairing.
	CancelPairing(ctx context.Context, id tenant.ID) error

	// Connect brings the session online, whatever ended it. Returns session.ErrNotPaired, session.ErrSuspended.
	Connect(ctx context.Context, id tenant.ID) (session.View, error)
	// Disconnect takes the session offline until Connect. Returns session.ErrNotPaired.
	Disconnect(ctx context.Context, id tenant.ID) (session.View, error)
	// Logout unlinks the device. Returns session.ErrNotPaired.
	Logout(ctx context.Context, id tenant.ID) (session.View, error)
}

// OperatorSessions is the part of [Sessions] that tenants' comings and goings need.
type OperatorSessions interface {
	// Suspend takes the session of a suspended tenant offline, and keeps it there until Resume.
	Suspend(ctx context.Context, id tenant.ID) error
	// Resume brings back what Suspend took offline.
	Resume(ctx context.Context, id tenant.ID) error
	// Remove ends all that the fleet holds of a tenant, before the tenant is deleted, and says what became of its device.
	Remove(ctx context.Context, id tenant.ID) (tenant.DeviceFate, error)
	// Views are snapshots of all sessions that the node supervises, in no order. They are shared: nobody changes them.
	Views() []*session.View
}
