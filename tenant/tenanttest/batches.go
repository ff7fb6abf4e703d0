package tenanttest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

func batchChecks() []check {
	checks := make([]check, 0, 12)
	for seed := range uint64(cap(checks)) {
		checks = append(checks, check{fmt.Sprintf("OneCommitIsAsGoodAsMany/%d", seed), func(t tester, s tenant.Store) {
			sharesCommits(t, s, seed)
		}})
	}
	return checks
}

// sharesCommits makes the same changes one by one, all together, and in pieces: nobody can tell afterwards.
func sharesCommits(t tester, s tenant.Store, seed uint64) {
	dice := &dice{rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // a test's
	changes := make([]tenant.Change, 60)
	for i := range changes {
		changes[i] = dice.change(i)
	}
	single, whole, pieces := NewTenant(t, s), NewTenant(t, s), NewTenant(t, s)
	for _, one := range changes {
		commit(t, single, one)
	}
	commit(t, whole, changes...)
	for rest := changes; len(rest) > 0; {
		n := 1 + dice.IntN(min(8, len(rest)))
		commit(t, pieces, rest[:n]...)
		rest = rest[n:]
	}
	want := portrait(t, single)
	require.Equal(t, want, portrait(t, whole), "all in one commit: %#v", changes)
	require.Equal(t, want, portrait(t, pieces), "in pieces: %#v", changes)
}

// dice rolls changes about few people and few messages, so that they meet.
type dice struct{ *rand.Rand }

func (d *dice) person() (phone, lid tenant.ChatID) {
	n := d.IntN(3)
	return tenant.ChatID(fmt.Sprintf("551199999000%d@c.us", n)), tenant.ChatID(fmt.Sprintf("10485760000000%d@lid", n))
}

// either is a person, by one id or the other.
func (d *dice) either() tenant.ChatID {
	phone, lid := d.person()
	if d.IntN(2) == 0 {
		return lid
	}
	return phone
}

// place is a chat and who speaks there.
func (d *dice) place() (chat, sender tenant.ChatID) {
	if sender = d.either(); d.IntN(3) == 0 {
		return family, sender
	}
	return sender, sender
}

func (d *dice) id() tenant.MessageID { return numbered(d.IntN(8)) }

func (d *dice) message(n int) tenant.Message {
	chat, sender := d.place()
	m := receivedIn(chat, d.id(), sender, fmt.Sprintf("text %d ß", n), n)
	switch d.IntN(5) {
	case 0, 3:
		m = own(d.id(), chat, "ours", n)
	case 1:
		m.Type, m.Text = tenant.TypeUnsupported, ""
	case 2:
		m.Forwarded, m.ForwardScore, m.Mentions = true, 2, []tenant.ChatID{d.either()}
	}
	return m
}

func (d *dice) change(n int) tenant.Change {
	chat, sender := d.place()
	switch d.IntN(14) {
	case 0, 1, 2, 3:
		return live(d.message(n))
	case 4:
		return tenant.PutMessage{Message: d.message(n), ChatName: "Name"}
	case 5:
		status := []tenant.Status{tenant.StatusSent, tenant.StatusDelivered, tenant.StatusRead}[d.IntN(3)]
		return tenant.SetStatus{ChatID: chat, MessageIDs: []tenant.MessageID{d.id(), d.id(), d.id(), d.id()}, Status: status}
	case 6:
		phone, lid := d.person()
		return tenant.LinkIDs{LID: lid, Phone: phone}
	case 7, 8:
		return tenant.PutContact{ID: sender, PushName: fmt.Sprintf("Name %d", d.IntN(3)), Quiet: d.IntN(2) == 0}
	case 9:
		return tenant.EditMessage{ChatID: chat, ID: d.id(), SenderID: sender, Text: fmt.Sprintf("edit %d", n), At: after(n)}
	case 10:
		return tenant.React{ChatID: chat, ID: d.id(), SenderID: sender, By: d.either(), Emoji: "👍", At: after(n)}
	case 11:
		return tenant.RevokeMessage{ChatID: chat, ID: d.id(), SenderID: sender, By: sender, At: after(n)}
	case 12:
		return tenant.MarkRead{ChatID: chat, Until: after(d.IntN(60))}
	default:
		return tenant.ClearChat{ID: chat, Until: after(n / 2), Drop: d.IntN(2) == 0}
	}
}

// portrait is all that can be seen of a tenant, without the times at which it was stored.
func portrait(t tester, h tenant.Handle) map[string]any {
	t.Helper()
	seen := map[string]any{}
	var journal []any
	for _, e := range events(t, h) {
		journal = append(journal, string(e.Type), timeless(t, e.Data))
	}
	seen["journal"] = journal
	for chat, err := range h.Chats(t.Context(), tenant.ChatQuery{}) {
		require.NoError(t, err)
		page, err := h.Messages(t.Context(), chat.ID, tenant.MessageQuery{Limit: 1000})
		require.NoError(t, err)
		seen["chat "+string(chat.ID)] = []any{timeless(t, encoded(t, chat)), timeless(t, encoded(t, page.Messages))}
		for i := range page.Messages {
			m := &page.Messages[i]
			seen["order "+string(chat.ID)+string(m.ID)+string(m.SenderID)] = m.Ord
		}
	}
	contacts, err := h.Contacts(t.Context(), tenant.ContactQuery{Limit: 100})
	require.NoError(t, err)
	seen["contacts"] = timeless(t, encoded(t, contacts.Contacts))
	return seen
}

func encoded(t tester, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return raw
}

func timeless(t tester, data []byte) any {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal(data, &v))
	var strip func(any)
	strip = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			delete(v, "createdAt")
			delete(v, "updatedAt")
			for _, member := range v {
				strip(member)
			}
		case []any:
			for _, item := range v {
				strip(item)
			}
		}
	}
	strip(v)
	return v
}
