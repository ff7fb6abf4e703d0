package session_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/avatar"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// portrait is a JPEG of one colour.
func portrait(t *testing.T, side int, c color.Color) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			img.Set(x, y, c)
		}
	}
	var out bytes.Buffer
	require.NoError(t, jpeg.Encode(&out, img, nil))
	return out.Bytes()
}

// contact waits until what is known of somebody fits.
func (c *customer) contact(id tenant.ChatID, fits func(*tenant.Contact) bool) tenant.Contact {
	c.w.t.Helper()
	var got tenant.Contact
	var err error
	eventually(c.w.t, func() bool {
		got, err = c.Contact(within(c.w.t), id)
		return err == nil && fits(&got)
	}, func() string { return fmt.Sprintf("contact: %v, %+v", err, got) })
	return got
}

func TestChecksNumbers(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine, func(w *world) { w.limits.NumberChecksPerHour = 60 })
		c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
		old := ana.Number()[:4] + ana.Number()[5:] // without the ninth digit
		nobody := number()
		got, err := w.fleet.CheckNumbers(within(t), c.ID(), []string{"+" + ana.Number(), nobody, "+" + old, ana.Number()})
		require.NoError(t, err)
		id, lid := c.chatID(ana), tenant.HiddenID(ana.LID().User)
		require.Equal(t, []session.NumberCheck{
			{Phone: "+" + ana.Number(), Registered: true, ID: id, LID: lid},
			{Phone: nobody},
			{Phone: "+" + old, Registered: true, ID: id, LID: lid},
			{Phone: ana.Number(), Registered: true, ID: id, LID: lid},
		}, got)
		resolved, err := c.Resolve(within(t), lid)
		require.NoError(t, err)
		require.Equal(t, id, resolved, "what WhatsApp told is kept")

		many := make([]string, session.MaxNumberChecks)
		for i := range many {
			many[i] = number()
		}
		_, err = w.fleet.CheckNumbers(within(t), c.ID(), many)
		require.NoError(t, err)
		var limit *session.LimitError
		_, err = w.fleet.CheckNumbers(within(t), c.ID(), many)
		require.ErrorAs(t, err, &limit)
		require.Equal(t, session.LimitNumberChecks, limit.Limit)
		require.Greater(t, limit.After, 30*time.Minute)
		_, err = w.fleet.CheckNumbers(within(t), c.ID(), many[:3])
		require.NoError(t, err, "what was refused was not counted")
		other := w.paired(wasim.PhoneConfig{})
		_, err = w.fleet.CheckNumbers(within(t), other.ID(), many)
		require.NoError(t, err, "the limit is the tenant's own")

		_, err = w.fleet.Disconnect(within(t), c.ID())
		require.NoError(t, err)
		var offline *session.OfflineError
		_, err = w.fleet.CheckNumbers(within(t), c.ID(), many)
		require.ErrorAs(t, err, &offline)
	})
}

