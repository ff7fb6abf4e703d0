package relay

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mau.fi/whatsmeow/types"
)

// profile is what users set about themselves, guarded by the account.
type profile struct {
	status, statusAt string
	picture          string // id, "" without one
	image            blobRef
	privacy          map[string]string
	disappearing     string // seconds
	disappearingAt   string
}

// privacyTokens is when a contact was last issued one.
type privacyTokens struct{ at string }

const (
	maxStatus  = 1024
	maxPrivacy = 32
	maxBlocked = 10_000
	maxIssued  = 10_000
)

// defaultPrivacy is what a new account answers. Read receipts must be "all", or clients send read-self instead.
func defaultPrivacy() map[string]string {
	return map[string]string{
		"readreceipts": "all", "last": "all", "profile": "all", "status": "all", "groupadd": "all", "online": "all",
		"calladd": "all", "messages": "all", "defense": "off", "stickers": "contacts",
	}
}

// privacyNode is for who holds the lock.
func (a *account) privacyNode() node {
	if a.profile.privacy == nil {
		a.profile.privacy = defaultPrivacy()
	}
	var list []node
	for _, name := range slices.Sorted(maps.Keys(a.profile.privacy)) {
		list = append(list, node{Tag: "category", Attrs: attrs{"name": name, "value": a.profile.privacy[name]}})
	}
	return el("privacy", nil, list...)
}

func (c *conn) onPrivacyGet(*node) ([]node, *iqError) {
	c.dev.acct.mu.Lock()
	defer c.dev.acct.mu.Unlock()
	return []node{c.dev.acct.privacyNode()}, nil
}

func (c *conn) onPrivacySet(n *node) ([]node, *iqError) {
	req, _ := child(n, "privacy")
	acct := c.dev.acct
	acct.mu.Lock()
	_ = acct.privacyNode()
	for _, each := range req.GetChildren() {
		name, value := str(&each, "name"), str(&each, "value")
		_, known := acct.profile.privacy[name]
		if name == "" || value == "" || !known && len(acct.profile.privacy) >= maxPrivacy {
			acct.mu.Unlock()
			return nil, errBadRequest
		}
		acct.profile.privacy[name] = value
	}
	answer := acct.privacyNode()
	acct.mu.Unlock()
	c.toOwnOthers(func() node { return c.s.notification("account_sync", acct.pn(0), answer) })
	return []node{answer}, nil
}

// toOwnOthers queues a notification for the own other devices.
func (c *conn) toOwnOthers(build func() node) {
	for _, d := range c.dev.acct.all() {
		if d != c.dev {
			c.s.deliver(d, build(), c.dev.acct.phone)
		}
	}
}

// onPrivacyTokens issues the trust a contact needs to write first; clients do so after their own first message.
func (c *conn) onPrivacyTokens(n *node) ([]node, *iqError) {
	req, _ := child(n, "tokens")
	acct := c.dev.acct
	for _, each := range req.GetChildren() {
		j, ok := jidOf(&each, "jid")
		contact := c.s.lookup(j)
		if !ok || contact == nil || contact == acct {
			continue
		}
		at := str(&each, "t")
		if at == "" {
			at = unix(time.Now())
		}
		acct.mu.Lock()
		if acct.seenPN == nil {
			acct.seenPN = make(map[string]privacyTokens)
		}
		if len(acct.seenPN) < maxIssued {
			acct.seenPN[contact.phone] = privacyTokens{at: at}
		}
		acct.mu.Unlock()
		note := c.s.notification("privacy_token", acct.pn(0), el("tokens", nil,
			node{Tag: "token", Attrs: attrs{"type": "trusted_contact", "t": at}, Content: c.s.token(acct, contact)}))
		note.Attrs["sender_lid"] = acct.lid(0)
		for _, d := range contact.all() {
			c.s.deliver(d, note, acct.phone)
		}
	}
	return []node{{Tag: "tokens"}}, nil
}

func (c *conn) onBlocklist(*node) ([]node, *iqError) {
	c.dev.acct.mu.Lock()
	defer c.dev.acct.mu.Unlock()
	return []node{c.dev.acct.blocklist()}, nil
}

// blocklist is for who holds the lock.
func (a *account) blocklist() node {
	list := slices.SortedFunc(maps.Keys(a.blocked), func(x, y types.JID) int { return strings.Compare(x.User, y.User) })
	var items []node
	for _, lid := range list {
		items = append(items, node{Tag: "item", Attrs: attrs{"jid": lid, "pn_jid": a.blocked[lid]}})
	}
	return el("list", attrs{"dhash": participantHash(list), "addressing_mode": "lid"}, items...)
}

// blocks says whether the account wants to hear nothing of another.
func (a *account) blocks(other *account) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.blocksLocked(other)
}

func (a *account) blocksLocked(other *account) bool {
	_, ok := a.blocked[other.lid(0)]
	return ok
}

// shows says whether a privacy setting lets another account see something, or do it. Whom the account has issued a token to counts as
// its contact: the server knows no others.
func (a *account) shows(what string, viewer *account) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.showsLocked(what, viewer)
}

func (a *account) showsLocked(what string, viewer *account) bool {
	if viewer == a {
		return true
	}
	if a.blocksLocked(viewer) {
		return false
	}
	switch a.profile.privacy[what] {
	case "none":
		return false
	case "contacts", "contact_blacklist":
		_, contact := a.seenPN[viewer.phone]
		return contact
	default:
		return true
	}
}

