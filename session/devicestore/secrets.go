package devicestore

import (
	"context"
	"encoding/binary"
	"math"
	"time"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/tenant"
)

// PutMessageSecret implements [store.MsgSecretStore]: the first secret of a message stays.
func (d *device) PutMessageSecret(ctx context.Context, chat, sender types.JID, id types.MessageID, secret []byte) error {
	return d.put(ctx, secretRow(chat.ToNonAD(), sender.ToNonAD(), id), version{value: secret, at: time.Now().UnixMilli(), ifNew: true})
}

// flushEach flushes before the i-th row of a mass, now and then.
func (d *device) flushEach(ctx context.Context, i int) error {
	if i == 0 || i%rowsAtOnce > 0 {
		return nil
	}
	return d.flush(ctx)
}

func secretRow(chat, sender types.JID, id types.MessageID) rowID {
	return rowID{kindMessageSecret, keyOf(chat.String(), sender.String(), id)}
}

// PutMessageSecrets implements [store.MsgSecretStore]. It takes histories' secrets, of which there are as many as the phone likes.
func (d *device) PutMessageSecrets(ctx context.Context, inserts []store.MessageSecretInsert) error {
	for i, s := range inserts {
		if err := d.flushEach(ctx, i); err != nil {
			return err
		}
		if s.Chat.IsEmpty() || s.Sender.IsEmpty() || s.ID == "" || len(s.Secret) == 0 {
			continue
		}
		if err := d.PutMessageSecret(ctx, s.Chat, s.Sender, s.ID, s.Secret); err != nil {
			return err
		}
	}
	return d.flush(ctx)
}

// GetMessageSecret implements [store.MsgSecretStore]: chat and sender may be named by number or by LID, whichever it was.
func (d *device) GetMessageSecret(ctx context.Context, chat, sender types.JID, id types.MessageID) ([]byte, types.JID, error) {
	chats, err := d.bothNames(ctx, chat.ToNonAD())
	if err != nil {
		return nil, types.JID{}, err
	}
	senders, err := d.bothNames(ctx, sender.ToNonAD())
	if err != nil {
		return nil, types.JID{}, err
	}
	var names []string
	var by []types.JID
	for _, c := range chats {
		for _, s := range senders {
			names, by = append(names, secretRow(c, s, id).key), append(by, s)
		}
	}
	found, err := d.getMany(ctx, kindMessageSecret, names)
	if err != nil {
		return nil, types.JID{}, err
	}
	for i, name := range names {
		if secret := found[name]; secret != nil {
			return secret, by[i], nil
		}
	}
	return nil, types.JID{}, nil
}

// bothNames are a JID and, if it is a person's and the other is known, the same person's other one.
func (d *device) bothNames(ctx context.Context, jid types.JID) ([]types.JID, error) {
	var other types.JID
	var err error
	switch jid.Server {
	case types.DefaultUserServer:
		other, err = d.lids.GetLIDForPN(ctx, jid)
	case types.HiddenUserServer:
		other, err = d.lids.GetPNForLID(ctx, jid)
	}
	if err != nil || other.IsEmpty() {
		return []types.JID{jid}, err
	}
	return []types.JID{jid, other}, nil
}

// token is a privacy token as it is stored: two times in Unix seconds, and the token.
func encodeToken(t *store.PrivacyToken) []byte {
	sent := int64(math.MinInt64) // never
	if !t.SenderTimestamp.IsZero() {
		sent = t.SenderTimestamp.Unix()
	}
	value := binary.BigEndian.AppendUint64(make([]byte, 0, 16+len(t.Token)), uint64(t.Timestamp.Unix())) //nolint:gosec // as it is
	return append(binary.BigEndian.AppendUint64(value, uint64(sent)), t.Token...)                        //nolint:gosec // as it is
}

func tokenAge(t *store.PrivacyToken) int64 { return max(1, t.Timestamp.Unix()*1000) }

func (d *device) decodeToken(user types.JID, value []byte) (*store.PrivacyToken, error) {
	if len(value) < 16 {
		return nil, d.fail(errSpoiled)
	}
	seconds := func(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) } //nolint:gosec // as it was
	t := &store.PrivacyToken{User: user, Token: value[16:], Timestamp: time.Unix(seconds(value), 0)}
	if sent := seconds(value[8:]); sent != math.MinInt64 {
		t.SenderTimestamp = time.Unix(sent, 0)
	}
	return t, nil
}

