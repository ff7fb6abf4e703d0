package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	linkColumns = `link_id, hash, phone, return_url, created_at, expires_at, used_at, revoked_at`

	// selectPairingLinks says of the tenant that it is not being deleted: nobody else asks before a stranger is answered.
	selectPairingLinks = `
		SELECT ` + linkColumns + ` FROM pairing_link WHERE tenant_id=$1
		AND EXISTS (SELECT 1 FROM tenant t WHERE t.tenant_id=$1 AND t.deleted_at=0)
		ORDER BY created_at DESC, link_id DESC`
	selectPairingLink = `
		SELECT ` + linkColumns + ` FROM pairing_link WHERE tenant_id=$1 AND link_id=$2
		AND EXISTS (SELECT 1 FROM tenant t WHERE t.tenant_id=$1 AND t.deleted_at=0)`

	insertPairingLink = `
		INSERT INTO pairing_link (tenant_id, link_id, hash, phone, return_url, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`

	usePairingLink    = `UPDATE pairing_link SET used_at=$3 WHERE tenant_id=$1 AND link_id=$2 AND used_at=0`
	unusePairingLink  = `UPDATE pairing_link SET used_at=0 WHERE tenant_id=$1 AND link_id=$2 AND used_at>0`
	revokePairingLink = `
		UPDATE pairing_link SET revoked_at=$3 WHERE tenant_id=$1 AND link_id=$2 AND used_at=0 AND revoked_at=0`
	deletePairingLink  = `DELETE FROM pairing_link WHERE tenant_id=$1 AND link_id=$2`
	deletePairingLinks = `DELETE FROM pairing_link WHERE tenant_id=$1`
)

var errLinkHash = errors.New("stored hash of a pairing link has a wrong length")

func scanPairingLink(row dbutil.Scannable) (tenant.PairingLink, error) {
	var l tenant.PairingLink
	var hash []byte
	var created, expires, used, revoked int64
	if err := row.Scan(&l.ID, &hash, &l.Phone, &l.ReturnURL, &created, &expires, &used, &revoked); err != nil {
		return tenant.PairingLink{}, err
	}
	if copy(l.Hash[:], hash) != len(l.Hash) {
		return tenant.PairingLink{}, errLinkHash
	}
	l.CreatedAt, l.ExpiresAt = fromMillis(created), fromMillis(expires)
	l.UsedAt, l.RevokedAt = optionalTime(used), optionalTime(revoked)
	return l, nil
}

// CreatePairingLink makes a pairing link. Returns ErrNotFound, ErrTooManyPairingLinks.
func (h *handle) CreatePairingLink(ctx context.Context, n tenant.NewPairingLink) (tenant.PairingLink, tenant.PairingToken, error) {
	var link tenant.PairingLink
	var token tenant.PairingToken
	err := h.store.committer.do(ctx, 1, func(ctx context.Context, b *batch) error {
		if _, err := b.head(ctx, h.id); err != nil {
			return err
		}
		if err := b.sweepPairingLinks(ctx, h.id); err != nil {
			return err
		}
		token = tenant.NewPairingToken(h.id)
		link = tenant.PairingLink{
			ID: token.ID(), Phone: tenant.CleanText(n.Phone), ReturnURL: tenant.CleanText(n.ReturnURL),
			CreatedAt: b.now, ExpiresAt: fromMillis(n.ExpiresAt.UnixMilli()), Hash: token.Hash(),
		}
		_, err := b.exec(ctx, h.id, insertPairingLink, string(link.ID), link.Hash[:], link.Phone, link.ReturnURL,
			b.now.UnixMilli(), link.ExpiresAt.UnixMilli())
		return err
	})
	if err != nil {
		return tenant.PairingLink{}, tenant.PairingToken{}, h.store.wrap(ctx, "create pairing link", err)
	}
	return link, token, nil
}

// sweepPairingLinks makes room for another link: the oldest of those that cannot be used any more go. Returns
// ErrTooManyPairingLinks, before anything is written.
func (b *batch) sweepPairingLinks(ctx context.Context, id tenant.ID) error {
	links, err := collect(ctx, b.tx, scanPairingLink, selectPairingLinks, string(id))
	if err != nil {
		return fmt.Errorf("read pairing links: %w", err)
	}
	ended := slices.DeleteFunc(slices.Clone(links), func(l tenant.PairingLink) bool { return l.State(b.now) == tenant.LinkActive })
	if len(links)-len(ended) >= tenant.MaxPairingLinks {
		return tenant.ErrTooManyPairingLinks
	}
	for _, l := range ended[min(len(ended), tenant.MaxPairingLinks):] {
		if _, err = b.exec(ctx, id, deletePairingLink, string(l.ID)); err != nil {
			return fmt.Errorf("delete pairing link: %w", err)
		}
	}
	return nil
}

// PairingLinks returns the tenant's links, newest first. Returns ErrNotFound.
func (h *handle) PairingLinks(ctx context.Context) ([]tenant.PairingLink, error) {
	links, err := rows(ctx, h, scanPairingLink, selectPairingLinks)
	if err != nil {
		return nil, h.store.wrap(ctx, "list pairing links", err)
	}
	if len(links) == 0 {
		if _, err = h.store.Get(ctx, h.id); err != nil {
			return nil, err
		}
	}
	return links, nil
}

// PairingLink returns a link, whatever its state. Returns ErrPairingLinkNotFound.
func (h *handle) PairingLink(ctx context.Context, id tenant.PairingLinkID) (tenant.PairingLink, error) {
	link, err := row(ctx, h, scanPairingLink, selectPairingLink, string(id))
	if errors.Is(err, sql.ErrNoRows) {
		return tenant.PairingLink{}, fmt.Errorf("read pairing link: %w", tenant.ErrPairingLinkNotFound)
	}
	if err != nil {
		return tenant.PairingLink{}, h.store.wrap(ctx, "read pairing link", err)
	}
	return link, nil
}

// RevokePairingLink ends a link. Returns ErrPairingLinkNotFound.
func (h *handle) RevokePairingLink(ctx context.Context, id tenant.PairingLinkID) error {
	err := h.store.committer.do(ctx, 1, func(ctx context.Context, b *batch) error {
		link, err := scanPairingLink(b.row(ctx, h.id, selectPairingLink, string(id)))
		if errors.Is(err, sql.ErrNoRows) {
			return tenant.ErrPairingLinkNotFound
		}
		if err != nil || link.UsedAt != nil || link.RevokedAt != nil {
			return err
		}
		_, err = b.exec(ctx, h.id, revokePairingLink, string(id), b.now.UnixMilli())
		return err
	})
	return h.store.wrap(ctx, "revoke pairing link", err)
}

func (b *batch) usePairingLinks(ctx context.Context, id tenant.ID, u tenant.UsePairingLinks) error {
	for _, link := range u.IDs {
		var err error
		if u.Undo {
			_, err = b.exec(ctx, id, unusePairingLink, string(link))
		} else {
			_, err = b.exec(ctx, id, usePairingLink, string(link), b.now.UnixMilli())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
