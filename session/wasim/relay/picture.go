package relay

import (
	"bytes"
	"strconv"
	"time"

	"go.mau.fi/whatsmeow/types"
)

const pictureBytes = 1 << 20

// onPictureGet tells where the picture of a user or a group is: 401 if who asks may not see it, 404 if there is none.
func (c *conn) onPictureGet(n *node) ([]node, *iqError) {
	req, _ := child(n, "picture")
	target, ok := jidOf(n, "target")
	if !ok {
		target = c.dev.acct.lid(0)
	}
	id, image, fault := c.pictureOf(target, str(&req, "invite"))
	switch {
	case fault != nil:
		return nil, fault
	case id == "":
		return nil, errNotFound
	case str(&req, "id") == id:
		return []node{{Tag: "picture", Attrs: attrs{"status": "304"}}}, nil
	}
	path := image.path("profile")
	kind := str(&req, "type")
	if kind == "" {
		kind = "image"
	}
	return []node{{Tag: "picture", Attrs: attrs{
		"id": id, "type": kind, "direct_path": path, "url": "https://" + c.s.cfg.MediaHost + path,
	}}}, nil
}

func (c *conn) pictureOf(target types.JID, code string) (id string, image blobRef, fault *iqError) {
	self := c.dev.acct
	if target.Server == types.GroupServer {
		g := c.s.group(target)
		if g == nil {
			return "", image, errNotFound
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.member(self) == nil && (code == "" || code != g.invite) {
			return "", image, errNotAuthorized
		}
		return g.picture, g.image, nil
	}
	acct := c.s.lookup(target)
	if acct == nil {
		return "", image, errNotFound
	}
	acct.mu.Lock()
	defer acct.mu.Unlock()
	if !acct.showsLocked("profile", self) {
		return "", image, errNotAuthorized
	}
	return acct.profile.picture, acct.profile.image, nil
}

// onPictureSet changes or removes the own picture, or that of a group.
func (c *conn) onPictureSet(n *node) ([]node, *iqError) {
	acct := c.dev.acct
	req, _ := child(n, "picture")
	data := payload(req)
	switch {
	case len(data) > pictureBytes:
		return nil, errBadRequest
	case len(data) > 0 && !bytes.HasPrefix(data, []byte{0xff, 0xd8, 0xff}):
		return nil, errNotAcceptable // no JPEG
	}
	target, others := jidOf(n, "target")
	var id string
	var fault *iqError
	switch {
	case others && target.Server == types.GroupServer:
		id, fault = c.setGroupPicture(target, data)
	case others && !acct.is(target):
		fault = errForbidden
	default:
		id = c.setPicture(data)
	}
	if fault != nil || id == "" {
		return nil, fault
	}
	return []node{{Tag: "picture", Attrs: attrs{"id": id}}}, nil
}

// store keeps a picture and gives it an id; none for the removal.
func (c *conn) store(data []byte) (id string, image blobRef) {
	if len(data) == 0 {
		return "", blobRef{}
	}
	return strconv.FormatInt(time.Now().UnixMicro(), 10), c.s.blobs.put(data)
}

// pictureChange is what others are told.
func pictureChange(id string, a attrs) node {
	if id == "" {
		return node{Tag: "delete", Attrs: a}
	}
	a["id"] = id
	return node{Tag: "set", Attrs: a}
}

func (c *conn) setPicture(data []byte) string {
	acct := c.dev.acct
	id, image := c.store(data)
	acct.mu.Lock()
	acct.profile.picture, acct.profile.image = id, image
	acct.mu.Unlock()
	note := c.s.notification("picture", acct.pn(0), pictureChange(id, attrs{"jid": acct.pn(0)}))
	c.toOwnOthers(func() node { return note })
	c.s.toKnown(acct, "profile", note)
	return id
}

func (c *conn) setGroupPicture(target types.JID, data []byte) (string, *iqError) {
	g := c.s.group(target)
	if g == nil {
		return "", errNotFound
	}
	g.turn.Lock()
	defer g.turn.Unlock()
	self := g.member(c.dev.acct)
	switch {
	case self == nil:
		return "", errForbidden
	case !g.mayEdit(self):
		return "", errNotAuthorized
	}
	id, image := c.store(data)
	g.change(func() { g.picture, g.image = id, image })
	c.s.deliverAll(g.accounts(), c.s.notification("picture", g.jid(),
		pictureChange(id, attrs{"jid": g.jid(), "author": g.who(self.acct, 0)})), self.acct.phone)
	return id, nil
}
