package tenantsql

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"go.mau.fi/util/dbutil"

	"github.com/wafleet/wafleet/tenant"
)

const (
	markDeleted    = `UPDATE tenant SET external_id=NULL, name='', metadata='', folded='', deleted_at=$2 WHERE tenant_id=$1 AND deleted_at=0`
	deleteHead     = `DELETE FROM head WHERE tenant_id=$1`
	deleteSession  = `DELETE FROM session WHERE tenant_id=$1`
	deleteKeys     = `DELETE FROM api_key WHERE tenant_id=$1`
	deleteTenant   = `DELETE FROM tenant WHERE tenant_id=$1 AND deleted_at > 0`
	selectDeletion = `SELECT tenant_id, name FROM tenant WHERE deleted_at > 0`

	// holdTenant changes nothing. It says whether the tenant counts as deleted, and by whose doing, once a commit that deletes or shows it has
	// ended: one whose answer was lost may still be under way.
	holdTenant = `UPDATE tenant SET deleted_at=deleted_at WHERE tenant_id=$1 RETURNING deleted_at, name`

	deletionColumns = `tenant_id, external_id, device, requested_at, completed_at, counts`

	// insertDeletion replaces the record of a tenant that was deleted here, came back from another node, and is deleted again.
	insertDeletion = `
		INSERT INTO deletion (tenant_id, external_id, device, requested_at, counts) VALUES ($1, $2, $3, $4, '')
		ON CONFLICT (tenant_id) DO UPDATE SET
			external_id=excluded.external_id, device=excluded.device, requested_at=excluded.requested_at, completed_at=0, counts=''`
	selectDeletionRow = `SELECT ` + deletionColumns + ` FROM deletion WHERE tenant_id=$1`
	updateDeletion    = `UPDATE deletion SET counts=$2, completed_at=$3 WHERE tenant_id=$1`

	// selectDeletions is the operator's list of all of them; $1 is the last one's tenant, and $2 its time.
	selectDeletions = `
		SELECT ` + deletionColumns + ` FROM deletion
		WHERE (requested_at, tenant_id) < ($2, $1) ORDER BY requested_at DESC, tenant_id DESC LIMIT $3`

	deleteSomeMessages = `
		DELETE FROM message WHERE tenant_id=$1 AND (chat_id, message_id, sender_id) IN (
			SELECT chat_id, message_id, sender_id FROM message WHERE tenant_id=$1 LIMIT $2)`
	deleteSomeEvents = `
		DELETE FROM journal WHERE tenant_id=$1 AND seq IN (
			SELECT seq FROM journal WHERE tenant_id=$1 ORDER BY seq LIMIT $2)`
	deleteSomeChats = `
		DELETE FROM chat WHERE tenant_id=$1 AND chat_id IN (SELECT chat_id FROM chat WHERE tenant_id=$1 LIMIT $2)`
	deleteSomeContacts = `
		DELETE FROM contact WHERE tenant_id=$1 AND contact_id IN (
			SELECT contact_id FROM contact WHERE tenant_id=$1 LIMIT $2)`
	deleteSomeLIDs = `
		DELETE FROM lid_map WHERE tenant_id=$1 AND lid IN (SELECT lid FROM lid_map WHERE tenant_id=$1 LIMIT $2)`
	deleteSomeEarly = `
		DELETE FROM early WHERE tenant_id=$1 AND (message_id, chat_id, sender_id, kind, by_id) IN (
			SELECT message_id, chat_id, sender_id, kind, by_id FROM early WHERE tenant_id=$1 LIMIT $2)`
	deleteSomeParticipants = `
		DELETE FROM participant WHERE tenant_id=$1 AND (chat_id, person_id) IN (
			SELECT chat_id, person_id FROM participant WHERE tenant_id=$1 LIMIT $2)`
	deleteSomeGroups = `
		DELETE FROM group_info WHERE tenant_id=$1 AND chat_id IN (SELECT chat_id FROM group_info WHERE tenant_id=$1 LIMIT $2)`
	deleteSomeJoinURLs = `
		DELETE FROM join_url WHERE tenant_id=$1 AND chat_id IN (SELECT chat_id FROM join_url WHERE tenant_id=$1 LIMIT $2)`
	deleteSomeOverrides = `
		DELETE FROM limit_override WHERE tenant_id=$1 AND name IN (SELECT name FROM limit_override WHERE tenant_id=$1 LIMIT $2)`
	deleteSomeBudgets = `
		DELETE FROM budget WHERE tenant_id=$1 AND day IN (SELECT day FROM budget WHERE tenant_id=$1 LIMIT $2)`
	deleteSomeColdChats = `
		DELETE FROM cold_chat WHERE tenant_id=$1 AND (day, chat_id) IN (
			SELECT day, chat_id FROM cold_chat WHERE tenant_id=$1 LIMIT $2)`
	deleteSomeUsage = `
		DELETE FROM usage_day WHERE tenant_id=$1 AND day IN (SELECT day FROM usage_day WHERE tenant_id=$1 LIMIT $2)`
)

