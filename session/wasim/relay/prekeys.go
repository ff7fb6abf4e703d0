package relay

import (
	"crypto/sha1" //nolint:gosec // the protocol's digest
	"encoding/binary"
	"strconv"
	"time"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/whatsmeow/types"
)

// lowStock is the number of one-time keys below which a device is asked for more.
const lowStock = 5

// preKey is the public half of a one-time key.
type preKey struct {
	id     uint32
	public [32]byte
}

func keyID(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }

func keyIDBytes(id uint32) []byte {
	return []byte{byte(id >> 16 & 0xff), byte(id >> 8 & 0xff), byte(id & 0xff)}
}

func (c *conn) onPreKeyCount(*node) ([]node, *iqError) {
	c.dev.mu.Lock()
	defer c.dev.mu.Unlock()
	return []node{{Tag: "count", Attrs: attrs{"value": strconv.Itoa(len(c.dev.stock))}}}, nil
}

// onPreKeyUpload adds one-time keys. It appends: keys in stock may be on their way to somebody. The client repeats an upload whose answer
// was lost, with the same id; a key handed out meanwhile must not come into stock again.
func (c *conn) onPreKeyUpload(n *node) ([]node, *iqError) {
	d := c.dev
	reg, _ := child(n, "registration")
	kind, _ := child(n, "type")
	ident, _ := child(n, "identity")
	list, _ := child(n, "list")
	skey, _ := child(n, "skey")
	signed, ok := readSignedPreKey(&skey)
	if len(payload(reg)) != 4 || string(payload(kind)) != string([]byte{ecc.DjbType}) || len(payload(ident)) != 32 || !ok {
		return nil, c.bad("prekey-upload", "element missing or of another size")
	}
	if string(payload(ident)) != string(d.keys.identity[:]) || !signedBy(d.keys.identity, signed) {
		return nil, c.bad("prekey-upload", "keys of another identity")
	}
	fresh := make([]preKey, 0, len(list.GetChildren()))
	for _, each := range list.GetChildren() {
		id, _ := child(&each, "id")
		value, _ := child(&each, "value")
		if each.Tag != "key" || len(payload(id)) != 3 || len(payload(value)) != 32 {
			return nil, c.bad("prekey-upload", "key of another size")
		}
		fresh = append(fresh, preKey{id: keyID(payload(id)), public: [32]byte(payload(value))})
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.upload == str(n, "id") {
		return nil, nil
	}
	if len(d.stock)+len(fresh) > c.s.cfg.MaxPreKeys {
		return nil, errLimit
	}
	stocked := make(map[uint32]struct{}, len(d.stock))
	for _, k := range d.stock {
		stocked[k.id] = struct{}{}
	}
	for _, k := range fresh {
		if _, known := stocked[k.id]; !known {
			d.stock = append(d.stock, k)
		}
	}
	d.upload, d.signed = str(n, "id"), signed
	if len(d.stock) >= lowStock {
		d.lowSent = false
	}
	return nil, nil
}

func readSignedPreKey(n *node) (k SignedPreKey, ok bool) {
	id, _ := child(n, "id")
	value, _ := child(n, "value")
	sig, _ := child(n, "signature")
	if len(payload(id)) != 3 || len(payload(value)) != 32 || len(payload(sig)) != 64 {
		return k, false
	}
	return SignedPreKey{ID: keyID(payload(id)), Public: [32]byte(payload(value)), Signature: [64]byte(payload(sig))}, true
}

// onPreKeyRotate replaces the signed prekey and nothing else.
func (c *conn) onPreKeyRotate(n *node) ([]node, *iqError) {
	rotate, _ := child(n, "rotate")
	skey, _ := child(&rotate, "skey")
	signed, ok := readSignedPreKey(&skey)
	if !ok || !signedBy(c.dev.keys.identity, signed) {
		return nil, c.bad("prekey-rotate", "signed prekey of another identity or size")
	}
	c.dev.mu.Lock()
	defer c.dev.mu.Unlock()
	c.dev.signed = signed
	return nil, nil
}

// onPreKeyDigest tells a client what the server holds of it. Some libraries ask at each login and upload anew if it differs.
func (c *conn) onPreKeyDigest(*node) ([]node, *iqError) {
	d := c.dev
	d.mu.Lock()
	defer d.mu.Unlock()
	h := sha1.New() //nolint:gosec // the protocol's digest
	h.Write(d.keys.identity[:])
	h.Write(d.signed.Public[:])
	h.Write(d.signed.Signature[:])
	ids := make([]node, len(d.stock))
	for i, k := range d.stock {
		h.Write(k.public[:])
		ids[i] = leaf("id", keyIDBytes(k.id))
	}
	return []node{el(
		"digest", nil,
		d.registrationNode(), leaf("type", []byte{ecc.DjbType}), leaf("identity", d.keys.identity[:]),
		d.signedNode(), el("list", nil, ids...), leaf("hash", h.Sum(nil)),
	)}, nil
}

func (d *device) registrationNode() node {
	return leaf("registration", binary.BigEndian.AppendUint32(nil, d.keys.registration))
}

// signedNode is for who holds the lock.
func (d *device) signedNode() node {
	signed := d.signed // a copy: the answer is written when the lock is gone
	return el("skey", nil,
		leaf("id", keyIDBytes(signed.ID)), leaf("value", signed.Public[:]), leaf("signature", signed.Signature[:]))
}

// onPreKeyFetch hands out bundles, each one-time key once. The address in the answer is the one asked for: clients look it up by that.
func (c *conn) onPreKeyFetch(n *node) ([]node, *iqError) {
	req, _ := child(n, "key")
	var users []node
	for _, each := range req.GetChildren() {
		j, ok := jidOf(&each, "jid")
		if each.Tag != "user" || !ok {
			return nil, c.bad("prekey-fetch", "user without jid")
		}
		users = append(users, c.s.bundle(j))
	}
	if len(users) == 0 {
		return nil, c.bad("prekey-fetch", "no user")
	}
	return []node{el("list", nil, users...)}, nil
}

func (s *Server) bundle(j types.JID) node {
	var d *device
	if acct := s.lookup(j); acct != nil {
		d = acct.device(j.Device)
	}
	if d == nil {
		return el("user", attrs{"jid": j}, node{Tag: "error", Attrs: attrs{"code": "404", "text": "item-not-found"}})
	}
	d.mu.Lock()
	content := []node{d.registrationNode(), leaf("type", []byte{ecc.DjbType}), leaf("identity", d.keys.identity[:])}
	one := 0
	if len(d.stock) > 0 {
		one = 1
		k := d.stock[0]
		d.stock = d.stock[1:]
		content = append(content, el("key", nil, leaf("id", keyIDBytes(k.id)), leaf("value", k.public[:])))
	}
	content = append(content, d.signedNode())
	left := len(d.stock)
	tell := left < lowStock && !d.lowSent
	if tell {
		d.lowSent = true
	}
	d.mu.Unlock()
	if tell {
		s.deliver(d, s.notification("encrypt", types.ServerJID,
			node{Tag: "count", Attrs: attrs{"value": strconv.Itoa(left)}}), d.acct.phone)
	}
	s.emit(Observation{Kind: PreKeysFetched, Phone: d.acct.phone, Device: d.id, Code: one})
	return el("user", attrs{"jid": j, "t": unix(time.Now())}, content...)
}
