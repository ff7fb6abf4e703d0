package relay

import (
	"time"

	"go.mau.fi/whatsmeow/types"
)

// onNotification takes the one notification that clients send: a phone's answer to a companion that asked for a file to be uploaded again.
// The question is a receipt of type server-error, which comes from the companion's device; the answer goes to that device, or to all
// companions if it names none. What is in it is encrypted with the file's key.
func (c *conn) onNotification(n *node) {
	to, ok := jidOf(n, "to")
	id := str(n, "id")
	_, answer := child(n, "encrypt")
	if !answer {
		_, answer = child(n, "error")
	}
	switch {
	case str(n, "type") != "mediaretry":
		c.violate("notification", "of type "+str(n, "type"))
		return
	case c.dev.id != 0 || !ok || !c.dev.acct.is(to) || id == "" || !has(n, "rmr") || !answer:
		c.violate("notification", "mediaretry that is no phone's answer to an own device")
		return
	}
	c.send(node{Tag: "ack", Attrs: attrs{"class": "notification", "type": "mediaretry", "id": id, "from": to, "t": unix(time.Now())}})
	acct := c.dev.acct
	note := el("notification", attrs{
		"type": "mediaretry", "id": id, "from": types.NewJID(acct.phone, types.DefaultUserServer), "t": unix(time.Now()),
	}, n.GetChildren()...)
	for _, d := range acct.all() {
		if d.id != 0 && (to.Device == 0 || to.Device == d.id) {
			c.s.deliver(d, note, acct.phone)
		}
	}
}
