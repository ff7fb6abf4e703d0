package memstore

import (
	"bytes"
	"context"
	"database/sql"
	"time"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

// bufferedEvent is small: most are only a hash to recognise a redelivery by.
type bufferedEvent struct {
	plaintext []byte
	inserted  int64 // unix milliseconds
	server    int64 // unix seconds
}

type outgoingID struct {
	chat types.JID
	id   types.MessageID
}

type outgoingEvent struct {
	format    string
	plaintext []byte
	inserted  int64 // unix milliseconds
}

type secretID struct {
	chat, sender types.JID
	id           types.MessageID
}

// GetBufferedEvent answers nil if the message has not been decrypted before.
func (s *Store) GetBufferedEvent(ctx context.Context, hash [32]byte) (*store.BufferedEvent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := get(s.buffered.values, s.current(ctx).read().buffered, hash)
	if !ok {
		return nil, nil //nolint:nilnil // whatsmeow's contract
	}
	return &store.BufferedEvent{
		Plaintext:  bytes.Clone(e.plaintext),
		InsertTime: time.UnixMilli(e.inserted),
		ServerTime: time.Unix(e.server, 0),
	}, nil
}

// PutBufferedEvent implements [store.EventBuffer].
func (s *Store) PutBufferedEvent(ctx context.Context, hash [32]byte, plaintext []byte, serverTime time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := bufferedEvent{
		plaintext: append([]byte{}, plaintext...),
		inserted:  time.Now().UnixMilli(), server: serverTime.Unix(),
	}
	if t := s.current(ctx); t != nil {
		set((*map[[32]byte]change[bufferedEvent])(&t.buffered), hash, change[bufferedEvent]{value: e})
		return nil
	}
	s.buffered.put(hash, e)
	return nil
}

// ClearBufferedEventPlaintext implements [store.EventBuffer].
func (s *Store) ClearBufferedEventPlaintext(_ context.Context, hash [32]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.buffered.values[hash]; ok {
		e.plaintext = nil
		s.buffered.values[hash] = e
	}
	return nil
}

// DeleteOldBufferedHashes forgets what the server can no longer deliver again.
func (s *Store) DeleteOldBufferedHashes(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := time.Now().Add(-bufferedAge).UnixMilli()
	s.buffered.prune(func(e bufferedEvent) bool { return e.inserted < limit })
	return nil
}

// GetOutgoingEvent answers sql.ErrNoRows if the message is not known, as sqlstore does.
func (s *Store) GetOutgoingEvent(_ context.Context, chat, altChat types.JID, id types.MessageID) (string, []byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, jid := range []types.JID{chat, altChat} {
		if e, ok := s.outgoing.values[outgoingID{jid, id}]; ok {
			return e.format, bytes.Clone(e.plaintext), nil
		}
	}
	return "", nil, sql.ErrNoRows
}

// AddOutgoingEvent implements [store.EventBuffer].
func (s *Store) AddOutgoingEvent(_ context.Context, chat types.JID, id types.MessageID, format string, plaintext []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := outgoingEvent{format: format, plaintext: bytes.Clone(plaintext), inserted: time.Now().UnixMilli()}
	s.outgoing.put(outgoingID{chat, id}, e)
	return nil
}

// DeleteOldOutgoingEvents forgets what nobody asks for again.
func (s *Store) DeleteOldOutgoingEvents(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := time.Now().Add(-outgoingAge).UnixMilli()
	s.outgoing.prune(func(e outgoingEvent) bool { return e.inserted < limit })
	return nil
}

// PutMessageSecrets implements [store.MsgSecretStore].
func (s *Store) PutMessageSecrets(ctx context.Context, inserts []store.MessageSecretInsert) error {
	for _, in := range inserts {
		if in.Chat.IsEmpty() || in.Sender.IsEmpty() || in.ID == "" || len(in.Secret) == 0 {
			continue
		}
		if err := s.PutMessageSecret(ctx, in.Chat, in.Sender, in.ID, in.Secret); err != nil {
			return err
		}
	}
	return nil
}

// PutMessageSecret keeps the first secret of a message.
func (s *Store) PutMessageSecret(_ context.Context, chat, sender types.JID, id types.MessageID, secret []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := secretID{chat.ToNonAD(), sender.ToNonAD(), id}
	if _, ok := s.secrets.values[k]; !ok {
		s.secrets.put(k, bytes.Clone(secret))
	}
	return nil
}

// GetMessageSecret finds the secret under the phone number and the LID of chat and sender. It answers the sender under
// whom it was kept; nil if it is not known.
func (s *Store) GetMessageSecret(_ context.Context, chat, sender types.JID, id types.MessageID) ([]byte, types.JID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.bothNames(chat.ToNonAD()) {
		for _, from := range s.bothNames(sender.ToNonAD()) {
			if secret, ok := s.secrets.values[secretID{c, from, id}]; ok {
				return bytes.Clone(secret), from, nil
			}
		}
	}
	return nil, types.EmptyJID, nil
}

// bothNames answers jid and, if known, the other name of the same user. s.mu is held.
func (s *Store) bothNames(jid types.JID) []types.JID {
	if alt := s.altJID(jid); !alt.IsEmpty() {
		return []types.JID{jid, alt}
	}
	return []types.JID{jid}
}
