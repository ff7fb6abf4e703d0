package phone

import (
	"strings"
	"time"

	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
)

// GroupChange is what somebody changed of a group; members that are nil or empty did not change. Lists are of numbers.
type GroupChange struct {
	Created     bool     `json:"created,omitempty"` // it is new for this phone: it was created or joined
	Name        *string  `json:"name,omitempty"`
	Description *string  `json:"description,omitempty"`
	Announce    *bool    `json:"announce,omitempty"`
	Locked      *bool    `json:"locked,omitempty"`
	Added       []string `json:"added,omitempty"`
	Removed     []string `json:"removed,omitempty"` // who left too
	Promoted    []string `json:"promoted,omitempty"`
	Demoted     []string `json:"demoted,omitempty"`
	Invite      string   `json:"invite,omitempty"`  // code of the new link
	Picture     *string  `json:"picture,omitempty"` // id; empty: removed
}

func (p *Phone) numbersOf(jids []types.JID) []string {
	var list []string
	for _, jid := range jids {
		list = append(list, p.numberOf(jid))
	}
	return list
}

func (p *Phone) groupEntry(chat types.JID, by *types.JID, at time.Time, change *GroupChange) {
	src := types.MessageSource{Chat: chat, IsGroup: true}
	if by != nil {
		src.Sender, src.IsFromMe = *by, p.isOwn(*by)
	}
	entry := p.entryOf(KindGroup, src, at, []string{})
	entry.Group = change
	p.inbox.add(entry)
}

func (p *Phone) handleGroupChange(e *events.GroupInfo) {
	change := &GroupChange{
		Added: p.numbersOf(e.Join), Removed: p.numbersOf(e.Leave), Promoted: p.numbersOf(e.Promote), Demoted: p.numbersOf(e.Demote),
	}
	if e.Name != nil {
		change.Name = &e.Name.Name
	}
	if e.Topic != nil {
		change.Description = &e.Topic.Topic
	}
	if e.Announce != nil {
		change.Announce = &e.Announce.IsAnnounce
	}
	if e.Locked != nil {
		change.Locked = &e.Locked.IsLocked
	}
	if e.NewInviteLink != nil {
		change.Invite = strings.TrimPrefix(*e.NewInviteLink, InviteLink)
	}
	p.groupEntry(e.JID, e.Sender, e.Timestamp, change)
}

func (p *Phone) handleJoinedGroup(e *events.JoinedGroup) {
	change := &GroupChange{Created: true, Name: &e.Name}
	for _, m := range e.Participants {
		change.Added = append(change.Added, p.numberOf(m.JID))
	}
	p.groupEntry(e.JID, e.Sender, time.Now(), change)
}

func (p *Phone) handlePicture(e *events.Picture) {
	if e.JID.Server == types.GroupServer {
		p.groupEntry(e.JID, &e.Author, e.Timestamp, &GroupChange{Picture: &e.PictureID})
	}
}