func (c *conn) onBlocklistChange(n *node) ([]node, *iqError) {
	item, _ := child(n, "item")
	j, _ := jidOf(&item, "jid")
	who := c.s.lookup(j)
	if who == nil {
		return nil, errBadRequest
	}
	acct := c.dev.acct
	answer, fault := acct.block(who, str(&item, "action"))
	if fault != nil {
		return nil, fault
	}
	c.toOwnOthers(func() node {
		return c.s.notification("account_sync", acct.pn(0), el("blocklist", attrs{"action": "modify", "dhash": str(&answer, "dhash")},
			node{Tag: "item", Attrs: attrs{"jid": who.lid(0), "pn_jid": who.pn(0), "action": str(&item, "action")}}))
	})
	return []node{answer}, nil
}

// block changes the list and returns it.
func (a *account) block(who *account, action string) (node, *iqError) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch action {
	case "block":
		if a.blocked == nil {
			a.blocked = make(map[types.JID]types.JID)
		}
		if len(a.blocked) >= maxBlocked {
			return node{}, errLimit
		}
		a.blocked[who.lid(0)] = who.pn(0)
	case "unblock":
		delete(a.blocked, who.lid(0))
	default:
		return node{}, errBadRequest
	}
	return a.blocklist(), nil
}

func (c *conn) onStatusSet(n *node) ([]node, *iqError) {
	status, _ := child(n, "status")
	return nil, c.setStatus(string(payload(status)))
}

// setStatus changes the text about the user and tells who knows the account.
func (c *conn) setStatus(text string) *iqError {
	if len(text) > maxStatus {
		return errBadRequest
	}
	acct := c.dev.acct
	acct.mu.Lock()
	acct.profile.status, acct.profile.statusAt = text, unix(time.Now())
	acct.mu.Unlock()
	note := c.s.notification("status", acct.pn(0), leaf("set", []byte(text)))
	c.toOwnOthers(func() node { return note })
	c.s.toKnown(acct, "status", note)
	return nil
}

// toKnown tells those who were told the account's devices, and may see what has changed, of it.
func (s *Server) toKnown(acct *account, what string, n node) {
	acct.mu.Lock()
	known := slices.Sorted(maps.Keys(acct.watchers))
	acct.mu.Unlock()
	for _, phone := range known {
		if other := s.account(phone); other != nil && other != acct && acct.shows(what, other) {
			s.deliverAll([]*account{other}, n, acct.phone)
		}
	}
}

// statusNode is the text about the user as another may see it.
func (a *account) statusNode(viewer *account) node {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.showsLocked("status", viewer) {
		return node{Tag: "status", Attrs: attrs{"code": "401", "type": "fail"}}
	}
	return node{Tag: "status", Attrs: attrs{"t": a.profile.statusAt}, Content: []byte(a.profile.status)}
}

// pictureID is "" for who may not see the picture.
func (a *account) pictureID(viewer *account) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.showsLocked("profile", viewer) {
		return ""
	}
	return a.profile.picture
}

func (a *account) disappearingNode() node {
	a.mu.Lock()
	defer a.mu.Unlock()
	d, t := a.profile.disappearing, a.profile.disappearingAt
	if d == "" {
		d, t = "0", "0"
	}
	return node{Tag: "disappearing_mode", Attrs: attrs{"duration": d, "t": t}}
}

func (c *conn) onDisappearing(n *node) ([]node, *iqError) {
	req, _ := child(n, "disappearing_mode")
	if _, err := strconv.ParseUint(str(&req, "duration"), 10, 32); err != nil {
		return nil, errBadRequest
	}
	c.dev.acct.mu.Lock()
	defer c.dev.acct.mu.Unlock()
	c.dev.acct.profile.disappearing, c.dev.acct.profile.disappearingAt = str(&req, "duration"), unix(time.Now())
	return nil, nil
}

// statusMutation is the query that changes the text about the user.
const statusMutation = "9152604461510864"

// onMex answers all queries with an empty result, and does what one of them asks for.
func (c *conn) onMex(n *node) ([]node, *iqError) {
	query, _ := child(n, "query")
	if str(&query, "query_id") == statusMutation {
		var in struct {
			Variables struct {
				Input struct {
					Text string `json:"text"`
				} `json:"input"`
			} `json:"variables"`
		}
		if json.Unmarshal(payload(query), &in) != nil {
			return nil, errBadRequest
		}
		if fault := c.setStatus(in.Variables.Input.Text); fault != nil {
			return nil, fault
		}
	}
	return []node{leaf("result", []byte(`{"data":{}}`))}, nil
}

// onBusinessProfile answers for whoever is asked about that it is no business: a profile without anything in it.
func (c *conn) onBusinessProfile(n *node) ([]node, *iqError) {
	req, _ := child(n, "business_profile")
	var list []node
	for _, each := range req.GetChildrenByTag("profile") {
		if j, ok := jidOf(&each, "jid"); ok {
			list = append(list, node{Tag: "profile", Attrs: attrs{"jid": j}})
		}
	}
	return []node{el("business_profile", attrs{"v": "116"}, list...)}, nil
}

func (c *conn) onProps(*node) ([]node, *iqError) {
	return []node{el("props", attrs{"protocol": "1", "hash": "1", "refresh": "86400", "refresh_id": "1", "ab_key": "sim"},
		node{Tag: "prop", Attrs: attrs{"config_code": "10518", "config_value": "1"}},
		node{Tag: "prop", Attrs: attrs{"config_code": "9666", "config_value": "1"}},
		node{Tag: "prop", Attrs: attrs{"config_code": "14303", "config_value": "1"}},
	)}, nil
}
