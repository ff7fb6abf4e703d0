package tenantsql_test

import (
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// deletions counts what was deleted, by tenant.
type deletions struct {
	mu               sync.Mutex
	messages, events map[string]int
}

func (d *deletions) Deleted(id string, messages, events int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.messages == nil {
		d.messages, d.events = map[string]int{}, map[string]int{}
	}
	d.messages[id] += messages
	d.events[id] += events
}

// aged stores messages of a chat, one a day, the oldest so many days ago.
func aged(t *testing.T, h tenant.Handle, chat tenant.ChatID, days, bytes int) {
	t.Helper()
	var changes []tenant.Change
	for n := range days {
		changes = append(changes, tenant.PutMessage{Message: tenant.Message{
			ID: tenant.MessageID(fmt.Sprintf("M%06d", n)), ChatID: chat, SenderID: chat, Type: tenant.TypeText, Text: "hello",
			Payload: make([]byte, bytes), Timestamp: time.Now().AddDate(0, 0, -(days - n)).Add(time.Hour), Status: tenant.StatusReceived,
		}})
	}
	_, err := h.Commit(t.Context(), changes...)
	require.NoError(t, err)
}

func countOf(t *testing.T, h tenant.Handle, chat tenant.ChatID) int {
	t.Helper()
	page, err := h.Messages(t.Context(), chat, tenant.MessageQuery{Limit: 10_000})
	require.NoError(t, err)
	return len(page.Messages)
}

func TestRetentionDeletesWhatIsOldOrTooMuch(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			store := engine.Open(t)
			keeps, byAge, byBytes := tenanttest.NewTenant(t, store), tenanttest.NewTenant(t, store), tenanttest.NewTenant(t, store)
			chats := make([]tenant.ChatID, 20)
			for i := range chats {
				chats[i] = tenant.PersonID(fmt.Sprintf("55119999%05d", i))
				for _, h := range []tenant.Handle{keeps, byAge, byBytes} {
					aged(t, h, chats[i], 30, 600)
				}
			}
			book := tenant.NewLimitBook(store, tenant.Limits{})
			r := &tenant.Retention{Store: store, Limits: book, Metrics: &deletions{}, Log: slog.New(slog.DiscardHandler), Pause: time.Nanosecond}
			require.NoError(t, r.Round(t.Context()))
			require.Equal(t, 30, countOf(t, byAge, chats[0]), "for ever is the default")

			total, err := byBytes.Stored(t.Context())
			require.NoError(t, err)
			require.NoError(t, book.Set(t.Context(), byAge.ID(), tenant.LimitPatch{"messageRetentionDays": new(int64(10))}))
			require.NoError(t, book.Set(t.Context(), byBytes.ID(), tenant.LimitPatch{"retentionBytes": new(total / 2)}))
			counted := &deletions{}
			r.Metrics = counted
			require.NoError(t, r.Round(t.Context()))
			require.Equal(t, map[string]int{string(byAge.ID()): 20 * 20, string(byBytes.ID()): counted.messages[string(byBytes.ID())]}, counted.messages)
			for _, chat := range chats {
				require.Equal(t, 30, countOf(t, keeps, chat))
				require.Equal(t, 10, countOf(t, byAge, chat))
			}
			left, err := byBytes.Stored(t.Context())
			require.NoError(t, err)
			require.LessOrEqual(t, left, total/2)
			require.Greater(t, left, total/3, "no more than has to go")
			newest, err := byBytes.Chat(t.Context(), chats[3])
			require.NoError(t, err)
			require.EqualValues(t, "M000029", newest.LastMessage.ID, "the oldest go")
		})
	}
}

func TestRetentionOfEventsLeavesNoHoles(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			store := engine.Open(t)
			h := tenanttest.NewTenant(t, store)
			for n := range 5 {
				_, err := h.Commit(t.Context(), tenant.PutMessage{Live: true, Message: tenant.Message{
					ID: tenant.MessageID(strconv.Itoa(n)), ChatID: "5511999990001@c.us", SenderID: "5511999990001@c.us", Type: tenant.TypeText,
					Text: "hello", Status: tenant.StatusReceived,
				}})
				require.NoError(t, err)
			}
			_, err := store.Database().Exec(t.Context(), "UPDATE journal SET created_at=created_at-$1 WHERE tenant_id=$2 AND seq <= 3",
				int64(48*time.Hour/time.Millisecond), string(h.ID()))
			require.NoError(t, err)
			book := tenant.NewLimitBook(store, tenant.Limits{EventRetentionDays: 1})
			counted := &deletions{}
			r := &tenant.Retention{Store: store, Limits: book, Metrics: counted, Log: slog.New(slog.DiscardHandler)}
			require.NoError(t, r.Round(t.Context()))
			require.Equal(t, map[string]int{string(h.ID()): 3}, counted.events)
			oldest, latest, err := h.Bounds(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, 4, oldest)
			require.EqualValues(t, 5, latest)
			require.Equal(t, 5, countOf(t, h, "5511999990001@c.us"), "messages stay")
		})
	}
}
