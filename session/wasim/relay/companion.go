package relay

import (
	"fmt"
	"strconv"

	"go.mau.fi/whatsmeow/types"
)

// Companion is a linked device that no phone has scanned: its public keys, as it would have shown them when pairing.
type Companion struct {
	NoiseKey       [32]byte
	IdentityKey    [32]byte
	RegistrationID uint32
	SignedPreKey   SignedPreKey
	PreKeys        []PreKey // one-time keys, as if uploaded; a device with fewer than five in stock uploads more at its login
}

// PreKey is the public half of a one-time key. IDs have 24 bits.
type PreKey struct {
	ID     uint32
	Public [32]byte
}

// maxKeyID is the highest id of a prekey: it has three bytes on the wire.
const maxKeyID = 1<<24 - 1

// RegisterCompanion links a device out of band, and returns its addresses by phone number and by LID. The account's phone needs not be
// online, nor run at all. For programs that need many linked devices at once: pairing costs each a connection, two exchanges
// with its phone, and a first upload of 812 prekeys. The same keys again are answered alike. Errors: ErrUnknownAccount,
// ErrInvalidAccount (keys that do not belong together, too many prekeys, no device id free).
func (s *Server) RegisterCompanion(phone string, c Companion) (pn, lid types.JID, err error) {
	acct := s.account(phone)
	if acct == nil {
		return pn, lid, fmt.Errorf("%w: %s", ErrUnknownAccount, redact(phone))
	}
	d, err := s.companion(acct, c)
	if err != nil {
		return pn, lid, err
	}
	acct.mu.Lock() // until it is in the list: the same keys at the same time must not become two devices
	for _, old := range acct.devices {
		if old.id != 0 && old.keys == d.keys {
			acct.mu.Unlock()
			return acct.pn(old.id), acct.lid(old.id), nil
		}
	}
	id, ok := acct.nextID()
	if !ok {
		acct.mu.Unlock()
		return pn, lid, fmt.Errorf("%w: no device id is free", ErrInvalidAccount)
	}
	d.id, d.keyIndex = id, strconv.Itoa(int(id))
	acct.devices[id] = d
	acct.mu.Unlock()
	s.emit(Observation{Kind: Paired, Phone: acct.phone, Device: id})
	s.announceDevices(acct, "add", d)
	return acct.pn(id), acct.lid(id), nil
}

// companion checks the keys of a device and makes it, without an id yet.
func (s *Server) companion(acct *account, c Companion) (*device, error) {
	if !signedBy(c.IdentityKey, c.SignedPreKey) {
		return nil, fmt.Errorf("%w: the signed prekey is not signed by the identity key", ErrInvalidAccount)
	}
	if len(c.PreKeys) > s.cfg.MaxPreKeys {
		return nil, fmt.Errorf("%w: more than %d prekeys", ErrInvalidAccount, s.cfg.MaxPreKeys)
	}
	d := &device{
		acct: acct, signed: c.SignedPreKey,
		keys:  deviceKeys{noise: c.NoiseKey, identity: c.IdentityKey, registration: c.RegistrationID},
		stock: make([]preKey, 0, len(c.PreKeys)),
	}
	stocked := make(map[uint32]struct{}, len(c.PreKeys))
	for _, k := range c.PreKeys {
		if _, twice := stocked[k.ID]; twice || k.ID > maxKeyID {
			return nil, fmt.Errorf("%w: prekey id %d twice or over 24 bits", ErrInvalidAccount, k.ID)
		}
		stocked[k.ID] = struct{}{}
		d.stock = append(d.stock, preKey{id: k.ID, public: k.Public})
	}
	return d, nil
}
