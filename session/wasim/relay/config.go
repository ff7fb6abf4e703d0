package relay

import (
	"cmp"
	"errors"
	"log/slog"
	"time"

	"go.mau.fi/whatsmeow/types"
)

// Errors of the methods of [Server].
var (
	ErrUnknownAccount    = errors.New("no such account")
	ErrUnknownDevice     = errors.New("no such device")
	ErrAlreadyRegistered = errors.New("account is registered with other keys")
	ErrInvalidAccount    = errors.New("invalid account")
	ErrInvalidFault      = errors.New("invalid fault")
	ErrServing           = errors.New("relay is serving already")
)

// Config of a [Server]. Zero values mean the defaults named beside the fields.
type Config struct {
	Log *slog.Logger

	// RootKey is the private key of the root of the Noise certificates. nil means the root of this process: clients trust one root per process,
	// so that all relays of a process must share it.
	RootKey *[32]byte

	// MediaHost is what media_conn names as host; clients reach it over the listener given to Serve. Default [MediaHost].
	MediaHost string

	// AcceptDeflate lets clients have permessage-deflate, which costs them more than 1 MB each. Default off, as in the tests' floor.
	AcceptDeflate bool

	QRRefFirst       time.Duration // how long the first pairing ref is shown: 60 s
	QRRefNext        time.Duration // and each of the five others: 20 s
	CloseGrace       time.Duration // from a stream error to the closing of the socket: 1 s; negative closes at once, as a fault
	FailureGrace     time.Duration // from a refused login to the closing of the socket: 250 ms
	HandshakeTimeout time.Duration // from the upgrade to the end of the Noise handshake: 20 s
	PingTimeout      time.Duration // a connection without any frame for so long is dead: 90 s
	WriteTimeout     time.Duration // a client that does not take a frame for so long is cut: 15 s

	MaxQueuePerDevice int   // stanzas waiting for one device; further ones are dropped and counted: 20,000
	MaxInFlight       int   // stanzas written to a device and not yet acknowledged; more wait, as clients reorder beyond 2,048: 1,024
	MaxOutbound       int   // answers waiting for one connection; more and it is cut: 4,096
	MaxFrame          int   // bytes of one frame of a client: 4 MiB
	MaxPreKeys        int   // one-time keys in stock per device: 4,096
	MaxSeenIDs        int   // message ids remembered per sending device: 1,024
	MaxBlobBytes      int64 // all media together, the oldest give way: 256 MiB
	MaxAppState       int   // patches kept per collection of an account: 10,000
}

// MediaHost is the default host name of the media server.
const MediaHost = "media.wasim.localhost"

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.MediaHost = cmp.Or(c.MediaHost, MediaHost)
	c.QRRefFirst = cmp.Or(c.QRRefFirst, time.Minute)
	c.QRRefNext = cmp.Or(c.QRRefNext, 20*time.Second)
	c.CloseGrace = cmp.Or(c.CloseGrace, time.Second)
	c.FailureGrace = cmp.Or(c.FailureGrace, 250*time.Millisecond)
	c.HandshakeTimeout = cmp.Or(c.HandshakeTimeout, 20*time.Second)
	c.PingTimeout = cmp.Or(c.PingTimeout, 90*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 15*time.Second)
	c.MaxQueuePerDevice = cmp.Or(c.MaxQueuePerDevice, 20_000)
	c.MaxInFlight = cmp.Or(c.MaxInFlight, 1024)
	c.MaxOutbound = cmp.Or(c.MaxOutbound, 4096)
	c.MaxFrame = cmp.Or(c.MaxFrame, 4<<20)
	c.MaxPreKeys = cmp.Or(c.MaxPreKeys, 4096)
	c.MaxSeenIDs = cmp.Or(c.MaxSeenIDs, 1024)
	c.MaxBlobBytes = cmp.Or(c.MaxBlobBytes, 256<<20)
	c.MaxAppState = cmp.Or(c.MaxAppState, 10_000)
	return c
}

// SignedPreKey is the public half of a signed prekey.
type SignedPreKey struct {
	ID        uint32
	Public    [32]byte
	Signature [64]byte
}

// Account is a primary phone: its number and its public keys.
type Account struct {
	Phone          string // digits, without +
	Name           string // announced as push name until the phone announces another
	NoiseKey       [32]byte
	IdentityKey    [32]byte
	RegistrationID uint32
	SignedPreKey   SignedPreKey
}

// Device is one device of an account, as [Server.Devices] lists them.
type Device struct {
	ID        uint16
	JID       types.JID // phone number form
	LID       types.JID
	Connected bool
	Active    bool // past <active/>: stanzas flow
	PreKeys   int  // one-time keys in stock
	Queued    int  // stanzas delivered or waiting, not yet acknowledged
}
