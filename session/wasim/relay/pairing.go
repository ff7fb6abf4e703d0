package relay

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"
)

// pairRefs is how many refs a client gets; six make it show the first for a minute and the others for 20 s each.
const pairRefs = 6

var errPairing = errors.New("pairing")

// pairing is a connection of a companion that is not paired yet. The server's lock guards the maps' side of it, its fields are
// used by the companion's reader and by the phone's; mu of the server guards what changes.
type pairing struct {
	c      *conn
	keys   deviceKeys
	signed SignedPreKey
	expiry map[string]time.Time // of each ref

	// guarded by Server.mu
	link    string // ref of the pairing code, "" without
	linkFor *account
	pending *pendingDevice
}

// pendingDevice is a device between the phone's upload and the companion's signature.
type pendingDevice struct {
	request string // id of the pair-success request
	acct    *account
	id      uint16
}

// register takes in a companion that is not paired yet and gives it refs to show.
func (c *conn) register(hail *waWa6.ClientPayload) {
	if code, ok := c.s.faults.refusal("", 1); ok {
		c.refuse("", 0, code)
		return
	}
	p, err := readRegistration(hail.GetDevicePairingData())
	if err != nil {
		c.violate("registration", err.Error())
		c.refuse("", 0, 400)
		return
	}
	p.c = c
	p.keys.noise = c.static
	c.pair = p
	now := time.Now()
	refs := make([]node, pairRefs)
	shown := now.Add(c.s.cfg.QRRefFirst)
	c.s.mu.Lock()
	for i := range refs {
		ref := "2@" + rand.Text()
		refs[i] = leaf("ref", []byte(ref))
		p.expiry[ref] = shown.Add(c.s.cfg.QRRefNext) // the one just gone may still be on its way
		c.s.refs[ref] = p
		shown = shown.Add(c.s.cfg.QRRefNext)
	}
	c.s.mu.Unlock()
	c.s.closeAt(c, shown.Add(c.s.cfg.QRRefNext))
	a := fromServer("set")
	a["xmlns"], a["id"] = "md", c.s.newStanzaID()
	c.send(el("iq", a, el("pair-device", nil, refs...)))
}

func readRegistration(d *waWa6.ClientPayload_DevicePairingRegistrationData) (*pairing, error) {
	switch {
	case len(d.GetERegid()) != 4:
		return nil, fmt.Errorf("%w: registration id of %d bytes", errPairing, len(d.GetERegid()))
	case len(d.GetEIdent()) != 32:
		return nil, fmt.Errorf("%w: identity key of %d bytes", errPairing, len(d.GetEIdent()))
	case len(d.GetESkeyID()) != 3, len(d.GetESkeyVal()) != 32, len(d.GetESkeySig()) != 64:
		return nil, fmt.Errorf("%w: signed prekey of another size", errPairing)
	}
	p := &pairing{
		keys:   deviceKeys{identity: [32]byte(d.GetEIdent()), registration: binary.BigEndian.Uint32(d.GetERegid())},
		signed: SignedPreKey{ID: keyID(d.GetESkeyID()), Public: [32]byte(d.GetESkeyVal()), Signature: [64]byte(d.GetESkeySig())},
		expiry: make(map[string]time.Time, pairRefs+1),
	}
	if !signedBy(p.keys.identity, p.signed) {
		return nil, fmt.Errorf("%w: signed prekey not signed by the identity key", errPairing)
	}
	return p, nil
}

// dropPairing forgets a companion that left; its refs die with the connection.
func (s *Server) dropPairing(p *pairing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ref := range p.expiry {
		delete(s.refs, ref)
	}
}

// unpairedStanza handles what a companion sends before it is paired. Some clients send presences and the like here: only iq counts.
func (c *conn) unpairedStanza(n *node) {
	if n.Tag != "iq" {
		return
	}
	id, xmlns := str(n, "id"), str(n, "xmlns")
	switch str(n, "type") {
	case "result", "error":
		c.s.mu.Lock()
		pending := c.pair.pending
		c.s.mu.Unlock()
		if pending != nil && pending.request == id {
			c.pairSigned(n, pending)
		}
	case "get", "set":
		switch {
		case xmlns == "w:p":
			r := result(n)
			r.Attrs["t"] = unix(time.Now())
			c.send(r)
		case xmlns == "md" && has(n, "link_code_companion_reg"):
			c.onLinkCodeCompanion(n)
		default:
			c.s.rate.unknownIQ(xmlns + " unpaired")
			c.send(failed(n, errNotAuthorized))
		}
	default:
		c.violate("iq-type", str(n, "type"))
	}
}

