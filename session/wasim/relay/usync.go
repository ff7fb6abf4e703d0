package relay

import (
	"strings"

	"go.mau.fi/whatsmeow/types"
)

// onUsync answers what is known of users: devices, LID, whether they exist, profile.
func (c *conn) onUsync(n *node) ([]node, *iqError) {
	req, _ := child(n, "usync")
	query, ok := child(&req, "query")
	list, okList := child(&req, "list")
	if !ok || !okList || str(&req, "sid") == "" {
		return nil, c.bad("usync", "element missing")
	}
	var users []node
	for _, user := range list.GetChildren() {
		if user.Tag != "user" {
			continue
		}
		if contact, byNumber := child(&user, "contact"); byNumber {
			users = append(users, c.contact(contact, query.GetChildren()))
			continue
		}
		j, ok := jidOf(&user, "jid")
		if !ok || j.Device != 0 {
			return nil, c.bad("usync", "user without plain jid")
		}
		answer := node{Tag: "user", Attrs: attrs{"jid": j}}
		if acct := c.s.lookup(j); acct != nil {
			answer.Content = nonEmpty(c.about(acct, j.Server, query.GetChildren()))
		}
		users = append(users, answer)
	}
	return []node{el("usync", attrs{
		"sid": str(&req, "sid"), "index": "0", "last": "true", "mode": str(&req, "mode"), "context": str(&req, "context"),
	}, el("list", nil, users...))}, nil
}

func nonEmpty(list []node) any {
	if len(list) == 0 {
		return nil
	}
	return list
}

// about is what was asked of one user. asked is the namespace of the question: a LID asked by LID would be taken for a phone number's.
func (c *conn) about(acct *account, asked string, items []node) []node {
	var out []node
	for _, item := range items {
		switch item.Tag {
		case "devices":
			acct.watch(c.dev.acct.phone)
			out = append(out, acct.deviceList())
		case "lid":
			if asked == types.DefaultUserServer {
				out = append(out, node{Tag: "lid", Attrs: attrs{"val": acct.lid(0)}})
			}
		case "status":
			out = append(out, acct.statusNode(c.dev.acct))
		case "picture":
			if id := acct.pictureID(c.dev.acct); id != "" {
				out = append(out, node{Tag: "picture", Attrs: attrs{"id": id}})
			}
		case "disappearing_mode":
			out = append(out, acct.disappearingNode())
		}
	}
	return out
}

// contact answers whether a number is on WhatsApp.
func (c *conn) contact(asked node, items []node) node {
	number := strings.TrimPrefix(string(payload(asked)), "+")
	number, _, _ = strings.Cut(number, "@")
	number = strings.TrimPrefix(number, "+")
	acct := c.s.number(number)
	echo := node{Tag: "contact", Attrs: attrs{"type": "out"}, Content: payload(asked)}
	if acct == nil {
		a := attrs{}
		if digits(number) {
			a["jid"] = types.NewJID(number, types.DefaultUserServer)
		}
		return el("user", a, echo)
	}
	echo.Attrs["type"] = "in"
	children := append([]node{echo}, c.about(acct, types.HiddenUserServer, items)...)
	return el("user", attrs{"jid": acct.lid(0), "pn_jid": acct.pn(0)}, children...)
}
