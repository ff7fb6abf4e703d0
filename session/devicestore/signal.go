package devicestore

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
)

// PutIdentity implements [store.IdentityStore].
func (d *device) PutIdentity(ctx context.Context, address string, key [32]byte) error {
	row := rowID{kindIdentity, keyOf(address)}
	if known, ok, _, err := d.peek(ctx, row); err != nil || ok && string(known) == string(key[:]) {
		return err // with each message that begins a session
	}
	return d.putValue(ctx, row, key[:])
}

// DeleteAllIdentities implements [store.IdentityStore].
func (d *device) DeleteAllIdentities(ctx context.Context, phone string) error {
	if err := d.removeAll(ctx, kindIdentity, phone+":"); err != nil {
		return err
	}
	return d.flush(ctx)
}

// DeleteIdentity implements [store.IdentityStore].
func (d *device) DeleteIdentity(ctx context.Context, address string) error {
	return d.remove(ctx, rowID{kindIdentity, keyOf(address)})
}

// IsTrustedIdentity implements [store.IdentityStore]: one that is not known is trusted.
func (d *device) IsTrustedIdentity(ctx context.Context, address string, key [32]byte) (bool, error) {
	known, err := d.get(ctx, kindIdentity, keyOf(address))
	return err == nil && (known == nil || string(known) == string(key[:])), err
}

// GetSession implements [store.SessionStore].
func (d *device) GetSession(ctx context.Context, address string) ([]byte, error) {
	return d.get(ctx, kindSession, keyOf(address))
}

// HasSession implements [store.SessionStore].
func (d *device) HasSession(ctx context.Context, address string) (bool, error) {
	session, err := d.GetSession(ctx, address)
	return session != nil, err
}

// GetManySessions implements [store.SessionStore].
func (d *device) GetManySessions(ctx context.Context, addresses []string) (map[string][]byte, error) {
	names := make([]string, len(addresses))
	for i, address := range addresses {
		names[i] = keyOf(address)
	}
	found, err := d.getMany(ctx, kindSession, names)
	if err != nil {
		return nil, err
	}
	sessions := make(map[string][]byte, len(addresses))
	for i, address := range addresses {
		sessions[address] = found[names[i]]
	}
	return sessions, nil
}

// PutSession implements [store.SessionStore]. Outside of a decryption a frame follows: it returns when the session is durable.
func (d *device) PutSession(ctx context.Context, address string, session []byte) error {
	if err := d.putValue(ctx, rowID{kindSession, keyOf(address)}, session); err != nil {
		return err
	}
	return d.flush(ctx)
}

