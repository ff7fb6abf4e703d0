package tenantsql

import (
	"context"
	"fmt"

	"github.com/wafleet/wafleet/tenant"
)

// Do runs a function as a caller's part of a transaction.
func (s *Store) Do(ctx context.Context, apply func() error) error {
	err := s.committer.do(ctx, 1, func(context.Context, *batch) error { return apply() })
	return s.wrap(ctx, "do", err)
}

// Queued is how many callers wait for the committer.
func (s *Store) Queued() int { return len(s.committer.waiting) }

// Asked is how many callers wait for rows of devices to be read, behind those whose rows are being read.
func (s *Store) Asked() int { return len(s.reader.waiting) }

// ReadOfNothing asks a reader whose every read panics.
func ReadOfNothing(ctx context.Context) error {
	r := newReader(ctx, nil, Config{}.withDefaults())
	defer r.queue.close()
	return r.ask(ctx, &question{tenant: "t", kinds: []int16{1}, keys: [][]byte{{1}}})
}

// AskWhileClosing asks for something of a queue that is being closed.
func AskWhileClosing(ctx context.Context) error {
	q := newQueue[*job](1, 1, 1)
	go q.run(func(jobs []*job) { answer(jobs, nil) })
	go q.close()
	return q.await(ctx, &job{})
}

// DoStatement runs a statement as a caller's part of a transaction.
func (s *Store) DoStatement(ctx context.Context, statement string, args ...any) error {
	err := s.committer.do(ctx, 1, func(ctx context.Context, b *batch) error {
		_, err := b.execBare(ctx, statement, args...)
		return err
	})
	return s.wrap(ctx, "do", err)
}

// SelectFiles lists a chat's files.
const SelectFiles = selectFiles

// KeyLookUps are statements that name single messages by their keys, and how many parameters they have.
func KeyLookUps() map[string]int {
	many := func(text, tuple string, parameters int) (string, int) {
		return fmt.Sprintf(text, tuples(tuple, ", ", 4)), 4 * parameters
	}
	all := map[string]int{selectKnown: 4, selectMessageByKey: 4, selectMessage: 4, selectOwn: 3, selectOwnMessages: 3, updateStatus: 6, deleteMessage: 4}
	for _, m := range []struct {
		text, tuple string
		parameters  int
	}{{selectStoredOf, "(?, ?, ?, ?)", 4}, {selectOwnOf, "(?, ?, ?)", 3}, {updateStatuses, updateStatusesTuple, 6}} {
		text, n := many(m.text, m.tuple, m.parameters)
		all[text] = n
	}
	return all
}

// DeviceLookUps are statements that name devices and rows of devices by their keys, and how many parameters they have.
func DeviceLookUps() map[string]int {
	load := loadDevicesText(&tenant.DeviceBaggage{Rows: []int16{4, 6, 11}, Count: 3, Oldest: 10})
	return map[string]int{
		fmt.Sprintf(selectDeviceRowsOf, tuples(selectDeviceRowsTuple, ", ", 4)): 12,
		fmt.Sprintf(load, tuples("(?)", ", ", 4)):                               4,
	}
}

// ChatsInOrder are statements that go through a chat's messages in their order, and how many parameters they have.
func ChatsInOrder() map[string]int {
	return map[string]int{selectMessages: 7, selectFiles: 6, selectNewest: 2, countNewer: 3, deleteOlderMessages: 3, selectOlderWeight: 3, selectOldWeight: 4}
}

// TablesOfTenants are all tables with a tenant_id that are known, MovedTables those of them that a tenant takes along.
func TablesOfTenants() []string { return append(MovedTables(), stayingTables()...) }

// MovedTables are the tables that a tenant takes along.
func MovedTables() []string { return append(heldTables(), movedTables()...) }

// KnowsTypes says whether exports know the types of a table's columns.
func (s *Store) KnowsTypes(ctx context.Context, table string) error {
	_, err := s.columns(ctx, s.db.Execable(ctx), table)
	return err
}