func TestBlocksAndUnblocks(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		owner, ana, bob := w.phone(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{Name: "Ana"}), w.phone(wasim.PhoneConfig{})
		require.NoError(t, owner.Block(within(t), bob.Number(), true))
		c := w.tenant()
		c.pair(owner)
		bobID, anaID := c.chatID(bob), c.chatID(ana)
		c.contact(bobID, func(k *tenant.Contact) bool { return k.IsBlocked }) // what was blocked before is read at login
		list := func() []tenant.ChatID {
			ids, err := w.fleet.Blocklist(within(t), c.ID())
			require.NoError(t, err)
			return ids
		}
		require.Equal(t, []tenant.ChatID{bobID}, list())

		require.NoError(t, w.fleet.Block(within(t), c.ID(), anaID, true))
		require.NoError(t, w.fleet.Block(within(t), c.ID(), anaID, true), "twice is once")
		require.ElementsMatch(t, []tenant.ChatID{anaID, bobID}, list())
		atPhone, err := owner.Blocked(within(t))
		require.NoError(t, err)
		require.Len(t, atPhone, 2, "the phone knows")

		blocked, err := ana.SendText(within(t), owner.Number(), "from somebody blocked", phone.SendOptions{})
		require.NoError(t, err)
		require.NoError(t, w.fleet.Block(within(t), c.ID(), tenant.HiddenID(ana.LID().User), false))
		heard, err := ana.SendText(within(t), owner.Number(), "heard again", phone.SendOptions{})
		require.NoError(t, err)
		c.message(anaID, heard, nil)
		_, err = c.Message(within(t), anaID, tenant.MessageID(blocked), "")
		require.ErrorIs(t, err, tenant.ErrMessageNotFound)

		require.NoError(t, owner.Block(within(t), bob.Number(), false))
		c.contact(bobID, func(k *tenant.Contact) bool { return !k.IsBlocked }) // the phone's change is followed
		require.NoError(t, owner.Block(within(t), ana.Number(), true))
		c.contact(anaID, func(k *tenant.Contact) bool { return k.IsBlocked && k.PushName == "Ana" })
		require.ErrorIs(t, w.fleet.Block(within(t), c.ID(), tenant.PersonID(number()), true), session.ErrNotOnWhatsApp)

		_, err = w.fleet.Disconnect(within(t), c.ID())
		require.NoError(t, err)
		require.Equal(t, []tenant.ChatID{anaID}, list(), "the stored list is there all the same")
		var offline *session.OfflineError
		require.ErrorAs(t, w.fleet.Block(within(t), c.ID(), anaID, false), &offline)
		require.NoError(t, owner.Block(within(t), ana.Number(), false))
		_, err = w.fleet.Connect(within(t), c.ID())
		require.NoError(t, err)
		c.contact(anaID, func(k *tenant.Contact) bool { return !k.IsBlocked }) // what changed meanwhile
	})
}

func TestTheProfileGoesBothWays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{Name: "Owner"}), w.phone(wasim.PhoneConfig{})
	id := tenant.PersonID(c.phone.Number())
	about := "at sea"
	require.NoError(t, c.phone.SetProfile(within(t), phone.ProfileChange{About: &about}))
	eventually(t, func() bool { return c.view().Name == "Owner" }) // comes with the app state
	p, err := w.fleet.Profile(within(t), c.ID())
	require.NoError(t, err)
	require.Equal(t, session.Profile{ID: id, LID: tenant.HiddenID(c.phone.LID().User), Name: "Owner", About: about}, p)

	name, text := "Padaria do João ☕", "aberta"
	p, err = w.fleet.SetProfile(within(t), c.ID(), session.ProfileChange{Name: &name, About: &text})
	require.NoError(t, err)
	require.Equal(t, name, p.Name)
	require.Equal(t, text, p.About)
	eventually(t, func() bool { return c.phone.Name() == name && c.view().Name == name })
	seen, err := ana.ProfileOf(within(t), c.phone.Number())
	require.NoError(t, err)
	require.Equal(t, text, seen.About)

	pictureID, err := w.fleet.SetPicture(within(t), c.ID(), portrait(t, 900, color.Gray{Y: 200}))
	require.NoError(t, err)
	seen, err = ana.ProfileOf(within(t), c.phone.Number())
	require.NoError(t, err)
	require.Equal(t, pictureID, seen.PictureID)
	size, err := jpeg.DecodeConfig(bytes.NewReader(seen.Picture))
	require.NoError(t, err)
	require.Equal(t, avatar.Side, size.Width)
	own, err := w.fleet.Picture(within(t), c.ID(), session.PictureQuery{})
	require.NoError(t, err)
	require.Equal(t, session.Picture{ID: pictureID, Data: seen.Picture}, own)
	p, err = w.fleet.Profile(within(t), c.ID())
	require.NoError(t, err)
	require.Equal(t, pictureID, p.PictureID)

	require.NoError(t, w.fleet.RemovePicture(within(t), c.ID()))
	_, err = w.fleet.Picture(within(t), c.ID(), session.PictureQuery{})
	require.ErrorIs(t, err, session.ErrNoPicture)
	_, err = w.fleet.SetPicture(within(t), c.ID(), []byte("no picture"))
	require.ErrorIs(t, err, avatar.ErrFormat)

	friend := w.paired(wasim.PhoneConfig{})
	sent := c.send(friend.chatID(friend.phone), "hello")
	require.Equal(t, name, friend.message(id, string(sent.ID), nil).SenderName, "messages bear the new name")
	other := "Owner again"
	require.NoError(t, c.phone.SetProfile(within(t), phone.ProfileChange{Name: &other}))
	eventually(t, func() bool { return c.view().Name == other })
}

