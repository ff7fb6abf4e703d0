package relay_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/util/random"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"go.mau.fi/whatsmeow/util/keys"
	"golang.org/x/crypto/curve25519"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/session/wasim/memstore"
	"github.com/wafleet/wafleet/session/wasim/relay"
)

// identityFor is what a phone signs for a companion.
func identityFor(t *testing.T, phone *creds, companion [32]byte, adv []byte) []byte {
	t.Helper()
	details, err := proto.Marshal(&waAdv.ADVDeviceIdentity{
		RawID: new(uint32(1)), Timestamp: new(uint64(time.Now().Unix())), KeyIndex: new(uint32(3)),
		AccountType: waAdv.ADVEncryptionType_E2EE.Enum(), DeviceType: waAdv.ADVEncryptionType_E2EE.Enum(),
	})
	require.NoError(t, err)
	sig := ecc.CalculateSignature(ecc.NewDjbECPrivateKey(*phone.ident.Priv), append(append([]byte{6, 0}, details...), companion[:]...))
	signed, err := proto.Marshal(&waAdv.ADVSignedDeviceIdentity{
		Details: details, AccountSignatureKey: phone.ident.Pub[:], AccountSignature: sig[:],
	})
	require.NoError(t, err)
	mac := hmac.New(sha256.New, adv)
	mac.Write(signed)
	container, err := proto.Marshal(&waAdv.ADVSignedDeviceIdentityHMAC{Details: signed, HMAC: mac.Sum(nil)})
	require.NoError(t, err)
	return container
}

func pairDevice(ref string, noise, identity []byte) node {
	return node{Tag: "pair-device", Content: []node{
		{Tag: "ref", Content: []byte(ref)}, {Tag: "pub-key", Content: noise}, {Tag: "device-identity", Content: identity},
	}}
}

// qr is what a phone reads from a QR code.
type qr struct {
	ref               string
	noise, ident, adv []byte
}

func scan(t *testing.T, text string) qr {
	t.Helper()
	_, text, ok := strings.Cut(text, "#")
	require.True(t, ok)
	parts := strings.Split(text, ",")
	require.Len(t, parts, 5)
	q := qr{ref: parts[0]}
	for i, dst := range []*[]byte{&q.noise, &q.ident, &q.adv} {
		var err error
		*dst, err = base64.StdEncoding.DecodeString(parts[i+1])
		require.NoError(t, err)
		require.Len(t, *dst, 32)
	}
	return q
}

// pair links a whatsmeow companion to a raw phone and waits until it is logged in.
func pair(t *testing.T, s *sim, p *raw) *client {
	t.Helper()
	c := s.client(t, memstore.NewDevice(memstore.Limits{}))
	c.connect()
	q := scan(t, await[*events.QR](c, nil).Codes[0])
	p.ok("md", "set", pairDevice(q.ref, q.noise, identityFor(t, p.c, [32]byte(q.ident), q.adv)))
	await[*events.PairSuccess](c, nil)
	await[*events.Connected](c, nil)
	return c
}

