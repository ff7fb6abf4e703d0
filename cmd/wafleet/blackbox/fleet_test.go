package blackbox

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

const adminKey = "blackbox-admin-key-0123456789"

// fleet is a simulated WhatsApp and a node, with customers in all the ways that matter.
type fleet struct {
	t          *testing.T
	base       string
	sim, admin *caller
	document   *document
	invite     string // to the foreign group
	numbers    atomic.Int64

	owner    *customer // online; its chats are what it is all about
	stranger *customer // online, with nothing in common with the owner
	sleeper  *customer // has all that the owner has, but is offline
	blank    *customer // never paired
}

// newFleet starts a fleet on that database.
func newFleet(t *testing.T, databaseURL string) *fleet {
	t.Helper()
	f := &fleet{t: t}
	f.begin(databaseURL)
	f.owner, f.stranger, f.sleeper = f.customer("owner"), f.customer("stranger"), f.customer("sleeper")
	f.blank = f.tenant("blank")
	f.makeForeign()
	f.admin.must(t, http.StatusOK, http.MethodPost, "/admin/tenants/"+f.sleeper.id+"/session/disconnect", "")
	f.sleeper.ready(false)
	return f
}

// begin starts the processes.
func (f *fleet) begin(databaseURL string) {
	t := f.t
	t.Helper()
	sim := start(t, nil, "sim", "--listen", "127.0.0.1:0", "--log-format", "json", "--log-level", "error")
	f.sim = newCaller(t, printed(sim, "control API"), nil)
	node := start(t, []string{
		"WAFLEET_DATABASE=" + databaseURL, "WAFLEET_ADMIN_KEY=" + adminKey, "WAFLEET_WHATSAPP=" + f.sim.base,
		"WAFLEET_CONNECTS_PER_SECOND=1000", "WAFLEET_CONNECT_BURST=1000",
		"WAFLEET_REQUESTS_PER_SECOND=0", // tests ask faster than any customer
	}, "serve", "--listen", "127.0.0.1:0", "--log-format", "json")
	f.base = "http://" + node.Logged("serving")["address"].(string)
	f.admin = newCaller(t, f.base, map[string]string{"Authorization": "Bearer " + adminKey})
	f.admin.until(t, http.MethodGet, "/readyz", func(a answer) bool { return a.status == http.StatusOK })
	f.document = readDocument(t, f.base)
}

// customer is a tenant.
type customer struct {
	f             *fleet
	name, id, key string
	api           *caller
	events        *socket

	number  string             // of its account; empty if it has none
	friend  string             // number of who writes to it
	chats   map[string]*chat   // by kind: direct, group
	spare   map[string][]*chat // that tests may destroy
	secrets []string           // what nobody else may see
}

// chat is a conversation of a customer, and messages of it.
type chat struct {
	id                 string
	theirs, ours, file string // ids of messages: of the friend, of the customer, of the friend with a file
}

const (
	direct  = "direct"
	group   = "group"
	foreign = "foreign" // a group in which the owner is no admin, and where only admins may change anything
)

// number makes up a phone number.
func (f *fleet) number() string { return fmt.Sprintf("55119%08d", 30_000_000+f.numbers.Add(1)) }

// person makes an account with a phone and returns its number.
func (f *fleet) person(name string) string {
	f.t.Helper()
	number := f.number()
	f.sim.must(f.t, http.StatusCreated, http.MethodPost, "/accounts", fmt.Sprintf(`{"phone":%q,"name":%q,"history":[]}`, number, name))
	return number
}

// tenant makes a tenant with a key.
func (f *fleet) tenant(name string) *customer {
	f.t.Helper()
	c := &customer{f: f, name: name, chats: map[string]*chat{}, spare: map[string][]*chat{}}
	var made struct{ ID, APIKey string }
	made = read[struct{ ID, APIKey string }](f.t, f.admin.must(f.t, http.StatusCreated, http.MethodPost, "/admin/tenants", fmt.Sprintf(`{"name":%q}`, name)))
	c.id = made.ID
	made = read[struct{ ID, APIKey string }](f.t, f.admin.must(f.t, http.StatusCreated, http.MethodPost, "/admin/tenants/"+c.id+"/keys", `{"label":"blackbox"}`))
	c.key = made.APIKey
	c.api = newCaller(f.t, f.base, map[string]string{"X-API-Key": c.key})
	c.events = listen(f.t, f.base, c.key, 0)
	c.secrets = []string{c.id, c.key}
	return c
}

// customer makes a tenant, pairs it with a phone, and gives it chats.
func (f *fleet) customer(name string) *customer {
	f.t.Helper()
	c := f.tenant(name)
	f.pair(c)
	c.chats[direct] = c.converse(c.number, c.friend+"@c.us", c.friend)
	for range spares {
		who := f.person("friend of " + name)
		c.spare[direct] = append(c.spare[direct], c.converse(c.number, who+"@c.us", who))
	}
	c.chats[group] = c.group("group")
	for range spares {
		c.spare[group] = append(c.spare[group], c.group("spare group"))
	}
	return c
}

