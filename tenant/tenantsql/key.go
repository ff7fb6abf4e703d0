package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	// keyColumns are those of a key k of a tenant t.
	keyColumns = `k.key_id, k.label, k.scopes, k.hash, k.created_at, k.expires_at, k.revoked_at, k.last_used_at, t.suspended_at`
	keyTable   = ` FROM api_key k JOIN tenant t ON t.tenant_id=k.tenant_id `

	selectKey  = `SELECT ` + keyColumns + keyTable + `WHERE k.tenant_id=$1 AND k.key_id=$2`
	selectKeys = `SELECT ` + keyColumns + keyTable + `WHERE k.tenant_id=$1 ORDER BY k.created_at DESC, k.key_id DESC`

	selectKeyIDs = `SELECT key_id FROM api_key WHERE tenant_id=$1`

	insertKey = `
		INSERT INTO api_key (tenant_id, key_id, label, scopes, hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`

	updateKey = `UPDATE api_key SET label=$3, scopes=$4, expires_at=$5 WHERE tenant_id=$1 AND key_id=$2`
	revokeKey = `UPDATE api_key SET revoked_at=$3 WHERE tenant_id=$1 AND key_id=$2 AND revoked_at=0`

	// touchKeys is completed by one tuple of (tenant, key, time) for each key.
	touchKeys = `
		UPDATE api_key SET last_used_at=v.column3 FROM (VALUES %s) v
		WHERE api_key.tenant_id=v.column1 AND api_key.key_id=v.column2 AND api_key.last_used_at < v.column3`
	touchKeysTuple = `(CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS BIGINT))`
)

var errKeyHash = errors.New("stored hash of a key has a wrong length")

func scanKey(row dbutil.Scannable) (tenant.Key, error) {
	var k tenant.Key
	var scopes string
	var hash []byte
	var created, expires, revoked, used, suspended int64
	err := row.Scan(&k.ID, &k.Label, &scopes, &hash, &created, &expires, &revoked, &used, &suspended)
	if err != nil {
		return tenant.Key{}, err
	}
	if copy(k.Hash[:], hash) != len(k.Hash) {
		return tenant.Key{}, errKeyHash
	}
	if k.Scopes, err = tenant.ParseScopes(scopes); err != nil {
		return tenant.Key{}, fmt.Errorf("stored scopes of a key: %w", err)
	}
	k.CreatedAt, k.ExpiresAt, k.RevokedAt = fromMillis(created), optionalTime(expires), optionalTime(revoked)
	k.LastUsedAt, k.Suspended = optionalTime(used), suspended > 0
	return k, nil
}

// Key returns the key that an API key names, whatever its state. Returns ErrInvalidKey.
func (s *Store) Key(ctx context.Context, id tenant.KeyID) (tenant.Key, error) {
	owner := id.Tenant()
	if owner == "" {
		return tenant.Key{}, fmt.Errorf("read key: %w", tenant.ErrInvalidKey)
	}
	key, err := row(ctx, &handle{store: s, id: owner}, scanKey, selectKey, string(id))
	if errors.Is(err, sql.ErrNoRows) {
		return tenant.Key{}, fmt.Errorf("read key: %w", tenant.ErrInvalidKey)
	}
	if err != nil {
		return tenant.Key{}, s.wrap(ctx, "read key", err)
	}
	return key, nil
}

// CreateKey makes an API key. Returns ErrNotFound.
func (h *handle) CreateKey(ctx context.Context, n tenant.NewKey) (tenant.Key, tenant.Secret, error) {
	var key tenant.Key
	var secret tenant.Secret
	err := h.store.committer.do(ctx, 1, func(ctx context.Context, b *batch) error {
		var err error
		key, secret, err = b.makeKey(ctx, h.id, &n)
		return err
	})
	if err != nil {
		return tenant.Key{}, tenant.Secret{}, h.store.wrap(ctx, "create key", err)
	}
	return key, secret, nil
}

func (b *batch) makeKey(ctx context.Context, id tenant.ID, n *tenant.NewKey) (tenant.Key, tenant.Secret, error) {
	secret := tenant.NewSecret(id)
	key := tenant.Key{
		ID: secret.ID(), Label: tenant.CleanText(n.Label), Scopes: n.Scopes, CreatedAt: b.now,
		ExpiresAt: optionalTime(optionalMillis(n.ExpiresAt)), Hash: secret.Hash(),
	}
	if key.Scopes == nil {
		key.Scopes = tenant.AllScopes()
	}
	_, err := b.beside(ctx, id, insertKey, string(key.ID), key.Label, key.Scopes.String(), key.Hash[:], b.now.UnixMilli(),
		optionalMillis(key.ExpiresAt))
	return key, secret, err
}

