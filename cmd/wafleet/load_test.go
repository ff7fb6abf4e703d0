package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
	"github.com/wafleet/wafleet/tenant"
)

// How thorough the fault suite is. make faults says more than make test.
var (
	faultSeed    = flag.Uint64("faults.seed", 0, "what the fault suite's random points come from; 0: another one each time")
	faultTenants = flag.Int("faults.tenants", 3, "how many customers the fault suite has")
	faultKills   = flag.Int("faults.kills", 8, "how often the fault suite kills the node")
	faultFreeze  = flag.Duration("faults.freeze", 2*time.Second, "how long the fault suite freezes the database")
)

// chance is where the random points of a test come from. The seed is printed, for -faults.seed.
func chance(t *testing.T) *rand.Rand {
	t.Helper()
	seed := cmp.Or(*faultSeed, rand.Uint64())
	t.Logf("-faults.seed=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

const (
	// perWriter is how many customers one writer writes to.
	perWriter = 5
	// inRation and outRation are how many messages each customer gets and sends at most until the next refill.
	inRation, outRation = 6, 3
	// longQueue is how many stanzas wait for a customer when it is not written to any more.
	longQueue = 20
	// retryEvery is how long a client waits before it sends a request again that was not answered well.
	retryEvery = 100 * time.Millisecond
)

// load is customers of one node who get and send messages, while things go wrong. The simulator is the witness: what it saw
// acknowledged must be stored, and what it accepted must reach its recipient, once each. A request that gets no good answer is sent again
// under its idempotency key, as clients are told to do.
type load struct {
	t         *testing.T
	w         *world
	customers []*laden
	crowds    []*crowd
	witness   *witness

	refusals atomic.Int64 // requests that the node could not serve

	mu   sync.Mutex
	base string // of the node that runs now

	stop  context.CancelFunc // of those who write
	group sync.WaitGroup
}

// laden is a customer under load.
type laden struct {
	*customer

	load    *load
	writer  *crowd
	in, out chan struct{} // rations
	sent    []string      // by the writer, taken by WhatsApp; one goroutine's until the load has stopped
	asked   []*request    // likewise
}

// crowd is a writer with a group of all customers that it writes to.
type crowd struct {
	*person

	load  *load
	group tenant.ChatID
	ease  chan struct{} // ration
	sent  []string      // to the group
	read  uint64        // how far arrived has come in the phone's inbox
	texts map[string]int
	bad   int // messages that the phone could not decrypt
}

// request is a message that a customer sends over the API.
type request struct {
	text     string           // and key
	promised tenant.MessageID // by an answer; empty so far
	done     bool             // it was answered 201
}

// newLoad starts a world with customers and those who write to them.
func newLoad(t *testing.T, databaseURL string, customers int, args ...string) *load {
	t.Helper()
	l := &load{t: t, w: newWorld(t, databaseURL, args...)}
	l.witness = watch(t, l.w.sim.Relay())
	for n := range customers {
		if n%perWriter == 0 {
			l.crowds = append(l.crowds, &crowd{person: l.w.person(fmt.Sprintf("Writer%d", n/perWriter)), load: l, ease: make(chan struct{}, outRation), texts: map[string]int{}})
		}
		c := &laden{
			customer: l.w.customer(fmt.Sprintf("Shop%d", n)), load: l, writer: l.crowds[len(l.crowds)-1],
			in: make(chan struct{}, inRation), out: make(chan struct{}, outRation),
		}
		l.customers = append(l.customers, c)
	}
	for _, crowd := range l.crowds {
		crowd.found()
	}
	for _, c := range l.customers { // so that nobody has to be looked up while the node is away
		c.write()
		feed := c.feed(0)
		feed.received(c.sent[0])
		feed.received(c.writer.sent[0])
	}
	l.moved()
	l.begin()
	t.Cleanup(l.halt)
	return l
}

// members are the customers that a crowd writes to.
func (c *crowd) members() []*laden {
	return slices.DeleteFunc(slices.Clone(c.load.customers), func(l *laden) bool { return l.writer != c })
}

// found makes the crowd's group.
func (c *crowd) found() {
	var numbers []string
	for _, member := range c.members() {
		numbers = append(numbers, member.Number())
	}
	id, _, err := c.CreateGroup(c.load.t.Context(), c.Name(), numbers)
	require.NoError(c.load.t, err)
	c.group = tenant.ChatID(id)
	c.write()
}

// moved says that the node has another address.
func (l *load) moved() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.base = l.w.base
}

// begin lets all write.
func (l *load) begin() {
	ctx, stop := context.WithCancel(l.t.Context())
	l.stop = stop
	each := func(ration <-chan struct{}, write func()) {
		l.group.Go(func() {
			for {
				select {
				case <-ration:
					write()
				case <-ctx.Done():
					return
				}
			}
		})
	}
	for _, c := range l.customers {
		each(c.in, c.write)
		each(c.out, func() { c.ask(ctx) })
	}
	for _, c := range l.crowds {
		each(c.ease, c.write)
	}
	l.refill()
}

// halt ends all writing. Nobody is cut off in the middle: what was taken by whom is known.
func (l *load) halt() {
	l.stop()
	l.group.Wait()
}

// refill gives everybody a ration, but those who write to a customer for whom much waits.
func (l *load) refill() {
	fill := func(ration chan struct{}) {
		for {
			select {
			case ration <- struct{}{}:
			default:
				return
			}
		}
	}
	waiting := l.w.sim.Relay().Stats().UnacknowledgedByPhone
	long := func(c *laden) bool { return waiting[c.Number()] > longQueue }
	for _, c := range l.customers {
		fill(c.out)
		if !long(c) {
			fill(c.in)
		}
	}
	for _, c := range l.crowds {
		if !slices.ContainsFunc(c.members(), long) {
			fill(c.ease)
		}
	}
}

// write sends one more text to the customer.
func (c *laden) write() {
	text := fmt.Sprintf("to %s %d", c.Name(), len(c.sent))
	c.writer.say(c.Number(), text)
	c.sent = append(c.sent, text)
}

// write sends one more text to the group.
func (c *crowd) write() {
	text := fmt.Sprintf("to all of %s %d", c.Name(), len(c.sent))
	c.say(string(c.group), text)
	c.sent = append(c.sent, text)
}

// say sends a text, whatever the test is about to do: whether WhatsApp has it must be known.
func (c *crowd) say(to, text string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.load.t.Context()), patience)
	defer cancel()
	if _, err := c.SendText(ctx, to, text, phone.SendOptions{}); err != nil {
		c.load.t.Errorf("%s writes %q: %v", c.Name(), text, err)
	}
}

