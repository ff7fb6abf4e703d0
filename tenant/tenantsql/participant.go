package tenantsql

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	selectParticipants = `
		SELECT p.person_id, p.lid, p.role, COALESCE(NULLIF(c.name, ''), NULLIF(c.push_name, ''), '')
		FROM participant p
		LEFT JOIN contact c ON c.tenant_id=p.tenant_id AND c.contact_id=p.person_id
		WHERE p.tenant_id=$1 AND p.chat_id=$2`

	upsertParticipants = `
		INSERT INTO participant (tenant_id, chat_id, person_id, lid, role) VALUES %s
		ON CONFLICT (tenant_id, chat_id, person_id) DO UPDATE SET lid=excluded.lid, role=excluded.role`
	upsertParticipantsTuple = `(?, ?, ?, ?, ?)`

	deleteParticipant = `DELETE FROM participant WHERE tenant_id=$1 AND chat_id=$2 AND person_id=$3`

	// selectHiddenMember yields the groups that a person is in, with the role under each of two ids.
	selectHiddenMember = `
		SELECT a.chat_id, a.role, COALESCE(b.role, '')
		FROM participant a
		LEFT JOIN participant b ON b.tenant_id=a.tenant_id AND b.chat_id=a.chat_id AND b.person_id=$3
		WHERE a.tenant_id=$1 AND a.person_id=$2`

	updateMember = `
		UPDATE participant SET person_id=$4, lid=$3 WHERE tenant_id=$1 AND chat_id=$2 AND person_id=$3`

	updateGroupOwner = `UPDATE group_info SET owner_id=$3 WHERE tenant_id=$1 AND owner_id=$2`
)

func scanParticipant(row dbutil.Scannable) (p tenant.Participant, err error) {
	err = row.Scan(&p.ID, &p.LID, &p.Role, &p.Name)
	p.Phone = p.ID.Phone()
	return p, err
}

// Participants returns the members of a group, admins first.
func (h *handle) Participants(ctx context.Context, id tenant.ChatID) ([]tenant.Participant, error) {
	found, err := rows(ctx, h, scanParticipant, selectParticipants, string(cleanID(id)))
	if err != nil {
		return nil, h.store.wrap(ctx, "list participants", err)
	}
	slices.SortFunc(found, byRole)
	return found, nil
}

// byRole orders participants as they are listed.
func byRole(a, b tenant.Participant) int {
	return cmp.Or(cmp.Compare(rank(b.Role), rank(a.Role)), cmp.Compare(a.ID, b.ID))
}

func rank(r tenant.Role) int {
	switch r {
	case tenant.RoleSuperAdmin:
		return 3
	case tenant.RoleAdmin:
		return 2
	case tenant.RoleMember:
		return 1
	case tenant.RoleNone:
	}
	return 0
}

// roster is the participants of a group inside a batch, by canonical id.
type roster map[tenant.ChatID]tenant.Participant

func (b *batch) roster(ctx context.Context, id tenant.ID, chatID tenant.ChatID) (roster, error) {
	found, err := ask(ctx, b, scanParticipant, selectParticipants, string(id), string(chatID))
	if err != nil {
		return nil, fmt.Errorf("read participants: %w", err)
	}
	all := make(roster, len(found))
	for _, p := range found {
		all[p.ID] = p
	}
	return all, nil
}

// movement is what is different between two rosters, by what happened.
type movement map[string][]tenant.Participant

func (r roster) moved(next roster) movement {
	m := movement{}
	for id, p := range next {
		old, known := r[id]
		switch {
		case !known:
			m[tenant.ParticipantsAdded] = append(m[tenant.ParticipantsAdded], p)
		case rank(p.Role) > 1 && rank(old.Role) <= 1:
			m[tenant.ParticipantsPromoted] = append(m[tenant.ParticipantsPromoted], p)
		case rank(p.Role) <= 1 && rank(old.Role) > 1:
			m[tenant.ParticipantsDemoted] = append(m[tenant.ParticipantsDemoted], p)
		}
	}
	for id, p := range r {
		if _, stays := next[id]; !stays {
			m[tenant.ParticipantsRemoved] = append(m[tenant.ParticipantsRemoved], p)
		}
	}
	for _, some := range m {
		slices.SortFunc(some, byRole)
	}
	return m
}

