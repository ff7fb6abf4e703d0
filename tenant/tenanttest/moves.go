package tenanttest

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

// Furnish makes a tenant that owns something of everything, and returns its handle and an API key.
func Furnish(tb testing.TB, store tenant.Store, externalID string) (tenant.Handle, tenant.Secret) {
	tb.Helper()
	made, _, err := store.Create(tb.Context(), tenant.NewTenant{Name: "Padaria do João", ExternalID: externalID})
	require.NoError(tb, err)
	h := store.Tenant(made.ID)
	_, key, err := h.CreateKey(tb.Context(), tenant.NewKey{Label: "production"})
	require.NoError(tb, err)
	name := "Family"
	picture := received("B", ana, "ünïcödé \U0001F600", 2)
	picture.Type, picture.Media = tenant.TypeImage, &tenant.Media{MimeType: "image/jpeg", Size: 3, SHA256: "aa"}
	picture.Payload = []byte{0, 1, 2, 0xff}
	keep := tenant.KeepAnswer{Key: "k", Answer: tenant.Answer{Request: []byte{0, 0xfe}, ChatID: beto, SenderID: me, MessageID: "C"}}
	for _, changes := range [][]tenant.Change{
		{tenant.SetSession{Session: tenant.Session{
			Device: "5511888880000:3@s.whatsapp.net", LID: "104857600000009@lid", Wanted: true, PairedAt: noon(),
			Status: tenant.SessionStatus{State: "online", Ready: true},
		}}},
		{tenant.LinkIDs{LID: anaLID, Phone: ana}, tenant.PutContact{ID: ana, Name: "Ana", PushName: "ana"}},
		{live(received("A", ana, "hello", 1)), live(picture), keep, live(own("C", beto, "pending", 3))},
		{tenant.PutChat{ID: family, Name: &name}, live(receivedIn(family, "D", beto, "hi all", 4))},
		{tenant.React{ChatID: ana, ID: "A", SenderID: ana, By: me, Emoji: "👍", At: after(5)}},
		{tenant.React{ChatID: ana, ID: "NOT-YET", SenderID: ana, By: me, Emoji: "👍", At: after(5)}},
		{tenant.PutGroup{
			Group: tenant.Group{ID: family, Name: name}, Self: me, Size: 2, Version: "1", Rev: -1, Joined: true,
			Participants: []tenant.Participant{{ID: me, Role: tenant.RoleAdmin}, {ID: beto, Role: tenant.RoleMember}},
		}},
		{tenant.SetJoinToken{ChatID: family, Token: tenant.NewJoinToken(made.ID)}},
		{tenant.Spend{Day: tenant.DayOf(noon()), UploadBytes: 7, DownloadBytes: 8, ColdChat: beto}},
	} {
		_, err = h.Commit(tb.Context(), changes...)
		require.NoError(tb, err)
	}
	_, err = h.SetOverrides(tb.Context(), tenant.LimitPatch{"eventStreams": new(int64(3))})
	require.NoError(tb, err)
	if devices, ok := store.(tenant.DeviceStore); ok {
		require.NoError(tb, devices.PutDevice(tb.Context(), made.ID, tenant.Device{
			JID: "5511888880000:3@s.whatsapp.net", MasterKey: "first", WrappedKey: []byte{1, 0}, Value: []byte{2, 0xff},
		}))
		leave := devices.RideDevice(made.ID, &onceRider{rows: []tenant.DeviceRow{
			{Kind: 1, Key: []byte{0, 0xfe}, Value: []byte("ratchet"), At: 7}, {Kind: 2, Key: []byte{1}, Value: []byte{}},
		}})
		require.NoError(tb, devices.FlushDevice(tb.Context(), made.ID))
		leave()
	}
	return h, key
}

// onceRider is a device's store that has rows to write, once.
type onceRider struct{ rows []tenant.DeviceRow }

// Prepare does nothing.
func (*onceRider) Prepare() int { return 1 }

// Board gives the rows until they have landed.
func (r *onceRider) Board([]tenant.EventHash, bool) (rows []tenant.DeviceRow, landed func()) {
	return r.rows, func() { r.rows = nil }
}

