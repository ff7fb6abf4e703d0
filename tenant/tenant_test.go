package tenant_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

func TestParseChatID(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]tenant.ChatID{
		"5511999990001@c.us":              "5511999990001@c.us",
		"5511999990001@s.whatsapp.net":    "5511999990001@c.us",
		"104857600000001@lid":             "104857600000001@lid",
		"120363000000000001@g.us":         "120363000000000001@g.us",
		"5511999990001-1400000000@g.us":   "5511999990001-1400000000@g.us",
		"":                                "",
		"5511999990001":                   "",
		"@c.us":                           "",
		"5511999990001@":                  "",
		"5511999990001@c.us@c.us":         "",
		"5511999990001@C.US":              "",
		"+5511999990001@c.us":             "",
		"5511999990001:3@s.whatsapp.net":  "",
		"5511-14@c.us":                    "",
		"-14@g.us":                        "",
		"5511-@g.us":                      "",
		"1-2-3@g.us":                      "",
		"status@broadcast":                "",
		"٣@c.us":                          "",
		"5511\x00@c.us":                   "",
		" 5511@c.us":                      "",
		strings.Repeat("1", 33) + "@c.us": "",
	} {
		got, err := tenant.ParseChatID(in)
		require.Equal(t, want, got, in)
		if want == "" {
			require.ErrorIs(t, err, tenant.ErrInvalidChatID, in)
		} else {
			require.NoError(t, err, in)
		}
	}
}

func TestChatIDTellsWhatItNames(t *testing.T) {
	t.Parallel()
	person, hidden, group := tenant.PersonID("5511999990001"), tenant.HiddenID("104857600000001"), tenant.GroupID("120363000000000001")
	require.Equal(t, "5511999990001", person.Phone())
	require.Empty(t, hidden.Phone(), "the digits of a LID are no phone number")
	require.Empty(t, group.Phone())
	require.True(t, hidden.IsHidden())
	require.False(t, person.IsHidden())
	require.Equal(t, tenant.ChatGroup, group.Type())
	require.Equal(t, tenant.ChatDirect, hidden.Type())
	require.Equal(t, "…01@c.us", person.Redacted())
	require.Equal(t, "…01@lid", hidden.Redacted())
	require.Equal(t, "120363000000000001@g.us", group.Redacted())
}

func TestStatusOnlyAdvances(t *testing.T) {
	t.Parallel()
	const failed, pending, sent, delivered, read, played, received = tenant.StatusFailed, tenant.StatusPending, tenant.StatusSent,
		tenant.StatusDelivered, tenant.StatusRead, tenant.StatusPlayed, tenant.StatusReceived
	all := []tenant.Status{failed, pending, sent, delivered, read, played, received}
	advances := map[tenant.Status][]tenant.Status{
		failed:    {sent, delivered, read, played},
		pending:   {failed, sent, delivered, read, played},
		sent:      {delivered, read, played},
		delivered: {read, played},
		read:      {played},
	}
	for _, old := range all {
		for _, next := range all {
			require.Equal(t, slices.Contains(advances[old], next), next.Supersedes(old), "%s after %s", next, old)
		}
	}
}

func TestStatusHasAName(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]tenant.Status{
		"failed": tenant.StatusFailed, "pending": tenant.StatusPending, "sent": tenant.StatusSent,
		"delivered": tenant.StatusDelivered, "read": tenant.StatusRead, "played": tenant.StatusPlayed,
		"received": tenant.StatusReceived,
	} {
		encoded, err := json.Marshal(status)
		require.NoError(t, err)
		require.Equal(t, `"`+name+`"`, string(encoded))
		var decoded tenant.Status
		require.NoError(t, json.Unmarshal(encoded, &decoded))
		require.Equal(t, status, decoded)
	}
	var unknown tenant.Status
	require.Error(t, json.Unmarshal([]byte(`"lost"`), &unknown))
	require.Equal(t, "Status(9)", tenant.Status(9).String())
}

func TestCleanText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":              "",
		"plain":         "plain",
		"👩‍👩‍👧‍👦 ünï":   "👩‍👩‍👧‍👦 ünï",
		"a\x00b":        "a\uFFFDb",
		"a\xffb":        "a\uFFFDb",
		"\xff\x00":      "\uFFFD\uFFFD",
		"\u202egnp\r\n": "\u202egnp\r\n",
	} {
		require.Equal(t, want, tenant.CleanText(in))
	}
}

func FuzzCleanText(f *testing.F) {
	f.Add("a\x00b\xff")
	f.Fuzz(func(t *testing.T, in string) {
		out := tenant.CleanText(in)
		require.True(t, utf8.ValidString(out))
		require.NotContains(t, out, "\x00")
		require.Equal(t, out, tenant.CleanText(out))
	})
}

func TestIDs(t *testing.T) {
	t.Parallel()
	seen := map[tenant.ID]bool{}
	for range 1000 {
		id := tenant.NewID()
		parsed, err := tenant.ParseID(string(id))
		require.NoError(t, err)
		require.Equal(t, id, parsed)
		require.False(t, seen[id])
		seen[id] = true
	}
	for _, bad := range []string{"", "k7q2m4x5a3b", "k7q2m4x5a3bcd", "K7Q2M4X5A3BC", "k7q2m4x5a3b1", "k7q2m4x5a3b\n"} {
		_, err := tenant.ParseID(bad)
		require.ErrorIs(t, err, tenant.ErrInvalidID, bad)
	}
}