// PutManySessions implements [store.SessionStore]. A frame follows: it returns when the sessions are durable.
func (d *device) PutManySessions(ctx context.Context, sessions map[string][]byte) error {
	err := d.transact(ctx, func(ctx context.Context) error {
		for address, session := range sessions {
			if err := d.putValue(ctx, rowID{kindSession, keyOf(address)}, session); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.flush(ctx)
}

// DeleteAllSessions implements [store.SessionStore].
func (d *device) DeleteAllSessions(ctx context.Context, phone string) error {
	if err := d.removeAll(ctx, kindSession, phone+":"); err != nil {
		return err
	}
	return d.flush(ctx)
}

// DeleteSession implements [store.SessionStore].
func (d *device) DeleteSession(ctx context.Context, address string) error {
	return d.remove(ctx, rowID{kindSession, keyOf(address)})
}

// maxMigrated bounds how many phone numbers are remembered whose sessions were moved to their LIDs, or had none.
const maxMigrated = 4096

// MigratePNToLID implements [store.SessionStore]. whatsmeow calls it with each message whose sender is named by number.
func (d *device) MigratePNToLID(ctx context.Context, pn, lid types.JID) error {
	of := pn.ToNonAD()
	d.mu.Lock()
	_, done := d.migrated[of]
	err := d.usable()
	d.mu.Unlock()
	if done || err != nil {
		return err
	}
	from, to := pn.SignalAddressUser()+":", lid.SignalAddressUser()+":"
	err = d.transact(ctx, func(ctx context.Context) error {
		for _, kind := range []int16{kindSession, kindIdentity, kindSenderKey} {
			if err := d.move(ctx, kind, from, to); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.migrated == nil || len(d.migrated) >= maxMigrated {
		d.migrated = make(map[types.JID]struct{})
	}
	d.migrated[of] = struct{}{}
	return nil
}

// move gives rows other keys.
func (d *device) move(ctx context.Context, kind int16, from, to string) error {
	found, err := d.scan(ctx, kind, from)
	if err != nil {
		return err
	}
	for key, value := range found {
		if err = d.putValue(ctx, rowID{kind, keyOf(to + strings.TrimPrefix(key, from))}, value); err != nil {
			return err
		}
		if err = d.remove(ctx, rowID{kind, key}); err != nil {
			return err
		}
	}
	return nil
}

// PutSenderKey implements [store.SenderKeyStore]. Our own moves when we send, so that a frame follows: it returns when it is durable.
// Others' come with messages, and are committed with them.
func (d *device) PutSenderKey(ctx context.Context, group, user string, session []byte) error {
	if err := d.putValue(ctx, rowID{kindSenderKey, keyOf(user, group)}, session); err != nil || !d.isOwn(user) {
		return err
	}
	return d.flush(ctx)
}

// isOwn says whether an address is this device's.
func (d *device) isOwn(address string) bool {
	own := d.own.Load()
	return own == nil || slices.Contains(*own, address)
}

// GetSenderKey implements [store.SenderKeyStore].
func (d *device) GetSenderKey(ctx context.Context, group, user string) ([]byte, error) {
	return d.get(ctx, kindSenderKey, keyOf(user, group))
}

const (
	nextPreKey = "next prekey"
	nctSalt    = "nct salt"
	// maxPreKeyID is the highest id of a prekey: ids have 24 bits.
	maxPreKeyID = 1<<24 - 1
)

func preKeyName(id uint32) string { return string(binary.BigEndian.AppendUint32(nil, id)) }

func preKeyOf(name string, private []byte) (*keys.PreKey, error) {
	if len(name) != 4 || len(private) != 32 {
		return nil, errSpoiled
	}
	return &keys.PreKey{KeyPair: *keyPair(private), KeyID: binary.BigEndian.Uint32([]byte(name))}, nil
}

// makePreKeys makes prekeys whose ids no key of this device had.
func (d *device) makePreKeys(ctx context.Context, n int, kind int16) ([]*keys.PreKey, error) {
	stored, err := d.get(ctx, kindSingle, nextPreKey)
	if err != nil {
		return nil, err
	}
	next := uint32(1)
	if len(stored) == 4 {
		next = binary.BigEndian.Uint32(stored)
	}
	made := make([]*keys.PreKey, n)
	for i := range made {
		made[i] = keys.NewPreKey(next)
		if err = d.putValue(ctx, rowID{kind, preKeyName(next)}, made[i].Priv[:]); err != nil {
			return nil, err
		}
		if next++; next > maxPreKeyID {
			next = 1
		}
	}
	return made, d.putValue(ctx, rowID{kindSingle, nextPreKey}, binary.BigEndian.AppendUint32(nil, next))
}

// GetOrGenPreKeys implements [store.PreKeyStore]: keys that were not uploaded yet, made if need be.
func (d *device) GetOrGenPreKeys(ctx context.Context, count uint32) ([]*keys.PreKey, error) {
	d.making.Lock()
	defer d.making.Unlock()
	fresh, err := d.scan(ctx, kindFreshPreKey, "")
	if err != nil {
		return nil, err
	}
	all := make([]*keys.PreKey, 0, count)
	for _, name := range slices.Sorted(maps.Keys(fresh)) {
		if len(all) == int(count) {
			break
		}
		key, err := preKeyOf(name, fresh[name])
		if err != nil {
			return nil, d.fail(err)
		}
		all = append(all, key)
	}
	if missing := int(count) - len(all); missing > 0 {
		made, err := d.makePreKeys(ctx, missing, kindFreshPreKey)
		if err != nil {
			return nil, err
		}
		all = append(all, made...)
	}
	return all, d.flush(ctx)
}

// GenOnePreKey implements [store.PreKeyStore].
func (d *device) GenOnePreKey(ctx context.Context) (*keys.PreKey, error) {
	d.making.Lock()
	defer d.making.Unlock()
	made, err := d.makePreKeys(ctx, 1, kindPreKey)
	if err != nil {
		return nil, err
	}
	return made[0], d.flush(ctx)
}

// GetPreKey implements [store.PreKeyStore].
func (d *device) GetPreKey(ctx context.Context, id uint32) (*keys.PreKey, error) {
	name := preKeyName(id)
	for _, kind := range []int16{kindPreKey, kindFreshPreKey} {
		private, err := d.get(ctx, kind, name)
		if err != nil {
			return nil, err
		}
		if private == nil {
			continue
		}
		key, err := preKeyOf(name, private)
		if err != nil {
			return nil, d.fail(err)
		}
		return key, nil
	}
	return nil, nil
}

// RemovePreKey implements [store.PreKeyStore].
func (d *device) RemovePreKey(ctx context.Context, id uint32) error {
	if err := d.remove(ctx, rowID{kindPreKey, preKeyName(id)}); err != nil {
		return err
	}
	return d.remove(ctx, rowID{kindFreshPreKey, preKeyName(id)})
}

// MarkPreKeysAsUploaded implements [store.PreKeyStore].
func (d *device) MarkPreKeysAsUploaded(ctx context.Context, upToID uint32) error {
	d.making.Lock()
	defer d.making.Unlock()
	fresh, err := d.scan(ctx, kindFreshPreKey, "")
	if err != nil {
		return err
	}
	err = d.transact(ctx, func(ctx context.Context) error {
		for name, private := range fresh {
			if name > preKeyName(upToID) {
				continue
			}
			if err := d.putValue(ctx, rowID{kindPreKey, name}, private); err != nil {
				return err
			}
			if err := d.remove(ctx, rowID{kindFreshPreKey, name}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.flush(ctx)
}

// UploadedPreKeyCount implements [store.PreKeyStore].
func (d *device) UploadedPreKeyCount(ctx context.Context) (int, error) {
	if err := d.flush(ctx); err != nil {
		return 0, err
	}
	d.mu.Lock()
	count, known := d.preKeys, d.preKeysKnown
	d.mu.Unlock()
	if known {
		return count, nil
	}
	return answer(ctx, d, func() (int, error) { return d.store.rows.CountDeviceRows(ctx, d.id, kindPreKey) })
}
