package relay

import (
	"crypto/hmac"
	"crypto/sha256"
	"maps"
	"slices"
	"strconv"
	"time"

	"go.mau.fi/whatsmeow/types"
)

// profile is what users set about themselves, guarded by the account.
type profile struct {
	status, statusAt string
	picture          string // id, "" without one
	pictureToken     string // of the blob
	privacy          map[string]string
	disappearing     string // seconds
	disappearingAt   string
}

// privacyTokens is when a contact was last issued one.
type privacyTokens struct{ at string }

const (
	maxStatus    = 1024
	maxPrivacy   = 32
	maxBlocked   = 10_000
	maxIssued    = 10_000
	pictureBytes = 1 << 20
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
		mac := hmac.New(sha256.New, c.s.id.root[:])
		mac.Write([]byte(acct.phone + "\n" + contact.phone))
		note := c.s.notification("privacy_token", acct.pn(0), el("tokens", nil,
			node{Tag: "token", Attrs: attrs{"type": "trusted_contact", "t": at}, Content: mac.Sum(nil)[:16]}))
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
	var items []node
	var list []types.JID
	for lid, pn := range a.blocked {
		list = append(list, lid)
		items = append(items, node{Tag: "item", Attrs: attrs{"jid": lid, "pn_jid": pn}})
	}
	return el("list", attrs{"dhash": participantHash(list), "addressing_mode": "lid"}, items...)
}

func (c *conn) onBlocklistChange(n *node) ([]node, *iqError) {
	item, _ := child(n, "item")
	j, _ := jidOf(&item, "jid")
	who := c.s.lookup(j)
	if who == nil {
		return nil, errBadRequest
	}
	acct := c.dev.acct
	acct.mu.Lock()
	defer acct.mu.Unlock()
	switch str(&item, "action") {
	case "block":
		if acct.blocked == nil {
			acct.blocked = make(map[types.JID]types.JID)
		}
		if len(acct.blocked) >= maxBlocked {
			return nil, errLimit
		}
		acct.blocked[who.lid(0)] = who.pn(0)
	case "unblock":
		delete(acct.blocked, who.lid(0))
	default:
		return nil, errBadRequest
	}
	return []node{acct.blocklist()}, nil
}

func (c *conn) onStatusSet(n *node) ([]node, *iqError) {
	status, _ := child(n, "status")
	if len(payload(status)) > maxStatus {
		return nil, errBadRequest
	}
	c.dev.acct.mu.Lock()
	defer c.dev.acct.mu.Unlock()
	c.dev.acct.profile.status, c.dev.acct.profile.statusAt = string(payload(status)), unix(time.Now())
	return nil, nil
}

func (a *account) statusNode() node {
	a.mu.Lock()
	defer a.mu.Unlock()
	return node{Tag: "status", Attrs: attrs{"t": a.profile.statusAt}, Content: []byte(a.profile.status)}
}

func (a *account) pictureID() string {
	a.mu.Lock()
	defer a.mu.Unlock()
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

// onMex takes the one query clients of ours need to succeed, the status text, as any other: with an empty result.
func (c *conn) onMex(*node) ([]node, *iqError) {
	return []node{leaf("result", []byte(`{"data":{}}`))}, nil
}

func (c *conn) onBusinessProfile(*node) ([]node, *iqError) {
	return []node{el("business_profile", attrs{"v": "116"})}, nil
}

func (c *conn) onProps(*node) ([]node, *iqError) {
	return []node{el("props", attrs{"protocol": "1", "hash": "1", "refresh": "86400", "refresh_id": "1", "ab_key": "sim"},
		node{Tag: "prop", Attrs: attrs{"config_code": "10518", "config_value": "1"}},
		node{Tag: "prop", Attrs: attrs{"config_code": "9666", "config_value": "1"}},
		node{Tag: "prop", Attrs: attrs{"config_code": "14303", "config_value": "1"}},
	)}, nil
}

func (c *conn) onPictureGet(n *node) ([]node, *iqError) {
	acct := c.dev.acct
	if j, ok := jidOf(n, "target"); ok {
		if acct = c.s.lookup(j); acct == nil {
			return nil, errNotFound
		}
	}
	req, _ := child(n, "picture")
	acct.mu.Lock()
	id, blob := acct.profile.picture, acct.profile.pictureToken
	acct.mu.Unlock()
	if id == "" {
		return nil, errNotFound
	}
	if str(&req, "id") == id {
		return []node{{Tag: "picture", Attrs: attrs{"status": "304"}}}, nil
	}
	path := directPath("profile", blob)
	kind := str(&req, "type")
	if kind == "" {
		kind = "image"
	}
	return []node{{Tag: "picture", Attrs: attrs{
		"id": id, "type": kind, "direct_path": path, "url": "https://" + c.s.cfg.MediaHost + path,
	}}}, nil
}

func (c *conn) onPictureSet(n *node) ([]node, *iqError) {
	if _, others := jidOf(n, "target"); others {
		return nil, errForbidden // of groups, when they come
	}
	acct := c.dev.acct
	req, set := child(n, "picture")
	image := payload(req)
	if len(image) > pictureBytes {
		return nil, errBadRequest
	}
	id, blob := "", ""
	change := node{Tag: "delete", Attrs: attrs{"jid": acct.pn(0)}}
	if set && len(image) > 0 {
		id = strconv.FormatInt(time.Now().UnixMilli(), 10)
		blob = c.s.blobs.put(image)
		change = node{Tag: "set", Attrs: attrs{"jid": acct.pn(0), "id": id}}
	}
	acct.mu.Lock()
	acct.profile.picture, acct.profile.pictureToken = id, blob
	acct.mu.Unlock()
	c.toOwnOthers(func() node { return c.s.notification("picture", acct.pn(0), change) })
	if id == "" {
		return nil, nil
	}
	return []node{{Tag: "picture", Attrs: attrs{"id": id}}}, nil
}
