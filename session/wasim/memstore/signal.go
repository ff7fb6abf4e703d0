package memstore

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
)

// layersOf answers the transaction's layers, or nil pointers outside of one, so that put and remove write through.
func (t *txn) layers() (i *layer[string, [32]byte], s *layer[string, []byte], k *layer[senderKeyID, []byte], p *layer[uint32, bool]) {
	if t == nil {
		return nil, nil, nil, nil
	}
	return &t.identities, &t.sessions, &t.senderKeys, &t.preKeys
}

func (t *txn) read() txn {
	if t == nil {
		return txn{}
	}
	return *t
}

// PutIdentity implements [go.mau.fi/whatsmeow/store.IdentityStore].
func (s *Store) PutIdentity(ctx context.Context, address string, key [32]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	over, _, _, _ := s.current(ctx).layers()
	put(&s.identities, over, address, key)
	return nil
}

// DeleteAllIdentities forgets the identities of all devices of a user.
func (s *Store) DeleteAllIdentities(ctx context.Context, phone string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.current(ctx)
	over, _, _, _ := t.layers()
	for _, k := range keysOf(s.identities, t.read().identities, ofUser(phone)) {
		remove(s.identities, over, k)
	}
	return nil
}

// DeleteIdentity implements [go.mau.fi/whatsmeow/store.IdentityStore].
func (s *Store) DeleteIdentity(ctx context.Context, address string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	over, _, _, _ := s.current(ctx).layers()
	remove(s.identities, over, address)
	return nil
}

// IsTrustedIdentity trusts an identity at first sight.
func (s *Store) IsTrustedIdentity(ctx context.Context, address string, key [32]byte) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := get(s.identities, s.current(ctx).read().identities, address)
	return !ok || known == key, nil
}

// GetSession answers nil if there is none.
func (s *Store) GetSession(ctx context.Context, address string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, _ := get(s.sessions, s.current(ctx).read().sessions, address)
	return bytes.Clone(v), nil
}

// HasSession implements [go.mau.fi/whatsmeow/store.SessionStore].
func (s *Store) HasSession(ctx context.Context, address string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := get(s.sessions, s.current(ctx).read().sessions, address)
	return ok, nil
}

// GetManySessions answers an entry for each address, nil if there is none.
func (s *Store) GetManySessions(ctx context.Context, addresses []string) (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	over := s.current(ctx).read().sessions
	found := make(map[string][]byte, len(addresses))
	for _, address := range addresses {
		v, _ := get(s.sessions, over, address)
		found[address] = bytes.Clone(v)
	}
	return found, nil
}

// PutSession implements [go.mau.fi/whatsmeow/store.SessionStore].
func (s *Store) PutSession(ctx context.Context, address string, session []byte) error {
	return s.PutManySessions(ctx, map[string][]byte{address: session})
}

