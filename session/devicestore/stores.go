package devicestore

import (
	"context"
	"time"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
)

// The methods below pass through to sqlstore, each as one guarded operation.

// PutIdentity implements [store.IdentityStore].
func (g *guard) PutIdentity(ctx context.Context, address string, key [32]byte) error {
	return g.do(ctx, func() error { return g.inner.PutIdentity(ctx, address, key) })
}

// DeleteAllIdentities implements [store.IdentityStore].
func (g *guard) DeleteAllIdentities(ctx context.Context, phone string) error {
	return g.do(ctx, func() error { return g.inner.DeleteAllIdentities(ctx, phone) })
}

// DeleteIdentity implements [store.IdentityStore].
func (g *guard) DeleteIdentity(ctx context.Context, address string) error {
	return g.do(ctx, func() error { return g.inner.DeleteIdentity(ctx, address) })
}

// IsTrustedIdentity implements [store.IdentityStore].
func (g *guard) IsTrustedIdentity(ctx context.Context, address string, key [32]byte) (bool, error) {
	return answer(ctx, g, func() (bool, error) { return g.inner.IsTrustedIdentity(ctx, address, key) })
}

// GetSession implements [store.SessionStore].
func (g *guard) GetSession(ctx context.Context, address string) ([]byte, error) {
	return answer(ctx, g, func() ([]byte, error) { return g.inner.GetSession(ctx, address) })
}

// HasSession implements [store.SessionStore].
func (g *guard) HasSession(ctx context.Context, address string) (bool, error) {
	return answer(ctx, g, func() (bool, error) { return g.inner.HasSession(ctx, address) })
}

// GetManySessions implements [store.SessionStore].
func (g *guard) GetManySessions(ctx context.Context, addresses []string) (map[string][]byte, error) {
	return answer(ctx, g, func() (map[string][]byte, error) { return g.inner.GetManySessions(ctx, addresses) })
}

// PutSession implements [store.SessionStore].
func (g *guard) PutSession(ctx context.Context, address string, session []byte) error {
	return g.do(ctx, func() error { return g.inner.PutSession(ctx, address, session) })
}

// PutManySessions implements [store.SessionStore].
func (g *guard) PutManySessions(ctx context.Context, sessions map[string][]byte) error {
	return g.do(ctx, func() error { return g.inner.PutManySessions(ctx, sessions) })
}

// DeleteAllSessions implements [store.SessionStore].
func (g *guard) DeleteAllSessions(ctx context.Context, phone string) error {
	return g.do(ctx, func() error { return g.inner.DeleteAllSessions(ctx, phone) })
}

// DeleteSession implements [store.SessionStore].
func (g *guard) DeleteSession(ctx context.Context, address string) error {
	return g.do(ctx, func() error { return g.inner.DeleteSession(ctx, address) })
}

// MigratePNToLID implements [store.SessionStore].
func (g *guard) MigratePNToLID(ctx context.Context, pn, lid types.JID) error {
	return g.do(ctx, func() error { return g.inner.MigratePNToLID(ctx, pn, lid) })
}

// GetOrGenPreKeys implements [store.PreKeyStore].
func (g *guard) GetOrGenPreKeys(ctx context.Context, count uint32) ([]*keys.PreKey, error) {
	return answer(ctx, g, func() (made []*keys.PreKey, err error) {
		err = g.inOne(ctx, func(ctx context.Context) (err error) {
			made, err = g.inner.GetOrGenPreKeys(ctx, count)
			return err
		})
		return made, err
	})
}

// GenOnePreKey implements [store.PreKeyStore].
func (g *guard) GenOnePreKey(ctx context.Context) (*keys.PreKey, error) {
	return answer(ctx, g, func() (*keys.PreKey, error) { return g.inner.GenOnePreKey(ctx) })
}

// GetPreKey implements [store.PreKeyStore].
func (g *guard) GetPreKey(ctx context.Context, id uint32) (*keys.PreKey, error) {
	return answer(ctx, g, func() (*keys.PreKey, error) { return g.inner.GetPreKey(ctx, id) })
}

// RemovePreKey implements [store.PreKeyStore].
func (g *guard) RemovePreKey(ctx context.Context, id uint32) error {
	return g.do(ctx, func() error { return g.inner.RemovePreKey(ctx, id) })
}