// Keys returns the tenant's keys, newest first. Returns ErrNotFound.
func (h *handle) Keys(ctx context.Context) ([]tenant.Key, error) {
	keys, err := rows(ctx, h, scanKey, selectKeys)
	if err != nil {
		return nil, h.store.wrap(ctx, "list keys", err)
	}
	if len(keys) == 0 {
		if _, err = h.store.Get(ctx, h.id); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// RevokeKey ends a key at once. Returns ErrKeyNotFound.
func (h *handle) RevokeKey(ctx context.Context, id tenant.KeyID) error {
	if _, err := tenant.ParseKeyID(string(id)); err != nil {
		return err
	}
	err := h.store.committer.do(ctx, 1, func(ctx context.Context, b *batch) error {
		key, err := b.key(ctx, h.id, id)
		if err != nil || key.RevokedAt != nil {
			return err
		}
		b.keys = append(b.keys, id)
		_, err = b.beside(ctx, h.id, revokeKey, string(id), b.now.UnixMilli())
		return err
	})
	return h.store.wrap(ctx, "revoke key", err)
}

// key reads a key. Returns ErrKeyNotFound.
func (b *batch) key(ctx context.Context, id tenant.ID, key tenant.KeyID) (tenant.Key, error) {
	found, err := scanKey(b.rowBeside(ctx, id, selectKey, string(key)))
	if errors.Is(err, sql.ErrNoRows) {
		return tenant.Key{}, tenant.ErrKeyNotFound
	}
	return found, err
}

// ended says whether a key is of no use any more.
func (b *batch) ended(revoked, expires *time.Time) bool {
	return revoked != nil || expires != nil && !b.now.Before(*expires)
}

// ChangeKey changes a key that has not ended. Returns ErrKeyNotFound, ErrKeyEnded.
func (h *handle) ChangeKey(ctx context.Context, id tenant.KeyID, c tenant.KeyChange) (tenant.Key, error) {
	var key tenant.Key
	err := h.store.committer.do(ctx, 1, func(ctx context.Context, b *batch) (err error) {
		if key, err = b.key(ctx, h.id, id); err != nil {
			return err
		}
		if b.ended(key.RevokedAt, key.ExpiresAt) {
			return tenant.ErrKeyEnded
		}
		if c.Label != nil {
			key.Label = tenant.CleanText(*c.Label)
		}
		if c.ExpiresAt != nil {
			key.ExpiresAt = optionalTime(millis(*c.ExpiresAt))
		}
		if c.Scopes != nil {
			key.Scopes = c.Scopes
		}
		return b.writeKey(ctx, h.id, &key)
	})
	if err != nil {
		return tenant.Key{}, h.store.wrap(ctx, "change key", err)
	}
	return key, nil
}

func (b *batch) writeKey(ctx context.Context, id tenant.ID, key *tenant.Key) error {
	b.keys = append(b.keys, key.ID)
	_, err := b.exec(ctx, id, updateKey, string(key.ID), key.Label, key.Scopes.String(), optionalMillis(key.ExpiresAt))
	return err
}

// RotateKey makes the successor of a key. Returns ErrKeyNotFound, ErrKeyEnded.
func (h *handle) RotateKey(ctx context.Context, id tenant.KeyID, r tenant.Rotation) (old, made tenant.Key, secret tenant.Secret, err error) {
	err = h.store.committer.do(ctx, 1, func(ctx context.Context, b *batch) (err error) {
		if old, err = b.key(ctx, h.id, id); err != nil {
			return err
		}
		if b.ended(old.RevokedAt, old.ExpiresAt) {
			return tenant.ErrKeyEnded
		}
		made, secret, err = b.makeKey(ctx, h.id, &tenant.NewKey{
			Label: old.Label, Scopes: old.Scopes, ExpiresAt: r.ExpiresAt,
		})
		if err != nil {
			return err
		}
		old.ExpiresAt = new(r.Old(b.now, old.ExpiresAt))
		return b.writeKey(ctx, h.id, &old)
	})
	if err != nil {
		return tenant.Key{}, tenant.Key{}, tenant.Secret{}, h.store.wrap(ctx, "rotate key", err)
	}
	return old, made, secret, nil
}

// KeysChanged receives the id of each key that was revoked, or deleted with its tenant, by this store. It is for one reader.
func (s *Store) KeysChanged() <-chan tenant.KeyID { return s.keys.feed }

// keyFeedSize is how many keys may be revoked while the reader is busy. The reader does nothing but forget them.
const keyFeedSize = 4096

// keyFeed passes on which keys changed.
type keyFeed struct {
	mu     sync.Mutex
	feed   chan tenant.KeyID // closed by close
	closed bool
}

func (f *keyFeed) init() { f.feed = make(chan tenant.KeyID, keyFeedSize) }

// offer passes a key on. It never waits: false says that there was no room.
func (f *keyFeed) offer(id tenant.KeyID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return true
	}
	select {
	case f.feed <- id:
		return true
	default:
		return false
	}
}

func (f *keyFeed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	close(f.feed)
}