// onPairDevice is the phone's upload: it has read the companion's ref and keys and signed its identity.
func (c *conn) onPairDevice(n *node) ([]node, *iqError) {
	if c.dev.id != 0 {
		return nil, errForbidden
	}
	up, _ := child(n, "pair-device")
	refNode, _ := child(&up, "ref")
	keyNode, _ := child(&up, "pub-key")
	identityNode, _ := child(&up, "device-identity")
	ref := string(payload(refNode))
	var container waAdv.ADVSignedDeviceIdentityHMAC
	var signed waAdv.ADVSignedDeviceIdentity
	var details waAdv.ADVDeviceIdentity
	if proto.Unmarshal(payload(identityNode), &container) != nil || proto.Unmarshal(container.GetDetails(), &signed) != nil ||
		proto.Unmarshal(signed.GetDetails(), &details) != nil {
		return nil, errBadRequest
	}
	acct := c.dev.acct
	if _, asked := c.s.faults.take(acct.phone, 1, FaultPasskey); asked {
		c.askPasskey(ref)
		return nil, errForbidden
	}
	c.s.mu.Lock()
	p := c.s.refs[ref]
	live := p != nil && time.Now().Before(p.expiry[ref])
	if !live || string(p.keys.noise[:]) != string(payload(keyNode)) || p.linkFor != nil && p.link == ref && p.linkFor != acct {
		c.s.mu.Unlock()
		return nil, errNotFound
	}
	if p.pending != nil {
		c.s.mu.Unlock()
		return nil, errConflict
	}
	p.pending = &pendingDevice{request: c.s.newStanzaID(), acct: acct}
	c.s.mu.Unlock()

	id, ok := acct.reserve()
	if !ok {
		c.s.mu.Lock()
		p.pending = nil
		c.s.mu.Unlock()
		return nil, errLimit
	}
	p.pending.id = id
	c.send(result(n, node{Tag: "device", Attrs: attrs{"jid": acct.pn(id)}}))
	a := fromServer("set")
	a["id"], a["t"], a["xmlns"] = p.pending.request, unix(time.Now()), "md"
	success := []node{
		leaf("device-identity", payload(identityNode)),
		{Tag: "platform", Attrs: attrs{"name": "android"}},
		{Tag: "device", Attrs: attrs{"jid": acct.pn(id), "lid": acct.lid(id)}},
	}
	if props, ok := child(&up, "client-props"); ok {
		success = append(success, props)
	}
	p.c.send(el("iq", a, el("pair-success", nil, success...)))
	return nil, errAnswered
}

// reserve takes the next device id: rising, and only when all were given the lowest free one.
func (a *account) reserve() (uint16, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.nextID()
}

// nextID is reserve for who holds the lock.
func (a *account) nextID() (uint16, bool) {
	if a.nextDevice <= maxDevice {
		a.nextDevice++
		return a.nextDevice - 1, true
	}
	for id := uint16(1); id <= maxDevice; id++ {
		if a.devices[id] == nil {
			return id, true
		}
	}
	return 0, false
}

// pairSigned is the companion's answer to pair-success. Only a good signature makes it a device.
func (c *conn) pairSigned(n *node, pending *pendingDevice) {
	c.s.mu.Lock()
	c.pair.pending = nil
	c.s.mu.Unlock()
	if str(n, "type") == "error" {
		e, _ := child(n, "error")
		c.s.log.Info("companion refused the pairing", "code", str(&e, "code"), "text", str(&e, "text"))
		return // the client leaves by itself
	}
	sign, _ := child(n, "pair-device-sign")
	identityNode, _ := child(&sign, "device-identity")
	pending.acct.mu.Lock()
	primary := pending.acct.devices[0].keys.identity
	pending.acct.mu.Unlock()
	index, err := verifyDeviceSignature(payload(identityNode), primary, c.pair.keys.identity)
	if err == nil && str(&identityNode, "key-index") != strconv.FormatUint(uint64(index), 10) {
		err = fmt.Errorf("%w: key-index %s, signed was %d", errPairing, str(&identityNode, "key-index"), index)
	}
	if err != nil {
		c.violate("pair-device-sign", err.Error())
		c.streamError("401")
		return
	}
	c.s.dropPairing(c.pair) // its refs are used up
	d := &device{acct: pending.acct, id: pending.id, keys: c.pair.keys, signed: c.pair.signed}
	d.keyIndex = strconv.FormatUint(uint64(max(index, 1)), 10)
	acct := pending.acct
	acct.mu.Lock()
	acct.devices[d.id] = d
	acct.mu.Unlock()
	c.s.emit(Observation{Kind: Paired, Phone: acct.phone, Device: d.id})
	c.s.announceDevices(acct, "add", d)
	c.streamError("515")
}

// verifyDeviceSignature checks both signatures of the identity a companion sends back: the phone's, whose key it has left out, and its own.
func verifyDeviceSignature(raw []byte, primary, companion [32]byte) (keyIndex uint32, err error) {
	var signed waAdv.ADVSignedDeviceIdentity
	if err = proto.Unmarshal(raw, &signed); err != nil {
		return 0, fmt.Errorf("%w: device identity: %w", errPairing, err)
	}
	var details waAdv.ADVDeviceIdentity
	if err = proto.Unmarshal(signed.GetDetails(), &details); err != nil {
		return 0, fmt.Errorf("%w: details: %w", errPairing, err)
	}
	if len(signed.GetAccountSignature()) != 64 || len(signed.GetDeviceSignature()) != 64 {
		return 0, fmt.Errorf("%w: signature of another size", errPairing)
	}
	if len(signed.GetAccountSignatureKey()) != 0 {
		return 0, fmt.Errorf("%w: the account's key must be left out", errPairing)
	}
	prefix := []byte{6, 0}
	if details.GetDeviceType() == waAdv.ADVEncryptionType_HOSTED {
		prefix = []byte{6, 5}
	}
	byAccount := join(prefix, signed.GetDetails(), companion[:])
	if !ecc.VerifySignature(ecc.NewDjbECPublicKey(primary), byAccount, [64]byte(signed.GetAccountSignature())) {
		return 0, fmt.Errorf("%w: account signature does not verify", errPairing)
	}
	byDevice := join([]byte{6, 1}, signed.GetDetails(), companion[:], primary[:])
	if !ecc.VerifySignature(ecc.NewDjbECPublicKey(companion), byDevice, [64]byte(signed.GetDeviceSignature())) {
		return 0, fmt.Errorf("%w: device signature does not verify", errPairing)
	}
	return details.GetKeyIndex(), nil
}

func join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// is says whether an address means this account.
func (a *account) is(j types.JID) bool {
	if j.Server == types.HiddenUserServer || j.Server == types.HostedLIDServer {
		return j.User == a.user
	}
	return j.User == a.phone
}