// ask sends one more message over the API.
func (c *laden) ask(ctx context.Context) {
	r := &request{text: fmt.Sprintf("from-%s-%d", c.Name(), len(c.asked))}
	c.asked = append(c.asked, r)
	c.pursue(ctx, r)
}

// pursue sends a request until it is answered well, or ctx ends.
func (c *laden) pursue(ctx context.Context, r *request) {
	wait := time.NewTicker(retryEvery)
	defer wait.Stop()
	for !r.done {
		c.try(r) //nolint:contextcheck // what has begun goes through
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
	}
}

// try sends a request once.
func (c *laden) try(r *request) {
	c.load.mu.Lock()
	caller := c.keyed(r.text)
	caller.base = c.load.base
	c.load.mu.Unlock()
	got, err := caller.try(http.MethodPost, "/api/chats/"+string(c.writer.chatID())+"/messages", textBody(r.text))
	if err != nil {
		return // the node is away, or its answer was lost
	}
	var said struct {
		ID        tenant.MessageID `json:"id"`
		MessageID tenant.MessageID `json:"messageId"`
		Detail    string           `json:"detail"`
	}
	if err = json.Unmarshal(got.body, &said); err != nil {
		c.load.t.Errorf("%s: %v: %s", r.text, err, got)
	}
	switch got.status {
	case http.StatusCreated:
		r.done = true
	case http.StatusGatewayTimeout, http.StatusServiceUnavailable:
		c.load.refusals.Add(1)
	default:
		c.load.t.Errorf("%s: %s", r.text, got)
	}
	if strings.Contains(said.Detail, "stored or not") {
		return // the id is where to look, no promise
	}
	id := cmp.Or(said.ID, said.MessageID)
	if r.promised != "" && id != "" && r.promised != id {
		c.load.t.Errorf("%s: promised as %s, then as %s", r.text, r.promised, id)
	}
	r.promised = cmp.Or(r.promised, id)
}

// gather takes note of what arrived at the writers' phones, which forget after some thousand entries.
func (l *load) gather() {
	for _, c := range l.crowds {
		for _, e := range c.Inbox(c.read) {
			c.read = e.Seq
			switch {
			case e.Kind == phone.KindUndecryptable:
				c.bad++
			case e.Kind == phone.KindMessage && !e.FromMe:
				c.texts[e.Text]++
			}
		}
	}
}

// settle stops the load, waits until all is quiet, checks all that is promised, and lets the load go on.
func (l *load) settle(what string) {
	l.t.Helper()
	l.halt()
	for _, c := range l.customers {
		c.connect()
		c.online()
	}
	var asking sync.WaitGroup
	late, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	for _, c := range l.customers {
		asking.Go(func() {
			for _, r := range c.asked {
				c.pursue(late, r)
			}
		})
	}
	asking.Wait()
	until(l.t, what+": everything is acknowledged", func() bool {
		waiting := l.w.sim.Relay().Stats().UnacknowledgedByPhone
		return !slices.ContainsFunc(l.customers, func(c *laden) bool { return waiting[c.Number()] > 0 })
	})
	for _, c := range l.customers {
		c.check(what)
	}
	l.arrived(what)
	l.witness.check(l.t, what)
	require.Empty(l.t, l.w.sim.Relay().Stats().Violations, what)
	require.False(l.t, l.t.Failed(), what)
	l.begin()
}

