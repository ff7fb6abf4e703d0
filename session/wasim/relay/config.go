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
	ErrUnknownGroup      = errors.New("no such group")
	ErrUnknownMedia      = errors.New("no such file")
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
	LeftRecently     time.Duration // who left a group cannot be added for so long: 24 h; negative: at once
	MaxBlobAge       time.Duration // an uploaded file is kept so long: 24 h

	MaxQueuePerDevice int // stanzas waiting for one device; further ones are dropped and counted: 20,000

	// MaxInFlight is how many stanzas may be written to a device on one connection and not yet acknowledged: 1,024. More wait, as clients
	// reorder beyond 2,048. The window begins at the oldest stanza that is not acknowledged, wherever acknowledgements came from. A new
	// connection starts with an empty one: it gets the queue again from the oldest unacknowledged stanza on, as far as the window reaches, and
	// the rest as it acknowledges. A client that never acknowledges some stanzas loses room to them, and hears nothing more when none is left.
	MaxInFlight int

	MaxOutbound  int   // answers waiting for one connection; more and it is cut: 4,096
	MaxFrame     int   // bytes of one frame of a client: 4 MiB
	MaxPreKeys   int   // one-time keys in stock per device: 4,096
	MaxSeenIDs   int   // message ids remembered per sending device: 1,024
	MaxBlobBytes int64 // all media together, the oldest give way: 256 MiB
	MaxAppState  int   // patches kept per collection of an account, the oldest give way: 10,000
	AppStatePage int   // patches in one answer; more are fetched by asking again: 50
	MaxGroups    int   // 10,000
	MaxGroupSize int   // members of one group: 1,024

	// MediaDir is where a directory for large files is made with the first of them, and removed when Serve returns. Default: that of the
	// system for temporary files.
	MediaDir string
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
	c.LeftRecently = cmp.Or(c.LeftRecently, 24*time.Hour)
	c.MaxBlobAge = cmp.Or(c.MaxBlobAge, 24*time.Hour)
	c.MaxQueuePerDevice = cmp.Or(c.MaxQueuePerDevice, 20_000)
	c.MaxInFlight = cmp.Or(c.MaxInFlight, 1024)
	c.MaxOutbound = cmp.Or(c.MaxOutbound, 4096)
	c.MaxFrame = cmp.Or(c.MaxFrame, 4<<20)
	c.MaxPreKeys = cmp.Or(c.MaxPreKeys, 4096)
	c.MaxSeenIDs = cmp.Or(c.MaxSeenIDs, 1024)
	c.MaxBlobBytes = cmp.Or(c.MaxBlobBytes, 256<<20)
	c.MaxAppState = cmp.Or(c.MaxAppState, 10_000)
	c.AppStatePage = cmp.Or(c.AppStatePage, 50)
	c.MaxGroups = cmp.Or(c.MaxGroups, 10_000)
	c.MaxGroupSize = cmp.Or(c.MaxGroupSize, 1024)
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
