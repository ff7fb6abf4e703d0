package tenanttest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

func orderChecks() []check {
	return []check{
		{"DoesNotMatterInTheEnd", orderDoesNotMatter},
		{"LetsAReceiptBeEarlierThanItsMessage", receiptBeforeMessage},
		{"TellsOfAMessageWhoseHistoryCameFirst", historyBeforeLive},
		{"LetsAReadMarkBeEarlierThanItsMessages", readBeforeMessage},
	}
}

// SeedVariable names the environment variable that repeats a run of the scripts: the seed that it printed.
const SeedVariable = "WAFLEET_TEST_SEED"

// orderDoesNotMatter applies a script of changes in the order in which things happened, and in random ones with repetitions: what is stored in
// the end must be the same.
func orderDoesNotMatter(t tester, s tenant.Store) {
	seed := rand.Uint64()                              //nolint:gosec // for a test
	if given := os.Getenv(SeedVariable); given != "" { //nolint:forbidigo // tests are told in no other way
		parsed, err := strconv.ParseUint(given, 10, 64)
		require.NoError(t, err)
		seed = parsed
	}
	t.Logf("%s=%d", SeedVariable, seed)
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // for a test
	const scripts, orders = 3, 6
	for range scripts {
		changes := newScript(random).changes
		straight := NewTenant(t, s)
		commit(t, straight, changes...)
		want := endState(t, straight)
		for range orders {
			shuffled := repeat(random, changes)
			h := NewTenant(t, s)
			for chunk := range slices.Chunk(shuffled, 1+random.IntN(4)) {
				commit(t, h, chunk...)
			}
			if got := endState(t, h); got != want {
				require.Equal(t, want, got, "in this order:\n%s", spelled(shuffled))
			}
		}
	}
}

