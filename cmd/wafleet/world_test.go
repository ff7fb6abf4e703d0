package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/tenant"
)

const adminKey = "e2e-admin-key-0123456789"

// numbers hands out phone numbers, so that tests that run side by side never share one.
var numbers atomic.Int64

func newNumber() string { return fmt.Sprintf("5511%09d", 900_000_000+numbers.Add(1)) }

// world is a simulated WhatsApp in the test's process and a node in a process of its own.
type world struct {
	t     *testing.T
	sim   *wasim.Simulator
	url   string // of the database
	args  []string
	node  *process
	base  string  // of the node's API
	admin *client // the node's admin API
}

// newWorld starts a simulator, and a node on that database with these arguments, as every later one.
func newWorld(t *testing.T, databaseURL string, args ...string) *world {
	t.Helper()
	w := &world{t: t, url: databaseURL, args: args}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	var err error
	w.sim, err = wasim.Start(t.Context(), wasim.Config{Listen: "127.0.0.1:0", WhatsAppListen: "127.0.0.1:0", Log: log})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.sim.Close(testContext())) })
	w.start()
	return w
}

// start starts the node, again if it was killed, and waits until it serves.
func (w *world) start(args ...string) {
	w.t.Helper()
	w.launch(args...)
	until(w.t, "the node is ready", func() bool {
		got, err := w.admin.try(http.MethodGet, "/readyz", "")
		return err == nil && got.status == http.StatusOK
	})
}

// launch starts the node and waits until it listens.
func (w *world) launch(args ...string) {
	w.t.Helper()
	w.node = start(w.t, []string{
		"WAFLEET_DATABASE=" + w.url, "WAFLEET_ADMIN_KEY=" + adminKey, "WAFLEET_WHATSAPP=" + w.sim.ControlURL(),
		"WAFLEET_CONNECTS_PER_SECOND=1000", "WAFLEET_CONNECT_BURST=1000",
		"WAFLEET_REQUESTS_PER_SECOND=0", // tests ask faster than any customer
	}, slices.Concat([]string{"serve", "--listen", "127.0.0.1:0", "--log-format", "json"}, w.args, args)...)
	address, ok := w.node.Logged("serving")["address"].(string)
	require.True(w.t, ok)
	w.base = "http://" + address
	w.admin = newClient(w.t, w.base, map[string]string{"Authorization": "Bearer " + adminKey})
}

// person is somebody with a phone.
type person struct {
	*phone.Phone

	w *world
}

// chatID is how the API calls the person.
func (p *person) chatID() tenant.ChatID { return tenant.PersonID(p.Number()) }

// person makes an account with a phone, without history.
func (w *world) person(name string) *person {
	w.t.Helper()
	made, err := w.sim.AddPhone(w.t.Context(), wasim.PhoneConfig{Phone: newNumber(), Name: name, History: []phone.Chat{}})
	require.NoError(w.t, err)
	return &person{Phone: made, w: w}
}

// send sends a text and returns the message's id.
func (p *person) send(to *person, text string) tenant.MessageID {
	p.w.t.Helper()
	id, err := p.SendText(p.w.t.Context(), to.Number(), text, phone.SendOptions{})
	require.NoError(p.w.t, err)
	return tenant.MessageID(id)
}

// got waits until the person's phone has that text.
func (p *person) got(text string) phone.Entry {
	p.w.t.Helper()
	ctx, cancel := context.WithTimeout(p.w.t.Context(), patience)
	defer cancel()
	e, err := p.WaitEntry(ctx, 0, func(e phone.Entry) bool { return e.Kind == phone.KindMessage && e.Text == text })
	require.NoError(p.w.t, err, "%s never got %q", p.Name(), text)
	return e
}

// customer is a tenant with a phone, paired.
type customer struct {
	*person

	id, key string
	api     *client
}

// customer makes a tenant, a key and a person, and pairs them by QR code.
func (w *world) customer(name string) *customer {
	w.t.Helper()
	c := w.unpaired(name)
	c.pair()
	return c
}

func (w *world) unpaired(name string) *customer {
	w.t.Helper()
	c := &customer{person: w.person(name)}
	var made struct{ ID, APIKey string }
	body := fmt.Sprintf(`{"name":%q}`, name)
	w.admin.call(http.StatusCreated, http.MethodPost, "/admin/tenants", body).into(w.t, &made)
	c.id = made.ID
	w.admin.call(http.StatusCreated, http.MethodPost, "/admin/tenants/"+c.id+"/keys", `{"label":"e2e"}`).into(w.t, &made)
	c.key = made.APIKey
	c.connect()
	return c
}

// connect makes the tenant's client for the node that runs now.
func (c *customer) connect() {
	c.api = newClient(c.w.t, c.w.base, map[string]string{"X-API-Key": c.key})
}

func (c *customer) pair() {
	t := c.w.t
	t.Helper()
	var pairing struct{ QR string }
	c.w.admin.call(http.StatusOK, http.MethodPost, "/admin/tenants/"+c.id+"/session/pair", `{"method":"qr"}`).into(t, &pairing)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := c.Scan(ctx, pairing.QR)
	require.NoError(t, err)
	c.online()
}

// online waits until the session is.
func (c *customer) online() {
	c.w.t.Helper()
	until(c.w.t, c.Name()+" is online", func() bool {
		got, err := c.api.try(http.MethodGet, "/api/status", "")
		return err == nil && got.status == http.StatusOK && strings.Contains(string(got.body), `"ready":true`)
	})
}

func (c *customer) feed(since int64) *feed {
	c.w.t.Helper()
	return openFeed(c.w.t, c.w.base, c.key, since)
}

// text sends a text over the API.
func (c *customer) text(to tenant.ChatID, text string) tenant.Message {
	c.w.t.Helper()
	var m tenant.Message
	c.api.call(http.StatusCreated, http.MethodPost, "/api/chats/"+string(to)+"/messages", textBody(text)).into(c.w.t, &m)
	return m
}

func textBody(text string) string {
	body, err := json.Marshal(map[string]string{"message": text})
	if err != nil {
		panic(err)
	}
	return string(body)
}

// messages are all messages of a chat, newest first.
func (c *customer) messages(chat tenant.ChatID) []tenant.Message {
	c.w.t.Helper()
	var all []tenant.Message
	for cursor := ""; ; {
		var page struct {
			Messages   []tenant.Message
			NextCursor string
		}
		path := "/api/chats/" + string(chat) + "/messages?limit=1000"
		if cursor != "" {
			path += "&cursor=" + url.QueryEscape(cursor)
		}
		c.api.call(http.StatusOK, http.MethodGet, path, "").into(c.w.t, &page)
		all = append(all, page.Messages...)
		if cursor = page.NextCursor; cursor == "" {
			return all
		}
	}
}

// chats are all chats.
func (c *customer) chats() []tenant.Chat {
	c.w.t.Helper()
	var list struct{ Chats []tenant.Chat }
	c.api.call(http.StatusOK, http.MethodGet, "/api/chats", "").into(c.w.t, &list)
	return list.Chats
}