func TestPairingByQR(t *testing.T) {
	t.Parallel()

	t.Run("MakesADeviceThatLogsIn", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{})
		p := s.online(t, s.primary(t, ""))
		c := s.client(t, memstore.NewDevice(memstore.Limits{}))
		c.connect()
		codes := await[*events.QR](c, nil).Codes
		require.Len(t, codes, 6)
		require.Equal(t, 1, s.Stats().Unpaired)
		q := scan(t, codes[2])
		answer := p.ok("md", "set", pairDevice(q.ref, q.noise, identityFor(t, p.c, [32]byte(q.ident), q.adv)))
		jid := types.JID{User: p.c.phone, Device: 1, Server: types.DefaultUserServer}
		require.Equal(t, jid, child(answer, "device").Attrs["jid"])
		await[*events.PairSuccess](c, nil)
		await[*events.Connected](c, nil)
		require.Equal(t, jid, *c.Store.ID)
		require.Equal(t, types.JID{User: p.c.lid.User, Device: 1, Server: types.HiddenUserServer}, c.Store.LID)

		// the phone hears of it: by LID, by number, and the whole list
		byLID := p.expect("notification")
		require.Equal(t, p.c.lid, byLID.Attrs["from"])
		require.Equal(t, c.Store.LID, child(byLID, "add", "device").Attrs["jid"])
		byPN := p.expect("notification")
		require.Equal(t, p.c.pn(), byPN.Attrs["from"])
		require.Equal(t, p.c.lid, byPN.Attrs["lid"])
		require.Equal(t, "3", child(byPN, "add", "device").Attrs["key-index"])
		sync := p.expect("notification")
		require.Equal(t, "account_sync", sync.Attrs["type"])
		require.Len(t, child(sync, "devices").GetChildren(), 2)
		require.Equal(t, hash(p.c.pn(), jid), child(sync, "devices").Attrs["dhash"])
		require.Equal(t, hash(p.c.pn(), jid), child(byPN, "add").Attrs["device_hash"])
		require.Equal(t, hash(p.c.lid, c.Store.LID), child(byPN, "add").Attrs["device_lid_hash"])
		require.Equal(t, hash(p.c.lid, c.Store.LID), child(byLID, "add").Attrs["device_hash"])

		devices, err := s.Devices(p.c.phone)
		require.NoError(t, err)
		require.Len(t, devices, 2)
		require.True(t, devices[1].Active)
		require.Equal(t, 100, devices[1].PreKeys)
		p.fails("404", "item-not-found", "md", "set", pairDevice(q.ref, q.noise, identityFor(t, p.c, [32]byte(q.ident), q.adv)))
	})

	t.Run("RefusesRefsAndKeysThatDoNotBelongTogether", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{})
		p := s.online(t, s.primary(t, ""))
		one, two := newCreds(), newCreds()
		first := s.dial(t, one, one.registrationPayload())
		ref := string(child(first.expect("iq"), "pair-device").GetChildren()[0].Content.([]byte))
		p.fails("404", "item-not-found", "md", "set", pairDevice("2@nonsense", one.noise.Pub[:], identityFor(t, p.c, *one.ident.Pub, nil)))
		p.fails("404", "item-not-found", "md", "set", pairDevice(ref, two.noise.Pub[:], identityFor(t, p.c, *two.ident.Pub, nil)))
		p.fails("400", "bad-request", "md", "set", pairDevice(ref, one.noise.Pub[:], []byte("nonsense")))
		first.hangUp()
		require.Eventually(t, func() bool { return s.Stats().Unpaired == 0 }, patience, 5*time.Millisecond)
		p.fails("404", "item-not-found", "md", "set", pairDevice(ref, one.noise.Pub[:], identityFor(t, p.c, *one.ident.Pub, nil)))
	})

	t.Run("RefsExpireOneAfterTheOther", func(t *testing.T) {
		t.Parallel()
		// As if the companion had come two hours ago: the first refs are over, the last one is not.
		s := start(t, relay.Config{QRRefFirst: -2 * time.Hour, QRRefNext: time.Hour, PingTimeout: 24 * time.Hour})
		p := s.online(t, s.primary(t, ""))
		one := newCreds()
		r := s.dial(t, one, one.registrationPayload())
		refs := child(r.expect("iq"), "pair-device").GetChildren()
		require.Len(t, refs, 6)
		first, last := string(refs[0].Content.([]byte)), string(refs[5].Content.([]byte))
		p.fails("404", "item-not-found", "md", "set", pairDevice(first, one.noise.Pub[:], identityFor(t, p.c, *one.ident.Pub, nil)))
		p.ok("md", "set", pairDevice(last, one.noise.Pub[:], identityFor(t, p.c, *one.ident.Pub, nil)))
		s.Sweep(time.Now().Add(4 * time.Hour))
		require.Equal(t, "pair-success", r.expect("iq").GetChildren()[0].Tag)
		r.idle()
		s.Sweep(time.Now().Add(6 * time.Hour))
		r.gone() // with the last ref
	})

	t.Run("StoresNothingWhenTheCompanionRefuses", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{})
		p := s.online(t, s.primary(t, ""))
		c := s.client(t, memstore.NewDevice(memstore.Limits{}))
		c.connect()
		q := scan(t, await[*events.QR](c, nil).Codes[0])
		p.ok("md", "set", pairDevice(q.ref, q.noise, identityFor(t, p.c, [32]byte(q.ident), []byte("another secret"))))
		require.ErrorIs(t, await[*events.PairError](c, nil).Error, whatsmeow.ErrPairInvalidDeviceIdentityHMAC)
		devices, err := s.Devices(p.c.phone)
		require.NoError(t, err)
		require.Len(t, devices, 1)
		p.idle()
	})

	t.Run("StoresNothingOnAForgedSignature", func(t *testing.T) {
		t.Parallel()
		s := startLenient(t, relay.Config{})
		p := s.online(t, s.primary(t, ""))
		one := newCreds()
		r := s.dial(t, one, one.registrationPayload())
		ref := string(child(r.expect("iq"), "pair-device").GetChildren()[0].Content.([]byte))
		p.ok("md", "set", pairDevice(ref, one.noise.Pub[:], identityFor(t, p.c, *one.ident.Pub, nil)))
		success := r.expect("iq")
		require.NotEmpty(t, success.Attrs["t"])
		var container waAdv.ADVSignedDeviceIdentityHMAC
		require.NoError(t, proto.Unmarshal(child(success, "pair-success", "device-identity").Content.([]byte), &container))
		var signed waAdv.ADVSignedDeviceIdentity
		require.NoError(t, proto.Unmarshal(container.GetDetails(), &signed))
		signed.AccountSignatureKey, signed.DeviceSignature = nil, make([]byte, 64)
		forged, err := proto.Marshal(&signed)
		require.NoError(t, err)
		r.send(node{Tag: "iq", Attrs: attrs{"to": types.ServerJID, "type": "result", "id": success.Attrs["id"]}, Content: []node{{
			Tag: "pair-device-sign", Content: []node{{Tag: "device-identity", Attrs: attrs{"key-index": "3"}, Content: forged}},
		}}})
		require.Equal(t, attrs{"code": "401"}, r.expect("stream:error").Attrs)
		require.Equal(t, "pair-device-sign", s.Stats().Violations[0].Rule)
		devices, err := s.Devices(p.c.phone)
		require.NoError(t, err)
		require.Len(t, devices, 1)
	})
}

