package session_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// about fits the inbox entry of what happened to a message.
func about(kind, target, text string) func(phone.Entry) bool {
	return func(e phone.Entry) bool { return e.Kind == kind && e.Target == target && e.Text == text }
}

func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

func hasBecome(text string) func(*tenant.Message) bool {
	return func(m *tenant.Message) bool { return m.Text == text && m.EditedAt != nil }
}

func isDeleted(m *tenant.Message) bool { return m.DeletedAt != nil }

func TestEditsDeletesAndReacts(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{Name: "Ana"})
		chat := c.chatID(ana)
		sent := c.send(chat, "first")
		ref := session.MessageRef{Chat: chat, ID: sent.ID}

		m, err := w.fleet.EditText(within(t), c.ID(), ref, "second")
		require.NoError(t, err)
		require.Equal(t, "second", m.Text)
		require.NotNil(t, m.EditedAt)
		for _, p := range []*phone.Phone{ana, c.phone} {
			_, err = p.WaitEntry(within(t), 0, about(phone.KindEdit, string(sent.ID), "second"))
			require.NoError(t, err)
		}

		in, err := ana.SendText(within(t), c.phone.Number(), "hello", phone.SendOptions{})
		require.NoError(t, err)
		c.message(chat, in, nil)
		for _, target := range []tenant.MessageID{sent.ID, tenant.MessageID(in)} {
			for _, emoji := range []string{"👍", "❤️", ""} {
				m, err = w.fleet.React(within(t), c.ID(), session.MessageRef{Chat: chat, ID: target}, emoji)
				require.NoError(t, err)
				if emoji == "" {
					require.Empty(t, m.Reactions)
				} else {
					require.Len(t, m.Reactions, 1)
					require.Equal(t, tenant.PersonID(c.phone.Number()), m.Reactions[0].SenderID)
				}
				_, err = ana.WaitEntry(within(t), 0, about(phone.KindReaction, string(target), emoji))
				require.NoError(t, err)
			}
		}

		require.NoError(t, w.fleet.DeleteMessage(within(t), c.ID(), ref))
		require.NoError(t, w.fleet.DeleteMessage(within(t), c.ID(), ref), "again")
		_, err = ana.WaitEntry(within(t), 0, about(phone.KindDelete, string(sent.ID), ""))
		require.NoError(t, err)
		gone := c.message(chat, string(sent.ID), isDeleted)
		require.Empty(t, gone.Text)
		require.Empty(t, gone.Payload)
		require.Len(t, c.events(tenant.EventMessageEdited), 1)
		require.Len(t, c.events(tenant.EventMessageDeleted), 1)
		require.Len(t, c.events(tenant.EventMessageReaction), 6)
		require.Len(t, c.all(chat), 2, "nothing of it is a message")
	})
}

func TestOthersEditDeleteAndReact(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{Name: "Ana"})
		chat := c.chatID(ana)
		for name, from := range map[string]*phone.Phone{"a contact": ana, "the own phone": c.phone} {
			to := c.phone.Number()
			if from == c.phone {
				to = ana.Number()
			}
			id, err := from.SendText(within(t), to, "first", phone.SendOptions{})
			require.NoError(t, err, name)
			_, err = from.Edit(within(t), to, id, "second")
			require.NoError(t, err, name)
			m := c.message(chat, id, hasBecome("second"))
			require.Equal(t, from == c.phone, m.FromMe)

			_, err = from.React(within(t), to, id, "👍")
			require.NoError(t, err, name)
			m = c.message(chat, id, func(m *tenant.Message) bool { return len(m.Reactions) == 1 })
			require.Equal(t, "👍", m.Reactions[0].Emoji)
			require.Equal(t, tenant.PersonID(from.Number()), m.Reactions[0].SenderID)
			_, err = from.React(within(t), to, id, "")
			require.NoError(t, err, name)
			c.message(chat, id, func(m *tenant.Message) bool { return len(m.Reactions) == 0 })

			_, err = from.Delete(within(t), to, id)
			require.NoError(t, err, name)
			require.Empty(t, c.message(chat, id, isDeleted).Text)
		}

		// What a contact says about our messages: a reaction counts, an edit and a deletion do not.
		ours := c.send(chat, "ours")
		_, err := ana.WaitEntry(within(t), 0, hasText("ours"))
		require.NoError(t, err)
		_, err = ana.Edit(within(t), c.phone.Number(), string(ours.ID), "forged")
		require.NoError(t, err)
		_, err = ana.Delete(within(t), c.phone.Number(), string(ours.ID))
		require.NoError(t, err)
		_, err = ana.React(within(t), c.phone.Number(), string(ours.ID), "👎")
		require.NoError(t, err)
		m := c.message(chat, string(ours.ID), func(m *tenant.Message) bool { return len(m.Reactions) == 1 })
		require.Equal(t, "ours", m.Text)
		require.Nil(t, m.EditedAt)
		require.Nil(t, m.DeletedAt)
	})
}

func TestRefusesToReviseWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	chat := c.chatID(ana)
	in, err := ana.SendText(within(t), c.phone.Number(), "theirs", phone.SendOptions{})
	require.NoError(t, err)
	c.message(chat, in, nil)
	edit := func(id string) error {
		_, err := w.fleet.EditText(within(t), c.ID(), session.MessageRef{Chat: chat, ID: tenant.MessageID(id)}, "x")
		return err
	}
	remove := func(id string) error {
		return w.fleet.DeleteMessage(within(t), c.ID(), session.MessageRef{Chat: chat, ID: tenant.MessageID(id)})
	}
	require.ErrorIs(t, edit(in), session.ErrForbidden)
	require.ErrorIs(t, remove(in), session.ErrForbidden)
	require.ErrorIs(t, edit("NONE"), tenant.ErrMessageNotFound)
	require.ErrorIs(t, remove("NONE"), tenant.ErrMessageNotFound)

	put := func(id string, change func(*tenant.Message)) {
		m := tenant.Message{
			ID: tenant.MessageID(id), ChatID: chat, SenderID: tenant.PersonID(c.phone.Number()), FromMe: true,
			Timestamp: now(), Type: tenant.TypeText, Text: "ours", Status: tenant.StatusSent,
		}
		change(&m)
		_, err := c.Commit(within(t), tenant.PutMessage{Message: m})
		require.NoError(t, err)
	}
	put("OLD", func(m *tenant.Message) { m.Timestamp = m.Timestamp.Add(-tenant.EditWindow) })
	put("IMAGE", func(m *tenant.Message) { m.Type = tenant.TypeImage })
	put("GONE", func(m *tenant.Message) { m.DeletedAt = new(now()) })
	require.ErrorIs(t, edit("OLD"), session.ErrEditWindow)
	require.ErrorIs(t, edit("IMAGE"), session.ErrNotText)
	require.ErrorIs(t, edit("GONE"), session.ErrDeleted)
	require.NoError(t, remove("GONE"))
	require.NoError(t, remove("OLD"), "deleting has no window here")
	require.NoError(t, remove("IMAGE"))
	_, err = w.fleet.React(within(t), c.ID(), session.MessageRef{Chat: chat, ID: "GONE"}, "👍")
	require.ErrorIs(t, err, session.ErrDeleted)

	_, err = w.fleet.Disconnect(within(t), c.ID())
	require.NoError(t, err)
	var offline *session.OfflineError
	require.ErrorAs(t, edit(in), &offline, "whether the session is online comes before whose message it is")
	require.ErrorAs(t, remove(in), &offline)
	require.ErrorIs(t, edit("NONE"), tenant.ErrMessageNotFound, "whether it is there comes first")
}

func TestAnUnansweredEditChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	sent := c.send(c.chatID(ana), "first")
	w.anew(func(p *session.Pace) { p.SendTimeout = 300 * time.Millisecond }, c)
	ref := session.MessageRef{Chat: c.chatID(ana), ID: sent.ID}
	c.fault(relay.FaultStall, 0, 0)
	_, err := w.fleet.EditText(within(t), c.ID(), ref, "second")
	var uncertain *session.UncertainError
	require.ErrorAs(t, err, &uncertain)
	require.ErrorAs(t, w.fleet.DeleteMessage(within(t), c.ID(), ref), &uncertain)
	m := c.message(ref.Chat, string(sent.ID), nil)
	require.Equal(t, "first", m.Text)
	require.Nil(t, m.EditedAt)
	require.Nil(t, m.DeletedAt)

	w.anew(func(p *session.Pace) { p.SendTimeout = 0 }, c)
	_, err = w.fleet.EditText(within(t), c.ID(), ref, "second")
	require.NoError(t, err, "asked again")
	_, err = ana.WaitEntry(within(t), 0, about(phone.KindEdit, string(sent.ID), "second"))
	require.NoError(t, err)
}