// check holds what is stored and journalled against what was sent.
func (c *laden) check(what string) {
	t := c.load.t
	t.Helper()
	what += ", " + c.Name()
	var asked []string
	stored := map[string]tenant.MessageID{}
	messages := c.messages(c.writer.chatID())
	for _, m := range messages {
		stored[m.Text] = m.ID
		if m.FromMe {
			require.GreaterOrEqual(t, m.Status, tenant.StatusSent, "%s: %s", what, m.Text)
		}
	}
	for _, r := range c.asked {
		require.True(t, r.done, "%s: %s is not answered", what, r.text)
		require.Equal(t, r.promised, stored[r.text], "%s: %s", what, r.text)
		asked = append(asked, r.text)
	}
	same(t, what+": stored", slices.Concat(c.sent, asked), texts(messages))
	same(t, what+": stored of the group", c.writer.sent, texts(c.messages(c.writer.group)))
	received := slices.Concat(c.sent, c.writer.sent)
	events := c.feed(0).wait("all messages", func(events []tenant.Event) bool { // which checks that seq has no gap
		return len(textsIn(t, events, tenant.EventMessageReceived)) >= len(received) && len(textsIn(t, events, tenant.EventMessageSent)) >= len(asked)
	})
	same(t, what+": journalled as received", received, textsIn(t, events, tenant.EventMessageReceived))
	same(t, what+": journalled as sent", asked, textsIn(t, events, tenant.EventMessageSent))
}

// arrived holds what came to the writers' phones against what was asked for.
func (l *load) arrived(what string) {
	l.t.Helper()
	for _, crowd := range l.crowds {
		want := map[string]int{}
		for _, c := range crowd.members() {
			for _, r := range c.asked {
				want[r.text] = 1
			}
		}
		until(l.t, what+": everything has arrived", func() bool {
			l.gather()
			return len(crowd.texts) >= len(want) || crowd.bad > 0 || l.witness.retries.Load() > 0
		})
		l.witness.check(l.t, what) // says more than what is missing
		require.Equal(l.t, want, crowd.texts, "%s: %s got each message once", what, crowd.Name())
		require.Zero(l.t, crowd.bad, "%s: %s could not decrypt all", what, crowd.Name())
	}
}

// same compares two lists without their order, and says what differs.
func same(t *testing.T, what string, want, got []string) {
	t.Helper()
	count := map[string]int{}
	for _, one := range want {
		count[one]--
	}
	for _, one := range got {
		count[one]++
	}
	maps.DeleteFunc(count, func(_ string, n int) bool { return n == 0 })
	require.Empty(t, count, "%s: below 0 is missing, above is too much", what)
}

// witness counts what the simulator saw go wrong with devices' keys. One device of ours that cannot decrypt, or whose messages cannot be
// decrypted, is one too many.
type witness struct {
	retries, refused, dropped atomic.Int64

	steps  atomic.Int64  // observations of companions until strike
	strike chan struct{} // one slot
}

// watch makes the relay tell a witness of all that happens, until the test ends.
func watch(t *testing.T, server *relay.Server) *witness {
	t.Helper()
	w := &witness{strike: make(chan struct{}, 1)}
	t.Cleanup(server.Observe(w.see))
	return w
}

func (w *witness) see(o relay.Observation) {
	switch o.Kind { //nolint:exhaustive // the rest is as it should be
	case relay.RetryRequested:
		w.retries.Add(1)
	case relay.Refused:
		w.refused.Add(1)
	case relay.Dropped:
		w.dropped.Add(1)
	}
	if o.Device == 0 {
		return
	}
	if w.steps.Add(-1) == 0 {
		select {
		case w.strike <- struct{}{}:
		default: // it was not waited for
		}
	}
}

// after lets strike tell when the relay has seen n steps more of companions: logins, messages taken, delivered and acknowledged, receipts.
func (w *witness) after(n int64) {
	select {
	case <-w.strike:
	default:
	}
	w.steps.Store(n)
}

func (w *witness) check(t *testing.T, what string) {
	t.Helper()
	require.Zero(t, w.retries.Load(), "%s: retry receipts", what)
	require.Zero(t, w.refused.Load(), "%s: messages refused by their recipient", what)
	require.Zero(t, w.dropped.Load(), "%s: the test has flooded a queue", what)
}

func texts(messages []tenant.Message) []string {
	var list []string
	for _, m := range messages {
		list = append(list, m.Text)
	}
	return list
}

// textsIn are the texts of the messages that events of that type tell of.
func textsIn(t *testing.T, events []tenant.Event, kind tenant.EventType) []string {
	t.Helper()
	var list []string
	for _, e := range events {
		if e.Type == kind {
			list = append(list, messageOf(t, e).Text)
		}
	}
	return list
}

func receivedTexts(t *testing.T, events []tenant.Event) []string {
	t.Helper()
	return textsIn(t, events, tenant.EventMessageReceived)
}
