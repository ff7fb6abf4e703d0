package relay_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/session/wasim/relay"
)

func keyNode(id uint32, value byte) node {
	return node{Tag: "key", Content: []node{
		{Tag: "id", Content: binary.BigEndian.AppendUint32(nil, id)[1:]}, {Tag: "value", Content: bytes.Repeat([]byte{value}, 32)},
	}}
}

func upload(c *creds, keys ...node) []node {
	return []node{
		{Tag: "registration", Content: binary.BigEndian.AppendUint32(nil, c.reg)},
		{Tag: "type", Content: []byte{5}},
		{Tag: "identity", Content: c.ident.Pub[:]},
		{Tag: "list", Content: keys},
		skey(c),
	}
}

func skey(c *creds) node {
	return node{Tag: "skey", Content: []node{
		{Tag: "id", Content: []byte{0, 0, byte(c.signed.KeyID)}},
		{Tag: "value", Content: c.signed.Pub[:]},
		{Tag: "signature", Content: c.signed.Signature[:]},
	}}
}

func fetch(r *raw, j types.JID) *node {
	list := r.ok("encrypt", "get", node{Tag: "key", Content: []node{{Tag: "user", Attrs: attrs{"jid": j, "reason": "identity"}}}})
	user := child(list, "list", "user")
	require.Equal(r.t, j, user.Attrs["jid"], "clients find the bundle by the address they asked with")
	return user
}

func TestPreKeys(t *testing.T) {
	t.Parallel()

	t.Run("AreAppendedAndHandedOutOnce", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{})
		a, b := s.online(t, s.primary(t, "")), s.online(t, s.primary(t, ""))
		a.ok("encrypt", "set", upload(a.c, keyNode(1, 1), keyNode(2, 2))...)
		a.ok("encrypt", "set", upload(a.c, keyNode(2, 2), keyNode(3, 3))...)
		require.Equal(t, "3", child(a.ok("encrypt", "get", node{Tag: "count"}), "count").Attrs["value"])
		for i := range 3 {
			u := fetch(b, a.c.lid)
			require.Equal(t, keyNode(uint32(i+1), byte(i+1)), *child(u, "key"))
			require.Equal(t, a.c.ident.Pub[:], child(u, "identity").Content)
			require.Equal(t, skey(a.c), *child(u, "skey"))
			require.NotEmpty(t, u.Attrs["t"])
		}
		_, more := fetch(b, a.c.pn()).GetOptionalChildByTag("key")
		require.False(t, more, "the stock is empty")
		require.Equal(t, "404", child(fetch(b, with(a.c.lid, 3)), "error").Attrs["code"])
		low := a.expect("notification")
		require.Equal(t, "encrypt", low.Attrs["type"])
		require.Equal(t, types.ServerJID, low.Attrs["from"])
		require.Equal(t, "2", child(low, "count").Attrs["value"])
		a.idle() // told once
	})

	t.Run("ARepeatedUploadAddsNothing", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{})
		a, b := s.online(t, s.primary(t, "")), s.online(t, s.primary(t, ""))
		iq := node{Tag: "iq", Attrs: attrs{"id": "1.2-3", "xmlns": "encrypt", "type": "set", "to": types.ServerJID}, Content: upload(a.c, keyNode(1, 1))}
		a.send(iq)
		require.Equal(t, "result", a.expect("iq").Attrs["type"])
		fetch(b, a.c.lid)
		a.send(iq)
		require.Equal(t, "result", a.find(func(n *node) bool { return n.Tag == "iq" }).Attrs["type"])
		require.Equal(t, "0", child(a.ok("encrypt", "get", node{Tag: "count"}), "count").Attrs["value"])
	})

	t.Run("NobodyGetsTheSameKeyUnderLoad", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{})
		a := s.online(t, s.primary(t, ""))
		var keys []node
		for i := range 200 {
			keys = append(keys, keyNode(uint32(i+1), byte(i)))
		}
		a.ok("encrypt", "set", upload(a.c, keys...)...)
		var mu sync.Mutex
		seen := map[string]int{}
		var wg sync.WaitGroup
		for range 4 {
			r := s.online(t, s.primary(t, ""))
			wg.Go(func() {
				for range 50 {
					id := child(fetch(r, a.c.lid), "key", "id").Content.([]byte)
					mu.Lock()
					seen[string(id)]++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		require.Len(t, seen, 200)
	})

	t.Run("DigestAndRotation", func(t *testing.T) {
		t.Parallel()
		s := start(t, relay.Config{})
		a, b := s.online(t, s.primary(t, "")), s.online(t, s.primary(t, ""))
		a.ok("encrypt", "set", upload(a.c, keyNode(1, 1), keyNode(2, 2))...)
		a.c.signed = a.c.ident.CreateSignedPreKey(2)
		a.ok("encrypt", "set", node{Tag: "rotate", Content: []node{skey(a.c)}})
		d := child(a.ok("encrypt", "get", node{Tag: "digest"}), "digest")
		require.Equal(t, skey(a.c), *child(d, "skey"))
		require.Len(t, child(d, "list").GetChildren(), 2)
		sum := sha1.New()
		for _, part := range [][]byte{a.c.ident.Pub[:], a.c.signed.Pub[:], a.c.signed.Signature[:], bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)} {
			sum.Write(part)
		}
		require.Equal(t, sum.Sum(nil), child(d, "hash").Content)
		require.Equal(t, skey(a.c), *child(fetch(b, a.c.lid), "skey"))
	})

	t.Run("ForeignKeysAreRefused", func(t *testing.T) {
		t.Parallel()
		s := startLenient(t, relay.Config{})
		a := s.online(t, s.primary(t, ""))
		other := newCreds()
		a.fails("400", "bad-request", "encrypt", "set", upload(other, keyNode(1, 1))...)
		a.fails("400", "bad-request", "encrypt", "set", node{Tag: "rotate", Content: []node{skey(other)}})
		a.fails("400", "bad-request", "encrypt", "set", upload(a.c, node{Tag: "key"})...)
		a.fails("400", "bad-request", "encrypt", "get", node{Tag: "key"})
		require.Len(t, s.Stats().Violations, 4)
	})
}

