package api_test

import (
	"context"
	"fmt"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// Depart remembers who left.
func (f *fleet) Depart(_ context.Context, id tenant.ID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.departed = append(f.departed, id)
	return f.fail
}

// TakeBack answers as all actions do.
func (f *fleet) TakeBack(ctx context.Context, id tenant.ID) (session.View, error) {
	return f.View(ctx, id)
}

// Leaving hides something in the session's row, which Arriving must find.
func (f *fleet) Leaving(_ context.Context, _ tenant.ID, rows tenant.Rows) (tenant.Rows, error) {
	if rows.Table == "session" {
		rows.Columns = append([]string{"sealed"}, rows.Columns...)
		rows.Values[0] = append([]any{"for all nodes"}, rows.Values[0]...)
	}
	return rows, nil
}

// Arriving takes a device that comes with the session's row.
func (f *fleet) Arriving(_ context.Context, _ tenant.ID, rows tenant.Rows) (here tenant.Rows, device bool, err error) {
	if rows.Table != "session" {
		return rows, false, nil
	}
	if rows.Columns[0] != "sealed" || rows.Values[0][0] != "for all nodes" {
		return rows, false, tenant.ErrForeignRows
	}
	rows.Columns, rows.Values[0] = rows.Columns[1:], rows.Values[0][1:]
	return rows, true, nil
}

// unsureMover finishes imports and says that it does not know whether it did.
type unsureMover struct{ tenant.Store }

func (m unsureMover) Import(ctx context.Context, id tenant.ID) (tenant.Incoming, error) {
	in, err := m.Store.Import(ctx, id)
	return unsureIncoming{in}, err
}

type unsureIncoming struct{ tenant.Incoming }

func (in unsureIncoming) Finish(ctx context.Context, arrived func(tenant.Session) tenant.Session) (tenant.Tenant, error) {
	if _, err := in.Incoming.Finish(ctx, arrived); err != nil {
		return tenant.Tenant{}, err
	}
	return tenant.Tenant{}, fmt.Errorf("%w: %w", tenant.ErrUnavailable, tenant.ErrOutcomeUnknown)
}
