package relay_test

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/appstate"
	"go.mau.fi/whatsmeow/proto/waServerSync"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/session/wasim/relay"
)

// patch sets the record of an index, or removes it.
func patch(t *testing.T, index, value string) []byte {
	t.Helper()
	op := waServerSync.SyncdMutation_SET
	if value == "" {
		op = waServerSync.SyncdMutation_REMOVE
	}
	raw, err := proto.Marshal(&waServerSync.SyncdPatch{
		Mutations: []*waServerSync.SyncdMutation{{Operation: &op, Record: &waServerSync.SyncdRecord{
			Index: &waServerSync.SyncdIndex{Blob: []byte(index)}, Value: &waServerSync.SyncdValue{Blob: []byte(value)},
		}}},
		SnapshotMAC: []byte("mac of " + index + value), KeyID: &waServerSync.KeyId{ID: []byte("key")},
	})
	require.NoError(t, err)
	return raw
}

// sync fetches or pushes one collection.
func (r *raw) sync(version int, snapshot bool, patch []byte) *node {
	r.t.Helper()
	col := node{Tag: "collection", Attrs: attrs{
		"name": "regular", "version": strconv.Itoa(version), "return_snapshot": strconv.FormatBool(snapshot),
	}}
	if patch != nil {
		col.Content = []node{{Tag: "patch", Content: patch}}
	}
	return child(r.ok("w:sync:app:state", "set", node{Tag: "sync", Content: []node{col}}), "sync", "collection")
}

// versions of the patches in an answer.
func versions(t *testing.T, col *node) (list []uint64) {
	t.Helper()
	patches, ok := col.GetOptionalChildByTag("patches")
	if !ok {
		return nil
	}
	for _, n := range patches.GetChildren() {
		var p waServerSync.SyncdPatch
		require.NoError(t, proto.Unmarshal(n.Content.([]byte), &p))
		list = append(list, p.GetVersion().GetVersion())
	}
	return list
}

func TestAppStatePages(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{AppStatePage: 3, MaxAppState: 6})
	p := s.online(t, s.primary(t, ""))
	other := pairRaw(t, s, p, newCreds())
	p.stash, other.stash = nil, nil
	empty := p.sync(0, true, nil)
	require.Equal(t, attrs{"name": "regular", "version": "0"}, empty.Attrs)
	require.Nil(t, empty.Content)
	for i := range 4 {
		done := p.sync(i, false, patch(t, "a", strconv.Itoa(i)))
		require.Equal(t, attrs{"name": "regular", "version": strconv.Itoa(i + 1)}, done.Attrs)
		require.Empty(t, done.GetChildren())
		note := other.find(func(n *node) bool { return n.Tag == "notification" && n.Attrs["type"] == "server_sync" })
		require.Equal(t, types.ServerJID, note.Attrs["from"])
		require.Equal(t, attrs{"name": "regular", "version": strconv.Itoa(i + 1)}, child(note, "collection").Attrs)
	}
	first := other.sync(0, false, nil)
	require.Equal(t, attrs{"name": "regular", "version": "4", "has_more_patches": "true"}, first.Attrs)
	require.Equal(t, []uint64{1, 2, 3}, versions(t, first))
	second := other.sync(3, false, nil)
	require.Nil(t, second.Attrs["has_more_patches"])
	require.Equal(t, []uint64{4}, versions(t, second))
	require.Empty(t, other.sync(4, false, nil).GetChildren())

	// a conflict comes with everything that was missed
	conflict := other.sync(0, false, patch(t, "b", "1"))
	require.Equal(t, "error", conflict.Attrs["type"])
	require.Equal(t, "409", child(conflict, "error").Attrs["code"])
	require.Equal(t, []uint64{1, 2, 3, 4}, versions(t, conflict))
	require.Equal(t, "409", child(other.sync(9, false, patch(t, "b", "1")), "error").Attrs["code"])
	require.Equal(t, "400", child(other.sync(4, false, []byte("\xff")), "error").Attrs["code"])

	// the snapshot stays as it is made until it is a page old
	var last []byte
	for i, want := range []int{0, 1, 2, 3, 0} {
		got := other.sync(0, true, nil)
		require.Len(t, versions(t, got), want, i)
		reference := child(got, "snapshot").Content.([]byte)
		if i > 0 && i < 4 {
			require.Equal(t, last, reference)
		}
		last = reference
		p.sync(4+i, false, patch(t, "c"+strconv.Itoa(i), "1"))
	}
	require.Equal(t, "404", child(other.sync(1, false, nil), "error").Attrs["code"], "patches that old are gone")

	// it holds the last record of each index, and none that was removed
	p.sync(9, false, patch(t, "c0", ""))
	p.sync(10, false, patch(t, "a", "last"))
	p.sync(11, false, patch(t, "d", "1"))
	p.sync(12, false, patch(t, "d", "2"))
	var ref waServerSync.ExternalBlobReference
	require.NoError(t, proto.Unmarshal(child(other.sync(0, true, nil), "snapshot").Content.([]byte), &ref))
	raw, err := s.phone(t, "Reader").Download(t.Context(), &ref)
	require.NoError(t, err)
	var shot waServerSync.SyncdSnapshot
	require.NoError(t, proto.Unmarshal(raw, &shot))
	require.EqualValues(t, 13, shot.GetVersion().GetVersion())
	require.Equal(t, "mac of d2", string(shot.GetMac()))
	require.Equal(t, "key", string(shot.GetKeyID().GetID()))
	got := make(map[string]string)
	for _, r := range shot.GetRecords() {
		got[string(r.GetIndex().GetBlob())] = string(r.GetValue().GetBlob())
	}
	require.Equal(t, map[string]string{"a": "last", "c1": "1", "c2": "1", "c3": "1", "c4": "1", "d": "2"}, got)

	// what lies outside of a patch cannot be in a snapshot
	raw, err = proto.Marshal(&waServerSync.SyncdPatch{ExternalMutations: &waServerSync.ExternalBlobReference{}})
	require.NoError(t, err)
	p.sync(13, false, raw)
	require.Equal(t, "404", child(other.sync(0, true, nil), "error").Attrs["code"])
	require.Equal(t, []uint64{14}, versions(t, other.sync(13, false, nil)))
}

