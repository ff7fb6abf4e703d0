package tenantsql

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	// contactLID is the person's hidden id: of several the one that was learned last.
	contactLID = `
		COALESCE((SELECT l.lid FROM lid_map l WHERE l.tenant_id=c.tenant_id AND l.phone=c.contact_id
			ORDER BY l.learned_at DESC, l.lid DESC LIMIT 1), '')`

	selectContacts = `
		SELECT c.contact_id, ` + contactLID + `, c.name, c.push_name, c.blocked, c.sort_name
		FROM contact c
		WHERE c.tenant_id=$1 AND (c.sort_name, c.contact_id) > ($2, $3) AND ($4 = '' OR c.folded LIKE $4 ESCAPE '\')
		ORDER BY c.sort_name, c.contact_id
		LIMIT $5`

	selectOneContact = `
		SELECT c.contact_id, ` + contactLID + `, c.name, c.push_name, c.blocked, c.sort_name
		FROM contact c WHERE c.tenant_id=$1 AND c.contact_id=$2`

	selectBlocked = `SELECT contact_id FROM contact WHERE tenant_id=$1 AND blocked ORDER BY contact_id`
)

// maxSortName is how many characters of a name order lists.
const maxSortName = 200

// sortName is what a contact is ordered by.
func sortName(id tenant.ChatID, c contact) string {
	name := []rune(fold(firstOf(c.name, c.pushName, id.Phone(), string(id))))
	return string(name[:min(len(name), maxSortName)])
}

func scanContact(row dbutil.Scannable) (c tenant.Contact, err error) {
	err = row.Scan(&c.ID, &c.LID, &c.Name, &c.PushName, &c.IsBlocked, &c.SortName)
	c.Phone = c.ID.Phone()
	if c.ID.IsHidden() {
		c.LID = c.ID
	}
	return c, err
}

// Contacts returns contacts in the order of their names.
func (h *handle) Contacts(ctx context.Context, q tenant.ContactQuery) (tenant.Contacts, error) {
	var from tenant.ChatID
	var name string
	if q.Cursor != "" {
		var err error
		if from, name, err = tenant.ParseContactCursor(q.Cursor); err != nil {
			return tenant.Contacts{}, err
		}
	}
	if q.Limit <= 0 {
		return tenant.Contacts{}, nil
	}
	found, err := rows(ctx, h, scanContact, selectContacts, name, string(from), pattern(q.Search), q.Limit+1)
	if err != nil {
		return tenant.Contacts{}, h.store.wrap(ctx, "list contacts", err)
	}
	page := tenant.Contacts{Contacts: found}
	if len(found) > q.Limit {
		page.Contacts = found[:q.Limit]
		page.Next = found[q.Limit-1].Cursor()
	}
	return page, nil
}

// Contact returns what is known of a person. Returns ErrContactNotFound.
func (h *handle) Contact(ctx context.Context, id tenant.ChatID) (tenant.Contact, error) {
	id, err := h.Resolve(ctx, id)
	if err != nil {
		return tenant.Contact{}, err
	}
	c, err := row(ctx, h, scanContact, selectOneContact, string(id))
	if err == nil {
		return c, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return tenant.Contact{}, h.store.wrap(ctx, "read contact", err)
	}
	chat, err := h.Chat(ctx, id) // somebody to whom we wrote, and who never answered
	if errors.Is(err, tenant.ErrChatNotFound) || err == nil && chat.Type != tenant.ChatDirect {
		return tenant.Contact{}, fmt.Errorf("read contact: %w", tenant.ErrContactNotFound)
	}
	if err != nil {
		return tenant.Contact{}, err
	}
	return tenant.Contact{ID: chat.ID, LID: tenant.ChatID(chat.LID), Phone: chat.Phone}, nil
}

// Blocked returns the persons whom the account blocks.
func (h *handle) Blocked(ctx context.Context) ([]tenant.ChatID, error) {
	found, err := rows(ctx, h, scanChatID, selectBlocked)
	if err != nil {
		return nil, h.store.wrap(ctx, "list blocked contacts", err)
	}
	return found, nil
}

func scanChatID(row dbutil.Scannable) (id tenant.ChatID, err error) {
	err = row.Scan(&id)
	return id, err
}

// announceContact journals what is known of a person now.
func (b *batch) announceContact(ctx context.Context, id tenant.ID, contactID tenant.ChatID, c contact) error {
	shown := tenant.Contact{
		ID: contactID, Phone: contactID.Phone(), Name: c.name, PushName: c.pushName, IsBlocked: c.blocked,
	}
	if contactID.IsHidden() {
		shown.LID = contactID
	} else {
		lid, err := b.lidOf(ctx, id, contactID)
		if err != nil {
			return err
		}
		shown.LID = lid
	}
	return b.emit(ctx, id, tenant.EventContactUpdated, &shown)
}

// applyToPeople makes the changes about people that apply leaves; what is none of them is unknown.
func (b *batch) applyToPeople(ctx context.Context, id tenant.ID, change tenant.Change) error {
	switch c := change.(type) {
	case tenant.SetBlocked:
		if err := b.setBlocked(ctx, id, c); err != nil {
			return fmt.Errorf("set blocked: %w", err)
		}
	case tenant.SetBlocklist:
		if err := b.setBlocklist(ctx, id, c); err != nil {
			return fmt.Errorf("set block list: %w", err)
		}
	default:
		return fmt.Errorf("%w: unknown change %T", errMalformed, change)
	}
	return nil
}

func (b *batch) setBlocked(ctx context.Context, id tenant.ID, s tenant.SetBlocked) error {
	contactID := cleanID(s.ID)
	if contactID == "" || contactID.IsGroup() {
		return fmt.Errorf("%w: no contact id", errMalformed)
	}
	contactID, err := b.resolve(ctx, id, contactID)
	if err != nil {
		return err
	}
	c, err := b.contact(ctx, id, contactID)
	if err != nil || c.blocked == s.Blocked {
		return err
	}
	c.blocked = s.Blocked
	delete(b.blocked, id)
	if err = b.storeContact(ctx, id, contactID, c); err != nil {
		return err
	}
	return b.announceContact(ctx, id, contactID, c)
}

func (b *batch) setBlocklist(ctx context.Context, id tenant.ID, s tenant.SetBlocklist) error {
	next := make(map[tenant.ChatID]bool, len(s.IDs))
	for _, each := range s.IDs {
		contactID, err := b.resolve(ctx, id, cleanID(each))
		if err != nil {
			return err
		}
		next[contactID] = true
	}
	before, known := b.blocked[id]
	if !known {
		var err error
		if before, err = ask(ctx, b, scanChatID, selectBlocked, string(id)); err != nil {
			return fmt.Errorf("read blocked contacts: %w", err)
		}
	}
	delete(b.blocked, id)
	for _, contactID := range before {
		if !next[contactID] {
			next[contactID] = false
		}
	}
	for _, contactID := range slices.SortedFunc(maps.Keys(next), cmp.Compare[tenant.ChatID]) {
		if err := b.setBlocked(ctx, id, tenant.SetBlocked{ID: contactID, Blocked: next[contactID]}); err != nil {
			return err
		}
	}
	return nil
}
