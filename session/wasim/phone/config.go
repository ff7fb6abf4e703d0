package phone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/session/transport"
)

// Errors of a [Phone]'s methods.
var (
	ErrClosed      = errors.New("phone is closed")
	ErrUnlinked    = errors.New("phone was logged out by the server")
	ErrBadNumber   = errors.New("not a phone number in international form")
	ErrBadGroup    = errors.New("not a group's id")
	ErrBadQR       = errors.New("not a pairing QR")
	ErrBadCode     = errors.New("pairing code is wrong")
	ErrNoRequest   = errors.New("no companion asked for a pairing code")
	ErrRefused     = errors.New("refused by the server")
	ErrUnknownUser = errors.New("no such user")

	ErrUnknownMessage = errors.New("the phone remembers no such message")
	ErrUnknownGroup   = errors.New("no such group")
	ErrNotMember      = errors.New("not a member of the group")
	ErrNotAllowed     = errors.New("only admins of the group may do that")
	ErrMember         = errors.New("a member of the group already")
	ErrBadInvite      = errors.New("no such invitation")
	ErrGone           = errors.New("the invitation is not valid any more")
	ErrNotAcceptable  = errors.New("the server does not accept this for a group")
)

// Account is what the server must know of a phone before it may log in: its public keys, handed over out of band.
type Account struct {
	Phone          string // digits
	Name           string
	NoiseKey       [32]byte
	IdentityKey    [32]byte
	RegistrationID uint32
	SignedPreKey   SignedPreKey
}

// SignedPreKey is the public half of the key that sessions with the phone start from.
type SignedPreKey struct {
	ID        uint32
	Public    [32]byte
	Signature [64]byte
}

// Config of a [Phone]. Zero values mean the defaults named beside the fields.
type Config struct {
	Log     *slog.Logger
	Clients *transport.Clients
	// Register makes the account known to the server, which answers its LID.
	Register func(ctx context.Context, a Account) (types.JID, error)

	Phone string // digits, with or without +
	Name  string // push name; the number's end if empty: without one there is no presence

	// Autoreply answers each text that comes in, also in groups; nil and "" answer nothing. What it answers is never answered
	// automatically by another phone, so that two of them do not talk for ever.
	Autoreply func(text string) string
	// AutoRead sends a read receipt for each message; with Autoreply it is always so.
	AutoRead bool
	// History is what a companion is given at pairing. nil means [DefaultHistory], empty means none.
	History []Chat

	InboxSize int // entries remembered: 4,096

	MinBackoff     time.Duration // before the first reconnect: 50 ms
	MaxBackoff     time.Duration // and at most: 2 s
	ConnectTimeout time.Duration // from dialling to being logged in: 20 s
	SendTimeout    time.Duration // one attempt to send: 15 s
}

func (c Config) withDefaults() (Config, error) {
	number, err := Number(c.Phone)
	if err != nil {
		return c, err
	}
	if c.Clients == nil || c.Register == nil {
		return c, errors.New("phone needs clients and a way to register")
	}
	c.Phone = number
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Log = c.Log.With("phone", redact(number))
	c.Name = cmp.Or(c.Name, "Phone "+redact(number))
	if c.History == nil {
		c.History = DefaultHistory(time.Now())
	}
	c.AutoRead = c.AutoRead || c.Autoreply != nil
	c.InboxSize = cmp.Or(c.InboxSize, 4096)
	c.MinBackoff = cmp.Or(c.MinBackoff, 50*time.Millisecond)
	c.MaxBackoff = cmp.Or(c.MaxBackoff, 2*time.Second)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 20*time.Second)
	c.SendTimeout = cmp.Or(c.SendTimeout, 15*time.Second)
	return c, nil
}

// Number reads a phone number in international form, with or without + and the usual separators. It answers the digits,
// or [ErrBadNumber].
func Number(s string) (string, error) {
	digits := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -.()", r) {
			return -1
		}
		return r
	}, strings.TrimPrefix(strings.TrimSpace(s), "+"))
	if len(digits) < 5 || len(digits) > 15 || digits[0] == '0' || strings.Trim(digits, "0123456789") != "" {
		return "", fmt.Errorf("%w: want 5 to 15 digits", ErrBadNumber)
	}
	return digits, nil
}

// redact keeps enough of a number to tell two apart in a log.
func redact(number string) string { return "…" + number[max(0, len(number)-4):] }

func accountOf(dev *store.Device) Account {
	return Account{
		Phone:          dev.ID.User,
		Name:           dev.PushName,
		NoiseKey:       *dev.NoiseKey.Pub,
		IdentityKey:    *dev.IdentityKey.Pub,
		RegistrationID: dev.RegistrationID,
		SignedPreKey: SignedPreKey{
			ID:        dev.SignedPreKey.KeyID,
			Public:    *dev.SignedPreKey.Pub,
			Signature: *dev.SignedPreKey.Signature,
		},
	}
}