// Export is all that a tenant takes along, table by table, whatever pieces it came in.
func Export(tb testing.TB, store tenant.Store, id tenant.ID) []tenant.Rows {
	tb.Helper()
	all := []tenant.Rows{}
	require.NoError(tb, store.Export(tb.Context(), id, func(rows tenant.Rows) error {
		if n := len(all); n > 0 && all[n-1].Table == rows.Table {
			all[n-1].Values = append(all[n-1].Values, rows.Values...)
		} else {
			all = append(all, rows)
		}
		return nil
	}))
	return all
}

// Stay is what becomes of a session that is to be as it was.
func Stay(s tenant.Session) tenant.Session { return s }

// Import puts a tenant into a store.
func Import(tb testing.TB, store tenant.Store, id tenant.ID, all []tenant.Rows) tenant.Tenant {
	tb.Helper()
	in, err := store.Import(tb.Context(), id)
	require.NoError(tb, err)
	for _, rows := range all {
		require.NoError(tb, in.Put(tb.Context(), rows))
	}
	arrived, err := in.Finish(tb.Context(), Stay)
	require.NoError(tb, err)
	return arrived
}

// Settled is an export without what moving itself changes, for comparing.
func Settled(all []tenant.Rows) []tenant.Rows {
	for i, rows := range all {
		if rows.Table == "session" || rows.Table == "head" {
			for j, name := range rows.Columns {
				if name == "updated_at" || name == "version" {
					all[i].Values[0][j] = nil
				}
			}
		}
		slices.SortFunc(rows.Values, func(a, b []any) int { return slices.Compare(texts(a), texts(b)) })
	}
	return all
}

func texts(values []any) []string {
	var list []string
	for _, v := range values {
		if text, ok := v.(string); ok {
			list = append(list, text)
		}
	}
	return list
}

func moveChecks() []check {
	return []check{
		{"ComeBackAsTheyLeft", comesBack},
		{"AreSeenByNobodyBeforeTheyAreWhole", func(t tester, s tenant.Store) {
			h, key := Furnish(t, s, "unseen")
			all := Export(t, s, h.ID())
			Delete(t, s, h.ID())
			in, err := s.Import(t.Context(), h.ID())
			require.NoError(t, err)
			for _, rows := range all {
				require.NoError(t, in.Put(t.Context(), rows))
			}
			_, err = s.Get(t.Context(), h.ID())
			require.ErrorIs(t, err, tenant.ErrNotFound)
			_, err = s.Key(t.Context(), key.ID())
			require.ErrorIs(t, err, tenant.ErrInvalidKey)
			_, err = h.Commit(t.Context(), live(received("E", ana, "too early", 9)))
			require.ErrorIs(t, err, tenant.ErrNotFound)
			for linked, err := range s.Linked(t.Context()) {
				require.NoError(t, err)
				require.NotEqual(t, h.ID(), linked.ID)
			}
			_, err = s.Import(t.Context(), h.ID())
			require.ErrorIs(t, err, tenant.ErrLeaving, "one import at a time")
			require.NoError(t, in.Abandon(t.Context()))
			require.NoError(t, in.Abandon(t.Context()), "again")
			Import(t, s, h.ID(), all)
		}},
		{"AreRefusedWhereTheyLive", func(t tester, s tenant.Store) {
			h, _ := Furnish(t, s, "")
			before := Export(t, s, h.ID())
			_, err := s.Import(t.Context(), h.ID())
			require.ErrorIs(t, err, tenant.ErrExists)
			require.Equal(t, before, Export(t, s, h.ID()))
		}},
		{"AreRefusedWhereTheirExternalIDIsTaken", func(t tester, s tenant.Store) {
			h, _ := Furnish(t, s, "taken")
			all := Export(t, s, h.ID())
			Delete(t, s, h.ID())
			in, err := s.Import(t.Context(), h.ID())
			require.NoError(t, err)
			for _, rows := range all {
				require.NoError(t, in.Put(t.Context(), rows), "nobody has it yet")
			}
			other, _, err := s.Create(t.Context(), tenant.NewTenant{Name: "Other", ExternalID: "taken"})
			require.NoError(t, err)
			_, err = in.Finish(t.Context(), Stay)
			require.ErrorIs(t, err, tenant.ErrExternalIDTaken)
			require.NoError(t, in.Abandon(t.Context()))
			in, err = s.Import(t.Context(), h.ID())
			require.NoError(t, err)
			require.ErrorIs(t, in.Put(t.Context(), all[0]), tenant.ErrExternalIDTaken, "it is told at once")
			require.NoError(t, in.Abandon(t.Context()))
			_, err = s.Get(t.Context(), other.ID)
			require.NoError(t, err)
		}},
		{"BringNothingOfOthers", bringsNothingOfOthers},
		{"SayThatTheyAreNotThere", func(t tester, s tenant.Store) {
			err := s.Export(t.Context(), tenant.NewID(), func(tenant.Rows) error { return nil })
			require.ErrorIs(t, err, tenant.ErrNotFound)
		}},
		{"HearWhatEmitSays", func(t tester, s tenant.Store) {
			h, _ := Furnish(t, s, "")
			errFull := errors.New("disk full")
			require.Equal(t, errFull, s.Export(t.Context(), h.ID(), func(tenant.Rows) error { return errFull }))
		}},
	}
}

