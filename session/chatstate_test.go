package session_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// settled waits until a chat stands as fits wants.
func (c *customer) settled(chat tenant.ChatID, fits func(*tenant.Chat) bool) tenant.Chat {
	c.w.t.Helper()
	var now tenant.Chat
	var err error
	eventually(c.w.t, func() bool { // history is stored without events
		now, err = c.Chat(within(c.w.t), chat)
		return err == nil && fits(&now)
	}, func() string { return fmt.Sprintf("the chat never stood so: %v, %+v", err, now) })
	return now
}

// known is a customer with a chat in which somebody has written.
func (w *world) known(cfg wasim.PhoneConfig) (c *customer, friend *phone.Phone, chat tenant.ChatID) {
	w.t.Helper()
	c, friend = w.paired(cfg), w.phone(wasim.PhoneConfig{Name: "Ana"})
	id, err := friend.SendText(within(w.t), c.phone.Number(), "hello", phone.SendOptions{})
	require.NoError(w.t, err)
	c.message(c.chatID(friend), id, nil)
	c.keyed()
	return c, friend, c.chatID(friend)
}

// keyed waits until the phone has shared the key to the account's settings: its name is the first of them that comes.
func (c *customer) keyed() {
	c.w.t.Helper()
	eventually(c.w.t, func() bool { return c.view().Name == c.phone.Name() }, func() string { return "the account has no name" })
}

func (c *customer) change(chat tenant.ChatID, change session.ChatChange) tenant.Chat {
	c.w.t.Helper()
	now, err := c.w.fleet.ChangeChat(within(c.w.t), c.ID(), chat, change)
	require.NoError(c.w.t, err)
	return now
}

func TestArchivesPinsAndMutes(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c, ana, chat := w.known(wasim.PhoneConfig{})
		sees := func(what string, fits func(phone.ChatState) bool) {
			t.Helper()
			_, err := c.phone.WaitChat(within(t), ana.Number(), fits)
			require.NoError(t, err, what)
		}
		yes := true
		before := len(c.events(tenant.EventChatUpdated))
		require.True(t, c.change(chat, session.ChatChange{Pinned: &yes}).Pinned)
		sees("pinned", func(s phone.ChatState) bool { return s.Pinned })
		now := c.change(chat, session.ChatChange{Archived: &yes})
		require.True(t, now.Archived)
		require.False(t, now.Pinned, "what is archived is not pinned")
		sees("archived", func(s phone.ChatState) bool { return s.Archived && !s.Pinned })

		until := time.Now().Add(8 * time.Hour).Truncate(time.Millisecond).UTC()
		now = c.change(chat, session.ChatChange{Pinned: &yes, MutedUntil: &until})
		require.False(t, now.Archived, "pinning takes it out of the archive")
		require.True(t, now.Pinned)
		require.Equal(t, until, *now.MutedUntil)
		sees("muted", func(s phone.ChatState) bool {
			return !s.Archived && s.Pinned && s.Muted && s.MutedUntil != nil && s.MutedUntil.Equal(until)
		})
		forever := time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC)
		now = c.change(chat, session.ChatChange{MutedUntil: &forever})
		require.Equal(t, tenant.MutedForever(), *now.MutedUntil)
		sees("muted for ever", func(s phone.ChatState) bool { return s.Muted && s.MutedUntil == nil })
		require.Nil(t, c.change(chat, session.ChatChange{MutedUntil: &time.Time{}}).MutedUntil)
		sees("no longer muted", func(s phone.ChatState) bool { return !s.Muted })

		require.Len(t, c.events(tenant.EventChatUpdated), before+6, "one for each change, though it comes back from WhatsApp")
	})
}

func TestRefusesToChangeChats(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, _, chat := w.known(wasim.PhoneConfig{})
	change := session.ChatChange{Archived: new(true)}
	_, err := w.fleet.ChangeChat(within(t), c.ID(), tenant.PersonID(number()), change)
	require.ErrorIs(t, err, tenant.ErrChatNotFound)
	_, err = w.fleet.Disconnect(within(t), c.ID())
	require.NoError(t, err)
	_, err = w.fleet.ChangeChat(within(t), c.ID(), chat, change)
	var offline *session.OfflineError
	require.ErrorAs(t, err, &offline)
	_, err = w.fleet.SyncChats(within(t), c.ID())
	require.ErrorAs(t, err, &offline)
	_, err = w.fleet.ChangeChat(within(t), c.ID(), tenant.PersonID(number()), change)
	require.ErrorIs(t, err, tenant.ErrChatNotFound, "whether it is there comes first")
}

func TestAnUnansweredChangeOfAChatChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, _, chat := w.known(wasim.PhoneConfig{})
	w.anew(func(p *session.Pace) { p.SendTimeout = 300 * time.Millisecond }, c)
	c.fault(relay.FaultStall, 0, 0)
	_, err := w.fleet.ChangeChat(within(t), c.ID(), chat, session.ChatChange{Archived: new(true)})
	var uncertain *session.UncertainError
	require.ErrorAs(t, err, &uncertain)
	now, err := c.Chat(within(t), chat)
	require.NoError(t, err)
	require.False(t, now.Archived)
	w.anew(func(p *session.Pace) { p.SendTimeout = 0 }, c)
	require.True(t, c.change(chat, session.ChatChange{Archived: new(true)}).Archived, "asked again")
}

func TestSaysWhatWasDoneOfAChange(t *testing.T) {
	t.Parallel()
	var c *customer
	var chat tenant.ChatID
	w := newWorld(t, sqlite(), func(w *world) {
		w.pace.SendTimeout = 8 * time.Second
		w.wrap = func(s tenant.Store) tenant.Store {
			return &between{Store: s, commit: func(h tenant.Handle, ctx context.Context, changes []tenant.Change) (tenant.Result, error) {
				if put, ok := changes[0].(tenant.PutChat); ok && put.Archived != nil { // from here on WhatsApp is silent
					c.fault(relay.FaultStall, 0, 0)
				}
				return h.Commit(ctx, changes...)
			}}
		}
	})
	c, _, chat = w.known(wasim.PhoneConfig{})
	_, err := w.fleet.ChangeChat(within(t), c.ID(), chat, session.ChatChange{Archived: new(true), MutedUntil: new(tenant.MutedForever())})
	var partly *session.PartlyError
	require.ErrorAs(t, err, &partly)
	require.Equal(t, []string{"archived"}, partly.Done)
	require.Equal(t, []string{"mutedUntil"}, partly.Left)
	now, err := c.Chat(within(t), chat)
	require.NoError(t, err)
	require.True(t, now.Archived)
	require.Nil(t, now.MutedUntil)
}

func TestTakesOverWhatThePhoneSets(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c, ana, chat := w.known(wasim.PhoneConfig{})
		set := func(patch phone.ChatPatch) {
			t.Helper()
			require.NoError(t, c.phone.ChangeChat(within(t), ana.Number(), patch))
		}
		for _, viaLID := range []bool{false, true} {
			for _, on := range []bool{true, false} {
				set(phone.ChatPatch{Archived: &on, ViaLID: viaLID})
				c.settled(chat, func(now *tenant.Chat) bool { return now.Archived == on })
				set(phone.ChatPatch{Pinned: &on, ViaLID: viaLID})
				c.settled(chat, func(now *tenant.Chat) bool { return now.Pinned == on })
			}
		}
		until := time.Now().Add(time.Hour).Truncate(time.Millisecond).UTC()
		set(phone.ChatPatch{Muted: &phone.Mute{Until: until}})
		c.settled(chat, func(now *tenant.Chat) bool { return now.MutedUntil != nil && now.MutedUntil.Equal(until) })
		set(phone.ChatPatch{Muted: &phone.Mute{Forever: true}})
		c.settled(chat, func(now *tenant.Chat) bool {
			return now.MutedUntil != nil && now.MutedUntil.Equal(tenant.MutedForever())
		})
		set(phone.ChatPatch{Muted: &phone.Mute{}})
		c.settled(chat, func(now *tenant.Chat) bool { return now.MutedUntil == nil })

		set(phone.ChatPatch{Read: new(true)})
		c.settled(chat, func(now *tenant.Chat) bool { return now.UnreadCount == 0 })
		set(phone.ChatPatch{Read: new(false)})
		c.settled(chat, func(now *tenant.Chat) bool { return now.UnreadCount == 1 })

		require.NoError(t, c.phone.NameContact(within(t), ana.Number(), "Ana Silva"))
		c.settled(chat, func(now *tenant.Chat) bool { return now.Name == "Ana Silva" })
		require.NoError(t, c.phone.Rename(within(t), "Shop"))
		eventually(t, func() bool { return c.view().Name == "Shop" })

		stranger := number()
		require.NoError(t, c.phone.ChangeChat(within(t), stranger, phone.ChatPatch{Archived: new(false)}))
		set(phone.ChatPatch{Clear: true})
		cleared := c.settled(chat, func(now *tenant.Chat) bool { return now.LastMessage == nil })
		require.Zero(t, cleared.UnreadCount)
		require.Empty(t, c.all(chat))
		set(phone.ChatPatch{Delete: true})
		eventually(t, func() bool { return len(c.events(tenant.EventChatDeleted)) == 1 })
		_, err := c.Chat(within(t), tenant.PersonID(stranger))
		require.ErrorIs(t, err, tenant.ErrChatNotFound, "a chat that is not archived, like every other, is not worth making")
	})
}

func TestSettingsFromBeforeThePairingAreTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	ana := w.phone(wasim.PhoneConfig{Name: "Ana"})
	p := w.phone(wasim.PhoneConfig{History: []phone.Chat{{Phone: ana.Number(), Messages: []phone.ChatMessage{
		{ID: "OLD", Text: "hello", At: time.Now().Add(-time.Hour)},
	}}}})
	require.NoError(t, p.ChangeChat(within(t), ana.Number(), phone.ChatPatch{Archived: new(true), Muted: &phone.Mute{Forever: true}}))
	require.NoError(t, p.NameContact(within(t), ana.Number(), "Ana Silva"))
	require.NoError(t, p.ChangeChat(within(t), number(), phone.ChatPatch{Pinned: new(false)}))
	c := w.tenant()
	c.pair(p)
	c.settled(c.chatID(ana), func(now *tenant.Chat) bool {
		return now.Archived && now.MutedUntil != nil && now.Name == "Ana Silva" && now.LastMessage != nil
	})
}

// TestManyDevicesSetAtOnce has both sides write the same collections: WhatsApp takes one change over each version, and refuses the
// others.
func TestManyDevicesSetAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c, ana, chat := w.known(wasim.PhoneConfig{})
	const n = 8
	friends := make([]*phone.Phone, n)
	for i := range friends {
		friends[i] = w.phone(wasim.PhoneConfig{})
		c.send(c.chatID(friends[i]), "hello")
	}
	var wg sync.WaitGroup
	failed := make(chan error, 3*n)
	for i := range n {
		wg.Go(func() {
			_, err := w.fleet.ChangeChat(within(t), c.ID(), c.chatID(friends[i]), session.ChatChange{Archived: new(true)})
			failed <- err
		})
		wg.Go(func() {
			until := time.Now().Add(time.Hour)
			_, err := w.fleet.ChangeChat(within(t), c.ID(), c.chatID(friends[i]), session.ChatChange{MutedUntil: &until})
			failed <- err
		})
	}
	wg.Go(func() {
		for i := range n {
			failed <- c.phone.ChangeChat(within(t), ana.Number(), phone.ChatPatch{Pinned: new(i%2 == 1)})
		}
	})
	wg.Wait()
	close(failed)
	for err := range failed {
		require.NoError(t, err)
	}
	c.settled(chat, func(now *tenant.Chat) bool { return now.Pinned })
	for _, friend := range friends {
		_, err := c.phone.WaitChat(within(t), friend.Number(), func(s phone.ChatState) bool { return s.Archived && s.Muted })
		require.NoError(t, err)
		c.settled(c.chatID(friend), func(now *tenant.Chat) bool { return now.Archived && now.MutedUntil != nil })
	}
}

// faster has somebody else change the settings between each fetch and what is sent over it.
type faster struct {
	session.Devices

	left   atomic.Int32 // how often
	fetch  atomic.Bool  // the key was asked for by the fetch
	change func()
}

func (f *faster) Load(ctx context.Context, id tenant.ID, jid types.JID) (*store.Device, error) {
	dev, err := f.Devices.Load(ctx, id, jid)
	if err == nil {
		dev.AppStateKeys = &fasterKeys{dev.AppStateKeys, f}
	}
	return dev, err
}

type fasterKeys struct {
	store.AppStateSyncKeyStore

	f *faster
}

func (k *fasterKeys) GetLatestAppStateSyncKeyID(ctx context.Context) ([]byte, error) {
	f := k.f
	_, asked := ctx.Deadline() // else it is a fetch on the side
	if asked && f.left.Load() > 0 && f.fetch.Swap(!f.fetch.Load()) {
		f.left.Add(-1)
		f.change()
	}
	return k.AppStateSyncKeyStore.GetLatestAppStateSyncKeyID(ctx)
}

