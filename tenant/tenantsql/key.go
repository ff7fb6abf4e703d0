package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	keyColumns = `key_id, label, hash, created_at, expires_at, revoked_at`

	selectKey  = `SELECT ` + keyColumns + ` FROM api_key WHERE tenant_id=$1 AND key_id=$2`
	selectKeys = `SELECT ` + keyColumns + ` FROM api_key WHERE tenant_id=$1 ORDER BY created_at DESC, key_id DESC`

	selectKeyIDs = `SELECT key_id FROM api_key WHERE tenant_id=$1`

	insertKey = `
		INSERT INTO api_key (tenant_id, key_id, label, hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)`

	revokeKey = `UPDATE api_key SET revoked_at=$3 WHERE tenant_id=$1 AND key_id=$2 AND revoked_at=0`
)

var errKeyHash = errors.New("stored hash of an api key has a wrong length")

func scanKey(row dbutil.Scannable) (tenant.Key, error) {
	var k tenant.Key
	var hash []byte
	var created, expires, revoked int64
	if err := row.Scan(&k.ID, &k.Label, &hash, &created, &expires, &revoked); err != nil {
		return tenant.Key{}, err
	}
	if copy(k.Hash[:], hash) != len(k.Hash) {
		return tenant.Key{}, errKeyHash
	}
	k.CreatedAt, k.ExpiresAt, k.RevokedAt = fromMillis(created), optionalTime(expires), optionalTime(revoked)
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
		secret = tenant.NewSecret(h.id)
		key = tenant.Key{
			ID: secret.ID(), Label: tenant.CleanText(n.Label), CreatedAt: b.now,
			ExpiresAt: optionalTime(optionalMillis(n.ExpiresAt)), Hash: secret.Hash(),
		}
		_, err := b.exec(ctx, h.id, insertKey,
			string(key.ID), key.Label, key.Hash[:], b.now.UnixMilli(), optionalMillis(key.ExpiresAt))
		return err
	})
	if err != nil {
		return tenant.Key{}, tenant.Secret{}, h.store.wrap(ctx, "create key", err)
	}
	return key, secret, nil
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
		key, err := scanKey(b.row(ctx, h.id, selectKey, string(id)))
		if errors.Is(err, sql.ErrNoRows) {
			return tenant.ErrKeyNotFound
		}
		if err != nil || key.RevokedAt != nil {
			return err
		}
		b.keys = append(b.keys, id)
		_, err = b.exec(ctx, h.id, revokeKey, string(id), b.now.UnixMilli())
		return err
	})
	return h.store.wrap(ctx, "revoke key", err)
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