// storeRoster writes what is different.
func (b *batch) storeRoster(ctx context.Context, id tenant.ID, chatID tenant.ChatID, old, next roster) error {
	var changed []tenant.Participant
	for _, person := range slices.Sorted(maps.Keys(next)) {
		if p, was := next[person], old[person]; p.Role != was.Role || p.LID != was.LID {
			changed = append(changed, p)
		}
	}
	for _, person := range slices.Sorted(maps.Keys(old)) {
		if _, stays := next[person]; stays {
			continue
		}
		if _, err := b.exec(ctx, id, deleteParticipant, string(chatID), string(person)); err != nil {
			return fmt.Errorf("delete participant: %w", err)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	if _, err := b.touch(ctx, id); err != nil {
		return err
	}
	return b.writeParticipants(ctx, id, chatID, changed)
}

func (b *batch) writeParticipants(ctx context.Context, id tenant.ID, chatID tenant.ChatID, all []tenant.Participant) error {
	return b.tx.together(ctx, manyWrites("write participants", upsertParticipants, upsertParticipantsTuple, all, func(p tenant.Participant) []any {
		return []any{string(id), string(chatID), string(p.ID), p.LID, string(p.Role)}
	}))
}

// enrol makes a participant of an id, as far as the person is known.
func (b *batch) enrol(ctx context.Context, id tenant.ID, raw tenant.ChatID, role tenant.Role) (tenant.Participant, error) {
	raw = cleanID(raw)
	person, err := b.resolve(ctx, id, raw)
	if err != nil {
		return tenant.Participant{}, err
	}
	p := tenant.Participant{ID: person, Phone: person.Phone(), Role: role}
	switch {
	case raw.IsHidden():
		p.LID = string(raw)
	case person.Phone() != "":
		lid, err := b.lidOf(ctx, id, person)
		if err != nil {
			return p, err
		}
		p.LID = string(lid)
	}
	c, err := b.contact(ctx, id, person)
	p.Name = firstOf(c.name, c.pushName)
	return p, err
}

// linkParticipants gives the phone number to whoever is in groups under the LID.
func (b *batch) linkParticipants(ctx context.Context, id tenant.ID, lid, phone tenant.ChatID) error {
	type membership struct {
		chat        string
		role, other tenant.Role
	}
	found, err := ask(ctx, b, func(row dbutil.Scannable) (m membership, err error) {
		err = row.Scan(&m.chat, &m.role, &m.other)
		return m, err
	}, selectHiddenMember, string(id), string(lid), string(phone))
	if err != nil {
		return fmt.Errorf("find groups of lid: %w", err)
	}
	for _, m := range found {
		if m.other != tenant.RoleNone {
			if err = b.mergeMembers(ctx, id, tenant.ChatID(m.chat), lid, phone, m.role, m.other); err != nil {
				return err
			}
			continue
		}
		if _, err = b.exec(ctx, id, updateMember, m.chat, string(lid), string(phone)); err != nil {
			return fmt.Errorf("move participant: %w", err)
		}
	}
	if _, err = b.execBare(ctx, updateGroupOwner, string(id), string(lid), string(phone)); err != nil {
		return fmt.Errorf("move owner: %w", err)
	}
	return nil
}

// mergeMembers makes one participant of two that turned out to be the same person.
func (b *batch) mergeMembers(ctx context.Context, id tenant.ID, chatID, lid, phone tenant.ChatID, one, other tenant.Role) error {
	if _, err := b.exec(ctx, id, deleteParticipant, string(chatID), string(lid)); err != nil {
		return fmt.Errorf("drop participant: %w", err)
	}
	if rank(one) < rank(other) {
		one = other
	}
	kept := []tenant.Participant{{ID: phone, LID: string(lid), Role: one}}
	if err := b.writeParticipants(ctx, id, chatID, kept); err != nil {
		return err
	}
	g, err := b.group(ctx, id, chatID)
	if err != nil || g.group.Rev == 0 {
		return err
	}
	g.group.Size--
	g.group.Rev++
	if err = b.storeGroup(ctx, id, g); err != nil {
		return err
	}
	chat, err := b.chat(ctx, id, chatID)
	if err != nil || !chat.exists {
		return err
	}
	before := chat.look()
	if err = b.showGroup(ctx, chat, &g.group); err != nil {
		return err
	}
	if err = b.changed(ctx, chat); err != nil {
		return err
	}
	return b.announce(ctx, chat, before)
}
