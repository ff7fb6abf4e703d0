package relay

import (
	"fmt"

	"go.mau.fi/whatsmeow/types"
)

// Groups that are older than hidden ids know their members by phone number: every stanza about them, and in them, says who by number, with the
// LID beside it. All others do it the other way round.

// server is the namespace in which a group knows its members.
func (g *group) server() string {
	if g.byNumber {
		return types.DefaultUserServer
	}
	return types.HiddenUserServer
}

func (g *group) mode() string {
	if g.byNumber {
		return string(types.AddressingModePN)
	}
	return string(types.AddressingModeLID)
}

// who is a member's device, as the group knows it.
func (g *group) who(a *account, device uint16) types.JID { return a.in(g.server(), device) }

// name puts into attributes who somebody is, as the group knows it, and the other way.
func (g *group) name(at attrs, key string, a *account, device uint16) attrs {
	at[key] = g.who(a, device)
	beside := key + "_pn"
	if g.byNumber {
		beside = key + "_lid"
	}
	at[beside] = a.other(g.server(), device)
	return at
}

// participant is a user in lists of members.
func (g *group) participant(a *account) node {
	beside := "phone_number"
	if g.byNumber {
		beside = "lid"
	}
	return node{Tag: "participant", Attrs: attrs{"jid": g.who(a, 0), beside: a.other(g.server(), 0)}}
}

func (g *group) participants(accts []*account) []node {
	list := make([]node, len(accts))
	for i, a := range accts {
		list[i] = g.participant(a)
	}
	return list
}

// AddressGroups says how groups that an account makes from now on know their members: by LID, which is usual, or by phone number, as those do
// that are older than LIDs. Errors: ErrUnknownAccount, ErrInvalidAccount for another mode.
func (s *Server) AddressGroups(phone string, mode types.AddressingMode) error {
	if mode != types.AddressingModeLID && mode != types.AddressingModePN {
		return fmt.Errorf("%w: groups address by pn or lid, not by %q", ErrInvalidAccount, mode)
	}
	acct := s.account(phone)
	if acct == nil {
		return fmt.Errorf("%w: %s", ErrUnknownAccount, phone)
	}
	acct.mu.Lock()
	defer acct.mu.Unlock()
	acct.byNumber = mode == types.AddressingModePN
	return nil
}

func (a *account) foundsByNumber() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.byNumber
}
