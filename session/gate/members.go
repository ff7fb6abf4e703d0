package gate

import (
	"context"
	"slices"
	"sync"

	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
)

// elsewhere is the integrator in the id of a group whose notification was diverted. Only ids of another kind have one on the wire.
const elsewhere uint16 = 1

// divert gives a notification of who joined or left a group another sender, under which whatsmeow knows no group.
func divert(node *waBinary.Node) {
	if node.Tag != "notification" || node.Attrs["type"] != "w:gp2" {
		return
	}
	group, ok := node.Attrs["from"].(types.JID)
	if !ok || group.Server != types.GroupServer {
		return
	}
	if slices.ContainsFunc(node.GetChildren(), func(n waBinary.Node) bool { return n.Tag == "add" || n.Tag == "remove" }) {
		group.Integrator = elsewhere
		node.Attrs["from"] = group
	}
}

// members does in whatsmeow's place what a diverted notification asks for.
type members struct {
	cli *whatsmeow.Client
	mu  sync.Mutex // held from reading an entry to replacing it: whatsmeow goes on beside a handler that takes minutes
}

func (m *members) handle(evt any) {
	if e, ok := evt.(*events.GroupInfo); ok && e.JID.Integrator == elsewhere && e.JID.Server == types.GroupServer {
		e.JID.Integrator = 0
		m.change(e)
	}
}

// change replaces the entry of a group, if there is one, by another with the new members. Whoever reads the old one keeps it.
func (m *members) change(e *events.GroupInfo) {
	m.mu.Lock()
	defer m.mu.Unlock()
	inner := m.cli.DangerousInternals() //nolint:staticcheck // deprecated as a warning, not to be replaced
	// With a context that has ended, an entry that is not there is not asked for.
	ctx, end := context.WithCancel(context.Background())
	end()
	old, err := inner.GetCachedGroupData(ctx, e.JID)
	if err != nil || old == nil {
		return // the next send asks for the members
	}
	list := slices.Clone(old.Members)
	for _, who := range e.Join {
		if !slices.Contains(list, who) {
			list = append(list, who)
		}
	}
	list = slices.DeleteFunc(list, func(who types.JID) bool { return slices.Contains(e.Leave, who) })
	info := &types.GroupInfo{JID: e.JID, AddressingMode: old.AddressingMode}
	info.IsAnnounce, info.IsDefaultSubGroup = old.CommunityAnnouncementGroup, old.CommunityAnnouncementGroup
	for _, who := range list {
		info.Participants = append(info.Participants, types.GroupParticipant{JID: who})
	}
	inner.CacheGroupInfo(info, true) // what it answers is of numbers and names, of which there are none here
}
