package memstore

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

type appStateVersion struct {
	version uint64
	hash    [128]byte
}

type macID struct{ name, index string }

type macValue struct {
	version uint64
	mac     []byte
}

// PutAppStateSyncKey keeps the newer of two keys with one id.
func (s *Store) PutAppStateSyncKey(_ context.Context, id []byte, key store.AppStateSyncKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.syncKeys[string(id)]; ok && known.Timestamp >= key.Timestamp {
		return nil
	}
	set(&s.syncKeys, string(id), cloneSyncKey(key))
	return nil
}

// GetAppStateSyncKey answers nil if there is none.
func (s *Store) GetAppStateSyncKey(_ context.Context, id []byte) (*store.AppStateSyncKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, ok := s.syncKeys[string(id)]
	if !ok {
		return nil, nil //nolint:nilnil // whatsmeow's contract
	}
	key = cloneSyncKey(key)
	return &key, nil
}

// GetLatestAppStateSyncKeyID answers nil if there is none.
func (s *Store) GetLatestAppStateSyncKeyID(context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var latest []byte
	var at int64
	for id, key := range s.syncKeys {
		if latest == nil || key.Timestamp > at {
			latest, at = []byte(id), key.Timestamp
		}
	}
	return latest, nil
}

// GetAllAppStateSyncKeys answers the newest key first.
func (s *Store) GetAllAppStateSyncKeys(context.Context) ([]*store.AppStateSyncKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*store.AppStateSyncKey, 0, len(s.syncKeys))
	for _, key := range s.syncKeys {
		key = cloneSyncKey(key)
		all = append(all, &key)
	}
	slices.SortFunc(all, func(a, b *store.AppStateSyncKey) int { return int(b.Timestamp - a.Timestamp) })
	return all, nil
}

func cloneSyncKey(k store.AppStateSyncKey) store.AppStateSyncKey {
	k.Data, k.Fingerprint = bytes.Clone(k.Data), bytes.Clone(k.Fingerprint)
	return k
}

// PutAppStateVersion keeps a version, which counts when its mutation MACs have come: whatsmeow puts them right behind, and may make a
// patch over the version meanwhile.
func (s *Store) PutAppStateVersion(_ context.Context, name string, version uint64, hash [128]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	set(&s.coming, name, appStateVersion{version, hash})
	return nil
}

// GetAppStateVersion implements [store.AppStateStore].
func (s *Store) GetAppStateVersion(_ context.Context, name string) (uint64, [128]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.versions[name]
	return v.version, v.hash, nil
}

// DeleteAppStateVersion forgets the mutation MACs too, as the foreign keys of a database do: those of before would spoil the hash of
// a full synchronisation.
func (s *Store) DeleteAppStateVersion(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.versions, name)
	delete(s.coming, name)
	maps.DeleteFunc(s.macs, func(k macID, _ macValue) bool { return k.name == name })
	return nil
}

// PutAppStateMutationMACs keeps the MAC of the highest version for each index.
func (s *Store) PutAppStateMutationMACs(_ context.Context, name string, version uint64, mutations []store.AppStateMutationMAC) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range mutations {
		k := macID{name, string(m.IndexMAC)}
		if known, ok := s.macs[k]; !ok || known.version <= version {
			set(&s.macs, k, macValue{version, bytes.Clone(m.ValueMAC)})
		}
	}
	if v, ok := s.coming[name]; ok && v.version == version {
		set(&s.versions, name, v)
		delete(s.coming, name)
	}
	return nil
}

// DeleteAppStateMutationMACs implements [store.AppStateStore].
func (s *Store) DeleteAppStateMutationMACs(_ context.Context, name string, indexMACs [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, index := range indexMACs {
		delete(s.macs, macID{name, string(index)})
	}
	return nil
}

// GetAppStateMutationMAC answers nil if there is none.
func (s *Store) GetAppStateMutationMAC(_ context.Context, name string, indexMAC []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.macs[macID{name, string(indexMAC)}].mac), nil
}

