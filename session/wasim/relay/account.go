package relay

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/whatsmeow/types"
)

// maxDevice is the highest device id an address on the wire can carry.
const maxDevice = 255

// account is one user: a phone number, its LID and its devices.
type account struct {
	phone string
	user  string // of the LID

	mu         sync.Mutex
	name       string
	devices    map[uint16]*device
	nextDevice uint16
	watchers   map[string]struct{} // phones that were told this account's devices, and must hear of changes

	profile   profile
	appState  map[string]*collection
	available map[*conn]struct{}       // connections that announced themselves
	lastSeen  string                   // unix time of the last one to leave, "" before
	subs      map[*conn]types.JID      // who wants to know of presence, and the address asked with
	blocked   map[types.JID]types.JID  // blocklist: LID to phone number form
	seenPN    map[string]privacyTokens // tokens issued to contacts, by phone
	wrote     map[string]struct{}      // phones this account has written to
	groups    map[*group]struct{}      // it is a member of
	byNumber  bool                     // groups it makes know their members by number
	founded   int                      // groups it has made; guarded by the server
}

// device is one device of an account: its public keys, its prekeys in stock, and what waits for it.
type device struct {
	acct     *account
	id       uint16
	keyIndex string
	keys     deviceKeys // immutable, but for the signed prekey

	mu      sync.Mutex
	signed  SignedPreKey
	stock   []preKey
	lowSent bool   // told of low stock since it was last full
	upload  string // id of the last upload, so that a repeated one adds nothing
	queue   queue
	seen    seenIDs
	conn    *conn
	active  bool
	removed bool

	createID, createdGroup string // the last request for a new group, and the group's id
}

type deviceKeys struct {
	noise, identity [32]byte
	registration    uint32
}

// lidOf derives the LID from the phone number, so that a restarted simulator gives the same one.
func lidOf(phone string) string {
	sum := sha256.Sum256([]byte("wasim/lid/" + phone))
	const low, span = 100_000_000_000_000, 900_000_000_000_000 // fifteen digits
	return strconv.FormatUint(low+binary.BigEndian.Uint64(sum[:8])%span, 10)
}

// Register makes a primary phone known, device 0 of a new account, and returns its LID. The same account again is answered alike.
// Errors: ErrInvalidAccount, ErrAlreadyRegistered.
func (s *Server) Register(a Account) (types.JID, error) {
	if len(a.Phone) < 5 || len(a.Phone) > 15 || a.Phone[0] == '0' || !digits(a.Phone) {
		return types.JID{}, fmt.Errorf("%w: the phone number must be 5 to 15 digits in international form", ErrInvalidAccount)
	}
	if !signedBy(a.IdentityKey, a.SignedPreKey) {
		return types.JID{}, fmt.Errorf("%w: the signed prekey is not signed by the identity key", ErrInvalidAccount)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := deviceKeys{noise: a.NoiseKey, identity: a.IdentityKey, registration: a.RegistrationID}
	if old, ok := s.accounts[a.Phone]; ok {
		old.mu.Lock()
		defer old.mu.Unlock()
		if old.devices[0].keys != keys {
			return types.JID{}, fmt.Errorf("%w: %s", ErrAlreadyRegistered, redact(a.Phone))
		}
		return old.lid(0), nil
	}
	acct := &account{
		phone:      a.Phone,
		user:       lidOf(a.Phone),
		name:       a.Name,
		devices:    make(map[uint16]*device),
		nextDevice: 1,
		watchers:   make(map[string]struct{}),
	}
	if _, taken := s.lids[acct.user]; taken {
		return types.JID{}, fmt.Errorf("%w: LID of another number", ErrInvalidAccount)
	}
	acct.devices[0] = &device{acct: acct, keys: keys, signed: a.SignedPreKey}
	s.accounts[a.Phone], s.lids[acct.user] = acct, acct
	return acct.lid(0), nil
}

func digits(s string) bool {
	for _, r := range s {
		if r < '0' || r > '9' {
			return false
		}
	}
	return s != ""
}

// redact keeps enough of a number to tell two apart in a log.
func redact(phone string) string { return "…" + phone[max(0, len(phone)-4):] }

func signedBy(identityKey [32]byte, k SignedPreKey) bool {
	signed := append([]byte{ecc.DjbType}, k.Public[:]...)
	return ecc.VerifySignature(ecc.NewDjbECPublicKey(identityKey), signed, k.Signature)
}

// Devices lists the devices of an account by id. Error: ErrUnknownAccount.
func (s *Server) Devices(phone string) ([]Device, error) {
	acct := s.account(phone)
	if acct == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknownAccount, redact(phone))
	}
	var list []Device
	for _, d := range acct.all() {
		d.mu.Lock()
		list = append(list, Device{
			ID: d.id, JID: acct.pn(d.id), LID: acct.lid(d.id),
			Connected: d.conn != nil, Active: d.active, PreKeys: len(d.stock), Queued: len(d.queue.items),
		})
		d.mu.Unlock()
	}
	return list, nil
}

func (s *Server) account(phone string) *account {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.accounts[phone]
}

// lookup finds the user of an address, by number or LID.
func (s *Server) lookup(j types.JID) *account {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch j.Server {
	case types.DefaultUserServer, types.LegacyUserServer, types.HostedServer:
		return s.accounts[j.User]
	case types.HiddenUserServer, types.HostedLIDServer:
		return s.lids[j.User]
	default:
		return nil
	}
}

// all is the devices by id.
func (a *account) all() []*device {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sorted()
}

// sorted is all for who holds the lock.
func (a *account) sorted() []*device {
	list := make([]*device, 0, len(a.devices))
	for _, d := range a.devices {
		list = append(list, d)
	}
	slices.SortFunc(list, func(x, y *device) int { return int(x.id) - int(y.id) })
	return list
}

func (a *account) device(id uint16) *device {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.devices[id]
}

func (a *account) pushName() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.name
}

func (a *account) pn(id uint16) types.JID {
	return types.JID{User: a.phone, Device: id, Server: types.DefaultUserServer}
}

func (a *account) lid(id uint16) types.JID {
	return types.JID{User: a.user, Device: id, Server: types.HiddenUserServer}
}

// in is a device's address in the namespace of another address: the two are never mixed, since it decides the Signal session.
func (a *account) in(server string, id uint16) types.JID {
	if server == types.HiddenUserServer || server == types.HostedLIDServer {
		return a.lid(id)
	}
	return a.pn(id)
}

// other is the same address in the other namespace.
func (a *account) other(server string, id uint16) types.JID {
	if server == types.HiddenUserServer || server == types.HostedLIDServer {
		return a.pn(id)
	}
	return a.lid(id)
}

// online is the device's connection if stanzas flow on it.
func (d *device) online() *conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.active {
		return nil
	}
	return d.conn
}

// seenIDs remembers the ids of the messages a device sent, the oldest giving way, with the time each was acknowledged with.
type seenIDs struct {
	at   map[string]string
	ring []string
	next int
}

// mark remembers a key, or says that it is known and since when.
func (s *seenIDs) mark(key, now string, limit int) (at string, known bool) {
	if at, known = s.at[key]; known {
		return at, true
	}
	if s.at == nil {
		s.at = make(map[string]string)
	}
	if len(s.ring) < limit {
		s.ring = append(s.ring, key)
	} else {
		delete(s.at, s.ring[s.next])
		s.ring[s.next] = key
		s.next = (s.next + 1) % limit
	}
	s.at[key] = now
	return now, false
}
