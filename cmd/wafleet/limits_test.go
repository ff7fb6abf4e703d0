package main

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

// limits changes the tenant's limits over the admin API.
func (c *customer) limits(body string) {
	c.w.t.Helper()
	c.w.admin.call(http.StatusOK, http.MethodPatch, "/admin/tenants/"+c.id+"/limits", body)
}

// refused sends a text that a limit does not let through.
func (c *customer) refused(to tenant.ChatID, limit string) {
	c.w.t.Helper()
	got := c.api.call(http.StatusTooManyRequests, http.MethodPost, "/api/chats/"+string(to)+"/messages", textBody("too much"))
	var problem struct{ Code, Limit string }
	got.into(c.w.t, &problem)
	require.Equal(c.w.t, "RATE_LIMITED", problem.Code)
	require.Equal(c.w.t, limit, problem.Limit)
	seconds, err := strconv.Atoi(got.header.Get("Retry-After"))
	require.NoError(c.w.t, err)
	require.Positive(c.w.t, seconds)
}

// coldLeft is how many persons who never wrote may be written to today.
func (c *customer) coldLeft() int {
	c.w.t.Helper()
	var shown struct{ Remaining struct{ ColdChats *int } }
	c.api.call(http.StatusOK, http.MethodGet, "/api/limits", "").into(c.w.t, &shown)
	require.NotNil(c.w.t, shown.Remaining.ColdChats)
	return *shown.Remaining.ColdChats
}

// TestLimitsHoldFromTheOutside has limits and WhatsApp's own lock hold for one tenant alone, without a restart, and after a kill.
func TestLimitsHoldFromTheOutside(t *testing.T) {
	t.Parallel()
	for engine, database := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			c, other := w.customer("Shop"), w.customer("Bank")
			ana, bruno, friend := w.person("Ana"), w.person("Bruno"), w.person("Friend")
			friend.send(c.person, "hello")
			until(t, "the friend's message is there", func() bool { return len(c.chats()) == 1 })

			c.limits(`{"coldChatsPerDay":1}`)
			c.text(ana.chatID(), "one")
			c.refused(bruno.chatID(), "coldChats")
			c.text(ana.chatID(), "counted already")
			c.text(friend.chatID(), "wrote first")
			other.text(bruno.chatID(), "another tenant")

			w.node.Kill()
			w.start()
			c.connect()
			c.online()
			c.refused(bruno.chatID(), "coldChats")
			c.limits(`{"coldChatsPerDay":null}`)
			c.text(bruno.chatID(), "the default is more")

			end := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
			require.NoError(t, w.sim.Relay().Reachout(c.Number(), end))
			var info struct{ ReachoutLock *tenant.ReachoutLock }
			until(t, "the lock is shown", func() bool {
				c.api.call(http.StatusOK, http.MethodGet, "/api/session", "").into(t, &info)
				return info.ReachoutLock != nil
			})
			require.True(t, end.Equal(info.ReachoutLock.Until))
			w.node.Kill()
			w.start()
			c.connect()
			c.online()
			stranger := w.person("Stranger")
			c.refused(stranger.chatID(), "reachout")
			c.text(friend.chatID(), "replies go on")
			w.admin.call(http.StatusOK, http.MethodGet, "/admin/tenants/"+c.id+"/session", "").into(t, &info)
			require.NotNil(t, info.ReachoutLock)

			c.limits(`{"requestsPerSecond":1,"requestBurst":2}`)
			require.Eventually(t, func() bool {
				got, err := c.api.try(http.MethodGet, "/api/contacts", "")
				return err == nil && got.status == http.StatusTooManyRequests
			}, patience, time.Millisecond)
		})
	}
}

// TestAKillNeitherLosesNorDoublesWhatADayHasTaken kills the node while it writes to people who never wrote.
func TestAKillNeitherLosesNorDoublesWhatADayHasTaken(t *testing.T) {
	t.Parallel()
	const rounds, each = 4, 8
	for engine, database := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			c := w.customer("Shop")
			c.limits(`{"coldChatsPerDay":1000}`)
			for range rounds {
				var sending sync.WaitGroup
				for range each {
					to := w.person("Somebody").chatID()
					sending.Go(func() {
						_, _ = c.api.try(http.MethodPost, "/api/chats/"+string(to)+"/messages", textBody("hello")) // the node is killed under it
					})
				}
				timer := time.NewTimer(time.Duration(rand.IntN(150)) * time.Millisecond)
				<-timer.C
				w.node.Kill()
				sending.Wait()
				w.start()
				c.connect()
				written := len(c.chats())
				require.Equal(t, 1000-written, c.coldLeft(), "%d were written to", written)
				c.online()
			}
		})
	}
}