func TestPairingByCode(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{})
	p := s.online(t, s.primary(t, ""))
	c := s.client(t, memstore.NewDevice(memstore.Limits{}))
	c.connect()
	await[*events.QR](c, nil)
	_, err := c.PairPhone(t.Context(), p.c.phone, true, whatsmeow.PairClientChrome, "wafleet")
	require.ErrorIs(t, err, whatsmeow.ErrIQBadRequest, "the server knows only usual browsers")
	_, err = c.PairPhone(t.Context(), newPhone(), true, whatsmeow.PairClientChrome, "Chrome (Linux)")
	require.ErrorIs(t, err, whatsmeow.ErrIQNotFound)
	code, err := c.PairPhone(t.Context(), p.c.phone, true, whatsmeow.PairClientChrome, "Chrome (Linux)")
	require.NoError(t, err)
	code = strings.ReplaceAll(code, "-", "")

	hello := child(p.expect("notification"), "link_code_companion_reg")
	require.Equal(t, "companion_hello", hello.Attrs["stage"])
	get := func(n *node, tag string) []byte { return n.GetChildByTag(tag).Content.([]byte) }
	ref, companionNoise := get(hello, "link_code_pairing_ref"), get(hello, "companion_server_auth_key_pub")
	require.Equal(t, c.Store.NoiseKey.Pub[:], companionNoise)
	companionEph := unwrap(t, code, get(hello, "link_code_pairing_wrapped_companion_ephemeral_pub"))
	eph := keys.NewKeyPair()
	salt, iv := random.Bytes(32), random.Bytes(16)
	wrapped := append(append(salt, iv...), crypt(t, code, salt, iv, eph.Pub[:])...)
	p.ok("md", "set", node{Tag: "link_code_companion_reg", Attrs: attrs{"stage": "primary_hello", "jid": p.c.pn()}, Content: []node{
		{Tag: "link_code_pairing_wrapped_primary_ephemeral_pub", Content: wrapped},
		{Tag: "primary_identity_pub", Content: p.c.ident.Pub[:]},
		{Tag: "link_code_pairing_ref", Content: ref},
	}})
	finish := child(p.expect("notification"), "link_code_companion_reg")
	require.Equal(t, "companion_finish", finish.Attrs["stage"])
	require.Equal(t, ref, get(finish, "link_code_pairing_ref"))
	bundle := get(finish, "link_code_pairing_wrapped_key_bundle")
	shared, err := curve25519.X25519(eph.Priv[:], companionEph)
	require.NoError(t, err)
	key, err := hkdf.Key(sha256.New, shared, bundle[:32], "link_code_pairing_key_bundle_encryption_key", 32)
	require.NoError(t, err)
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	gcm, err := cipher.NewGCM(block)
	require.NoError(t, err)
	plain, err := gcm.Open(nil, bundle[32:44], bundle[44:], nil)
	require.NoError(t, err)
	require.Equal(t, c.Store.IdentityKey.Pub[:], plain[:32])
	require.Equal(t, p.c.ident.Pub[:], plain[32:64])
	byIdentity, err := curve25519.X25519(p.c.ident.Priv[:], plain[:32])
	require.NoError(t, err)
	adv, err := hkdf.Key(sha256.New, append(append(shared, byIdentity...), plain[64:]...), nil, "adv_secret", 32)
	require.NoError(t, err)
	p.ok("md", "set", pairDevice(string(ref), companionNoise, identityFor(t, p.c, [32]byte(plain[:32]), adv)))
	await[*events.PairSuccess](c, nil)
	await[*events.Connected](c, nil)
}

