package session_test

import (
	"context"
	"encoding/json"
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

func TestSynchronizes(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c, ana, chat := w.known(wasim.PhoneConfig{})
		var groups []tenant.ChatID
		for i := range 3 {
			id, _, err := c.phone.CreateGroup(within(t), fmt.Sprint("Group ", i), []string{ana.Number()})
			require.NoError(t, err)
			groups = append(groups, tenant.ChatID(id))
		}
		set := phone.ChatPatch{Archived: new(true), Muted: &phone.Mute{Forever: true}}
		require.NoError(t, c.phone.ChangeChat(within(t), ana.Number(), set))
		require.NoError(t, c.phone.ChangeChat(within(t), string(groups[0]), phone.ChatPatch{Pinned: new(true)}))
		require.NoError(t, c.phone.NameContact(within(t), ana.Number(), "Ana Silva"))
		c.settled(chat, func(now *tenant.Chat) bool { return now.Archived && now.Name == "Ana Silva" })
		c.settled(groups[0], func(now *tenant.Chat) bool { return now.Pinned })
		for _, id := range append(groups, chat) { // all that is stored goes, and comes back
			_, err := c.Commit(within(t), tenant.DeleteChat{ID: id})
			if err != nil {
				require.ErrorIs(t, err, tenant.ErrChatNotFound)
			}
		}

		live, stop := w.fleet.Live(c.ID())
		defer stop()
		result, err := w.fleet.SyncChats(within(t), c.ID())
		require.NoError(t, err)
		require.Equal(t, tenant.ChatCounts{Groups: 3, Direct: 1}, result.ChatCounts)
		require.Positive(t, result.Took)
		for i, id := range groups {
			now, err := c.Chat(within(t), id)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint("Group ", i), now.Name)
			require.Equal(t, i == 0, now.Pinned)
		}
		now, err := c.Chat(within(t), chat)
		require.NoError(t, err)
		require.True(t, now.Archived)
		require.Equal(t, tenant.MutedForever(), *now.MutedUntil)
		require.Equal(t, "Ana Silva", now.Name)

		told := make(map[string]tenant.SyncProgress)
		for done := false; !done; {
			select {
			case e := <-live:
				if e.Type != tenant.EventSyncProgress {
					continue
				}
				require.Zero(t, e.Seq)
				var p tenant.SyncProgress
				require.NoError(t, json.Unmarshal(e.Data, &p))
				require.GreaterOrEqual(t, p.Done, told[p.Stage].Done)
				told[p.Stage] = p
			default:
				done = true
			}
		}
		require.Equal(t, tenant.SyncProgress{Stage: "groups", Done: 3, Total: 3}, told["groups"])
		require.Equal(t, told["contacts"].Total, told["contacts"].Done)
		require.Equal(t, tenant.SyncProgress{Stage: "settings", Done: 4, Total: 4}, told["settings"])
		require.Equal(t, 1, len(c.events(tenant.EventChatDeleted))-len(groups), "nothing was deleted by it")
	})
}

// holdsGroups is a store that holds whoever stores that group, once it is told to.
type holdsGroups struct {
	name    string
	held    chan struct{} // buffered: somebody waits
	release chan struct{}

	mu   sync.Mutex
	hold bool
	n    int
}

func (g *holdsGroups) wrap(s tenant.Store) tenant.Store {
	return &between{Store: s, commit: func(h tenant.Handle, ctx context.Context, changes []tenant.Change) (tenant.Result, error) {
		if put, ok := changes[0].(tenant.PutChat); ok && put.Name != nil && *put.Name == g.name {
			g.mu.Lock()
			hold := g.hold
			if hold {
				g.n++
			}
			g.mu.Unlock()
			if hold {
				g.held <- struct{}{}
				<-g.release
			}
		}
		return h.Commit(ctx, changes...)
	}}
}

func TestSynchronizingIsShared(t *testing.T) {
	t.Parallel()
	g := &holdsGroups{name: "Held", held: make(chan struct{}, 10), release: make(chan struct{})}
	w := newWorld(t, sqlite(), func(w *world) { w.wrap = g.wrap })
	c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
	c.keyed()
	id, _, err := c.phone.CreateGroup(within(t), "Held", []string{ana.Number()})
	require.NoError(t, err)
	c.settled(tenant.ChatID(id), func(*tenant.Chat) bool { return true })
	g.mu.Lock()
	g.hold = true
	g.mu.Unlock()

	first := make(chan error, 1)
	hurried, leave := context.WithCancel(within(t))
	go func() {
		_, err := w.fleet.SyncChats(hurried, c.ID())
		first <- err
	}()
	<-g.held
	var unfinished *session.SyncError
	for range 3 { // they join, and leave at once
		gone, cancel := context.WithCancel(within(t))
		cancel()
		_, err = w.fleet.SyncChats(gone, c.ID())
		require.ErrorAs(t, err, &unfinished)
		require.Equal(t, []string{"groups", "contacts", "settings"}, unfinished.Left)
	}
	leave()
	require.ErrorAs(t, <-first, &unfinished, "a caller that leaves does not end it")
	second := make(chan session.SyncResult, 1)
	go func() {
		result, err := w.fleet.SyncChats(within(t), c.ID())
		if err == nil {
			second <- result
		}
		close(second)
	}()
	g.mu.Lock()
	require.Equal(t, 1, g.n, "one run for all")
	g.mu.Unlock()
	close(g.release)
	result, ok := <-second
	require.True(t, ok)
	require.Equal(t, tenant.ChatCounts{Groups: 1}, result.ChatCounts)
}

func TestSynchronizingEndsInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(), func(w *world) { w.pace.SyncTimeout = 300 * time.Millisecond })
	c, _, _ := w.known(wasim.PhoneConfig{})
	c.fault(relay.FaultStall, 0, 0)
	_, err := w.fleet.SyncChats(within(t), c.ID())
	var late *session.SyncError
	require.ErrorAs(t, err, &late)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Empty(t, late.Done)
	require.Equal(t, []string{"groups", "contacts", "settings"}, late.Left)
	var offline *session.OfflineError
	require.NotErrorAs(t, err, &offline)

	done := make(chan error, 1)
	w.pace.SyncTimeout = 0
	w.restart()
	c.until(session.Online)
	c.fault(relay.FaultStall, 0, 0)
	live, stop := w.fleet.Live(c.ID())
	defer stop()
	go func() {
		_, err := w.fleet.SyncChats(within(t), c.ID())
		done <- err
	}()
	next(t, live, tenant.EventSyncProgress) // it has begun
	c.fault(relay.FaultDrop, 0, 0)
	err = <-done
	require.ErrorAs(t, err, &offline, "the connection was lost")
}

// keyless has the phone's keys to the account's settings be late: all of them, or the one that something was written with.
type keyless struct {
	session.Devices

	late, lost atomic.Bool
	asked      atomic.Bool // for a key, so that there is a newest one
}

func (k *keyless) Load(ctx context.Context, id tenant.ID, jid types.JID) (*store.Device, error) {
	dev, err := k.Devices.Load(ctx, id, jid)
	if err == nil {
		dev.AppStateKeys = &keylessKeys{dev.AppStateKeys, k}
	}
	return dev, err
}

type keylessKeys struct {
	store.AppStateSyncKeyStore

	of *keyless
}

func (k *keylessKeys) GetLatestAppStateSyncKeyID(ctx context.Context) ([]byte, error) {
	if k.of.late.Load() {
		return nil, nil
	}
	return k.AppStateSyncKeyStore.GetLatestAppStateSyncKeyID(ctx)
}

func (k *keylessKeys) GetAppStateSyncKey(ctx context.Context, id []byte) (*store.AppStateSyncKey, error) {
	k.of.asked.Store(true)
	if k.of.lost.Load() {
		return nil, nil //nolint:nilnil // whatsmeow's way to say that there is none
	}
	return k.AppStateSyncKeyStore.GetAppStateSyncKey(ctx, id)
}

func TestSettingsWaitForTheKeysOfThePhone(t *testing.T) {
	t.Parallel()
	for name, missing := range map[string]func(*keyless) *atomic.Bool{
		"AllOfThem": func(k *keyless) *atomic.Bool { return &k.late },
		"OneOfThem": func(k *keyless) *atomic.Bool { return &k.lost },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var k *keyless
			w := newWorld(t, sqlite(), func(w *world) {
				w.wrapDevices = func(d session.Devices) session.Devices {
					k = &keyless{Devices: d}
					missing(k).Store(true)
					return k
				}
			})
			c, ana := w.paired(wasim.PhoneConfig{}), w.phone(wasim.PhoneConfig{})
			id, err := ana.SendText(within(t), c.phone.Number(), "hello", phone.SendOptions{})
			require.NoError(t, err)
			c.message(c.chatID(ana), id, nil)
			if k.lost.Load() {
				eventually(t, k.asked.Load)
			}
			_, err = w.fleet.SyncChats(within(t), c.ID())
			require.ErrorIs(t, err, session.ErrNoStateKey)
			var unfinished *session.SyncError
			require.ErrorAs(t, err, &unfinished)
			require.Contains(t, unfinished.Left, "settings")
			_, err = w.fleet.ChangeChat(within(t), c.ID(), c.chatID(ana), session.ChatChange{Pinned: new(true)})
			require.ErrorIs(t, err, session.ErrNoStateKey)

			missing(k).Store(false)
			eventually(t, func() bool {
				_, err := w.fleet.SyncChats(within(t), c.ID())
				return err == nil
			})
			c.change(c.chatID(ana), session.ChatChange{Pinned: new(true)})
		})
	}
}