func TestUsync(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{})
	p := s.online(t, s.primary(t, ""))
	c := newCreds()
	pairRaw(t, s, p, c)
	a := s.online(t, s.primary(t, ""))
	ask := func(items []node, users ...node) []node {
		n := a.ok("usync", "get", node{Tag: "usync", Attrs: attrs{"sid": "S", "mode": "query", "context": "message", "last": "true", "index": "0"}, Content: []node{
			{Tag: "query", Content: items}, {Tag: "list", Content: users},
		}})
		require.Equal(t, "S", child(n, "usync").Attrs["sid"])
		return child(n, "usync", "list").GetChildren()
	}
	user := func(j types.JID) node { return node{Tag: "user", Attrs: attrs{"jid": j}} }
	devices := node{Tag: "devices", Content: []node{{Tag: "device-list", Content: []node{
		{Tag: "device", Attrs: attrs{"id": "0"}}, {Tag: "device", Attrs: attrs{"id": "1", "key-index": "3"}},
	}}}}
	stranger := types.NewJID(newPhone(), types.DefaultUserServer)
	require.Equal(t, []node{
		{Tag: "user", Attrs: attrs{"jid": p.c.lid}, Content: []node{devices}}, // no lid for who is asked as LID
		{Tag: "user", Attrs: attrs{"jid": p.c.pn()}, Content: []node{devices, {Tag: "lid", Attrs: attrs{"val": p.c.lid}}}},
		{Tag: "user", Attrs: attrs{"jid": stranger}},
	}, ask([]node{{Tag: "devices", Attrs: attrs{"version": "2"}}, {Tag: "lid"}}, user(p.c.lid), user(p.c.pn()), user(stranger)))

	number := "+" + p.c.phone + "@c.us"
	got := ask([]node{{Tag: "contact", Attrs: attrs{"addressing_mode": "lid"}}},
		node{Tag: "user", Content: []node{{Tag: "contact", Content: []byte(number)}}},
		node{Tag: "user", Content: []node{{Tag: "contact", Content: []byte("+4999@c.us")}}})
	require.Equal(t, attrs{"jid": p.c.lid, "pn_jid": p.c.pn()}, got[0].Attrs)
	require.Equal(t, node{Tag: "contact", Attrs: attrs{"type": "in"}, Content: []byte(number)}, *child(&got[0], "contact"))
	require.Equal(t, "out", child(&got[1], "contact").Attrs["type"])

	// who has asked hears of changes
	require.NoError(t, s.Unlink(c.phone, 1))
	require.Equal(t, p.c.lid, a.expect("notification").Attrs["from"])
	n := a.expect("notification")
	require.Equal(t, p.c.pn(), n.Attrs["from"])
	require.Equal(t, hash(p.c.pn()), child(n, "remove").Attrs["device_hash"])
	a.idle()
}