// PutPushName tells whether the name changed, and the name before.
func (s *Store) PutPushName(_ context.Context, user types.JID, name string) (bool, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.contacts[user]
	if c.PushName == name {
		return false, "", nil
	}
	previous := c.PushName
	c.PushName, c.Found = name, true
	set(&s.contacts, user, c)
	return true, previous, nil
}

// PutBusinessName tells whether the name changed, and the name before.
func (s *Store) PutBusinessName(_ context.Context, user types.JID, name string) (bool, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.contacts[user]
	if c.BusinessName == name {
		return false, "", nil
	}
	previous := c.BusinessName
	c.BusinessName, c.Found = name, true
	set(&s.contacts, user, c)
	return true, previous, nil
}

// PutContactName takes first and full name in the order in which whatsmeow passes them, not in that of its interface.
func (s *Store) PutContactName(_ context.Context, user types.JID, firstName, fullName string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putContactName(user, firstName, fullName)
	return nil
}

func (s *Store) putContactName(user types.JID, firstName, fullName string) {
	c := s.contacts[user]
	c.FirstName, c.FullName, c.Found = firstName, fullName, true
	set(&s.contacts, user, c)
}

// PutAllContactNames implements [store.ContactStore].
func (s *Store) PutAllContactNames(_ context.Context, contacts []store.ContactEntry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range contacts {
		s.putContactName(c.JID, c.FirstName, c.FullName)
	}
	return nil
}

// PutManyRedactedPhones implements [store.ContactStore].
func (s *Store) PutManyRedactedPhones(_ context.Context, entries []store.RedactedPhoneEntry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		c := s.contacts[e.JID]
		c.RedactedPhone, c.Found = e.RedactedPhone, true
		set(&s.contacts, e.JID, c)
	}
	return nil
}

// GetContact implements [store.ContactStore].
func (s *Store) GetContact(_ context.Context, user types.JID) (types.ContactInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.contacts[user], nil
}

// GetAllContacts implements [store.ContactStore].
func (s *Store) GetAllContacts(context.Context) (map[types.JID]types.ContactInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.contacts), nil
}

// PutMutedUntil implements [store.ChatSettingsStore].
func (s *Store) PutMutedUntil(_ context.Context, chat types.JID, until time.Time) error {
	s.changeSettings(chat, func(c *types.LocalChatSettings) { c.MutedUntil = until })
	return nil
}

// PutPinned implements [store.ChatSettingsStore].
func (s *Store) PutPinned(_ context.Context, chat types.JID, pinned bool) error {
	s.changeSettings(chat, func(c *types.LocalChatSettings) { c.Pinned = pinned })
	return nil
}

// PutArchived implements [store.ChatSettingsStore].
func (s *Store) PutArchived(_ context.Context, chat types.JID, archived bool) error {
	s.changeSettings(chat, func(c *types.LocalChatSettings) { c.Archived = archived })
	return nil
}

func (s *Store) changeSettings(chat types.JID, change func(*types.LocalChatSettings)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.settings[chat]
	c.Found = true
	change(&c)
	set(&s.settings, chat, c)
}

// GetChatSettings implements [store.ChatSettingsStore].
func (s *Store) GetChatSettings(_ context.Context, chat types.JID) (types.LocalChatSettings, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settings[chat], nil
}

// PutPrivacyTokens keeps the newer of two tokens of one user, and the sender's time if the newer one has none.
func (s *Store) PutPrivacyTokens(_ context.Context, tokens ...store.PrivacyToken) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range tokens {
		t.User = t.User.ToNonAD()
		known, ok := s.tokens[t.User]
		if ok && known.Timestamp.After(t.Timestamp) {
			continue
		}
		if t.SenderTimestamp.IsZero() {
			t.SenderTimestamp = known.SenderTimestamp
		}
		t.Token = bytes.Clone(t.Token)
		set(&s.tokens, t.User, t)
	}
	return nil
}