// PutManySessions implements [go.mau.fi/whatsmeow/store.SessionStore].
func (s *Store) PutManySessions(ctx context.Context, changed map[string][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, over, _, _ := s.current(ctx).layers()
	for address, session := range changed {
		put(&s.sessions, over, address, append([]byte{}, session...))
	}
	return nil
}

// DeleteAllSessions forgets the sessions with all devices of a user.
func (s *Store) DeleteAllSessions(ctx context.Context, phone string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.current(ctx)
	_, over, _, _ := t.layers()
	for _, k := range keysOf(s.sessions, t.read().sessions, ofUser(phone)) {
		remove(s.sessions, over, k)
	}
	return nil
}

// DeleteSession implements [go.mau.fi/whatsmeow/store.SessionStore].
func (s *Store) DeleteSession(ctx context.Context, address string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, over, _, _ := s.current(ctx).layers()
	remove(s.sessions, over, address)
	return nil
}

// MigratePNToLID moves sessions, identities and sender keys kept under a phone number to the LID, over what is there.
func (s *Store) MigratePNToLID(ctx context.Context, pn, lid types.JID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, to := pn.SignalAddressUser()+":", lid.SignalAddressUser()+":"
	if from == to {
		return nil
	}
	t := s.current(ctx)
	r := t.read()
	identities, sessions, senderKeys, _ := t.layers()
	move(&s.sessions, r.sessions, sessions, ofUser(pn.SignalAddressUser()), from, to)
	move(&s.identities, r.identities, identities, ofUser(pn.SignalAddressUser()), from, to)
	mine := func(k senderKeyID) bool { return strings.HasPrefix(k.user, from) }
	for _, k := range keysOf(s.senderKeys, r.senderKeys, mine) {
		v, _ := get(s.senderKeys, r.senderKeys, k)
		remove(s.senderKeys, senderKeys, k)
		k.user = to + strings.TrimPrefix(k.user, from)
		put(&s.senderKeys, senderKeys, k, v)
	}
	return nil
}

func move[V any](base *map[string]V, read layer[string, V], over *layer[string, V], match func(string) bool, from, to string) {
	for _, k := range keysOf(*base, read, match) {
		v, _ := get(*base, read, k)
		remove(*base, over, k)
		put(base, over, to+strings.TrimPrefix(k, from), v)
	}
}

// ofUser matches the Signal addresses of a user's devices.
func ofUser(user string) func(string) bool {
	return func(address string) bool { return strings.HasPrefix(address, user+":") }
}

// PutSenderKey implements [go.mau.fi/whatsmeow/store.SenderKeyStore].
func (s *Store) PutSenderKey(ctx context.Context, group, user string, session []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _, over, _ := s.current(ctx).layers()
	put(&s.senderKeys, over, senderKeyID{group, user}, append([]byte{}, session...))
	return nil
}

// GetSenderKey answers nil if there is none.
func (s *Store) GetSenderKey(ctx context.Context, group, user string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, _ := get(s.senderKeys, s.current(ctx).read().senderKeys, senderKeyID{group, user})
	return bytes.Clone(v), nil
}

// preKey derives a prekey: what need not be kept needs no memory.
func (s *Store) preKey(id uint32) *keys.PreKey {
	mac := hmac.New(sha256.New, s.seed[:])
	_ = binary.Write(mac, binary.BigEndian, id) // a hash takes everything
	priv := [32]byte(mac.Sum(nil))
	priv[0] &= 248
	priv[31] = priv[31]&127 | 64
	return &keys.PreKey{KeyPair: *keys.NewKeyPairFromPrivateKey(priv), KeyID: id}
}

// GetOrGenPreKeys answers prekeys not uploaded yet, new ones if need be, but no more than [Limits] says.
func (s *Store) GetOrGenPreKeys(_ context.Context, count uint32) ([]*keys.PreKey, error) {
	s.preKeyGen.Lock()
	defer s.preKeyGen.Unlock()
	want := min(int(count), s.limits.PreKeys)
	s.mu.Lock()
	var ids []uint32
	for id, uploaded := range s.preKeys {
		if !uploaded {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	ids = ids[:min(want, len(ids))]
	for len(ids) < want {
		s.lastPreKey++
		set(&s.preKeys, s.lastPreKey, false)
		ids = append(ids, s.lastPreKey)
	}
	s.mu.Unlock()
	found := make([]*keys.PreKey, len(ids))
	for i, id := range ids {
		found[i] = s.preKey(id)
	}
	return found, nil
}

// GenOnePreKey makes a prekey that counts as uploaded.
func (s *Store) GenOnePreKey(context.Context) (*keys.PreKey, error) {
	s.mu.Lock()
	s.lastPreKey++
	id := s.lastPreKey
	set(&s.preKeys, id, true)
	s.mu.Unlock()
	return s.preKey(id), nil
}

// GetPreKey answers nil if the prekey has been used.
func (s *Store) GetPreKey(ctx context.Context, id uint32) (*keys.PreKey, error) {
	s.mu.Lock()
	_, ok := get(s.preKeys, s.current(ctx).read().preKeys, id)
	s.mu.Unlock()
	if !ok {
		return nil, nil //nolint:nilnil // whatsmeow's contract
	}
	return s.preKey(id), nil
}

// RemovePreKey implements [go.mau.fi/whatsmeow/store.PreKeyStore].
func (s *Store) RemovePreKey(ctx context.Context, id uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _, _, over := s.current(ctx).layers()
	remove(s.preKeys, over, id)
	return nil
}

// MarkPreKeysAsUploaded implements [go.mau.fi/whatsmeow/store.PreKeyStore].
func (s *Store) MarkPreKeysAsUploaded(_ context.Context, upToID uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.preKeys {
		if id <= upToID {
			s.preKeys[id] = true
		}
	}
	return nil
}

// UploadedPreKeyCount implements [go.mau.fi/whatsmeow/store.PreKeyStore].
func (s *Store) UploadedPreKeyCount(context.Context) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, uploaded := range s.preKeys {
		if uploaded {
			n++
		}
	}
	return n, nil
}
