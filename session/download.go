package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waMmsRetry"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/session/spool"
	"github.com/wafleet/wafleet/session/transport"
	"github.com/wafleet/wafleet/tenant"
)

// FetchFile fetches a message's file from WhatsApp and decrypts it; the message's payload must be loaded. When WhatsApp has
// dropped the file, the phone is asked to upload it again. The bytes are verified against the sender's hash. The caller discards
// the file.
//
// Returns [tenant.ErrNoMedia], *[OfflineError], ErrMediaGone, ErrMediaDamaged, ErrPhoneSilent, ErrTransfer, [spool.ErrFull],
// *[LimitError], or the context's error.
func (f *Fleet) FetchFile(ctx context.Context, id tenant.ID, m *tenant.Message) (file *spool.File, err error) {
	defer f.watch.contain("download", &err)
	_, part, err := storedFile(m)
	if err != nil {
		return nil, err
	}
	c, err := f.reach(ctx, id)
	if err != nil {
		return nil, err
	}
	if !c.sends.enter() {
		return nil, c.offline()
	}
	defer c.sends.leave()
	ctx, cancel := c.together(ctx, f.pace.DownloadTimeout)
	defer cancel()
	took, err := f.governor.download(ctx, id, int64(min(part.GetFileLength(), MaxFile))) // as its sender says
	if err != nil {
		return nil, err
	}
	fetched := int64(0)
	defer func() {
		if fetched == 0 {
			took(0)
		}
	}()
	into, err := f.NewFile(id)
	if err != nil {
		return nil, err
	}
	defer func() {
		if file == nil { // also when whatsmeow panics at what a stranger wrote
			into.Discard()
		}
	}()
	err = c.downloadFile(ctx, part, into)
	if dropped(err) {
		if part, err = c.reupload(ctx, m); err != nil {
			return nil, err
		}
		if err = c.downloadFile(ctx, part, into); dropped(err) {
			return nil, ErrMediaGone
		}
	}
	if err != nil {
		return nil, c.undelivered(ctx, err)
	}
	size, err := into.Size()
	if err != nil {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	if fetched = size; fetched > 0 { // counted before anybody sees it
		spend := took(fetched)
		err = callStore(ctx, f.pace.StoreTimeout, func(ctx context.Context) error {
			_, err := c.actor.handle.Commit(ctx, spend)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("count the file: %w", err)
		}
	}
	return into, nil
}

// downloadFile fetches and decrypts a file. whatsmeow does not rewind when it turns to the next host, so a second attempt is made on
// an empty file.
func (c *conn) downloadFile(ctx context.Context, part filePart, into *spool.File) error {
	const tries = 2
	var err error
	for range tries {
		if err = into.Truncate(0); err != nil {
			return fmt.Errorf("empty the file: %w", err)
		}
		if _, err = into.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("rewind the file: %w", err)
		}
		err = c.cli.DownloadToFile(ctx, part, into)
		if err == nil || ctx.Err() != nil || dropped(err) || errors.Is(err, spool.ErrFull) || errors.Is(err, spool.ErrTooLarge) {
			return err
		}
	}
	return err
}

// dropped says whether WhatsApp does not have the file any more.
func dropped(err error) bool {
	failed, ok := errors.AsType[whatsmeow.DownloadHTTPError](err)
	if !ok {
		return false
	}
	switch failed.StatusCode {
	case http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return true
	}
	return false
}

// undelivered is the error of a download that failed.
func (c *conn) undelivered(ctx context.Context, err error) error {
	for _, damage := range []error{
		spool.ErrTooLarge, transport.ErrBodyTooLarge, whatsmeow.ErrInvalidMediaHMAC, whatsmeow.ErrInvalidMediaEncSHA256,
		whatsmeow.ErrInvalidMediaSHA256, whatsmeow.ErrInvalidUnencryptedMediaSHA256, whatsmeow.ErrTooShortFile,
		whatsmeow.ErrNoURLPresent, whatsmeow.ErrUnknownMediaType,
	} {
		if errors.Is(err, damage) {
			return fmt.Errorf("%w: %w", ErrMediaDamaged, err)
		}
	}
	if errors.Is(err, spool.ErrFull) {
		return err
	}
	return c.transferFailed(ctx, "download", err)
}

// reuploads are the requests to the phone for files that WhatsApp has dropped. Guarded by mu; the zero value is ready.
type reuploads struct {
	mu      sync.Mutex
	waiting map[types.MessageID][]chan *events.MediaRetry
}

// wait registers for the phone's answers about a message. stop ends it.
func (r *reuploads) wait(id types.MessageID) (answers <-chan *events.MediaRetry, stop func()) {
	answer := make(chan *events.MediaRetry, 4) // more than one answer of a confused phone is dropped
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == nil {
		r.waiting = make(map[types.MessageID][]chan *events.MediaRetry)
	}
	r.waiting[id] = append(r.waiting[id], answer)
	return answer, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		left := r.waiting[id][:0:0]
		for _, other := range r.waiting[id] {
			if other != answer {
				left = append(left, other)
			}
		}
		if r.waiting[id] = left; len(left) == 0 {
			delete(r.waiting, id)
		}
	}
}

// answered hands the phone's answer to whoever waits for it.
func (r *reuploads) answered(evt *events.MediaRetry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, waiting := range r.waiting[evt.MessageID] {
		select {
		case waiting <- evt:
		default:
		}
	}
}

// reupload asks the phone to upload a message's file again and notes where it is then. Returns ErrMediaGone, ErrPhoneSilent.
func (c *conn) reupload(ctx context.Context, m *tenant.Message) (filePart, error) {
	msg, part, err := storedFile(m)
	if err != nil {
		return nil, err
	}
	asking, cancel := context.WithTimeout(ctx, c.actor.fleet.pace.ReuploadTimeout)
	defer cancel()
	answers, stop := c.reuploads.wait(types.MessageID(m.ID))
	defer stop()
	info := &types.MessageInfo{ID: types.MessageID(m.ID), MessageSource: types.MessageSource{
		Chat: jidOf(m.ChatID), Sender: jidOf(m.SenderID), IsFromMe: m.FromMe, IsGroup: m.ChatID.IsGroup(),
	}}
	if err = c.cli.SendMediaRetryReceipt(asking, info, part.GetMediaKey()); err != nil {
		return nil, c.transferFailed(ctx, "ask the phone", err)
	}
	for {
		var evt *events.MediaRetry
		select {
		case evt = <-answers:
		case <-asking.Done():
			if ctx.Err() != nil {
				return nil, c.transferFailed(ctx, "ask the phone", context.Cause(ctx))
			}
			return nil, ErrPhoneSilent
		}
		answer, err := whatsmeow.DecryptMediaRetryNotification(evt, part.GetMediaKey())
		switch {
		case errors.Is(err, whatsmeow.ErrMediaNotAvailableOnPhone), errors.Is(err, whatsmeow.ErrUnknownMediaRetryError):
			return nil, ErrMediaGone
		case err != nil:
			continue // about another file under the same id
		case answer.GetResult() != waMmsRetry.MediaRetryNotification_SUCCESS || answer.GetDirectPath() == "":
			return nil, ErrMediaGone
		}
		moveFile(part, answer.GetDirectPath())
		c.commit(ctx, []tenant.Change{tenant.SetPayload{
			ChatID: m.ChatID, SenderID: m.SenderID, MessageID: m.ID, Payload: encode(msg),
		}}, nil)
		return part, nil
	}
}