// MarkPreKeysAsUploaded implements [store.PreKeyStore].
func (g *guard) MarkPreKeysAsUploaded(ctx context.Context, upToID uint32) error {
	return g.do(ctx, func() error { return g.inner.MarkPreKeysAsUploaded(ctx, upToID) })
}

// UploadedPreKeyCount implements [store.PreKeyStore].
func (g *guard) UploadedPreKeyCount(ctx context.Context) (int, error) {
	return answer(ctx, g, func() (int, error) { return g.inner.UploadedPreKeyCount(ctx) })
}

// PutSenderKey implements [store.SenderKeyStore].
func (g *guard) PutSenderKey(ctx context.Context, group, user string, session []byte) error {
	return g.do(ctx, func() error { return g.inner.PutSenderKey(ctx, group, user, session) })
}

// GetSenderKey implements [store.SenderKeyStore].
func (g *guard) GetSenderKey(ctx context.Context, group, user string) ([]byte, error) {
	return answer(ctx, g, func() ([]byte, error) { return g.inner.GetSenderKey(ctx, group, user) })
}

// PutAppStateSyncKey implements [store.AppStateSyncKeyStore].
func (g *guard) PutAppStateSyncKey(ctx context.Context, id []byte, key store.AppStateSyncKey) error {
	return g.do(ctx, func() error { return g.inner.PutAppStateSyncKey(ctx, id, key) })
}

// GetAppStateSyncKey implements [store.AppStateSyncKeyStore].
func (g *guard) GetAppStateSyncKey(ctx context.Context, id []byte) (*store.AppStateSyncKey, error) {
	return answer(ctx, g, func() (*store.AppStateSyncKey, error) { return g.inner.GetAppStateSyncKey(ctx, id) })
}

// GetLatestAppStateSyncKeyID implements [store.AppStateSyncKeyStore].
func (g *guard) GetLatestAppStateSyncKeyID(ctx context.Context) ([]byte, error) {
	return answer(ctx, g, func() ([]byte, error) { return g.inner.GetLatestAppStateSyncKeyID(ctx) })
}

// GetAllAppStateSyncKeys implements [store.AppStateSyncKeyStore].
func (g *guard) GetAllAppStateSyncKeys(ctx context.Context) ([]*store.AppStateSyncKey, error) {
	return answer(ctx, g, func() ([]*store.AppStateSyncKey, error) { return g.inner.GetAllAppStateSyncKeys(ctx) })
}

// PutAppStateVersion implements [store.AppStateStore].
func (g *guard) PutAppStateVersion(ctx context.Context, name string, version uint64, hash [128]byte) error {
	return g.do(ctx, func() error { return g.inner.PutAppStateVersion(ctx, name, version, hash) })
}

// GetAppStateVersion implements [store.AppStateStore].
func (g *guard) GetAppStateVersion(ctx context.Context, name string) (uint64, [128]byte, error) {
	var one uint64
	var two [128]byte
	err := g.do(ctx, func() (err error) {
		one, two, err = g.inner.GetAppStateVersion(ctx, name)
		return err
	})
	return one, two, err
}

// DeleteAppStateVersion implements [store.AppStateStore].
func (g *guard) DeleteAppStateVersion(ctx context.Context, name string) error {
	return g.do(ctx, func() error { return g.inner.DeleteAppStateVersion(ctx, name) })
}

// PutAppStateMutationMACs implements [store.AppStateStore].
func (g *guard) PutAppStateMutationMACs(ctx context.Context, name string, version uint64, mutations []store.AppStateMutationMAC) error {
	return g.do(ctx, func() error { return g.inner.PutAppStateMutationMACs(ctx, name, version, mutations) })
}

// DeleteAppStateMutationMACs implements [store.AppStateStore].
func (g *guard) DeleteAppStateMutationMACs(ctx context.Context, name string, indexMACs [][]byte) error {
	return g.do(ctx, func() error { return g.inner.DeleteAppStateMutationMACs(ctx, name, indexMACs) })
}

