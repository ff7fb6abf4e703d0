package tenantsql

import (
	"context"
	"errors"
	"maps"
	"slices"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

// Before a batch applies its changes it looks at what they will ask for, and asks once for all of them: a statement for each kind
// of thing in place of several for each change. What this overlooks is asked for singly, so that looking ahead is never more than a
// saving.
//
// The statements below are completed by one tuple for each key.
const (
	selectHeadsOf = `SELECT tenant_id, seq, ord, version, early, stored FROM head WHERE tenant_id IN (VALUES %s)`

	selectPhonesOf = `SELECT tenant_id, lid, phone FROM lid_map WHERE (tenant_id, lid) IN (VALUES %s)`

	// selectLIDsOf yields the one that was learned last at the end, as selectLID would choose.
	selectLIDsOf = `
		SELECT tenant_id, phone, lid FROM lid_map WHERE (tenant_id, phone) IN (VALUES %s) ORDER BY learned_at, lid`

	selectChatsOf = `
		SELECT ` + chatColumns + `, c.tenant_id FROM chat c ` + joinGroup + ` WHERE (c.tenant_id, c.chat_id) IN (VALUES %s)`

	selectContactsOf = `
		SELECT tenant_id, contact_id, name, push_name, blocked FROM contact WHERE (tenant_id, contact_id) IN (VALUES %s)`

	selectStoredOf = `
		SELECT tenant_id, chat_id, message_id, sender_id FROM message
		WHERE (tenant_id, chat_id, message_id, sender_id) IN (VALUES %s)`

	selectOwnOf = `
		SELECT tenant_id, chat_id, message_id, sender_id, status, sent_at FROM message
		WHERE (tenant_id, chat_id, message_id) IN (VALUES %s) AND from_me`

	selectWaitingOf = `SELECT DISTINCT tenant_id, message_id FROM early WHERE (tenant_id, message_id) IN (VALUES %s)`

	selectSessionsOf = `
		SELECT t.tenant_id, ` + sessionColumns + `
		FROM tenant t LEFT JOIN session s ON s.tenant_id=t.tenant_id
		WHERE t.tenant_id IN (VALUES %s) AND t.deleted_at=0`

	selectBlockedOf = `SELECT tenant_id, contact_id FROM contact WHERE tenant_id IN (VALUES %s) AND blocked ORDER BY contact_id`

	// selectTracesOf yields the LIDs under which something may be stored that linkIDs would have to move, chats aside.
	selectTracesOf = `
		SELECT v.column1, v.column2 FROM (VALUES %s) v
		WHERE EXISTS (SELECT 1 FROM contact c WHERE c.tenant_id=v.column1 AND c.contact_id=v.column2)
			OR EXISTS (SELECT 1 FROM message m WHERE m.tenant_id=v.column1 AND m.sender_id=v.column2 AND m.sender_hidden)
			OR EXISTS (SELECT 1 FROM message m WHERE m.tenant_id=v.column1 AND m.reactions_hidden)
			OR EXISTS (SELECT 1 FROM message m WHERE m.tenant_id=v.column1 AND m.poll_hidden)
			OR EXISTS (SELECT 1 FROM participant p WHERE p.tenant_id=v.column1 AND p.person_id=v.column2)
			OR EXISTS (SELECT 1 FROM group_info g WHERE g.tenant_id=v.column1 AND g.owner_id=v.column2)`
)

// set is a set of keys.
type set[K comparable] map[K]struct{}

func (s set[K]) add(key K)      { s[key] = struct{}{} }
func (s set[K]) has(key K) bool { _, ok := s[key]; return ok }

// rowKey names a message of a tenant.
type rowKey struct {
	chatKey

	message tenant.MessageID
	sender  tenant.ChatID // empty where all of the account's own are meant
}

// idKey names the messages of a tenant that have one id.
type idKey struct {
	tenant  tenant.ID
	message tenant.MessageID
}

// ownRow is what a status needs to know of a message of ours.
type ownRow struct {
	sender tenant.ChatID
	status tenant.Status
	sentAt int64
}

// ahead is what the changes of a batch will ask for.
type ahead struct {
	b *batch
	// links are the pairs that the changes themselves bring, in part maybe before they are asked for.
	links map[chatKey]tenant.ChatID

	heads           set[tenant.ID]
	hidden          set[chatKey]
	chats, contacts set[chatKey]
	stored, own     set[rowKey]
	ids             set[idKey]

	sessions, blocked set[tenant.ID]
}

// lookAhead reads what the jobs' changes will ask for.
func (b *batch) lookAhead(ctx context.Context, jobs []*job) error {
	a := &ahead{
		b: b, links: map[chatKey]tenant.ChatID{}, heads: set[tenant.ID]{}, hidden: set[chatKey]{}, chats: set[chatKey]{},
		contacts: set[chatKey]{}, stored: set[rowKey]{}, own: set[rowKey]{}, ids: set[idKey]{},
		sessions: set[tenant.ID]{}, blocked: set[tenant.ID]{},
	}
	for _, j := range jobs {
		for _, change := range j.changes {
			a.meet(j.tenant, change)
		}
	}
	if len(a.heads) == 0 {
		return nil
	}
	if err := b.tx.together(ctx, slices.Concat(a.headLookUps(), a.phoneLookUps(), a.sessionLookUps(), a.blockedLookUps())); err != nil {
		return err
	}
	for key := range a.hidden {
		if _, known := b.phones[key]; !known {
			b.phones[key] = key.id
		}
	}
	for _, j := range jobs {
		for _, change := range j.changes {
			a.want(j.tenant, change)
		}
	}
	waiting, err := a.waitingLookUps(ctx)
	if err != nil {
		return err
	}
	err = b.tx.together(ctx, slices.Concat(a.traceLookUps(), a.chatLookUps(), a.messageLookUps(), a.ownLookUps(), waiting))
	if err != nil {
		return err
	}
	a.complete()
	return b.tx.together(ctx, a.peopleLookUps())
}

// meet notes whose ids must be resolved before anything can be looked up.
func (a *ahead) meet(id tenant.ID, change tenant.Change) {
	hidden := func(ids ...tenant.ChatID) {
		for _, one := range ids {
			if one.IsHidden() {
				a.hidden.add(chatKey{id, cleanID(one)})
			}
		}
	}
	switch c := change.(type) {
	case tenant.PutMessage:
		hidden(c.Message.ChatID, c.Message.SenderID)
		hidden(c.Message.Mentions...)
	case tenant.SetStatus:
		hidden(c.ChatID)
	case tenant.PutContact:
		hidden(c.ID)
	case tenant.LinkIDs:
		hidden(c.LID)
		a.links[chatKey{id, cleanID(c.LID)}] = cleanID(c.Phone)
	case tenant.SetSession:
		a.sessions.add(id)
	case tenant.SetBlocklist:
		hidden(c.IDs...)
		a.blocked.add(id)
	default:
		return
	}
	a.heads.add(id)
}

// canonical is the id under which a change will look something up, most likely.
func (a *ahead) canonical(id tenant.ID, chatID tenant.ChatID) tenant.ChatID {
	chatID = cleanID(chatID)
	if !chatID.IsHidden() {
		return chatID
	}
	if phone, ok := a.links[chatKey{id, chatID}]; ok {
		return phone
	}
	if phone, ok := a.b.phones[chatKey{id, chatID}]; ok {
		return phone
	}
	return chatID
}

// want notes what a change will look up.
func (a *ahead) want(id tenant.ID, change tenant.Change) {
	switch c := change.(type) {
	case tenant.PutMessage:
		chat := chatKey{id, a.canonical(id, c.Message.ChatID)}
		message := tenant.MessageID(tenant.CleanText(string(c.Message.ID)))
		a.chats.add(chat)
		a.stored.add(rowKey{chat, message, a.canonical(id, c.Message.SenderID)})
		a.ids.add(idKey{id, message})
	case tenant.SetStatus:
		chat := chatKey{id, a.canonical(id, c.ChatID)}
		for _, message := range c.MessageIDs {
			a.own.add(rowKey{chat, tenant.MessageID(tenant.CleanText(string(message))), ""})
		}
	case tenant.PutContact:
		a.contacts.add(chatKey{id, a.canonical(id, c.ID)})
	case tenant.LinkIDs:
		a.chats.add(chatKey{id, cleanID(c.LID)})
		a.chats.add(chatKey{id, cleanID(c.Phone)})
	}
}

func (a *ahead) headLookUps() []statement {
	b := a.b
	unread := slices.DeleteFunc(slices.Collect(maps.Keys(a.heads)), func(id tenant.ID) bool { return b.heads[id] != nil || b.known.Contains(id) })
	return lookUps("read heads", selectHeadsOf, unread, tenantValue,
		func(row dbutil.Scannable) error {
			var id tenant.ID
			h := &head{}
			err := row.Scan(&id, &h.seq, &h.ord, &h.version, &h.early, &h.stored)
			b.heads[id] = h
			return err
		})
}

func (a *ahead) phoneLookUps() []statement {
	return lookUps("read pairs", selectPhonesOf, slices.Collect(maps.Keys(a.hidden)), chatKey.values,
		func(row dbutil.Scannable) error {
			var key chatKey
			var phone tenant.ChatID
			err := row.Scan(&key.tenant, &key.id, &phone)
			a.b.phones[key] = phone
			return err
		})
}

func (a *ahead) sessionLookUps() []statement {
	return lookUps("read sessions", selectSessionsOf, slices.Collect(maps.Keys(a.sessions)), tenantValue, func(row dbutil.Scannable) error {
		found, err := scanSession(row)
		a.b.sessions[found.ID] = found.Session
		return err
	})
}

func (a *ahead) blockedLookUps() []statement {
	for id := range a.blocked {
		a.b.blocked[id] = nil
	}
	return lookUps("read blocked contacts", selectBlockedOf, slices.Collect(maps.Keys(a.blocked)), tenantValue, func(row dbutil.Scannable) error {
		var key chatKey
		err := row.Scan(&key.tenant, &key.id)
		a.b.blocked[key.tenant] = append(a.b.blocked[key.tenant], key.id)
		return err
	})
}

// traceLookUps find out for which of the pairs that are news there is nothing to be moved.
func (a *ahead) traceLookUps() []statement {
	var news []chatKey
	for lid, phone := range a.links {
		if a.b.phones[lid] != phone {
			news = append(news, lid)
			a.b.traceless.add(lid)
		}
	}
	return lookUps("read traces of lids", selectTracesOf, news, chatKey.values, func(row dbutil.Scannable) error {
		var key chatKey
		err := row.Scan(&key.tenant, &key.id)
		delete(a.b.traceless, key)
		return err
	})
}

func (a *ahead) chatLookUps() []statement {
	return lookUps("read chats", selectChatsOf, slices.Collect(maps.Keys(a.chats)), chatKey.values,
		func(row dbutil.Scannable) error {
			r := &chatRow{}
			err := r.scan(row, &r.tenant)
			a.b.chats[chatKey{r.tenant, r.chat.ID}] = r
			return err
		})
}

func (a *ahead) messageLookUps() []statement {
	values := func(key rowKey) []any { return append(key.values(), string(key.message), string(key.sender)) }
	return lookUps("read messages", selectStoredOf, slices.Collect(maps.Keys(a.stored)), values, func(row dbutil.Scannable) error {
		var key rowKey
		err := row.Scan(&key.tenant, &key.id, &key.message, &key.sender)
		a.b.stored[key] = true
		return err
	})
}

func (a *ahead) ownLookUps() []statement {
	values := func(key rowKey) []any { return append(key.values(), string(key.message)) }
	return lookUps("read own messages", selectOwnOf, slices.Collect(maps.Keys(a.own)), values, func(row dbutil.Scannable) error {
		var key rowKey
		var own ownRow
		err := row.Scan(&key.tenant, &key.id, &key.message, &own.sender, &own.status, &own.sentAt)
		a.b.own[key] = append(a.b.own[key], own)
		return err
	})
}

// waitingLookUps find out for which messages nothing waits.
func (a *ahead) waitingLookUps(ctx context.Context) ([]statement, error) {
	b := a.b
	var asked []idKey
	for key := range a.ids {
		switch h, err := b.head(ctx, key.tenant); {
		case errors.Is(err, tenant.ErrNotFound):
		case err != nil:
			return nil, err
		case h.early > 0:
			asked = append(asked, key)
			b.quiet.add(key)
		}
	}
	values := func(key idKey) []any { return []any{string(key.tenant), string(key.message)} }
	return lookUps("read what waits", selectWaitingOf, asked, values, func(row dbutil.Scannable) error {
		var key idKey
		err := row.Scan(&key.tenant, &key.message)
		delete(b.quiet, key)
		return err
	}), nil
}

// complete notes what was looked up and is not there.
func (a *ahead) complete() {
	b := a.b
	for key := range a.chats {
		if b.chats[key] == nil {
			b.chats[key] = &chatRow{tenant: key.tenant, chat: tenant.Chat{ID: key.id}}
		}
	}
	for key := range a.stored {
		if _, found := b.stored[key]; !found {
			b.stored[key] = false
		}
	}
	for key := range a.own {
		if _, found := b.own[key]; !found {
			b.own[key] = nil
		}
	}
}

// peopleLookUps read what people are called whose names are told, or whose chats are new, and their LIDs, which may be shown then.
func (a *ahead) peopleLookUps() []statement {
	b := a.b
	for key := range a.chats {
		if !b.chats[key].exists && !key.id.IsGroup() {
			a.contacts.add(key)
		}
	}
	var asked []chatKey
	for key := range a.contacts {
		b.contacts[key] = contact{}
		if key.id.Phone() != "" {
			b.lids[key] = ""
			asked = append(asked, key)
		}
	}
	return slices.Concat(
		lookUps("read contacts", selectContactsOf, slices.Collect(maps.Keys(a.contacts)), chatKey.values,
			func(row dbutil.Scannable) error {
				var key chatKey
				var c contact
				err := row.Scan(&key.tenant, &key.id, &c.name, &c.pushName, &c.blocked)
				b.contacts[key] = c
				return err
			}),
		lookUps("read lids", selectLIDsOf, asked, chatKey.values, func(row dbutil.Scannable) error {
			var key chatKey
			var lid tenant.ChatID
			err := row.Scan(&key.tenant, &key.id, &lid)
			b.lids[key] = lid
			return err
		}),
	)
}

func tenantValue(id tenant.ID) []any { return []any{string(id)} }

func (k chatKey) values() []any { return []any{string(k.tenant), string(k.id)} }
