package tenantsql

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	selectNode  = `SELECT epoch, holder, claimed_at FROM node WHERE id=1`
	selectEpoch = `SELECT epoch FROM node WHERE id=1`
	claimNode   = `UPDATE node SET epoch=epoch+1, holder=$1, claimed_at=$2, seen_at=$2 WHERE id=1 RETURNING epoch`
	fenceNode   = `UPDATE node SET seen_at=$1 WHERE id=1 AND epoch=$2`
)

const (
	// claimRetry is the pause between tries, claimCheck how often the lock's connection is asked whether it lives.
	claimRetry = 100 * time.Millisecond
	claimCheck = 10 * time.Second
	// claimTimeout bounds each question to the database.
	claimTimeout = 10 * time.Second
)

// errLost says that another node has taken the database.
var errLost = errors.New("another node has taken the database")

// ClaimedError says that another node runs on the database.
type ClaimedError struct {
	Holder string    // host and process, or "" if it is not known
	Since  time.Time // zero if it is not known
}

// Error names the holder.
func (e *ClaimedError) Error() string {
	if e.Holder == "" {
		return "another node runs on this database"
	}
	return fmt.Sprintf("another node (%s) runs on this database since %s", e.Holder, e.Since.Format(time.RFC3339))
}

// Claim is a node's right to be the only one on a database. It is a lock, which goes with the process or its connection, and an
// epoch in the database, which every commit asks for: a node that has lost its lock without noticing commits nothing more.
type Claim struct {
	store  *Store
	epoch  int64
	lock   claimLock
	lost   chan struct{}
	lose   func()
	cancel context.CancelFunc
	ended  chan struct{}
}

// claimLock is what tells that the holder lives.
type claimLock interface {
	// try takes the lock; false if another holds it.
	try(ctx context.Context) (bool, error)
	// held waits until the lock may have been lost, or ctx has ended.
	held(ctx context.Context)
	// release lets the lock go.
	release()
}

// Claim makes this process the database's only node, runs prepare (the migrations), and fences all commits of the store from
// then on. holder tells people who it is. Returns *ClaimedError when another node does not go within some seconds,
// ErrUnavailable.
func (s *Store) Claim(ctx context.Context, holder string, prepare func(context.Context) error) (*Claim, error) {
	c := &Claim{store: s, lost: make(chan struct{}), ended: make(chan struct{})}
	c.lose = sync.OnceFunc(func() { close(c.lost) })
	var err error
	if s.db.Dialect == dbutil.SQLite {
		c.lock, err = newFileLock(s.url)
	} else {
		c.lock = &sessionLock{url: s.url}
	}
	if err != nil {
		return nil, err
	}
	if err = c.take(ctx, holder, prepare); err != nil {
		c.lock.release()
		return nil, err
	}
	s.claim.Store(c)
	keeping, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel = cancel
	go c.keep(keeping)
	return c, nil
}

func (c *Claim) take(ctx context.Context, holder string, prepare func(context.Context) error) error {
	patience := time.Now().Add(c.store.claimPatience)
	taken, err := c.wait(ctx, func() bool { return time.Now().Before(patience) })
	switch {
	case err != nil:
		return c.store.wrap(ctx, "claim the database", err)
	case !taken:
		_, claimed := c.row(ctx) // the table may not be there yet
		return claimed
	}
	if err = prepare(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	c.epoch, err = scanInt(c.store.db.QueryRow(ctx, claimNode, tenant.CleanText(holder), time.Now().UnixMilli()))
	return c.store.wrap(ctx, "claim the database", err)
}

// wait tries to take the lock until it has it, worth says no, or ctx has ended.
func (c *Claim) wait(ctx context.Context, worth func() bool) (taken bool, err error) {
	for {
		if taken, err = c.lock.try(ctx); taken || err != nil || !worth() {
			return taken, err
		}
		if !pause(ctx, claimRetry) {
			return false, context.Cause(ctx)
		}
	}
}

// row reads who holds the database.
func (c *Claim) row(ctx context.Context) (epoch int64, holder *ClaimedError) {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	holder = &ClaimedError{}
	var since int64
	if err := c.store.db.QueryRow(ctx, selectNode).Scan(&epoch, &holder.Holder, &since); err != nil {
		return 0, &ClaimedError{}
	}
	holder.Since = fromMillis(since)
	return epoch, holder
}

// keep takes the lock again when its connection was lost, unless another node was faster.
func (c *Claim) keep(ctx context.Context) {
	defer close(c.ended)
	defer c.lock.release()
	for {
		c.lock.held(ctx)
		for taken := false; !taken; {
			if ctx.Err() != nil {
				return
			}
			var err error
			taken, err = c.wait(ctx, func() bool { return !c.fenced(ctx) })
			if c.fenced(ctx) {
				c.lose()
				return
			}
			if err != nil && !pause(ctx, time.Second) {
				return
			}
		}
	}
}

// fenced says whether another node has taken the database. While the database does not answer, none is known to have.
func (c *Claim) fenced(ctx context.Context) bool {
	epoch, _ := c.row(ctx)
	return epoch != 0 && epoch != c.epoch
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Epoch is the number of this claim: it grows with each node that takes the database.
func (c *Claim) Epoch() int64 { return c.epoch }

// Lost is closed when another node has taken the database: this one must stop.
func (c *Claim) Lost() <-chan struct{} { return c.lost }

// Check asks the database whether it is still this node's. Returns ErrUnavailable when another has taken it, and when it does not
// answer.
func (c *Claim) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	epoch, err := scanInt(c.store.db.QueryRow(ctx, selectEpoch))
	if err == nil && epoch != c.epoch {
		c.lose()
		err = fmt.Errorf("%w: %w", tenant.ErrUnavailable, errLost)
	}
	return c.store.wrap(ctx, "check the claim", err)
}

// Release gives the database free. The store must not be written to any more.
func (c *Claim) Release() {
	c.cancel()
	<-c.ended
}

// fence fails if the database has been taken by another node, and keeps others from taking it until the transaction has ended.
func (c *Claim) fence(now time.Time) statement {
	return statement{doing: "fence", query: fenceNode, args: []any{now.UnixMilli(), c.epoch}, took: func(rows int64) error {
		if rows == 0 {
			c.lose()
			return fmt.Errorf("%w: %w", tenant.ErrUnavailable, errLost)
		}
		return nil
	}}
}
