package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

// The operator's keys belong to no tenant: their queries are the few that name none.
const (
	adminKeyColumns = `key_id, label, role, hash, created_at, expires_at, revoked_at, last_used_at`

	selectAdminKey  = `SELECT ` + adminKeyColumns + ` FROM admin_key WHERE key_id=$1`
	selectAdminKeys = `SELECT ` + adminKeyColumns + ` FROM admin_key ORDER BY created_at DESC, key_id DESC`

	countOwners = `
		SELECT COUNT(*) FROM admin_key WHERE role=$1 AND key_id<>$2 AND revoked_at=0 AND (expires_at=0 OR expires_at > $3)`

	insertAdminKey = `
		INSERT INTO admin_key (key_id, label, role, hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)`

	revokeAdminKey = `UPDATE admin_key SET revoked_at=$2 WHERE key_id=$1 AND revoked_at=0`
	expireAdminKey = `UPDATE admin_key SET expires_at=$2 WHERE key_id=$1`

	// touchAdminKeys is completed by one tuple of (key, time) for each key.
	touchAdminKeys = `
		UPDATE admin_key SET last_used_at=v.column2 FROM (VALUES %s) v
		WHERE admin_key.key_id=v.column1 AND admin_key.last_used_at < v.column2`
	touchAdminKeysTuple = `(CAST(? AS TEXT), CAST(? AS BIGINT))`
)

func scanAdminKey(row dbutil.Scannable) (tenant.AdminKey, error) {
	var k tenant.AdminKey
	var hash []byte
	var created, expires, revoked, used int64
	if err := row.Scan(&k.ID, &k.Label, &k.Role, &hash, &created, &expires, &revoked, &used); err != nil {
		return tenant.AdminKey{}, err
	}
	if copy(k.Hash[:], hash) != len(k.Hash) {
		return tenant.AdminKey{}, errKeyHash
	}
	k.CreatedAt, k.ExpiresAt = fromMillis(created), optionalTime(expires)
	k.RevokedAt, k.LastUsedAt = optionalTime(revoked), optionalTime(used)
	return k, nil
}

// CreateAdminKey makes a key of the operator's.
func (s *Store) CreateAdminKey(ctx context.Context, n tenant.NewAdminKey) (tenant.AdminKey, tenant.AdminSecret, error) {
	var key tenant.AdminKey
	var secret tenant.AdminSecret
	err := s.committer.do(ctx, 1, func(ctx context.Context, b *batch) (err error) {
		key, secret, err = b.makeAdminKey(ctx, &n)
		return err
	})
	if err != nil {
		return tenant.AdminKey{}, tenant.AdminSecret{}, s.wrap(ctx, "create admin key", err)
	}
	return key, secret, nil
}

func (b *batch) makeAdminKey(ctx context.Context, n *tenant.NewAdminKey) (tenant.AdminKey, tenant.AdminSecret, error) {
	secret := tenant.NewAdminSecret()
	key := tenant.AdminKey{
		ID: secret.ID(), Label: tenant.CleanText(n.Label), Role: n.Role, CreatedAt: b.now,
		ExpiresAt: optionalTime(optionalMillis(n.ExpiresAt)), Hash: secret.Hash(),
	}
	_, err := b.execBare(ctx, insertAdminKey, string(key.ID), key.Label, string(key.Role), key.Hash[:], b.now.UnixMilli(),
		optionalMillis(key.ExpiresAt))
	return key, secret, err
}

// AdminKey returns a key of the operator's, whatever its state. Returns ErrKeyNotFound.
func (s *Store) AdminKey(ctx context.Context, id tenant.AdminKeyID) (tenant.AdminKey, error) {
	var key tenant.AdminKey
	err := s.read(ctx, func(ctx context.Context, on dbutil.Execable) (err error) {
		key, err = scanAdminKey(on.QueryRowContext(ctx, selectAdminKey, string(id)))
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return tenant.AdminKey{}, fmt.Errorf("read admin key: %w", tenant.ErrKeyNotFound)
	}
	if err != nil {
		return tenant.AdminKey{}, s.wrap(ctx, "read admin key", err)
	}
	return key, nil
}

// AdminKeys returns all keys of the operator's, newest first.
func (s *Store) AdminKeys(ctx context.Context) (keys []tenant.AdminKey, err error) {
	err = s.read(ctx, func(ctx context.Context, on dbutil.Execable) (err error) {
		keys, err = collect(ctx, on, scanAdminKey, selectAdminKeys)
		return err
	})
	return keys, s.wrap(ctx, "list admin keys", err)
}

func (b *batch) adminKey(ctx context.Context, id tenant.AdminKeyID) (tenant.AdminKey, error) {
	key, err := scanAdminKey(b.tx.QueryRowContext(ctx, selectAdminKey, string(id)))
	if errors.Is(err, sql.ErrNoRows) {
		return tenant.AdminKey{}, tenant.ErrKeyNotFound
	}
	return key, err
}

// RevokeAdminKey ends a key of the operator's at once. Returns ErrKeyNotFound, ErrLastOwner.
func (s *Store) RevokeAdminKey(ctx context.Context, id tenant.AdminKeyID, keepOwner bool) error {
	err := s.committer.do(ctx, 1, func(ctx context.Context, b *batch) error {
		key, err := b.adminKey(ctx, id)
		if err != nil || key.RevokedAt != nil {
			return err
		}
		if keepOwner && key.Role == tenant.RoleOwner && !b.ended(nil, key.ExpiresAt) {
			others, err := scanInt(b.tx.QueryRowContext(ctx, countOwners, string(tenant.RoleOwner), string(id), b.now.UnixMilli()))
			if err != nil {
				return fmt.Errorf("count owners: %w", err)
			}
			if others == 0 {
				return tenant.ErrLastOwner
			}
		}
		_, err = b.execBare(ctx, revokeAdminKey, string(id), b.now.UnixMilli())
		return err
	})
	return s.wrap(ctx, "revoke admin key", err)
}

// RotateAdminKey makes the successor of a key of the operator's. Returns ErrKeyNotFound, ErrKeyEnded.
func (s *Store) RotateAdminKey(
	ctx context.Context, id tenant.AdminKeyID, r tenant.Rotation,
) (old, made tenant.AdminKey, secret tenant.AdminSecret, err error) {
	err = s.committer.do(ctx, 1, func(ctx context.Context, b *batch) (err error) {
		if old, err = b.adminKey(ctx, id); err != nil {
			return err
		}
		if b.ended(old.RevokedAt, old.ExpiresAt) {
			return tenant.ErrKeyEnded
		}
		made, secret, err = b.makeAdminKey(ctx, &tenant.NewAdminKey{
			Label: old.Label, Role: old.Role, ExpiresAt: r.ExpiresAt,
		})
		if err != nil {
			return err
		}
		old.ExpiresAt = new(r.Old(b.now, old.ExpiresAt))
		_, err = b.execBare(ctx, expireAdminKey, string(id), old.ExpiresAt.UnixMilli())
		return err
	})
	if err != nil {
		return tenant.AdminKey{}, tenant.AdminKey{}, tenant.AdminSecret{}, s.wrap(ctx, "rotate admin key", err)
	}
	return old, made, secret, nil
}
