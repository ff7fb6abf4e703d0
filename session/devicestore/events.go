package devicestore

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/tenant"
)

// event is an event that was decrypted, and whose record is not known to be committed.
type event struct {
	plaintext []byte
	at        time.Time // when it was decrypted
	server    time.Time // when WhatsApp got it
	number    uint64
	stored    bool // with its plaintext
	settled   bool // its record is committed, or there is none to come
	sealed    []byte
}

// What ages, and how long it is kept. WhatsApp keeps what it could not deliver for 14 days.
const (
	eventAge    = 14 * 24 * time.Hour
	outgoingAge = 7 * 24 * time.Hour
	secretAge   = 180 * 24 * time.Hour
)

// unpackEvents takes the events that are stored with their plaintexts.
func (d *device) unpackEvents(rows []tenant.DeviceRow) error {
	if len(rows) == 0 {
		return nil
	}
	d.overlay.events = make(map[tenant.EventHash]*event, len(rows))
	for _, r := range rows {
		plain, err := d.sealer.open(rowID{kindEvent, string(r.Key)}, r.Value)
		if err != nil || len(plain) < 8 || len(r.Key) != len(tenant.EventHash{}) {
			return errSpoiled
		}
		d.overlay.events[tenant.EventHash(r.Key)] = &event{
			plaintext: plain[8:], stored: true, at: time.UnixMilli(r.At),
			server: time.Unix(int64(binary.BigEndian.Uint64(plain)), 0), //nolint:gosec // as it was
		}
	}
	return nil
}

// GetBufferedEvent implements [store.EventBuffer]. An event whose record is committed is not looked up: that shows when its decryption
// fails, see [device.DoDecryptionTxn].
func (d *device) GetBufferedEvent(ctx context.Context, hash [32]byte) (*store.BufferedEvent, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w: %w", context.Canceled, context.Cause(ctx))
	}
	d.mu.Lock()
	e := d.overlay.events[hash]
	if e != nil && e.settled { // what was handled before is acknowledged without more ado
		d.mu.Unlock()
		if err := d.flush(ctx); err != nil {
			return nil, err
		}
		return &store.BufferedEvent{InsertTime: e.at, ServerTime: e.server}, nil
	}
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return nil, err
	}
	if e != nil {
		d.overlay.taken = (*tenant.EventHash)(&hash)
		return &store.BufferedEvent{InsertTime: e.at, ServerTime: e.server, Plaintext: e.plaintext}, nil
	}
	if len(d.overlay.asked) < 2 { // from two on it is not clear which
		d.overlay.asked = append(d.overlay.asked, hash)
	}
	return nil, nil
}

// takeAsked is which event is about to be decrypted. False if that is not clear: somebody else decrypts at the same time.
func (o *overlay) takeAsked() (hash tenant.EventHash, ok bool) {
	if len(o.asked) == 1 {
		hash, ok = o.asked[0], true
	}
	o.asked = o.asked[:0]
	return hash, ok
}

// TakeEvent implements [session.EventKeeper].
func (d *device) TakeEvent() (hash tenant.EventHash, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.overlay.taken != nil {
		hash, ok = *d.overlay.taken, true
		d.overlay.taken = nil
	}
	return hash, ok
}

// Continue implements [session.EventKeeper].
func (d *device) Continue(hash tenant.EventHash) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.overlay.continued = &hash
}

// PutBufferedEvent implements [store.EventBuffer].
func (d *device) PutBufferedEvent(ctx context.Context, hash [32]byte, plaintext []byte, serverTimestamp time.Time) error {
	put := func(ctx context.Context) error {
		t := txnOf(ctx)
		if plaintext == nil {
			plaintext = []byte{} // nil means that there is none any more
		}
		t.hash, t.event = hash, &event{plaintext: plaintext, at: time.Now(), server: serverTimestamp}
		return nil
	}
	return d.transact(ctx, put)
}

// DoDecryptionTxn implements [store.EventBuffer]. The errors of fn are those of Signal and pass as they are; a panic of fn becomes one.
// What cannot be decrypted because it was before, and is committed, answers [whatsmeow.ErrEventAlreadyProcessed].
func (d *device) DoDecryptionTxn(ctx context.Context, fn func(context.Context) error) error {
	if err := d.enter(); err != nil {
		return err
	}
	defer d.exit()
	d.mu.Lock()
	hash, known := d.overlay.takeAsked()
	d.mu.Unlock()
	err := d.transact(ctx, func(ctx context.Context) error { return guarded(ctx, fn) })
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	// A retry receipt and an acknowledgement of the whole stanza follow: what came with it must not be lost.
	if failed := d.flush(ctx); failed != nil {
		return failed
	}
	if !known {
		return err
	}
	done, failed := answer(ctx, d, func() ([]tenant.DeviceRow, error) {
		return d.store.rows.DeviceRows(ctx, d.id, []int16{kindDoneEvent}, hash[:])
	})
	switch {
	case failed != nil:
		return failed
	case len(done) > 0:
		return fmt.Errorf("%w, and cannot be decrypted again: %w", whatsmeow.ErrEventAlreadyProcessed, err)
	default:
		return err
	}
}

func guarded(ctx context.Context, fn func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("decryption: %w: %T", errPanic, v)
		}
	}()
	return fn(ctx)
}