func TestOtherDevicesAreFaster(t *testing.T) {
	t.Parallel()
	var f *faster
	w := newWorld(t, sqlite(), func(w *world) {
		w.wrapDevices = func(d session.Devices) session.Devices {
			f = &faster{Devices: d}
			return f
		}
	})
	c, ana, chat := w.known(wasim.PhoneConfig{})
	require.NoError(t, c.phone.ChangeChat(within(t), ana.Number(), phone.ChatPatch{Pinned: new(true)}))
	c.settled(chat, func(now *tenant.Chat) bool { return now.Pinned })
	stranger, n := number(), 0
	f.change = func() {
		n++
		require.NoError(t, c.phone.ChangeChat(within(t), stranger, phone.ChatPatch{Pinned: new(n%2 == 1)}))
	}
	f.left.Store(3)
	require.True(t, c.change(chat, session.ChatChange{Archived: new(true)}).Archived, "at the fourth try")
	require.Equal(t, 3, n)
	_, err := c.phone.WaitChat(within(t), ana.Number(), func(s phone.ChatState) bool { return s.Archived && !s.Pinned })
	require.NoError(t, err)
	c.settled(tenant.PersonID(stranger), func(now *tenant.Chat) bool { return now.Pinned })

	f.left.Store(4)
	_, err = w.fleet.ChangeChat(within(t), c.ID(), chat, session.ChatChange{Archived: new(false)})
	var refused *session.RefusedError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, 409, refused.Code)
	c.settled(tenant.PersonID(stranger), func(now *tenant.Chat) bool { return n == 7 && now.Pinned })
	require.True(t, c.settled(chat, func(*tenant.Chat) bool { return true }).Archived)
}

// away is a store that is away for what fits, until it is back.
type away struct {
	fits func([]tenant.Change) bool
	gone atomic.Bool
	met  chan struct{} // buffered 1: somebody found it away
}

func (a *away) wrap(s tenant.Store) tenant.Store {
	return &between{Store: s, commit: func(h tenant.Handle, ctx context.Context, changes []tenant.Change) (tenant.Result, error) {
		if a.gone.Load() && a.fits(changes) {
			select {
			case a.met <- struct{}{}:
			default:
			}
			return tenant.Result{}, fmt.Errorf("the test: %w", tenant.ErrUnavailable)
		}
		return h.Commit(ctx, changes...)
	}}
}

// setsChat says that changes set something of a chat.
func setsChat(changes []tenant.Change) bool {
	for _, change := range changes {
		switch change.(type) {
		case tenant.PutChat, tenant.PutContact:
			return true
		}
	}
	return false
}

func TestNoSettingIsLostWhileTheStoreIsAway(t *testing.T) {
	t.Parallel()
	for name, restart := range map[string]bool{"connected anew": false, "the node ends meanwhile": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
				t.Helper()
				a := &away{fits: setsChat, met: make(chan struct{}, 1)}
				w := newWorld(t, engine, slowly, func(w *world) {
					w.pace.StoreBlocked = time.Second
					w.wrap = a.wrap
				})
				c, ana, chat := w.known(wasim.PhoneConfig{})
				a.gone.Store(true)
				since := c.view().Since
				require.NoError(t, c.phone.ChangeChat(within(t), ana.Number(), phone.ChatPatch{
					Archived: new(true), Muted: &phone.Mute{Forever: true},
				}))
				require.NoError(t, c.phone.NameContact(within(t), ana.Number(), "Ana Silva"))
				select {
				case <-a.met:
				case <-within(t).Done():
					require.Fail(t, "nothing came")
				}
				if restart {
					w.halt()
				} else { // given up for the store's sake, and again
					eventually(t, func() bool { v := c.view(); return v.State == session.Backoff && v.Since.After(since) })
				}
				a.gone.Store(false)
				if restart {
					w.start()
				}
				c.settled(chat, func(now *tenant.Chat) bool {
					return now.Archived && now.MutedUntil != nil && now.Name == "Ana Silva"
				})
			})
		})
	}
}

// TestCollectionsThatAreTooOldAreFetchedInWhole keeps the node away until WhatsApp does not know any more what came since.
func TestCollectionsThatAreTooOldAreFetchedInWhole(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, sqlite(), relay.Config{MaxAppState: 4, AppStatePage: 2})
	c, ana, chat := w.known(wasim.PhoneConfig{})
	require.NoError(t, c.phone.ChangeChat(within(t), ana.Number(), phone.ChatPatch{Pinned: new(true)}))
	c.settled(chat, func(now *tenant.Chat) bool { return now.Pinned })
	for _, why := range []string{"read", "sent"} {
		w.halt()
		require.NoError(t, c.phone.ChangeChat(within(t), ana.Number(), phone.ChatPatch{Pinned: new(false)}))
		for i := range 9 {
			require.NoError(t, c.phone.ChangeChat(within(t), number(), phone.ChatPatch{Pinned: new(i%2 == 0)}))
		}
		w.start()
		if why == "sent" {
			c.until(session.Online)
			c.change(chat, session.ChatChange{Archived: new(true)})
		}
		c.settled(chat, func(now *tenant.Chat) bool { return !now.Pinned })
		require.NoError(t, c.phone.ChangeChat(within(t), ana.Number(), phone.ChatPatch{Pinned: new(true)}))
		c.settled(chat, func(now *tenant.Chat) bool { return now.Pinned })
	}
}
