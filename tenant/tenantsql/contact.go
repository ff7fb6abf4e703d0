package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/wafleet/wafleet/tenant"
)

const (
	selectContact = `SELECT name, push_name FROM contact WHERE tenant_id=$1 AND contact_id=$2`

	upsertContact = `
		INSERT INTO contact (tenant_id, contact_id, name, push_name, updated_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (tenant_id, contact_id) DO UPDATE SET
			name=excluded.name, push_name=excluded.push_name, updated_at=excluded.updated_at`

	deleteContact = `DELETE FROM contact WHERE tenant_id=$1 AND contact_id=$2`
)

// contact is what a person is called.
type contact struct {
	name     string // in the account's address book
	pushName string // by themselves
}

// contact returns what is known of a person, by canonical id.
func (b *batch) contact(ctx context.Context, id tenant.ID, contactID tenant.ChatID) (contact, error) {
	key := chatKey{id, contactID}
	if c, ok := b.contacts[key]; ok {
		return c, nil
	}
	var c contact
	err := b.row(ctx, id, selectContact, string(contactID)).Scan(&c.name, &c.pushName)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return c, fmt.Errorf("read contact: %w", err)
	}
	b.contacts[key] = c
	return c, nil
}

func (b *batch) storeContact(ctx context.Context, id tenant.ID, contactID tenant.ChatID, c contact) error {
	if _, err := b.exec(ctx, id, upsertContact, string(contactID), c.name, c.pushName, b.now.UnixMilli()); err != nil {
		return fmt.Errorf("write contact: %w", err)
	}
	b.contacts[chatKey{id, contactID}] = c
	return nil
}

func (b *batch) putContact(ctx context.Context, id tenant.ID, p tenant.PutContact) error {
	if p.ID == "" {
		return fmt.Errorf("%w: no contact id", errMalformed)
	}
	contactID, err := b.resolve(ctx, id, cleanID(p.ID))
	if err != nil {
		return err
	}
	known, err := b.contact(ctx, id, contactID)
	if err != nil {
		return err
	}
	c := contact{
		name:     firstOf(tenant.CleanText(p.Name), known.name),
		pushName: firstOf(tenant.CleanText(p.PushName), known.pushName),
	}
	if c == known {
		return nil
	}
	if err = b.storeContact(ctx, id, contactID, c); err != nil {
		return err
	}
	r, err := b.chat(ctx, id, contactID)
	if err != nil || !r.exists {
		return err
	}
	before := r.look()
	if err = b.nameChat(ctx, r); err != nil || r.look() == before {
		return err
	}
	if err = b.changed(ctx, r); err != nil {
		return err
	}
	return b.announce(ctx, r, before)
}
