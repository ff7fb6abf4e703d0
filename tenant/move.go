package tenant

import (
	"context"
	"errors"
)

// Errors of moving tenants.
var (
	// ErrExists says that the tenant lives in this store already.
	ErrExists = errors.New("tenant exists already")
	// ErrLeaving says that what is left of a tenant is still being deleted: it can come back in a moment.
	ErrLeaving = errors.New("tenant is being deleted, or imported")
	// ErrForeignRows says that rows do not fit this store: another tenant's, of an unknown table or column, or of another type. A newer
	// wafleet has made them, or nobody has.
	ErrForeignRows = errors.New("rows do not fit this store")
)

// Rows are rows of one table as a store keeps them: the form in which a tenant goes from one store to another, which may lie on
// another engine.
type Rows struct {
	Table   string
	Columns []string
	// Values has a row for each row, with a value for each column: nil, int64, float64, bool, string or []byte.
	Values [][]any
}

// Mover lets tenants leave for another store, and come from one.
type Mover interface {
	// Schema is the version of the form of [Rows], which grows with each migration, and the oldest one that Import takes.
	Schema() (current, oldest int)
	// Export calls emit with all rows of a tenant as they are at one moment, some hundred kilobytes at a time. Whoever emits slowly holds a
	// connection to the database, and what it sees. Returns ErrNotFound, the errors of emit as they are.
	Export(ctx context.Context, id ID, emit func(Rows) error) error
	// Import begins to take a tenant in. Nobody sees it before Finish. One that was begun and neither finished nor abandoned, because the
	// process ended, is deleted at the next start. If it is not known whether it has begun (ErrOutcomeUnknown), that is undone as soon as
	// the database answers. Returns ErrExists, ErrLeaving.
	Import(ctx context.Context, id ID) (Incoming, error)
}

// Incoming is a tenant on its way into a store. It is for one goroutine.
type Incoming interface {
	// Put takes rows as Export gave them, in their order. Returns ErrForeignRows, ErrExternalIDTaken.
	Put(ctx context.Context, rows Rows) error
	// Finish shows the tenant to everybody, in one commit. arrived says what becomes of the session's row. Returns ErrForeignRows when rows
	// are missing, ErrExternalIDTaken.
	Finish(ctx context.Context, arrived func(Session) Session) (Tenant, error)
	// Abandon deletes all that was put. It goes on when the caller leaves, and while the database is away. After Finish it does nothing, also if Finish has shown the tenant
	// and its caller could not know (ErrOutcomeUnknown).
	Abandon(ctx context.Context) error
}