// pair gives a tenant an account and a friend, and pairs it.
func (f *fleet) pair(c *customer) {
	f.t.Helper()
	name := c.name
	c.number, c.friend = f.person("account of "+name), f.person("friend of "+name)
	c.secrets = append(c.secrets, c.number, "account of "+name, "secret of "+name) // anybody may know the friend
	pairing := read[struct{ QR string }](f.t, f.admin.must(f.t, http.StatusOK, http.MethodPost, "/admin/tenants/"+c.id+"/session/pair", `{"method":"qr"}`))
	f.sim.must(f.t, http.StatusOK, http.MethodPost, "/accounts/"+c.number+"/scan", fmt.Sprintf(`{"qr":%q}`, pairing.QR))
	c.ready(true)
}

// spares are chats that rows may destroy: see rows.spare.
const spares = 2

// ready waits until the session is online, or is not.
func (c *customer) ready(online bool) {
	c.f.t.Helper()
	c.api.until(c.f.t, http.MethodGet, "/api/status", func(a answer) bool {
		return a.status == http.StatusOK && strings.Contains(string(a.body), fmt.Sprintf(`"ready":%t`, online))
	})
}

// makeForeign makes the foreign group.
func (f *fleet) makeForeign() {
	f.t.Helper()
	body := fmt.Sprintf(`{"by":%q,"name":"foreign","participants":[%q]}`, f.owner.friend, f.owner.number)
	made := read[struct{ ID, Invite string }](f.t, f.sim.must(f.t, http.StatusCreated, http.MethodPost, "/groups", body))
	f.invite, f.owner.chats[foreign] = made.Invite, f.owner.converse(made.ID, made.ID, f.owner.friend)
	f.sim.must(f.t, http.StatusOK, http.MethodPatch, "/groups/"+made.ID, fmt.Sprintf(`{"by":%q,"locked":true,"memberAdd":"admins"}`, f.owner.friend))
	f.owner.secrets = slices.DeleteFunc(f.owner.secrets, func(s string) bool { return s == made.ID }) // strangers may join it
}

// group makes a group of the customer, who is its admin, and the friend.
func (c *customer) group(name string) *chat {
	t := c.f.t
	t.Helper()
	body := fmt.Sprintf(`{"by":%q,"name":%q,"participants":[%q]}`, c.number, name+" of "+c.name, c.friend)
	made := read[struct{ ID string }](t, c.f.sim.must(t, http.StatusCreated, http.MethodPost, "/groups", body))
	return c.converse(made.ID, made.ID, c.friend)
}

// converse lets a friend send a text and a picture to an address, and the customer answer in the chat.
func (c *customer) converse(to, chatID, friend string) *chat {
	t := c.f.t
	t.Helper()
	n := c.f.numbers.Add(1)
	made := &chat{id: chatID}
	made.theirs = c.receives(friend, to, fmt.Sprintf("secret of %s, said %d", c.name, n), "")
	picture := base64.StdEncoding.EncodeToString([]byte("a picture"))
	made.file = c.receives(friend, to, fmt.Sprintf("secret of %s, shown %d", c.name, n),
		fmt.Sprintf(`,"media":{"kind":"image","mimeType":"image/jpeg","data":%q,"thumbnail":%q}`, picture, picture))
	made.ours = c.sends(t, chatID)
	c.secrets = append(c.secrets, made.theirs, made.file, made.ours)
	if strings.HasSuffix(chatID, "@g.us") {
		c.secrets = append(c.secrets, chatID)
	}
	return made
}

// receives lets somebody send a message and waits until it is there.
func (c *customer) receives(from, to, message, more string) (id string) {
	t := c.f.t
	t.Helper()
	c.f.sim.must(t, http.StatusOK, http.MethodPost, "/accounts/"+from+"/send", fmt.Sprintf(`{"to":%q,"text":%q%s}`, to, message, more))
	return idOf(t, c.events.event(t, "message.received", message).Data)
}

// sends writes a text and returns its id.
func (c *customer) sends(t *testing.T, chatID string) (id string) {
	t.Helper()
	message := text(fmt.Sprintf("secret of %s, answered %d", c.name, c.f.numbers.Add(1)))
	got := c.api.must(t, http.StatusCreated, http.MethodPost, "/api/chats/"+chatID+"/messages", message)
	return idOf(t, got.body)
}

func idOf(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	var message struct {
		ID string `json:"id"`
	}
	require.NoError(t, json.Unmarshal(raw, &message))
	require.NotEmpty(t, message.ID)
	return message.ID
}