// deleteChunk is how many rows of a deleted tenant go in one step: the commits of others pass between two of them.
const deleteChunk = 500

// purgeRetry is the pause before a deletion goes on that met a database that was away.
const purgeRetry = 5 * time.Second

// owned is a kind of records that a tenant owns, and how some of them are deleted. A test holds the list to the schema.
type owned struct{ kind, statement string }

// ownedAtOnce goes in the commit that deletes a tenant, ownedInSteps after it.
func ownedAtOnce() []owned {
	return []owned{{"heads", deleteHead}, {"sessions", deleteSession}, {"apiKeys", deleteKeys}, {"pairingLinks", deletePairingLinks}, {"devices", deleteDevice}}
}

func ownedInSteps() []owned {
	return []owned{
		{"messages", deleteSomeMessages},
		{"events", deleteSomeEvents},
		{"chats", deleteSomeChats},
		{"contacts", deleteSomeContacts},
		{"hiddenIds", deleteSomeLIDs},
		{"earlyChanges", deleteSomeEarly},
		{"participants", deleteSomeParticipants},
		{"groups", deleteSomeGroups},
		{"joinUrls", deleteSomeJoinURLs},
		{"idempotencyKeys", deleteSomeAnswers},
		{"usageDays", deleteSomeUsage},
		{"limits", deleteSomeOverrides},
		{"budgets", deleteSomeBudgets},
		{"coldChats", deleteSomeColdChats},
		{"deviceRows", deleteSomeDeviceRows},
	}
}

func scanDeletion(row dbutil.Scannable) (tenant.Deletion, error) {
	var d tenant.Deletion
	var requested, completed int64
	var counts string
	if err := row.Scan(&d.Tenant, &d.ExternalID, &d.Device, &requested, &completed, &counts); err != nil {
		return d, err
	}
	d.RequestedAt, d.CompletedAt, d.Deleted = fromMillis(requested), optionalTime(completed), map[string]int64{}
	if counts != "" {
		if err := json.Unmarshal([]byte(counts), &d.Deleted); err != nil {
			return d, fmt.Errorf("decode counts: %w", err)
		}
	}
	return d, nil
}