func TestUsyncOfARealClient(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{})
	a, b := s.phone(t, "A"), s.phone(t, "B")
	on, err := a.IsOnWhatsApp(t.Context(), []string{"+" + b.Store.ID.User, "+4912345"})
	require.NoError(t, err)
	require.True(t, on[0].IsIn)
	require.Equal(t, b.lid(), on[0].JID)
	require.Equal(t, b.pn(), on[0].PhoneNumber)
	require.False(t, on[1].IsIn)
	info, err := a.GetUserInfo(t.Context(), []types.JID{b.pn()})
	require.NoError(t, err)
	require.Equal(t, b.lid(), info[b.pn()].LID)
	require.Len(t, info[b.pn()].Devices, 1)
}

func TestPresenceAndTyping(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{})
	a, b := s.online(t, s.primary(t, "")), s.online(t, s.primary(t, ""))
	watch := func(j types.JID) { a.send(node{Tag: "presence", Attrs: attrs{"type": "subscribe", "to": j}}) }
	watch(b.c.pn())
	require.Equal(t, attrs{"from": b.c.pn(), "type": "unavailable", "last": "deny"}, a.expect("presence").Attrs)
	b.send(node{Tag: "presence", Attrs: attrs{"type": "available", "name": "Bob"}})
	require.Equal(t, attrs{"from": b.c.pn()}, a.expect("presence").Attrs, "in the namespace subscribed with")
	b.send(node{Tag: "presence", Attrs: attrs{"name": "Bobby"}}) // only a name
	b.send(text("M1", a.c.lid, a.c.lid))
	require.Equal(t, "Bobby", a.expect("message").Attrs["notify"])
	b.send(node{Tag: "chatstate", Attrs: attrs{"to": a.c.lid}, Content: []node{{Tag: "composing", Attrs: attrs{"media": "audio"}}}})
	typing := a.expect("chatstate")
	require.Equal(t, attrs{"from": b.c.lid}, typing.Attrs)
	require.Equal(t, []node{{Tag: "composing", Attrs: attrs{"media": "audio"}}}, typing.GetChildren())
	b.hangUp()
	left := a.expect("presence")
	require.Equal(t, "unavailable", left.Attrs["type"])
	require.NotEqual(t, "deny", left.Attrs["last"])
}

func TestSmallRequestsOfARealClient(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{})
	a, b := s.phone(t, "A"), s.phone(t, "B")
	ctx := t.Context()

	privacy, err := a.TryFetchPrivacySettings(ctx, true)
	require.NoError(t, err)
	require.Equal(t, types.PrivacySettingAll, privacy.ReadReceipts)
	_, err = a.SetPrivacySetting(ctx, types.PrivacySettingTypeReadReceipts, types.PrivacySettingNone)
	require.NoError(t, err)
	privacy, err = a.TryFetchPrivacySettings(ctx, true)
	require.NoError(t, err)
	require.Equal(t, types.PrivacySettingNone, privacy.ReadReceipts)

	require.NoError(t, a.SetDefaultDisappearingTimer(ctx, time.Hour))
	require.NoError(t, a.SetStatusMessage(ctx, types.SetStatusInput{}))
	list, err := a.GetBlocklist(ctx)
	require.NoError(t, err)
	require.Empty(t, list.JIDs)
	list, err = a.UpdateBlocklist(ctx, b.lid(), events.BlocklistChangeActionBlock)
	require.NoError(t, err)
	require.Equal(t, []types.JID{b.lid()}, list.JIDs)

	_, err = a.GetProfilePictureInfo(ctx, b.pn(), nil)
	require.ErrorIs(t, err, whatsmeow.ErrProfilePictureNotSet)
	require.NoError(t, a.SendPresence(ctx, types.PresenceAvailable))
	require.NoError(t, a.SubscribePresence(ctx, b.pn()))
	require.True(t, await[*events.Presence](a, nil).Unavailable)

	a.say(b.lid(), "first") // issues a privacy token
	b.hear("first")
	require.Eventually(t, func() bool {
		token, err := b.Store.PrivacyTokens.GetPrivacyToken(ctx, a.lid())
		return err == nil && token != nil && len(token.Token) > 0
	}, patience, 5*time.Millisecond)
	require.Empty(t, s.Stats().UnknownIQs)
}

