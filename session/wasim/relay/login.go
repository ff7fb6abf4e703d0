package relay

import (
	"fmt"
	"strconv"
	"time"

	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/types"
)

// login accepts a device whose number, id and Noise key are known together. Whoever else asks hears 401, as after an unlinking.
func (c *conn) login(hail *waWa6.ClientPayload) {
	phone := strconv.FormatUint(hail.GetUsername(), 10)
	acct := c.s.account(phone)
	var d *device
	if id := hail.GetDevice(); acct != nil && id <= maxDevice {
		d = acct.device(uint16(id))
	}
	if d == nil || d.keys.noise != c.static {
		c.refuse(phone, hail.GetDevice(), 401)
		return
	}
	if code, ok := c.s.faults.refusal(phone, d.id); ok {
		c.refuse(phone, hail.GetDevice(), code)
		return
	}
	c.mu.Lock()
	c.dev = d
	c.mu.Unlock()
	d.mu.Lock()
	if d.removed { // just now
		d.mu.Unlock()
		c.refuse(phone, hail.GetDevice(), 401)
		return
	}
	old := d.conn
	d.conn, d.active = c, false
	d.queue.rewind()
	d.mu.Unlock()
	if old != nil {
		old.streamError("", node{Tag: "conflict", Attrs: attrs{"type": "replaced"}})
	}
	c.send(node{Tag: "success", Attrs: attrs{
		"t": unix(time.Now()), "props": "27", "companion_enc_static": "NULL",
		"lid": acct.lid(d.id), "location": "sim", "creation": unix(time.Now()),
	}})
	c.s.emit(Observation{Kind: LoggedIn, Phone: phone, Device: d.id})
}

func (c *conn) refuse(phone string, id uint32, code int) {
	a := attrs{"location": "sim"}
	if code == 402 { // a temporary ban says why and for how long
		a["code"], a["expire"] = "101", "3600"
	}
	c.failure(code, a)
	c.s.emit(Observation{Kind: LoginRefused, Phone: phone, Device: uint16(min(id, maxDevice)), Code: code})
}

// onActive opens the queue.
func (c *conn) onActive(n *node) ([]node, *iqError) {
	c.dev.activate(c, result(n))
	c.s.emit(Observation{Kind: Activated, Phone: c.dev.acct.phone, Device: c.dev.id})
	c.s.faults.onActive(c)
	return nil, errAnswered
}

func (c *conn) onPassive(*node) ([]node, *iqError) {
	c.dev.deactivate(c)
	return nil, nil
}

// Unlink removes a companion as the phone would: its connection is told so, its next login is refused, all who know of it hear
// of it. Errors: ErrUnknownAccount, ErrUnknownDevice (also for device 0).
func (s *Server) Unlink(phone string, id uint16) error {
	acct := s.account(phone)
	if acct == nil {
		return fmt.Errorf("%w: %s", ErrUnknownAccount, redact(phone))
	}
	if !s.unlink(acct, id) {
		return fmt.Errorf("%w: %d of %s", ErrUnknownDevice, id, redact(phone))
	}
	return nil
}

func (s *Server) unlink(acct *account, id uint16) bool {
	acct.mu.Lock()
	d := acct.devices[id]
	if d == nil || id == 0 {
		acct.mu.Unlock()
		return false
	}
	delete(acct.devices, id)
	acct.mu.Unlock()
	d.mu.Lock()
	d.removed, d.active = true, false
	c := d.conn
	d.queue.items = nil
	d.queue.rewind()
	d.stock = nil
	d.mu.Unlock()
	if c != nil {
		c.streamError("401", node{Tag: "conflict", Attrs: attrs{"type": "device_removed"}})
	}
	s.emit(Observation{Kind: Unlinked, Phone: acct.phone, Device: id})
	s.announceDevices(acct, "remove", d)
	return true
}

// onRemoveCompanion is the same, asked for by the phone (of any or all) or by a companion (of itself).
func (c *conn) onRemoveCompanion(n *node) ([]node, *iqError) {
	req, _ := child(n, "remove-companion-device")
	acct := c.dev.acct
	var ids []uint16
	if str(&req, "all") == "true" {
		for _, d := range acct.all() {
			ids = append(ids, d.id)
		}
	} else if j, ok := jidOf(&req, "jid"); ok && (j.Server == types.DefaultUserServer && j.User == acct.phone || j.User == acct.user) {
		ids = append(ids, j.Device)
	} else {
		return nil, errBadRequest
	}
	self := false
	for _, id := range ids {
		switch {
		case id == 0:
		case c.dev.id != 0 && id != c.dev.id:
			return nil, errForbidden
		case id == c.dev.id:
			self = true // after the answer, or it would never be sent
		case !c.s.unlink(acct, id):
			return nil, errNotFound
		}
	}
	if self {
		c.send(result(n))
		c.s.unlink(acct, c.dev.id)
		return nil, errAnswered
	}
	return nil, nil
}