// Delete removes a tenant with all that it owns. The tenant is gone for everybody by the first commit; what it owned goes in
// small steps, also when the caller leaves or the process ends. Returns ErrNotFound.
func (s *Store) Delete(ctx context.Context, id tenant.ID, device tenant.DeviceFate) (tenant.Deletion, error) {
	begun := tenant.Deletion{Tenant: id, Device: device}
	err := s.committer.do(ctx, 1, func(ctx context.Context, b *batch) error {
		if _, err := b.head(ctx, id); err != nil {
			return err
		}
		t, err := scanTenant(b.rowBeside(ctx, id, selectTenant))
		if errors.Is(err, sql.ErrNoRows) {
			return tenant.ErrNotFound
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		begun.ExternalID, begun.RequestedAt, begun.Deleted = t.ExternalID, b.now, map[string]int64{}
		if err = b.tellOfKeys(ctx, id); err != nil {
			return err
		}
		if _, err = b.execBare(ctx, markDeleted, string(id), b.now.UnixMilli()); err != nil {
			return fmt.Errorf("mark: %w", err)
		}
		if _, err = b.execBare(ctx, insertDeletion, string(id), t.ExternalID, string(device), b.now.UnixMilli()); err != nil {
			return fmt.Errorf("begin the record: %w", err)
		}
		for _, part := range ownedAtOnce() {
			if begun.Deleted[part.kind], err = b.execBare(ctx, part.statement, string(id)); err != nil {
				return fmt.Errorf("delete %s: %w", part.kind, err)
			}
		}
		b.forget(id)
		return b.count(ctx, id, begun.Deleted, false)
	})
	if errors.Is(err, tenant.ErrOutcomeUnknown) {
		if gone, look := s.Gone(ctx, id); look != nil { // if it is deleted, what it owned goes; if not, nothing does
			s.background(func() { s.purgeUntilDone(id, "") })
		} else if err = nil; !gone {
			err = fmt.Errorf("%w: the commit came to nothing", tenant.ErrUnavailable)
		}
	}
	if err != nil {
		return tenant.Deletion{}, s.wrap(ctx, "delete tenant", err)
	}
	done := make(chan struct{})
	s.background(func() {
		if s.purgeUntilDone(id, "") {
			close(done)
		}
	})
	select {
	case <-done:
		return s.Deletion(ctx, id)
	case <-ctx.Done():
	case <-s.ctx.Done():
	}
	return begun, nil
}

// Gone implements [tenant.Store].
func (s *Store) Gone(ctx context.Context, id tenant.ID) (bool, error) {
	gone := false
	err := s.committer.do(ctx, 1, func(ctx context.Context, b *batch) error {
		deleted, there, _, err := b.hold(ctx, id)
		gone = deleted || !there
		return err
	})
	if err != nil {
		return false, s.wrap(ctx, "look for tenant", err)
	}
	return gone, nil
}

// hold says whether a tenant's row is there and whether it counts as deleted, and keeps it so until the transaction has ended. mark is the
// import's that has reserved the row; a tenant that was deleted has none.
func (b *batch) hold(ctx context.Context, id tenant.ID) (deleted, there bool, mark string, err error) {
	b.writes++
	var at int64
	if err = b.row(ctx, id, holdTenant).Scan(&at, &mark); errors.Is(err, sql.ErrNoRows) {
		return false, false, "", nil
	}
	return at > 0, err == nil, mark, err
}

// count adds to the record of a deletion, and completes it.
func (b *batch) count(ctx context.Context, id tenant.ID, more map[string]int64, complete bool) error {
	d, err := scanDeletion(b.row(ctx, id, selectDeletionRow))
	if errors.Is(err, sql.ErrNoRows) {
		return nil // begun by a version that kept no record
	}
	if err != nil {
		return fmt.Errorf("read the record: %w", err)
	}
	if d.CompletedAt != nil {
		return nil // of the tenant before it came back: what goes now is an import that was given up
	}
	for kind, n := range more {
		if n > 0 {
			d.Deleted[kind] += n
		}
	}
	counts, err := json.Marshal(d.Deleted)
	if err != nil {
		return err
	}
	completed := int64(0)
	if complete {
		completed = b.now.UnixMilli()
	}
	if _, err = b.execBare(ctx, updateDeletion, string(id), string(counts), completed); err != nil {
		return fmt.Errorf("write the record: %w", err)
	}
	if !complete {
		return nil
	}
	detail := map[string]string{"device": string(d.Device)}
	for kind, n := range d.Deleted {
		detail[kind] = strconv.FormatInt(n, 10)
	}
	_, err = b.audit(ctx, &tenant.AuditEntry{
		Actor: tenant.ActorNode, Operation: "complete-deletion", Tenant: id, Status: statusOK, Detail: detail,
	})
	return err
}

// statusOK is what the audit log says of what the node has done by itself.
const statusOK = 200

// forget drops what the batch keeps of a tenant that it has deleted.
func (b *batch) forget(id tenant.ID) {
	b.deleted[id] = struct{}{}
	delete(b.heads, id)
	delete(b.sessions, id)
	b.known.Remove(id)
}

// purgeUntilDone deletes what a deleted tenant owned, waiting for the database if it must. False: the store was closed before.
func (s *Store) purgeUntilDone(id tenant.ID, mark string) bool {
	return s.untilDone("a deletion", id, func() error { return s.purge(id, mark) })
}

// untilDone calls fn until it succeeds. False: the store was closed before.
func (s *Store) untilDone(what string, id tenant.ID, fn func() error) bool {
	for {
		err := fn()
		if err == nil {
			return true
		}
		if s.closing() || s.ctx.Err() != nil {
			s.log.InfoContext(s.ctx, "left for the next start", slog.String("what", what), slog.String("tenant", string(id)))
			return false
		}
		s.log.WarnContext(s.ctx, "held up", slog.String("what", what), slog.String("tenant", string(id)), slog.Any("error", err))
		if !pause(s.ctx, purgeRetry) {
			return false
		}
	}
}

// purge deletes what a deleted tenant owned, and then the tenant's own row. One that owned little is gone after one step. One that lives
// keeps everything: an import whose end was taken for failed may have been finished. So does one that has another mark: what is deleted may be
// gone, with the answer lost, and the place be somebody else's by now.
func (s *Store) purge(id tenant.ID, mark string) error {
	for left := ownedInSteps(); ; {
		rest := left
		err := s.committer.do(s.ctx, deleteChunk, func(ctx context.Context, b *batch) (err error) {
			rest, err = b.purgeSome(ctx, id, mark, left) // of left alone: the committer may call this again
			return err
		})
		if err != nil || len(rest) == 0 {
			return err
		}
		left = rest
	}
}

// purgeSome deletes up to deleteChunk rows of these kinds, and the tenant's own row when there are no more. It returns the kinds of which
// there may be more.
func (b *batch) purgeSome(ctx context.Context, id tenant.ID, mark string, left []owned) (rest []owned, err error) {
	deleted, _, whose, err := b.hold(ctx, id)
	if err != nil || !deleted || whose != mark {
		return nil, err
	}
	counts, budget := make(map[string]int64), int64(deleteChunk)
	for len(left) > 0 && budget > 0 {
		gone, err := b.execBare(ctx, left[0].statement, string(id), budget)
		if err != nil {
			return nil, fmt.Errorf("delete %s: %w", left[0].kind, err)
		}
		counts[left[0].kind] = gone
		if budget -= gone; budget > 0 {
			left = left[1:]
		}
	}
	if len(left) > 0 {
		return left, b.count(ctx, id, counts, false)
	}
	if gone, err := b.execBare(ctx, deleteTenant, string(id)); err != nil || gone == 0 {
		return nil, err
	}
	return nil, b.count(ctx, id, counts, true)
}

// resumeDeletions goes on with the tenants whose deletion was cut short.
func (s *Store) resumeDeletions(ctx context.Context) error {
	type cutShort struct {
		id   tenant.ID
		mark string
	}
	var all []cutShort
	err := s.read(ctx, func(ctx context.Context, on dbutil.Execable) (err error) {
		all, err = collect(ctx, on, func(row dbutil.Scannable) (c cutShort, err error) {
			err = row.Scan(&c.id, &c.mark)
			return c, err
		}, selectDeletion)
		return err
	})
	if err != nil || len(all) == 0 {
		return err
	}
	s.background(func() {
		for _, c := range all {
			if !s.purgeUntilDone(c.id, c.mark) {
				return
			}
		}
	})
	return nil
}

// Deletion returns the record of a tenant's deletion. Returns ErrDeletionNotFound.
func (s *Store) Deletion(ctx context.Context, id tenant.ID) (tenant.Deletion, error) {
	found, err := row(ctx, &handle{store: s, id: id}, scanDeletion, selectDeletionRow)
	if errors.Is(err, sql.ErrNoRows) {
		return tenant.Deletion{}, fmt.Errorf("read deletion: %w", tenant.ErrDeletionNotFound)
	}
	if err != nil {
		return tenant.Deletion{}, s.wrap(ctx, "read deletion", err)
	}
	return found, nil
}

// farFuture is later than all times that are stored, in Unix milliseconds.
const farFuture = int64(1) << 53

// Deletions returns the records of deletions, newest first. Returns ErrInvalidCursor.
func (s *Store) Deletions(ctx context.Context, page tenant.Page) (tenant.Deletions, error) {
	from, before := tenant.ID(""), farFuture
	if page.Cursor != "" {
		at, id, err := tenant.ParseDeletionCursor(page.Cursor)
		if err != nil {
			return tenant.Deletions{}, err
		}
		from, before = id, at.UnixMilli()
	}
	found, err := rows(ctx, &handle{store: s, id: from}, scanDeletion, selectDeletions, before, page.Limit+1)
	if err != nil {
		return tenant.Deletions{}, s.wrap(ctx, "list deletions", err)
	}
	list := tenant.Deletions{Deletions: found}
	if len(found) > page.Limit {
		list.Deletions = found[:page.Limit]
		list.Next = found[page.Limit-1].Cursor()
	}
	return list, nil
}