func crypt(t *testing.T, code string, salt, iv, data []byte) []byte {
	t.Helper()
	key, err := pbkdf2.Key(sha256.New, code, salt, 131072, 32)
	require.NoError(t, err)
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	out := make([]byte, len(data))
	cipher.NewCTR(block, iv).XORKeyStream(out, data)
	return out
}

func unwrap(t *testing.T, code string, wrapped []byte) []byte {
	t.Helper()
	require.Len(t, wrapped, 80)
	return crypt(t, code, wrapped[:32], wrapped[32:48], wrapped[48:])
}

// hash is the device list hash, written down once more.
func hash(list ...types.JID) string {
	var names []string
	for _, j := range list {
		names = append(names, j.ADString())
	}
	if len(names) == 2 && names[0] > names[1] {
		names[0], names[1] = names[1], names[0]
	}
	sum := sha256.Sum256([]byte(strings.Join(names, "")))
	return "2:" + base64.RawStdEncoding.EncodeToString(sum[:6])
}

func TestUnlink(t *testing.T) {
	t.Parallel()

	check := func(t *testing.T, s *sim, p *raw, c *client) {
		t.Helper()
		out := await[*events.LoggedOut](c, nil)
		require.False(t, out.OnConnect)
		removed := p.find(func(n *node) bool { _, ok := n.GetOptionalChildByTag("remove"); return ok && n.Attrs["lid"] != nil })
		require.Equal(t, "1", unaddressed(child(removed, "remove", "device").Attrs["jid"]))
		require.Equal(t, hash(p.c.pn()), child(removed, "remove").Attrs["device_hash"])
		devices, err := s.Devices(p.c.phone)
		require.NoError(t, err)
		require.Len(t, devices, 1)
	}

	t.Run("ByThePhone", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{})
		p := s.online(t, s.primary(t, ""))
		c := pair(t, s, p)
		p.ok("md", "set", node{Tag: "remove-companion-device", Attrs: attrs{"jid": *c.Store.ID, "reason": "user_initiated"}})
		check(t, s, p, c)
	})

	t.Run("ByMethod", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{})
		p := s.online(t, s.primary(t, ""))
		c := pair(t, s, p)
		require.ErrorIs(t, s.Unlink(p.c.phone, 0), relay.ErrUnknownDevice)
		require.ErrorIs(t, s.Unlink(newPhone(), 1), relay.ErrUnknownAccount)
		require.NoError(t, s.Unlink(p.c.phone, 1))
		check(t, s, p, c)
		require.ErrorIs(t, s.Unlink(p.c.phone, 1), relay.ErrUnknownDevice)
	})

	t.Run("ByTheCompanion", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{})
		p := s.online(t, s.primary(t, ""))
		c := pair(t, s, p)
		require.NoError(t, c.Logout(t.Context()))
		require.Eventually(t, func() bool {
			devices, err := s.Devices(p.c.phone)
			return err == nil && len(devices) == 1
		}, patience, 5*time.Millisecond)
	})

	t.Run("AtTheNextLogin", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{})
		p := s.online(t, s.primary(t, ""))
		c := pair(t, s, p)
		c.Disconnect()
		require.NoError(t, s.Unlink(p.c.phone, 1))
		c.connect()
		out := await[*events.LoggedOut](c, nil)
		require.True(t, out.OnConnect)
		require.Equal(t, events.ConnectFailureLoggedOut, out.Reason)
	})
}