func comesBack(t tester, s tenant.Store) {
	h, key := Furnish(t, s, "comes-back")
	stranger, _ := Furnish(t, s, "")
	before := Export(t, s, h.ID())
	journal := events(t, h)
	made, err := s.Get(t.Context(), h.ID())
	require.NoError(t, err)
	Delete(t, s, h.ID())

	require.Equal(t, made, Import(t, s, h.ID(), before))
	require.Equal(t, Settled(before), Settled(Export(t, s, h.ID())))
	require.Equal(t, journal, events(t, h))
	kept, err := s.Key(t.Context(), key.ID())
	require.NoError(t, err)
	require.NoError(t, kept.Admits(key, noon()))
	pending, err := h.Pending(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, pending, 1)
	require.Equal(t, []byte("payload of C"), pending[0].Payload)
	got := getMessage(t, h, ana, "B")
	require.Equal(t, []byte{0, 1, 2, 0xff}, got.Payload)
	row, err := h.Session(t.Context())
	require.NoError(t, err)
	require.True(t, row.Wanted)
	require.Equal(t, tenant.ChatID("104857600000009@lid"), row.LID)

	head := commit(t, h, live(received("E", ana, "and on it goes", 9))).Head
	require.EqualValues(t, len(journal)+1, head, "numbers go on where they were")
	require.Len(t, events(t, stranger), len(journal))
}

func bringsNothingOfOthers(t tester, s tenant.Store) {
	h, _ := Furnish(t, s, "")
	victim, _ := Furnish(t, s, "")
	foreign := Export(t, s, victim.ID())
	all := Export(t, s, h.ID())
	Delete(t, s, h.ID())
	in, err := s.Import(t.Context(), h.ID())
	require.NoError(t, err)
	for _, rows := range foreign {
		require.ErrorIs(t, in.Put(t.Context(), rows), tenant.ErrForeignRows, rows.Table)
	}
	rows := all[0]
	for name, wrong := range map[string]tenant.Rows{
		"table":        {Table: "node", Columns: []string{"id"}, Values: [][]any{{int64(1)}}},
		"no table":     {Table: "chat; DROP TABLE chat", Columns: rows.Columns, Values: rows.Values},
		"column":       {Table: "chat", Columns: []string{"tenant_id", "x) VALUES (1); --"}, Values: [][]any{{string(h.ID()), "x"}}},
		"twice":        {Table: "chat", Columns: []string{"tenant_id", "tenant_id"}, Values: [][]any{{string(h.ID()), string(victim.ID())}}},
		"nobody's":     {Table: "chat", Columns: []string{"chat_id"}, Values: [][]any{{"x"}}},
		"type":         {Table: "chat", Columns: []string{"tenant_id", "unread"}, Values: [][]any{{string(h.ID()), "1"}}},
		"short":        {Table: "chat", Columns: []string{"tenant_id", "unread"}, Values: [][]any{{string(h.ID())}}},
		"unknown type": {Table: "chat", Columns: []string{"tenant_id", "unread"}, Values: [][]any{{string(h.ID()), uint64(1)}}},
	} {
		require.ErrorIs(t, in.Put(t.Context(), wrong), tenant.ErrForeignRows, name)
	}
	_, err = in.Finish(t.Context(), Stay)
	require.ErrorIs(t, err, tenant.ErrForeignRows, "nothing has come")
	require.NoError(t, in.Abandon(t.Context()))
	require.Equal(t, foreign, Export(t, s, victim.ID()))
}