// GetAppStateMutationMAC implements [store.AppStateStore].
func (g *guard) GetAppStateMutationMAC(ctx context.Context, name string, indexMAC []byte) (valueMAC []byte, err error) {
	return answer(ctx, g, func() ([]byte, error) { return g.inner.GetAppStateMutationMAC(ctx, name, indexMAC) })
}

// PutPushName implements [store.ContactStore].
func (g *guard) PutPushName(ctx context.Context, user types.JID, pushName string) (bool, string, error) {
	var one bool
	var two string
	err := g.do(ctx, func() (err error) {
		one, two, err = g.inner.PutPushName(ctx, user, pushName)
		return err
	})
	return one, two, err
}

// PutBusinessName implements [store.ContactStore].
func (g *guard) PutBusinessName(ctx context.Context, user types.JID, businessName string) (bool, string, error) {
	var one bool
	var two string
	err := g.do(ctx, func() (err error) {
		one, two, err = g.inner.PutBusinessName(ctx, user, businessName)
		return err
	})
	return one, two, err
}

// PutContactName implements [store.ContactStore].
func (g *guard) PutContactName(ctx context.Context, user types.JID, fullName, firstName string) error {
	return g.do(ctx, func() error { return g.inner.PutContactName(ctx, user, fullName, firstName) })
}

// PutAllContactNames implements [store.ContactStore].
func (g *guard) PutAllContactNames(ctx context.Context, contacts []store.ContactEntry) error {
	return g.do(ctx, func() error { return g.inner.PutAllContactNames(ctx, contacts) })
}

// PutManyRedactedPhones implements [store.ContactStore].
func (g *guard) PutManyRedactedPhones(ctx context.Context, entries []store.RedactedPhoneEntry) error {
	return g.do(ctx, func() error { return g.inner.PutManyRedactedPhones(ctx, entries) })
}

// GetContact implements [store.ContactStore].
func (g *guard) GetContact(ctx context.Context, user types.JID) (types.ContactInfo, error) {
	return answer(ctx, g, func() (types.ContactInfo, error) { return g.inner.GetContact(ctx, user) })
}

// GetAllContacts implements [store.ContactStore].
func (g *guard) GetAllContacts(ctx context.Context) (map[types.JID]types.ContactInfo, error) {
	return answer(ctx, g, func() (map[types.JID]types.ContactInfo, error) { return g.inner.GetAllContacts(ctx) })
}

// PutMutedUntil implements [store.ChatSettingsStore].
func (g *guard) PutMutedUntil(ctx context.Context, chat types.JID, mutedUntil time.Time) error {
	return g.do(ctx, func() error { return g.inner.PutMutedUntil(ctx, chat, mutedUntil) })
}

// PutPinned implements [store.ChatSettingsStore].
func (g *guard) PutPinned(ctx context.Context, chat types.JID, pinned bool) error {
	return g.do(ctx, func() error { return g.inner.PutPinned(ctx, chat, pinned) })
}

// PutArchived implements [store.ChatSettingsStore].
func (g *guard) PutArchived(ctx context.Context, chat types.JID, archived bool) error {
	return g.do(ctx, func() error { return g.inner.PutArchived(ctx, chat, archived) })
}

// GetChatSettings implements [store.ChatSettingsStore].
func (g *guard) GetChatSettings(ctx context.Context, chat types.JID) (types.LocalChatSettings, error) {
	return answer(ctx, g, func() (types.LocalChatSettings, error) { return g.inner.GetChatSettings(ctx, chat) })
}

// PutMessageSecrets implements [store.MsgSecretStore].
func (g *guard) PutMessageSecrets(ctx context.Context, inserts []store.MessageSecretInsert) error {
	return g.do(ctx, func() error { return g.inner.PutMessageSecrets(ctx, inserts) })
}

// PutMessageSecret implements [store.MsgSecretStore].
func (g *guard) PutMessageSecret(ctx context.Context, chat, sender types.JID, id types.MessageID, secret []byte) error {
	return g.do(ctx, func() error { return g.inner.PutMessageSecret(ctx, chat, sender, id, secret) })
}

// GetMessageSecret implements [store.MsgSecretStore].
func (g *guard) GetMessageSecret(ctx context.Context, chat, sender types.JID, id types.MessageID) ([]byte, types.JID, error) {
	var one []byte
	var two types.JID
	err := g.do(ctx, func() (err error) {
		one, two, err = g.inner.GetMessageSecret(ctx, chat, sender, id)
		return err
	})
	return one, two, err
}