func unaddressed(v any) string {
	j, _ := v.(types.JID)
	return string(rune('0' + j.Device))
}

func hashOf(sorted []string) string {
	sum := sha256.Sum256([]byte(strings.Join(sorted, "")))
	return "2:" + base64.RawStdEncoding.EncodeToString(sum[:6])
}

// pairRaw links a raw companion.
func pairRaw(t *testing.T, s *sim, p *raw, c *creds) *raw {
	t.Helper()
	r := s.dial(t, c, c.registrationPayload())
	request := r.expect("iq")
	ref := string(child(request, "pair-device").GetChildren()[0].Content.([]byte))
	r.send(node{Tag: "iq", Attrs: attrs{"to": types.ServerJID, "type": "result", "id": request.Attrs["id"]}})
	p.ok("md", "set", pairDevice(ref, c.noise.Pub[:], identityFor(t, p.c, *c.ident.Pub, []byte("unchecked"))))
	success := r.expect("iq")
	j := child(success, "pair-success", "device").Attrs["jid"].(types.JID)
	c.phone, c.id, c.lid = p.c.phone, j.Device, p.c.lid
	var container waAdv.ADVSignedDeviceIdentityHMAC
	require.NoError(t, proto.Unmarshal(child(success, "pair-success", "device-identity").Content.([]byte), &container))
	var signed waAdv.ADVSignedDeviceIdentity
	require.NoError(t, proto.Unmarshal(container.GetDetails(), &signed))
	toSign := append(append(append([]byte{6, 1}, signed.GetDetails()...), c.ident.Pub[:]...), signed.GetAccountSignatureKey()...)
	sig := ecc.CalculateSignature(ecc.NewDjbECPrivateKey(*c.ident.Priv), toSign)
	signed.AccountSignatureKey, signed.DeviceSignature = nil, sig[:]
	own, err := proto.Marshal(&signed)
	require.NoError(t, err)
	r.send(node{Tag: "iq", Attrs: attrs{"to": types.ServerJID, "type": "result", "id": success.Attrs["id"]}, Content: []node{{
		Tag: "pair-device-sign", Content: []node{{Tag: "device-identity", Attrs: attrs{"key-index": "3"}, Content: own}},
	}}})
	require.Equal(t, attrs{"code": "515"}, r.expect("stream:error").Attrs)
	r.hangUp()
	for range 3 { // the phone hears of it
		n := p.find(func(n *node) bool { return n.Tag == "notification" })
		p.send(node{Tag: "ack", Attrs: attrs{"class": "notification", "id": n.Attrs["id"], "to": n.Attrs["from"], "type": n.Attrs["type"]}})
	}
	return s.online(t, c)
}
