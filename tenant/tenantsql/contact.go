package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/wafleet/wafleet/tenant"
)

const (
	selectContact = `SELECT name, push_name, blocked FROM contact WHERE tenant_id=$1 AND contact_id=$2`

	deleteContact = `DELETE FROM contact WHERE tenant_id=$1 AND contact_id=$2`
)

// contact is what a person is called, and whether the account blocks them.
type contact struct {
	name     string // in the account's address book
	pushName string // by themselves
	blocked  bool
}

// contact returns what is known of a person, by canonical id.
func (b *batch) contact(ctx context.Context, id tenant.ID, contactID tenant.ChatID) (contact, error) {
	key := chatKey{id, contactID}
	if c, ok := b.contacts[key]; ok {
		return c, nil
	}
	var c contact
	err := b.rowBeside(ctx, id, selectContact, string(contactID)).Scan(&c.name, &c.pushName, &c.blocked)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return c, fmt.Errorf("read contact: %w", err)
	}
	b.contacts[key] = c
	return c, nil
}

func (b *batch) storeContact(ctx context.Context, id tenant.ID, contactID tenant.ChatID, c contact) error {
	if _, err := b.touch(ctx, id); err != nil {
		return err
	}
	b.write(chatKey{id, contactID}, c)
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
		blocked:  known.blocked,
	}
	if c == known {
		return nil
	}
	if err = b.storeContact(ctx, id, contactID, c); err != nil {
		return err
	}
	if !p.Quiet {
		if err = b.announceContact(ctx, id, contactID, c); err != nil {
			return err
		}
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