// ClearBufferedEventPlaintext implements [store.EventBuffer]. It comes before the receipt: what the event moved is durable when it
// returns, also if nothing was committed of it. If that is not possible, it returns when the connection has ended.
func (d *device) ClearBufferedEventPlaintext(ctx context.Context, hash [32]byte) error {
	d.mu.Lock()
	e := d.overlay.events[hash]
	if e != nil {
		e.settled = true
	}
	continues := d.overlay.continued != nil && *d.overlay.continued == hash
	d.overlay.continued = nil
	err := d.usable()
	d.mu.Unlock()
	if err == nil && (e == nil || continues) {
		return nil // committed, with all that it moved; or nothing is acknowledged yet
	}
	if err == nil {
		err = d.flush(ctx)
	}
	if err != nil {
		select { // whatsmeow would send the receipt in spite of the error
		case <-d.closing:
		case <-ctx.Done():
		}
	}
	return err
}

// ready is the number of the last event that can be written without plaintexts: it and all before it are settled. d.mu is held.
func (o *overlay) ready(settled []tenant.EventHash) uint64 {
	first := o.number + 1 // that is not
	for hash, e := range o.events {
		if !e.stored && !e.settled && e.number < first && !slices.Contains(settled, hash) {
			first = e.number
		}
	}
	for _, hash := range settled {
		if e := o.events[hash]; e != nil && !e.stored && e.number >= first {
			return o.number // out of order: those between are written with plaintexts
		}
	}
	return first - 1
}

// boardEvents writes events up to a number: settled ones as a note that they were, others with their plaintexts. d.mu is held.
func (d *device) boardEvents(settled []tenant.EventHash, upTo uint64) (rows []tenant.DeviceRow, landed func()) {
	var done, stored []tenant.EventHash
	for hash, e := range d.overlay.events {
		at := max(1, e.at.UnixMilli())
		switch {
		case e.settled || slices.Contains(settled, hash):
			rows = append(rows, tenant.DeviceRow{Kind: kindDoneEvent, Key: hash[:], Value: []byte{}, At: at})
			if e.stored {
				rows = append(rows, tenant.DeviceRow{Kind: kindEvent, Key: hash[:]})
			}
			done = append(done, hash)
		case !e.stored && e.number <= upTo:
			if e.sealed == nil {
				plain := numbered(uint64(e.server.Unix()), e.plaintext) //nolint:gosec // as it is
				e.sealed = d.sealer.seal(rowID{kindEvent, string(hash[:])}, plain)
			}
			rows = append(rows, tenant.DeviceRow{Kind: kindEvent, Key: hash[:], Value: e.sealed, At: at})
			stored = append(stored, hash)
		}
	}
	return rows, func() {
		for _, hash := range done {
			delete(d.overlay.events, hash)
		}
		for _, hash := range stored {
			if e := d.overlay.events[hash]; e != nil {
				e.stored, e.sealed = true, nil
			}
		}
	}
}

// rowsAtOnce is how many rows of a mass are written, or deleted, in one step: other tenants' commits pass between two of them.
const rowsAtOnce = 500

// DeleteOldBufferedHashes implements [store.EventBuffer]. It is called every twelve hours, or so; all that ages is deleted here.
func (d *device) DeleteOldBufferedHashes(ctx context.Context) error {
	for _, old := range []struct {
		kind int16
		age  time.Duration
	}{
		{kindDoneEvent, eventAge}, {kindEvent, eventAge}, {kindMessageSecret, secretAge}, {kindOutgoing, outgoingAge},
	} {
		if err := d.age(ctx, old.kind, old.age); err != nil {
			return err
		}
	}
	return nil
}

func (d *device) age(ctx context.Context, kind int16, age time.Duration) error {
	for before := time.Now().Add(-age); ; {
		gone, err := answer(ctx, d, func() (int, error) { return d.store.rows.AgeDeviceRows(ctx, d.id, kind, before, rowsAtOnce) })
		if err != nil || gone < rowsAtOnce {
			return err
		}
	}
}

// GetOutgoingEvent implements [store.EventBuffer]. Returns [sql.ErrNoRows], as sqlstore does.
func (d *device) GetOutgoingEvent(ctx context.Context, chatJID, altChatJID types.JID, id types.MessageID) (string, []byte, error) {
	one, other := keyOf(chatJID.String(), id), keyOf(altChatJID.String(), id)
	found, err := d.getMany(ctx, kindOutgoing, []string{one, other})
	if err != nil {
		return "", nil, err
	}
	value := found[one]
	if value == nil {
		value = found[other]
	}
	if len(value) == 0 || len(value) < 1+int(value[0]) {
		return "", nil, sql.ErrNoRows
	}
	n := 1 + int(value[0])
	return string(value[1:n]), value[n:], nil
}

// maxFormat bounds the name of an outgoing event's format, which is one of whatsmeow's.
const maxFormat = 255

var errFormat = errors.New("the name of a format is too long")

// AddOutgoingEvent implements [store.EventBuffer].
func (d *device) AddOutgoingEvent(ctx context.Context, chatJID types.JID, id types.MessageID, format string, plaintext []byte) error {
	if len(format) > maxFormat {
		return errFormat
	}
	value := append(append([]byte{byte(len(format))}, format...), plaintext...) //nolint:gosec // not more than maxFormat
	return d.put(ctx, rowID{kindOutgoing, keyOf(chatJID.String(), id)}, version{value: value, at: time.Now().UnixMilli()})
}

// DeleteOldOutgoingEvents implements [store.EventBuffer].
func (d *device) DeleteOldOutgoingEvents(ctx context.Context) error {
	return d.age(ctx, kindOutgoing, outgoingAge)
}