func TestContextCarriesATenantOrFails(t *testing.T) {
	t.Parallel()
	_, err := tenant.FromContext(t.Context())
	require.ErrorIs(t, err, tenant.ErrNoTenant)
	_, err = tenant.FromContext(tenant.NewContext(t.Context(), ""))
	require.ErrorIs(t, err, tenant.ErrNoTenant)
	id := tenant.NewID()
	found, err := tenant.FromContext(tenant.NewContext(t.Context(), id))
	require.NoError(t, err)
	require.Equal(t, id, found)
}

func TestSecretIsShownOnlyOnPurpose(t *testing.T) {
	t.Parallel()
	id := tenant.NewID()
	secret := tenant.NewSecret(id)
	require.Equal(t, id, secret.ID().Tenant())
	parsed, err := tenant.ParseSecret(secret.Reveal())
	require.NoError(t, err)
	require.Equal(t, secret, parsed)
	hidden := strings.Split(secret.Reveal(), "_")[2]
	encoded, err := json.Marshal(map[string]any{"key": secret})
	require.NoError(t, err)
	for _, shown := range []string{
		fmt.Sprint(secret), fmt.Sprintf("%v %+v %#v %s %q", secret, secret, secret, secret, secret),
		secret.LogValue().String(), string(encoded),
	} {
		require.NotContains(t, shown, hidden)
	}
	for _, bad := range []string{"", "wf_", "wf_a_b", secret.Reveal() + "a", strings.ToUpper(secret.Reveal()), "xf" + secret.Reveal()[2:]} {
		_, err = tenant.ParseSecret(bad)
		require.ErrorIs(t, err, tenant.ErrInvalidKey, bad)
	}
	_, err = tenant.ParseKeyID(string(secret.ID()))
	require.NoError(t, err)
	for _, bad := range []string{"", string(id), string(secret.ID()) + "a", strings.Repeat("!", 18)} {
		_, err = tenant.ParseKeyID(bad)
		require.ErrorIs(t, err, tenant.ErrKeyNotFound, bad)
	}
}

func TestKeyAdmitsItsSecretWhileItLives(t *testing.T) {
	t.Parallel()
	now := time.Now()
	secret := tenant.NewSecret(tenant.NewID())
	key := tenant.Key{ID: secret.ID(), Hash: secret.Hash()}
	require.NoError(t, key.Admits(secret, now))
	require.ErrorIs(t, key.Admits(tenant.NewSecret(tenant.NewID()), now), tenant.ErrInvalidKey)
	key.ExpiresAt = &now
	require.NoError(t, key.Admits(secret, now.Add(-time.Second)))
	require.ErrorIs(t, key.Admits(secret, now), tenant.ErrInvalidKey)
	key.ExpiresAt, key.RevokedAt = nil, &now
	require.ErrorIs(t, key.Admits(secret, now.Add(-time.Second)), tenant.ErrInvalidKey)
}

func TestCursors(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 12, 0, 0, 123e6, time.UTC)
	chat := tenant.Chat{ID: "odd|id@lid", Activity: at}
	activity, chatID, err := tenant.ParseChatCursor(chat.Cursor())
	require.NoError(t, err)
	require.Equal(t, at, activity)
	require.Equal(t, chat.ID, chatID)

	message := tenant.Message{Timestamp: at, Ord: 42}
	sent, ord, err := tenant.ParseMessageCursor(message.Cursor())
	require.NoError(t, err)
	require.Equal(t, at, sent)
	require.EqualValues(t, 42, ord)

	contact := tenant.Contact{ID: "5511999990001@c.us", SortName: "ana|maria 山"}
	person, name, err := tenant.ParseContactCursor(contact.Cursor())
	require.NoError(t, err)
	require.Equal(t, contact.ID, person)
	require.Equal(t, contact.SortName, name)
	for _, bad := range []string{"", "%", chat.Cursor(), message.Cursor()} {
		_, _, err = tenant.ParseContactCursor(bad)
		require.ErrorIs(t, err, tenant.ErrInvalidCursor, bad)
	}

	id := tenant.NewID()
	parsed, err := tenant.ParseIDCursor(id.Cursor())
	require.NoError(t, err)
	require.Equal(t, id, parsed)

	for _, bad := range []string{"", "%", "AAAA", chat.Cursor() + "!", message.Cursor(), id.Cursor(), "Y2hhdHx4fHk", "Y2hhdHwxfAA"} {
		_, _, err = tenant.ParseChatCursor(bad)
		require.ErrorIs(t, err, tenant.ErrInvalidCursor, bad)
	}
	for _, bad := range []string{"", chat.Cursor(), id.Cursor()} {
		_, _, err = tenant.ParseMessageCursor(bad)
		require.ErrorIs(t, err, tenant.ErrInvalidCursor, bad)
	}
	_, err = tenant.ParseIDCursor(chat.Cursor())
	require.ErrorIs(t, err, tenant.ErrInvalidCursor)
}