func TestFetchesPictures(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	q := session.PictureQuery{Of: c.chatID(ana)}
	_, err := w.fleet.Picture(within(t), c.ID(), q)
	require.ErrorIs(t, err, session.ErrNoPicture)

	data := portrait(t, 64, color.Black)
	require.NoError(t, ana.SetProfile(within(t), phone.ProfileChange{Picture: &data}))
	for _, preview := range []bool{false, true} {
		q.Preview = preview
		got, err := w.fleet.Picture(within(t), c.ID(), q)
		require.NoError(t, err)
		require.Equal(t, data, got.Data)
		require.NotEmpty(t, got.ID)
		q.Known = got.ID
		got, err = w.fleet.Picture(within(t), c.ID(), q)
		require.NoError(t, err)
		require.Equal(t, session.Picture{ID: q.Known}, got)
		q.Known = ""
	}
	nobody := "none"
	require.NoError(t, ana.SetProfile(within(t), phone.ProfileChange{PictureFor: &nobody}))
	_, err = w.fleet.Picture(within(t), c.ID(), q)
	require.ErrorIs(t, err, session.ErrPictureHidden)
	_, err = w.fleet.Picture(within(t), c.ID(), session.PictureQuery{Of: tenant.PersonID(number())})
	require.ErrorIs(t, err, session.ErrNoPicture)
	_, err = w.fleet.Disconnect(within(t), c.ID())
	require.NoError(t, err)
	var offline *session.OfflineError
	_, err = w.fleet.Picture(within(t), c.ID(), q)
	require.ErrorAs(t, err, &offline)
}

// told waits for a live presence of somebody.
func told(t *testing.T, live <-chan tenant.Event, id tenant.ChatID, state string) tenant.PresenceEvent {
	t.Helper()
	for {
		var got tenant.PresenceEvent
		require.NoError(t, json.Unmarshal(next(t, live, tenant.EventPresence).Data, &got))
		require.Equal(t, id, got.ContactID)
		if got.State == state {
			return got
		}
	}
}

func TestPresenceGoesBothWays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana := w.paired(wasim.PhoneConfig{Name: "Owner"}), w.phone(wasim.PhoneConfig{})
	id := c.chatID(ana)
	eventually(t, func() bool { return c.view().Name == "Owner" })
	live, stop := w.fleet.Live(c.ID())
	defer stop()
	require.NoError(t, w.fleet.WatchPresence(within(t), c.ID(), id))
	told(t, live, id, "available")
	require.NoError(t, ana.Presence(within(t), "unavailable"))
	require.NotNil(t, told(t, live, id, "unavailable").LastSeen)

	// Both ends of our own: the phone is there already, so it leaves first.
	require.NoError(t, c.phone.Presence(within(t), "unavailable"))
	require.NoError(t, ana.WatchPresence(within(t), c.phone.Number()))
	seen := func(after uint64, state string) uint64 {
		e, err := ana.WaitEntry(within(t), after, func(e phone.Entry) bool {
			return e.Kind == phone.KindPresence && e.Text == state && e.From == c.phone.Number()
		})
		require.NoError(t, err)
		return e.Seq
	}
	at := seen(0, "unavailable")
	require.NoError(t, w.fleet.ShowPresence(within(t), c.ID(), true))
	at = seen(at, "available")

	_, err := w.fleet.Disconnect(within(t), c.ID())
	require.NoError(t, err)
	at = seen(at, "unavailable")
	var offline *session.OfflineError
	require.ErrorAs(t, w.fleet.ShowPresence(within(t), c.ID(), true), &offline)
	require.ErrorAs(t, w.fleet.WatchPresence(within(t), c.ID(), id), &offline)
	_, err = w.fleet.Connect(within(t), c.ID())
	require.NoError(t, err)
	c.until(session.Online)
	at = seen(at, "available") // as it was asked for before
	told(t, live, id, "unavailable")
	require.NoError(t, ana.Presence(within(t), "available"))
	told(t, live, id, "available")
	require.NoError(t, w.fleet.ShowPresence(within(t), c.ID(), false))
	seen(at, "unavailable")

	require.NoError(t, w.fleet.UnwatchPresence(within(t), c.ID(), id))
	require.NoError(t, w.fleet.WatchPresence(within(t), c.ID(), tenant.PersonID(number())), "nobody answers")
	require.Empty(t, c.events(tenant.EventPresence), "nothing of it is kept")
}
