package tenantsql

import (
	"context"
	"database/sql/driver"
	"strings"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// maxStatements is how many prepared statements a connection keeps. SQLite spends as long on reading a statement as on
	// running it; database/sql would forget it each time.
	maxStatements = 192
	// maxStatementLength keeps out the long texts, which are migrations.
	maxStatementLength = 16384
)

// preparedStatement is a statement that a connection keeps.
type preparedStatement struct {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext

	busy    bool // rows of it are being read: it cannot be run again meanwhile
	dropped bool // it was pushed out while it was busy
}

// release gives the statement back after use.
func (p *preparedStatement) release() {
	p.busy = false
	if p.dropped {
		_ = p.Close() // what it may report was reported when it ran
	}
}

func newStatements() *simplelru.LRU[string, *preparedStatement] {
	statements, _ := simplelru.NewLRU(maxStatements, func(_ string, p *preparedStatement) { // fails for sizes below 1 only
		if p.dropped = p.busy; !p.dropped {
			_ = p.Close()
		}
	})
	return statements
}

// take returns a prepared statement that its caller must release, or nil where there is none to be had.
func (c *lockingConn) take(ctx context.Context, query string) (*preparedStatement, error) {
	if p, ok := c.statements.Get(query); ok {
		if p.busy {
			return nil, nil //nolint:nilnil // nil says that the statement must be run without
		}
		p.busy = true
		return p, nil
	}
	if len(query) > maxStatementLength || strings.Contains(query, ";") {
		return nil, nil //nolint:nilnil // as above
	}
	stmt, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	exec, execs := stmt.(driver.StmtExecContext)
	ask, asks := stmt.(driver.StmtQueryContext)
	if !execs || !asks {
		return nil, stmt.Close()
	}
	p := &preparedStatement{Stmt: stmt, StmtExecContext: exec, StmtQueryContext: ask, busy: true}
	c.statements.Add(query, p)
	return p, nil
}

// QueryContext runs a query by a statement that is kept, if there is one.
func (c *lockingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	p, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return c.sqliteConn.QueryContext(ctx, query, args)
	}
	rows, err := p.QueryContext(ctx, args)
	if err != nil {
		p.release()
		return nil, err
	}
	return &preparedRows{Rows: rows, statement: p}, nil
}

// exec runs a statement, by one that is kept if there is one.
func (c *lockingConn) exec(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	p, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return c.sqliteConn.ExecContext(ctx, query, args)
	}
	defer p.release()
	return p.ExecContext(ctx, args)
}

// preparedRows releases the statement when the rows have been read.
type preparedRows struct {
	driver.Rows

	statement *preparedStatement
}

// Close ends the rows.
func (r *preparedRows) Close() error {
	err := r.Rows.Close()
	r.statement.release()
	return err
}