func withSyncKey(t *testing.T, list ...*client) {
	t.Helper()
	for _, c := range list { // as if the phone had shared it
		require.NoError(t, c.Store.AppStateKeys.PutAppStateSyncKey(t.Context(), []byte("key001"), store.AppStateSyncKey{
			Data: bytes.Repeat([]byte{7}, 32), Fingerprint: []byte{}, Timestamp: time.Now().UnixMilli(),
		}))
	}
}

// state is a client's version and hash of a collection.
func (c *client) state(name appstate.WAPatchName) (uint64, [128]byte) {
	c.t.Helper()
	version, hash, err := c.Store.AppState.GetAppStateVersion(c.t.Context(), string(name))
	require.NoError(c.t, err)
	return version, hash
}

func (c *client) agrees(other *client, name appstate.WAPatchName, version uint64) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		v, hash := c.state(name)
		w, same := other.state(name)
		return v == version && w == version && hash == same
	}, patience, 5*time.Millisecond)
}

func TestAppStateOfRealClients(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{AppStatePage: 2, MaxQueuePerDevice: 30})
	p, contact := s.online(t, s.primary(t, "")), s.primary(t, "")
	chat := types.NewJID("100000000000099", types.HiddenUserServer)
	one, two := pair(t, s, p), pair(t, s, p)
	withSyncKey(t, one, two)
	ctx := t.Context()

	// each sees what the other does, as an event once the collection was synchronised
	require.NoError(t, one.SendAppState(ctx, appstate.BuildPin(chat, true)))
	one.agrees(two, appstate.WAPatchRegularLow, 1)
	require.NoError(t, one.SendAppState(ctx, appstate.BuildArchive(chat, true, time.Time{}, nil)))
	require.True(t, await[*events.Archive](two, nil).Action.GetArchived())
	require.False(t, await[*events.Pin](two, nil).Action.GetPinned(), "archiving unpins")
	require.NoError(t, two.SendAppState(ctx, appstate.BuildArchive(chat, false, time.Time{}, nil)))
	require.False(t, await(one, func(e *events.Archive) bool { return !e.Action.GetArchived() }).Action.GetArchived())
	one.agrees(two, appstate.WAPatchRegularLow, 3)
	require.NoError(t, one.SendAppState(ctx, appstate.BuildMute(chat, true, time.Hour)))
	one.agrees(two, appstate.WAPatchRegularHigh, 1)
	require.NoError(t, two.SendAppState(ctx, appstate.BuildStar(chat, chat, "M1", false, true)))
	require.Equal(t, "M1", await[*events.Star](one, nil).MessageID)
	one.agrees(two, appstate.WAPatchRegularHigh, 2)

	// a conflict: two does not hear of what one does, since its queue is full of something else, applies it and tries again
	two.Disconnect()
	queue := func(c *client) int { return s.Stats().Queues[p.c.phone+":"+strconv.Itoa(int(c.Store.ID.Device))] }
	for i := 0; queue(two) < 30; i++ {
		p.send(node{Tag: "receipt", Attrs: attrs{"id": "R" + strconv.Itoa(i), "to": contact.lid, "type": "read-self"}})
		p.ok("w:p", "get")
		require.Eventually(t, func() bool { return queue(one) == 0 }, patience, time.Millisecond)
	}
	for i := range 5 {
		require.NoError(t, one.SendAppState(ctx, appstate.BuildMute(chat, i%2 == 0, 0)))
	}
	require.EqualValues(t, 5, s.Stats().Dropped)
	two.connect()
	await(two, func(e *events.OfflineSyncCompleted) bool { return e.Count == 30 })
	version, _ := two.state(appstate.WAPatchRegularHigh)
	require.EqualValues(t, 2, version)
	require.NoError(t, two.SendAppState(ctx, appstate.BuildStar(chat, chat, "M2", false, true)))
	one.agrees(two, appstate.WAPatchRegularHigh, 8)

	// a new device, and one that starts again, begin with the snapshot and get the same hash
	three := pair(t, s, p)
	withSyncKey(t, three)
	three.EmitAppStateEventsOnFullSync = true
	for name, version := range map[appstate.WAPatchName]uint64{appstate.WAPatchRegularHigh: 8, appstate.WAPatchRegularLow: 3} {
		require.NoError(t, three.FetchAppState(ctx, name, true, false))
		three.agrees(one, name, version)
		require.NoError(t, two.FetchAppState(ctx, name, true, false))
		two.agrees(one, name, version)
	}
	require.Equal(t, "M2", await(three, func(e *events.Star) bool { return e.MessageID == "M2" }).MessageID)
	require.True(t, await[*events.Mute](three, nil).FromFullSync)
	require.Equal(t, 3, s.Stats().Blobs, "one of each first version, and one when that was too old")
	require.NoError(t, three.SendAppState(ctx, appstate.BuildMute(chat, false, 0)))
	one.agrees(three, appstate.WAPatchRegularHigh, 9)
	one.agrees(two, appstate.WAPatchRegularHigh, 9)
	for _, c := range []*client{one, two, three} {
		for _, evt := range c.stash {
			_, failed := evt.(*events.AppStateSyncError)
			require.False(t, failed, "%v", evt)
		}
	}
}
