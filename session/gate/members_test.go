package gate_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"

	"github.com/wafleet/wafleet/session/gate"
	"github.com/wafleet/wafleet/session/wasim/memstore"
)

var (
	trip = types.NewJID("120363000000000001", types.GroupServer)
	ana  = types.NewJID("1", types.HiddenUserServer)
	bob  = types.NewJID("2", types.HiddenUserServer)
	eve  = types.NewJID("3", types.HiddenUserServer)
)

// seenLog keeps from whom stanzas came, as a session's logger sees them.
type seenLog struct {
	waLog.Logger

	from *[]types.JID
}

func (l seenLog) Sub(string) waLog.Logger { return l }

func (l seenLog) Debugf(_ string, args ...any) {
	if len(args) == 1 {
		if node, ok := args[0].(*waBinary.Node); ok && node.Tag == "notification" {
			*l.from = append(*l.from, node.AttrGetter().JID("from"))
		}
	}
}

// wire is a client that gets stanzas as if over a connection, one at a time.
type wire struct {
	t     *testing.T
	inner *whatsmeow.DangerousInternalClient
	seen  []types.JID
	told  []*events.GroupInfo
	acks  []types.JID // to whom the acknowledgements of what came would go, as they are read at the other end
}

func newWire(t *testing.T) *wire {
	t.Helper()
	w := &wire{t: t}
	cli := gate.NewClient(memstore.NewDevice(memstore.Limits{}), seenLog{waLog.Noop, &w.seen})
	cli.SynchronousAck = true
	cli.AddEventHandler(func(evt any) {
		if e, ok := evt.(*events.GroupInfo); ok {
			w.told = append(w.told, e)
		}
	})
	w.inner = cli.DangerousInternals() //nolint:staticcheck // the way in
	return w
}

func (w *wire) carry(n waBinary.Node) *waBinary.Node {
	w.t.Helper()
	data, err := waBinary.Marshal(n)
	require.NoError(w.t, err)
	queue := make(chan *waBinary.Node, 1)
	w.inner.HandleFrame(w.t.Context(), data, queue)
	return <-queue
}

func (w *wire) notify(changes ...waBinary.Node) {
	w.t.Helper()
	n := w.carry(waBinary.Node{
		Tag:     "notification",
		Attrs:   waBinary.Attrs{"from": trip, "type": "w:gp2", "id": "1", "t": "1700000000", "participant": ana},
		Content: changes,
	})
	w.inner.HandleNotification(w.t.Context(), n)
	data, err := waBinary.Marshal(waBinary.Node{Tag: "ack", Attrs: waBinary.Attrs{"to": n.Attrs["from"]}})
	require.NoError(w.t, err)
	ack, err := waBinary.Unmarshal(data[1:])
	require.NoError(w.t, err)
	w.acks = append(w.acks, ack.AttrGetter().JID("to"))
}

func members(what string, list ...types.JID) waBinary.Node {
	n := waBinary.Node{Tag: what}
	for _, who := range list {
		n.Content = append(n.GetChildren(), waBinary.Node{Tag: "participant", Attrs: waBinary.Attrs{"jid": who}})
	}
	return n
}

func TestWhoReadsTheMembersKeepsThemAsTheyAre(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	info := &types.GroupInfo{JID: trip, AddressingMode: types.AddressingModeLID}
	info.IsAnnounce, info.IsDefaultSubGroup = true, true
	for _, who := range []types.JID{ana, bob} {
		info.Participants = append(info.Participants, types.GroupParticipant{JID: who})
	}
	w.inner.CacheGroupInfo(info, true)
	read, err := w.inner.GetCachedGroupData(t.Context(), trip)
	require.NoError(t, err)
	for _, step := range []struct {
		changes []waBinary.Node
		want    []types.JID
	}{
		{[]waBinary.Node{members("remove", bob)}, []types.JID{ana}},
		{[]waBinary.Node{members("remove", bob)}, []types.JID{ana}}, // again, after a reconnect
		{[]waBinary.Node{members("add", bob, eve)}, []types.JID{ana, bob, eve}},
		{[]waBinary.Node{members("add", bob, eve)}, []types.JID{ana, bob, eve}},
		{[]waBinary.Node{members("add", bob), members("remove", ana)}, []types.JID{bob, eve}},
		{[]waBinary.Node{members("promote", bob)}, []types.JID{bob, eve}},
		{[]waBinary.Node{{Tag: "locked"}}, []types.JID{bob, eve}},
	} {
		w.notify(step.changes...)
		now, err := w.inner.GetCachedGroupData(t.Context(), trip)
		require.NoError(t, err)
		require.Equal(t, step.want, now.Members)
		require.Equal(t, types.AddressingModeLID, now.AddressingMode)
		require.True(t, now.CommunityAnnouncementGroup)
	}
	require.Equal(t, []types.JID{ana, bob}, read.Members, "changed under its reader")
	require.Len(t, w.told, 7)
	for i := range w.told {
		require.Equal(t, []types.JID{trip, trip, trip}, []types.JID{w.seen[i], w.told[i].JID, w.acks[i]}, "the group is itself to all others")
	}
	require.Equal(t, []types.JID{bob, eve}, w.told[2].Join)
}

// A group whose members nobody asked for is not asked for because somebody joins it.
func TestMembersThatAreNotKnownStayUnknown(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	w.notify(members("add", bob))
	require.Equal(t, trip, w.told[0].JID)
	_, err := w.inner.GetCachedGroupData(t.Context(), trip)
	require.ErrorIs(t, err, whatsmeow.ErrNotConnected, "there is an entry")
}

func TestOtherStanzasAreLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	for name, n := range map[string]waBinary.Node{
		"another kind":   {Tag: "notification", Attrs: waBinary.Attrs{"from": trip, "type": "picture"}, Content: []waBinary.Node{members("add", bob)}},
		"nobody moves":   {Tag: "notification", Attrs: waBinary.Attrs{"from": trip, "type": "w:gp2"}, Content: []waBinary.Node{{Tag: "locked"}}},
		"no group":       {Tag: "notification", Attrs: waBinary.Attrs{"from": bob, "type": "w:gp2"}, Content: []waBinary.Node{members("add", bob)}},
		"no sender":      {Tag: "notification", Attrs: waBinary.Attrs{"type": "w:gp2"}, Content: []waBinary.Node{members("add", bob)}},
		"a message":      {Tag: "message", Attrs: waBinary.Attrs{"from": trip, "type": "w:gp2"}, Content: []waBinary.Node{members("add", bob)}},
		"without a list": {Tag: "notification", Attrs: waBinary.Attrs{"from": trip, "type": "w:gp2"}},
	} {
		require.Equal(t, n.Attrs["from"], w.carry(n).Attrs["from"], name)
	}
}