func TestPicture(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{})
	a := s.online(t, s.primary(t, ""))
	set := child(a.ok("w:profile:picture", "set", node{Tag: "picture", Attrs: attrs{"type": "image"}, Content: []byte("\xff\xd8\xff jpeg")}), "picture")
	got := child(a.ok("w:profile:picture", "get", node{Tag: "picture", Attrs: attrs{"type": "image", "query": "url"}}), "picture")
	require.Equal(t, set.Attrs["id"], got.Attrs["id"])
	resp, err := s.http.Get(got.Attrs["url"].(string))
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	a.ok("w:profile:picture", "set")
	a.fails("404", "item-not-found", "w:profile:picture", "get", node{Tag: "picture"})
}

func TestMedia(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{MaxBlobBytes: 10_000})
	a, b := s.phone(t, "A"), s.phone(t, "B")
	data := bytes.Repeat([]byte("history"), 300)
	up, err := a.Upload(t.Context(), data, whatsmeow.MediaHistory)
	require.NoError(t, err)
	note := &waE2E.HistorySyncNotification{
		DirectPath: &up.DirectPath, MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256, FileSHA256: up.FileSHA256, FileLength: &up.FileLength,
	}
	got, err := b.Download(t.Context(), note)
	require.NoError(t, err)
	require.Equal(t, data, got)
	require.Equal(t, 1, s.Stats().Blobs)
	require.NoError(t, b.DeleteMedia(t.Context(), whatsmeow.MediaHistory, up.DirectPath, up.FileEncSHA256, ""))
	require.Zero(t, s.Stats().Blobs)
	_, err = b.Download(t.Context(), note)
	require.ErrorIs(t, err, whatsmeow.ErrMediaDownloadFailedWith404)
	for i := range 20 { // bounded: the oldest give way
		_, err = a.Upload(t.Context(), bytes.Repeat([]byte{byte(i)}, 1000), whatsmeow.MediaImage)
		require.NoError(t, err)
	}
	require.LessOrEqual(t, s.Stats().BlobBytes, int64(10_000))
	resp, err := s.http.Post("https://"+relay.MediaHost+"/mms/image/bad?auth=simulated", "", bytes.NewReader([]byte("x")))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
}

// crowd is how many clients the relay must carry in the test; the race detector makes each of them dear.
func TestCrowd(t *testing.T) {
	t.Parallel()
	n := 1000
	if raceEnabled {
		n = 200
	}
	s := start(t, relay.Config{})
	list := make([]*raw, n)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				list[i] = s.online(t, s.primary(t, ""))
			}
		})
	}
	wg.Wait()
	require.Equal(t, n, s.Stats().Active)
	for w := range 8 { // each writes to its neighbour, who acknowledges
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				to := list[(i+1)%n].c.lid
				list[i].send(text(fmt.Sprintf("M%d", i), to, to))
			}
		})
	}
	wg.Wait()
	for i, r := range list {
		m := r.find(func(n *node) bool { return n.Tag == "message" })
		require.Equal(t, fmt.Sprintf("M%d", (i+n-1)%n), m.Attrs["id"])
		r.send(node{Tag: "receipt", Attrs: attrs{"id": m.Attrs["id"], "to": m.Attrs["from"]}})
	}
	for _, r := range list {
		r.find(func(n *node) bool { return n.Tag == "receipt" })
	}
	st := s.Stats()
	require.Zero(t, st.Messages)
	require.Equal(t, int64(n), st.Received["message"])
}