// PutPrivacyTokens implements [store.PrivacyTokenStore].
func (g *guard) PutPrivacyTokens(ctx context.Context, tokens ...store.PrivacyToken) error {
	return g.do(ctx, func() error { return g.inner.PutPrivacyTokens(ctx, tokens...) })
}

// GetPrivacyToken implements [store.PrivacyTokenStore].
func (g *guard) GetPrivacyToken(ctx context.Context, user types.JID) (*store.PrivacyToken, error) {
	return answer(ctx, g, func() (*store.PrivacyToken, error) { return g.inner.GetPrivacyToken(ctx, user) })
}

// DeleteExpiredPrivacyTokens implements [store.PrivacyTokenStore].
func (g *guard) DeleteExpiredPrivacyTokens(ctx context.Context, cutoff time.Time) (int64, error) {
	return answer(ctx, g, func() (int64, error) { return g.inner.DeleteExpiredPrivacyTokens(ctx, cutoff) })
}

// PutNCTSalt implements [store.NCTSaltStore].
func (g *guard) PutNCTSalt(ctx context.Context, salt []byte) error {
	return g.do(ctx, func() error { return g.inner.PutNCTSalt(ctx, salt) })
}

// GetNCTSalt implements [store.NCTSaltStore].
func (g *guard) GetNCTSalt(ctx context.Context) ([]byte, error) {
	return answer(ctx, g, func() ([]byte, error) { return g.inner.GetNCTSalt(ctx) })
}

// DeleteNCTSalt implements [store.NCTSaltStore].
func (g *guard) DeleteNCTSalt(ctx context.Context) error {
	return g.do(ctx, func() error { return g.inner.DeleteNCTSalt(ctx) })
}

// GetBufferedEvent implements [store.EventBuffer].
func (g *guard) GetBufferedEvent(ctx context.Context, ciphertextHash [32]byte) (*store.BufferedEvent, error) {
	return answer(ctx, g, func() (*store.BufferedEvent, error) { return g.inner.GetBufferedEvent(ctx, ciphertextHash) })
}

// PutBufferedEvent implements [store.EventBuffer].
func (g *guard) PutBufferedEvent(ctx context.Context, ciphertextHash [32]byte, plaintext []byte, serverTimestamp time.Time) error {
	return g.do(ctx, func() error { return g.inner.PutBufferedEvent(ctx, ciphertextHash, plaintext, serverTimestamp) })
}

// ClearBufferedEventPlaintext implements [store.EventBuffer].
func (g *guard) ClearBufferedEventPlaintext(ctx context.Context, ciphertextHash [32]byte) error {
	return g.do(ctx, func() error { return g.inner.ClearBufferedEventPlaintext(ctx, ciphertextHash) })
}

// DeleteOldBufferedHashes implements [store.EventBuffer].
func (g *guard) DeleteOldBufferedHashes(ctx context.Context) error {
	return g.do(ctx, func() error { return g.inner.DeleteOldBufferedHashes(ctx) })
}

// GetOutgoingEvent implements [store.EventBuffer].
func (g *guard) GetOutgoingEvent(ctx context.Context, chatJID, altChatJID types.JID, id types.MessageID) (string, []byte, error) {
	var one string
	var two []byte
	err := g.do(ctx, func() (err error) {
		one, two, err = g.inner.GetOutgoingEvent(ctx, chatJID, altChatJID, id)
		return err
	})
	return one, two, err
}

// AddOutgoingEvent implements [store.EventBuffer].
func (g *guard) AddOutgoingEvent(ctx context.Context, chatJID types.JID, id types.MessageID, format string, plaintext []byte) error {
	return g.do(ctx, func() error { return g.inner.AddOutgoingEvent(ctx, chatJID, id, format, plaintext) })
}

// DeleteOldOutgoingEvents implements [store.EventBuffer].
func (g *guard) DeleteOldOutgoingEvents(ctx context.Context) error {
	return g.do(ctx, func() error { return g.inner.DeleteOldOutgoingEvents(ctx) })
}