// repeat is the changes in random order, a third of them twice.
func repeat(random *rand.Rand, changes []tenant.Change) []tenant.Change {
	all := slices.Clone(changes)
	for _, c := range changes {
		if random.IntN(3) == 0 {
			all = append(all, c)
		}
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func spelled(changes []tenant.Change) string {
	var text strings.Builder
	for i, c := range changes {
		fmt.Fprintf(&text, "%d: %T %+v\n", i, c, c)
	}
	return text.String()
}

// script is what happens to an account, in order.
type script struct {
	random  *rand.Rand
	second  int
	changes []tenant.Change
	sent    []tenant.Message // so far, as they are stored in the end
	gone    []tenant.MessageID
}

// newScript makes things happen in a direct chat with Ana, who is named by either of her ids until both are known to be hers, and in a
// group.
func newScript(random *rand.Rand) *script {
	s := &script{random: random}
	const steps = 40
	link := random.IntN(steps)
	for n := range steps {
		s.second += 2 + random.IntN(5)
		if n == link {
			s.add(tenant.LinkIDs{LID: anaLID, Phone: ana})
		}
		if len(s.sent) < 3 || random.IntN(3) == 0 {
			s.send(n)
			continue
		}
		s.happens(s.sent[random.IntN(len(s.sent))], n)
	}
	return s
}

func (s *script) add(c tenant.Change) { s.changes = append(s.changes, c) }

// either is one of the ids of a person.
func (s *script) either(id tenant.ChatID) tenant.ChatID {
	if id == ana && s.random.IntN(2) == 0 {
		return anaLID
	}
	return id
}

func (s *script) someone() tenant.ChatID {
	return s.either([]tenant.ChatID{ana, beto, me}[s.random.IntN(3)])
}

// send is a message, live, from history, or both.
func (s *script) send(n int) {
	id := numbered(n)
	var m tenant.Message
	switch s.random.IntN(4) {
	case 0:
		m = own(id, ana, fmt.Sprint("text ", n), s.second)
		m.Status = tenant.StatusSent
	case 1:
		m = receivedIn(family, id, []tenant.ChatID{ana, beto}[s.random.IntN(2)], fmt.Sprint("text ", n), s.second)
	default:
		m = received(id, ana, fmt.Sprint("text ", n), s.second)
	}
	if s.random.IntN(5) == 0 {
		m.Type, m.Text = tenant.TypePoll, ""
		m.Poll = &tenant.Poll{Question: "Lunch?", Options: []tenant.PollOption{{Text: "noon"}, {Text: "one"}}}
	}
	s.sent = append(s.sent, m)
	m.ChatID, m.SenderID = s.either(m.ChatID), s.either(m.SenderID)
	s.add(live(m))
	if s.random.IntN(3) == 0 {
		m.ChatID, m.SenderID = s.either(m.ChatID), s.either(m.SenderID)
		s.add(history(m))
	}
}

// happens is something that happens to a message.
func (s *script) happens(m tenant.Message, n int) {
	chat, sender, by := s.either(m.ChatID), s.either(m.SenderID), s.someone()
	at := after(s.second)
	switch kind := s.random.IntN(8); {
	case kind == 0 && !slices.Contains(s.gone, m.ID): // nobody deletes twice
		s.gone = append(s.gone, m.ID)
		s.add(tenant.RevokeMessage{ChatID: chat, ID: m.ID, SenderID: sender, By: sender, At: at})
	case kind == 1 && m.Poll == nil:
		s.add(tenant.EditMessage{ChatID: chat, ID: m.ID, SenderID: sender, Text: fmt.Sprint("edited ", n), At: at})
	case kind == 2 && m.Poll != nil:
		chosen := [][]byte{tenant.HashOption([]string{"noon", "one"}[s.random.IntN(2)])}
		s.add(tenant.CastVote{ChatID: chat, ID: m.ID, SenderID: sender, By: by, Chosen: chosen[:s.random.IntN(2)], At: at})
	case kind == 3 && m.FromMe:
		status := []tenant.Status{tenant.StatusDelivered, tenant.StatusRead, tenant.StatusPlayed}[s.random.IntN(3)]
		s.add(tenant.SetStatus{ChatID: chat, MessageIDs: []tenant.MessageID{m.ID}, Status: status})
	case kind == 4:
		s.add(tenant.MarkRead{ChatID: chat, Until: at})
	default:
		s.add(tenant.React{ChatID: chat, ID: m.ID, SenderID: sender, By: by, Emoji: []string{"👍", "❤", ""}[s.random.IntN(3)], At: at})
	}
}

// endState is all that is stored, as text, without what is inherent in the order: when rows were written, and the journal's order. Of the
// journal it holds how often each message was told of.
func endState(t tester, h tenant.Handle) string {
	t.Helper()
	type state struct {
		Chats    []tenant.Chat    `json:"chats"`
		Messages []tenant.Message `json:"messages"`
		Alias    tenant.ChatID    `json:"alias"`
		Told     map[string]int   `json:"told"`
	}
	var all state
	for chat, err := range h.Chats(t.Context(), tenant.ChatQuery{}) {
		require.NoError(t, err)
		page, err := h.Messages(t.Context(), chat.ID, tenant.MessageQuery{Limit: 1000})
		require.NoError(t, err)
		all.Messages = append(all.Messages, page.Messages...)
		chat.CreatedAt, chat.UpdatedAt = time.Time{}, time.Time{}
		if chat.LastMessage != nil {
			normalize(chat.LastMessage)
		}
		all.Chats = append(all.Chats, chat)
	}
	for i := range all.Messages {
		normalize(&all.Messages[i])
	}
	var err error
	all.Alias, err = h.Resolve(t.Context(), anaLID)
	require.NoError(t, err)
	all.Told = map[string]int{}
	for _, e := range events(t, h) {
		var of struct {
			ID string `json:"id"`
		}
		require.NoError(t, json.Unmarshal(e.Data, &of))
		if e.Type == tenant.EventMessageReceived || e.Type == tenant.EventMessageSent {
			all.Told[string(e.Type)+" "+of.ID]++
		}
	}
	text, err := json.MarshalIndent(all, "", " ")
	require.NoError(t, err)
	return string(text)
}

// normalize brings what has no order into one.
func normalize(m *tenant.Message) {
	slices.SortFunc(m.Reactions, func(a, b tenant.Reaction) int { return cmp.Compare(a.SenderID, b.SenderID) })
	if m.Poll != nil {
		slices.SortFunc(m.Poll.Votes, func(a, b tenant.PollVote) int { return cmp.Compare(a.VoterID, b.VoterID) })
		for i := range m.Poll.Options {
			slices.Sort(m.Poll.Options[i].Voters)
		}
	}
}

func receiptBeforeMessage(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	read := tenant.SetStatus{ChatID: anaLID, MessageIDs: []tenant.MessageID{"A"}, Status: tenant.StatusRead}
	delivered := read
	delivered.Status = tenant.StatusDelivered
	sent := own("A", ana, "from the phone", 1)
	sent.Status = tenant.StatusSent
	commit(t, h, tenant.LinkIDs{LID: anaLID, Phone: ana}, read, delivered)
	require.Empty(t, chatIDs(t, h, tenant.ChatQuery{}), "no chat comes of a receipt")
	commit(t, h, live(received("A", ana, "her own of that id", 0)), live(sent))
	m, err := h.Message(t.Context(), ana, "A", me)
	require.NoError(t, err)
	require.Equal(t, tenant.StatusRead, m.Status)
	m, err = h.Message(t.Context(), ana, "A", ana)
	require.NoError(t, err)
	require.Equal(t, tenant.StatusReceived, m.Status)
	require.Equal(t, []tenant.EventType{tenant.EventMessageReceived, tenant.EventMessageSent, tenant.EventMessageStatus}, eventTypes(t, h, 0))
}

func historyBeforeLive(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	m := received("A", ana, "hello", 1)
	commit(t, h, history(m))
	require.Empty(t, events(t, h))
	result := commit(t, h, live(m))
	require.Equal(t, []bool{false}, result.Fresh)
	require.Equal(t, []tenant.EventType{tenant.EventMessageReceived}, eventTypes(t, h, 0))
	require.Equal(t, 1, getChat(t, h, ana).UnreadCount)
	commit(t, h, live(m), history(m), live(m))
	require.Len(t, events(t, h), 1, "but once")
	require.Equal(t, 1, getChat(t, h, ana).UnreadCount)
}

func readBeforeMessage(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	commit(t, h, tenant.MarkRead{ChatID: ana, Until: after(5)})
	require.Empty(t, chatIDs(t, h, tenant.ChatQuery{}), "no chat comes of it")
	commit(t, h, live(received("A", ana, "read", 4)), live(received("B", ana, "new", 6)))
	require.Equal(t, 1, getChat(t, h, ana).UnreadCount)
	commit(t, h, tenant.MarkRead{ChatID: ana, Until: after(7)}, tenant.MarkRead{ChatID: ana, Until: after(5)}, live(received("C", ana, "read", 7)))
	require.Zero(t, getChat(t, h, ana).UnreadCount)
}
