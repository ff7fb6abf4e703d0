package session

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/appstate"
	"go.mau.fi/whatsmeow/proto/waSyncAction"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/tenant"
)

func TestTranslatesSettings(t *testing.T) {
	t.Parallel()
	jid, id := types.NewJID("5511999990001", types.DefaultUserServer), tenant.PersonID("5511999990001")
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	mute := func(muted bool, end int64) *events.Mute {
		return &events.Mute{JID: jid, Action: &waSyncAction.MuteAction{Muted: &muted, MuteEndTimestamp: &end}}
	}
	upTo := func(seconds int64) *waSyncAction.SyncActionMessageRange {
		return &waSyncAction.SyncActionMessageRange{LastMessageTimestamp: &seconds}
	}
	read := func(yes bool, r *waSyncAction.SyncActionMessageRange) *events.MarkChatAsRead {
		return &events.MarkChatAsRead{JID: jid, Timestamp: at, Action: &waSyncAction.MarkChatAsReadAction{Read: &yes, MessageRange: r}}
	}
	deleted := func(full bool, r *waSyncAction.SyncActionMessageRange) *events.DeleteChat {
		return &events.DeleteChat{JID: jid, Timestamp: at, FromFullSync: full, Action: &waSyncAction.DeleteChatAction{MessageRange: r}}
	}
	forever, none, last := tenant.MutedForever(), time.Time{}, at.Add(-time.Hour)
	end := time.Now().Add(time.Hour).Truncate(time.Millisecond).UTC()
	for name, c := range map[string]struct {
		evt  any
		want []tenant.Change
	}{
		"muted":             {mute(true, end.UnixMilli()), []tenant.Change{tenant.PutChat{ID: id, Muted: &end}}},
		"muted for ever":    {mute(true, -1), []tenant.Change{tenant.PutChat{ID: id, Muted: &forever}}},
		"muted, no end":     {mute(true, 0), []tenant.Change{tenant.PutChat{ID: id, Muted: &forever}}},
		"muted, far":        {mute(true, 1<<62), []tenant.Change{tenant.PutChat{ID: id, Muted: &forever}}},
		"mute that is over": {mute(true, at.AddDate(-10, 0, 0).UnixMilli()), []tenant.Change{tenant.PutChat{ID: id, Muted: &none, IfStored: true}}},
		"not muted":         {mute(false, -1), []tenant.Change{tenant.PutChat{ID: id, Muted: &none, IfStored: true}}},
		"read":              {read(true, upTo(last.Unix())), []tenant.Change{tenant.MarkRead{ChatID: id, Until: last}}},
		"read, in ms":       {read(true, upTo(last.UnixMilli())), []tenant.Change{tenant.MarkRead{ChatID: id, Until: last}}},
		"read, no range":    {read(true, nil), []tenant.Change{tenant.MarkRead{ChatID: id, Until: at}}},
		"unread":            {read(false, nil), []tenant.Change{tenant.MarkUnread{ChatID: id}}},
		"deleted":           {deleted(false, upTo(last.Unix())), []tenant.Change{tenant.ClearChat{ID: id, Until: last, Drop: true}}},
		"deleted long ago":  {deleted(true, upTo(last.Unix())), nil},
		"no chat":           {&events.Pin{JID: types.NewJID("1", types.NewsletterServer), Action: &waSyncAction.PinAction{}}, nil},
	} {
		got, known := about(c.evt)
		require.True(t, known, name)
		require.Equal(t, c.want, got, name)
	}
}

func TestOwesACollectionUntilItIsFetched(t *testing.T) {
	t.Parallel()
	var o owed
	require.Len(t, o.due(), len(appstate.AllPatchNames), "all, after a start")
	require.Empty(t, o.due())
	o.add(appstate.WAPatchRegular)
	mark := o.now(appstate.WAPatchRegular)
	o.add(appstate.WAPatchRegular) // again, while it is fetched
	o.done(appstate.WAPatchRegular, mark)
	require.Equal(t, []appstate.WAPatchName{appstate.WAPatchRegular}, o.due())
	o.done(appstate.WAPatchRegular, o.now(appstate.WAPatchRegular))
	require.Empty(t, o.due())
	o.forget()
	require.Len(t, o.due(), len(appstate.AllPatchNames), "another device")
}