// token reads a user's token by that name; nil if there is none.
func (d *device) token(ctx context.Context, user types.JID) (*store.PrivacyToken, error) {
	value, err := d.get(ctx, kindPrivacyToken, keyOf(user.String()))
	if err != nil || value == nil {
		return nil, err
	}
	return d.decodeToken(user, value)
}

// PutPrivacyTokens implements [store.PrivacyTokenStore]: the newer of two tokens stays, and the last time that we sent ours.
func (d *device) PutPrivacyTokens(ctx context.Context, tokens ...store.PrivacyToken) error {
	d.making.Lock()
	defer d.making.Unlock()
	for i, t := range tokens {
		if err := d.flushEach(ctx, i); err != nil {
			return err
		}
		t.User = t.User.ToNonAD()
		known, err := d.token(ctx, t.User)
		switch {
		case err != nil:
			return err
		case known != nil && known.Timestamp.Unix() > t.Timestamp.Unix():
			continue
		case known != nil && t.SenderTimestamp.IsZero():
			t.SenderTimestamp = known.SenderTimestamp
		}
		v := version{value: encodeToken(&t), at: tokenAge(&t)}
		if err = d.put(ctx, rowID{kindPrivacyToken, keyOf(t.User.String())}, v); err != nil {
			return err
		}
	}
	return d.flush(ctx)
}

// GetPrivacyToken implements [store.PrivacyTokenStore]: the newest under either name of the user.
func (d *device) GetPrivacyToken(ctx context.Context, user types.JID) (*store.PrivacyToken, error) {
	names, err := d.bothNames(ctx, user.ToNonAD())
	if err != nil {
		return nil, err
	}
	var newest *store.PrivacyToken
	for _, name := range names {
		t, err := d.token(ctx, name)
		if err != nil {
			return nil, err
		}
		if t != nil && (newest == nil || t.Timestamp.After(newest.Timestamp)) {
			newest = t
		}
	}
	if newest != nil {
		newest.User = user.ToNonAD()
	}
	return newest, nil
}

// DeleteExpiredPrivacyTokens implements [store.PrivacyTokenStore].
func (d *device) DeleteExpiredPrivacyTokens(ctx context.Context, cutoff time.Time) (int64, error) {
	d.making.Lock()
	defer d.making.Unlock()
	if err := d.flush(ctx); err != nil {
		return 0, err
	}
	cutoff = cutoff.Truncate(time.Second)
	if d.noTokenBefore(cutoff) {
		return 0, nil
	}
	var gone int64
	for {
		old, err := answer(ctx, d, func() ([]tenant.DeviceRow, error) {
			return d.store.rows.ScanDeviceRows(ctx, d.id,
				tenant.DeviceScan{Kind: kindPrivacyToken, MadeBefore: cutoff, Limit: rowsAtOnce})
		})
		if err != nil {
			return gone, err
		}
		for _, r := range old {
			if err = d.remove(ctx, rowID{kindPrivacyToken, string(r.Key)}); err != nil {
				return gone, err
			}
		}
		if err = d.flush(ctx); err != nil {
			return gone, err
		}
		if gone += int64(len(old)); len(old) < rowsAtOnce {
			return gone, nil
		}
	}
}

// noTokenBefore says that no privacy token is older, as far as that is known without asking.
func (d *device) noTokenBefore(cutoff time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.oldestTokenKnown && (d.oldestToken.IsZero() || !d.oldestToken.Before(cutoff))
}

// PutNCTSalt implements [store.NCTSaltStore].
func (d *device) PutNCTSalt(ctx context.Context, salt []byte) error {
	if err := d.putValue(ctx, rowID{kindSingle, nctSalt}, salt); err != nil {
		return err
	}
	return d.flush(ctx)
}

// GetNCTSalt implements [store.NCTSaltStore].
func (d *device) GetNCTSalt(ctx context.Context) ([]byte, error) {
	return d.get(ctx, kindSingle, nctSalt)
}

// DeleteNCTSalt implements [store.NCTSaltStore].
func (d *device) DeleteNCTSalt(ctx context.Context) error {
	if err := d.remove(ctx, rowID{kindSingle, nctSalt}); err != nil {
		return err
	}
	return d.flush(ctx)
}