// GetPrivacyToken answers the newest token kept under either name of the user; nil if there is none.
func (s *Store) GetPrivacyToken(_ context.Context, user types.JID) (*store.PrivacyToken, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	user = user.ToNonAD()
	var best *store.PrivacyToken
	for _, name := range s.bothNames(user) {
		if t, ok := s.tokens[name]; ok && (best == nil || t.Timestamp.After(best.Timestamp)) {
			t.User, t.Token = user, bytes.Clone(t.Token)
			best = &t
		}
	}
	return best, nil
}

// DeleteExpiredPrivacyTokens implements [store.PrivacyTokenStore].
func (s *Store) DeleteExpiredPrivacyTokens(_ context.Context, cutoff time.Time) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.tokens)
	maps.DeleteFunc(s.tokens, func(_ types.JID, t store.PrivacyToken) bool { return t.Timestamp.Before(cutoff) })
	return int64(before - len(s.tokens)), nil
}

// PutNCTSalt implements [store.NCTSaltStore].
func (s *Store) PutNCTSalt(_ context.Context, salt []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nctSalt = bytes.Clone(salt)
	return nil
}

// GetNCTSalt answers nil if there is none.
func (s *Store) GetNCTSalt(context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.nctSalt), nil
}

// DeleteNCTSalt implements [store.NCTSaltStore].
func (s *Store) DeleteNCTSalt(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nctSalt = nil
	return nil
}

// PutManyLIDMappings ignores pairs that are not a LID and a phone number.
func (s *Store) PutManyLIDMappings(_ context.Context, mappings []store.LIDMapping) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range mappings {
		if m.LID.Server == types.HiddenUserServer && m.PN.Server == types.DefaultUserServer {
			s.putLIDMapping(m.LID.User, m.PN.User)
		}
	}
	return nil
}

// PutLIDMapping implements [store.LIDStore].
func (s *Store) PutLIDMapping(_ context.Context, lid, pn types.JID) error {
	if lid.Server != types.HiddenUserServer || pn.Server != types.DefaultUserServer {
		return fmt.Errorf("not a LID and a phone number: %s and %s", lid.Server, pn.Server)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putLIDMapping(lid.User, pn.User)
	return nil
}

// putLIDMapping keeps the pairing one to one. s.mu is held.
func (s *Store) putLIDMapping(lid, pn string) {
	if old, ok := s.pnToLID[pn]; ok && old != lid {
		delete(s.lidToPN, old)
	}
	if old, ok := s.lidToPN[lid]; ok && old != pn {
		delete(s.pnToLID, old)
	}
	set(&s.pnToLID, pn, lid)
	set(&s.lidToPN, lid, pn)
}

// GetPNForLID answers the phone number with the LID's device; empty if it is not known.
func (s *Store) GetPNForLID(_ context.Context, lid types.JID) (types.JID, error) {
	if lid.Server != types.HiddenUserServer {
		return types.EmptyJID, fmt.Errorf("not a LID: %s", lid.Server)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.altJID(lid), nil
}

// GetLIDForPN answers the LID with the phone number's device; empty if it is not known.
func (s *Store) GetLIDForPN(_ context.Context, pn types.JID) (types.JID, error) {
	if pn.Server != types.DefaultUserServer {
		return types.EmptyJID, fmt.Errorf("not a phone number: %s", pn.Server)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.altJID(pn), nil
}

// GetManyLIDsForPNs leaves out those that are not known.
func (s *Store) GetManyLIDsForPNs(_ context.Context, pns []types.JID) (map[types.JID]types.JID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make(map[types.JID]types.JID, len(pns))
	for _, pn := range pns {
		if lid := s.altJID(pn); pn.Server == types.DefaultUserServer && !lid.IsEmpty() {
			found[pn] = lid
		}
	}
	return found, nil
}

// altJID answers the other name of a user's device. s.mu is held.
func (s *Store) altJID(jid types.JID) types.JID {
	alt := types.JID{Device: jid.Device}
	switch jid.Server {
	case types.DefaultUserServer:
		alt.User, alt.Server = s.pnToLID[jid.User], types.HiddenUserServer
	case types.HiddenUserServer:
		alt.User, alt.Server = s.lidToPN[jid.User], types.DefaultUserServer
	}
	if alt.User == "" {
		return types.EmptyJID
	}
	return alt
}
