package tenanttest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

// tester is where a check runs. It is a type of its own since a check is no helper.
type tester struct{ *testing.T }

// check is one sentence about what a store does.
type check struct {
	name string
	run  func(t tester, store tenant.Store)
}

// Exercise checks that a store does what package tenant says. newStore returns an empty store, which goes with the test.
func Exercise(t *testing.T, newStore func(t *testing.T) tenant.Store) {
	t.Helper()
	// What is said of one tenant is checked on a store that others use at the same time; what is said of the store has it alone.
	shared := map[string][]check{
		"Messages":  messageChecks(),
		"Revisions": revisionChecks(),
		"Polls":     pollChecks(),
		"Files":     mediaChecks(),
		"Contents":  contentChecks(),
		"JoinURLs":  joinChecks(),
		"Pairings":  pairingLinkChecks(),
		"Answers":   answerChecks(),
		"Limits":    limitChecks(),
		"Groups":    groupChecks(),
		"Statuses":  statusChecks(),
		"Chats":     chatChecks(),
		"States":    chatStateChecks(),
		"Lists":     listChecks(),
		"Links":     linkChecks(),
		"Batches":   batchChecks(),
		"Contacts":  contactChecks(),
		"Journal":   journalChecks(),
		"Order":     orderChecks(),
		"Isolation": isolationChecks(),
		"Moves":     moveChecks(),
	}
	alone := map[string][]check{
		"Tenants":    tenantChecks(),
		"Keys":       keyChecks(),
		"Sessions":   sessionChecks(),
		"Operators":  operatorChecks(),
		"Lifecycles": lifecycleChecks(),
		"Rotations":  rotationChecks(),
		"Audit":      auditChecks(),
		"Usage":      usageChecks(),
		"Concurrent": concurrentChecks(),
	}
	for group, checks := range shared {
		t.Run(group, func(t *testing.T) {
			t.Parallel()
			store := newStore(t)
			exercise(t, checks, func(*testing.T) tenant.Store { return store })
		})
	}
	for group, checks := range alone {
		t.Run(group, func(t *testing.T) {
			t.Parallel()
			exercise(t, checks, newStore)
		})
	}
}

func exercise(t *testing.T, checks []check, storeFor func(t *testing.T) tenant.Store) {
	t.Helper()
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(tester{t}, storeFor(t))
		})
	}
}

// People and groups that the checks speak of.
const (
	ana    tenant.ChatID = "5511999990001@c.us"
	anaLID tenant.ChatID = "104857600000001@lid"
	beto   tenant.ChatID = "5511999990002@c.us"
	me     tenant.ChatID = "5511888880000@c.us"
	family tenant.ChatID = "120363000000000001@g.us"
)

// noon is when the checks begin, to the second, as WhatsApp's times are.
func noon() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

func after(seconds int) time.Time { return noon().Add(time.Duration(seconds) * time.Second) }

// received is a message that somebody sent in a direct chat.
func received(id tenant.MessageID, from tenant.ChatID, text string, seconds int) tenant.Message {
	return receivedIn(from, id, from, text, seconds)
}

// receivedIn is a message that somebody sent in a chat.
func receivedIn(chat tenant.ChatID, id tenant.MessageID, from tenant.ChatID, text string, seconds int) tenant.Message {
	return tenant.Message{
		ID: id, ChatID: chat, SenderID: from, Text: text, Type: tenant.TypeText, Timestamp: after(seconds),
		Status: tenant.StatusReceived,
	}
}

// own is a message that we send.
func own(id tenant.MessageID, chat tenant.ChatID, text string, seconds int) tenant.Message {
	return tenant.Message{
		ID: id, ChatID: chat, SenderID: me, FromMe: true, Text: text, Type: tenant.TypeText, Timestamp: after(seconds),
		Status: tenant.StatusPending, Payload: []byte("payload of " + id),
	}
}

func live(m tenant.Message) tenant.Change { return tenant.PutMessage{Message: m, Live: true} }

func history(m tenant.Message) tenant.Change { return tenant.PutMessage{Message: m} }

func commit(t tester, h tenant.Handle, changes ...tenant.Change) tenant.Result {
	t.Helper()
	result, err := h.Commit(t.Context(), changes...)
	require.NoError(t, err)
	return result
}

func getChat(t tester, h tenant.Handle, id tenant.ChatID) tenant.Chat {
	t.Helper()
	chat, err := h.Chat(t.Context(), id)
	require.NoError(t, err)
	return chat
}

// chatIDs are the ids that a query yields, in its order.
func chatIDs(t tester, h tenant.Handle, q tenant.ChatQuery) []tenant.ChatID {
	t.Helper()
	ids := []tenant.ChatID{}
	for chat, err := range h.Chats(t.Context(), q) {
		require.NoError(t, err)
		ids = append(ids, chat.ID)
	}
	return ids
}

// messageIDs are the ids of a chat's messages, oldest first.
func messageIDs(t tester, h tenant.Handle, chat tenant.ChatID) []tenant.MessageID {
	t.Helper()
	page, err := h.Messages(t.Context(), chat, tenant.MessageQuery{Limit: 1000})
	require.NoError(t, err)
	require.Empty(t, page.Next)
	ids := []tenant.MessageID{}
	for _, m := range slices.Backward(page.Messages) {
		ids = append(ids, m.ID)
	}
	return ids
}

// events is the whole journal, whose numbers have no gap.
func events(t tester, h tenant.Handle) []tenant.Event {
	t.Helper()
	all := []tenant.Event{}
	for {
		some, err := h.Events(t.Context(), int64(len(all)), 500)
		require.NoError(t, err)
		if len(some) == 0 {
			return all
		}
		for _, e := range some {
			require.EqualValues(t, len(all)+1, e.Seq, "a gap in the journal")
			all = append(all, e)
		}
	}
}

// eventTypes are the types of the journal's events after a number.
func eventTypes(t tester, h tenant.Handle, from int64) []tenant.EventType {
	t.Helper()
	types := []tenant.EventType{}
	for _, e := range events(t, h) {
		if e.Seq > from {
			types = append(types, e.Type)
		}
	}
	return types
}

// numbered is the n-th of many ids.
func numbered(n int) tenant.MessageID { return tenant.MessageID(fmt.Sprintf("M%06d", n)) }
