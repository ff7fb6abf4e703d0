package session

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"

	"github.com/wafleet/wafleet/session/probe"
	"github.com/wafleet/wafleet/session/spool"
	"github.com/wafleet/wafleet/tenant"
)

// FileMessage is a file to send.
type FileMessage struct {
	// File holds the bytes, made by [Fleet.NewFile]. It is encrypted in place: whatever becomes of the send, its content is lost.
	// The caller discards it.
	File     *spool.File
	Kind     tenant.MessageType // as [Classify] says
	MimeType string
	FileName string // optional
	Caption  string // optional; only for what is [Captioned]
	ReplyTo  tenant.MessageID
	Mentions []tenant.ChatID
	// Forwarded marks it as forwarded.
	Forwarded bool
}

// encryptionSlack is what encryption adds to a file, in bytes: at most one block, and the MAC.
const encryptionSlack = 16 + 10

// NewFile makes a temporary file that holds up to MaxFile bytes. The caller discards it. Returns [spool.ErrFull].
func (f *Fleet) NewFile(id tenant.ID) (*spool.File, error) {
	return f.spool.File(string(id), MaxFile+encryptionSlack)
}

// SendFile sends a file. It is uploaded to WhatsApp before anything is stored: only then does the stored message hold all that is
// needed to send it again after a crash, and a crash before leaves nothing but bytes at WhatsApp that nobody has the key of. From
// there on it goes the way of a text.
//
// Returns what [Fleet.SendText] does; before the message is stored also ErrTransfer, or the context's error.
func (f *Fleet) SendFile(ctx context.Context, id tenant.ID, chat tenant.ChatID, m *FileMessage) (msg tenant.Message, err error) {
	defer f.watch.contain("send", &err)
	size, err := m.File.Size()
	if err != nil {
		return tenant.Message{}, fmt.Errorf("read the file: %w", err)
	}
	to, err := f.address(ctx, id, chat, m.ReplyTo, size)
	if err != nil {
		return tenant.Message{}, err
	}
	defer to.pass.end()
	c := to.conn
	info := probe.Look(m.File, size) // before it is encrypted
	up, err := c.upload(ctx, m)
	if err != nil {
		return tenant.Message{}, err
	}
	wire := composeFile(m, &up, info, to.quoted)
	msg = c.draft(to.chat, m.Kind, wire)
	msg.Media = describeFile(filePartOf(wire))
	msg.Media.FileName = cut(m.FileName, maxFileName)
	msg.Media.DurationMs = info.Duration.Milliseconds()
	msg.Text, msg.ReplyTo, msg.Mentions = tenant.CleanText(m.Caption), m.ReplyTo, m.Mentions
	msg.Forwarded, msg.ForwardScore = m.Forwarded, firstForward(m.Forwarded)
	return to.deliver(ctx, msg, wire)
}

// together is a context that ends with the connection as well as with the caller's.
func (c *conn) together(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	bound, end := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.ctx, func() { end(errHungUp) })
	return bound, func() {
		stop()
		end(context.Canceled)
		cancel()
	}
}

// transferFailed is the error of a transfer of a file that failed.
func (c *conn) transferFailed(ctx context.Context, doing string, err error) error {
	switch {
	case c.parted(err):
		return fmt.Errorf("%s: %w", doing, c.offline())
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", doing, context.Cause(ctx))
	}
	c.log.WarnContext(ctx, "transfer of a file failed", "direction", doing, "error", redact(err.Error()))
	return fmt.Errorf("%s: %w: %w", doing, ErrTransfer, err)
}

// uploadPause is how long a failed upload waits before the next attempt.
const uploadPause = 500 * time.Millisecond

// upload encrypts a file in place and gives it to WhatsApp.
func (c *conn) upload(ctx context.Context, m *FileMessage) (up whatsmeow.UploadResponse, err error) {
	const tries = 3
	if !c.sends.enter() {
		return up, c.offline()
	}
	defer c.sends.leave()
	ctx, cancel := c.together(ctx, c.actor.fleet.pace.UploadTimeout)
	defer cancel()
	if _, err = m.File.Seek(0, io.SeekStart); err != nil {
		return up, fmt.Errorf("read the file: %w", err)
	}
	kind := uploadType(m.Kind)
	up, err = c.cli.UploadReader(ctx, m.File, m.File, kind)
	for n := 1; err != nil && n < tries && ctx.Err() == nil && len(up.FileEncSHA256) > 0; n++ {
		// What was encrypted is there: net/http cannot send it again by itself when an idle connection turns out to be closed.
		size, sizeErr := m.File.Size()
		if sizeErr != nil || !pause(ctx, uploadPause) {
			break
		}
		body := io.NewSectionReader(m.File, 0, size) // not the file's own position, which the failed attempt may still move
		err = c.inner().RawUpload(ctx, body, uint64(max(0, size)), up.FileEncSHA256, kind, false, &up)
	}
	if errors.Is(err, spool.ErrFull) {
		return up, err
	}
	if err != nil {
		return up, c.transferFailed(ctx, "upload", err)
	}
	return up, nil
}

// inner is whatsmeow's own way into a client.
func (c *conn) inner() *whatsmeow.DangerousInternalClient {
	return c.cli.DangerousInternals() //nolint:staticcheck // deprecated as a warning, not to be replaced
}

// pause waits; false if ctx ended first.
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

func uploadType(kind tenant.MessageType) whatsmeow.MediaType {
	switch kind { //nolint:exhaustive // all else goes as a document
	case tenant.TypeImage, tenant.TypeSticker:
		return whatsmeow.MediaImage
	case tenant.TypeVideo:
		return whatsmeow.MediaVideo
	case tenant.TypeAudio, tenant.TypeVoice:
		return whatsmeow.MediaAudio
	default:
		return whatsmeow.MediaDocument
	}
}

// composeFile writes a file as WhatsApp does.
func composeFile(m *FileMessage, up *whatsmeow.UploadResponse, seen probe.Info, quoted *tenant.Message) *waE2E.Message {
	info := marked(contextOf(m.Mentions, quoted), firstForward(m.Forwarded))
	width, height := optionalNumber(seen.Width), optionalNumber(seen.Height)
	seconds := optionalNumber(int((seen.Duration + time.Second - 1) / time.Second))
	stamp := new(time.Now().Unix())
	caption := optionalText(m.Caption)
	switch m.Kind { //nolint:exhaustive // all else goes as a document
	case tenant.TypeImage:
		return &waE2E.Message{ImageMessage: &waE2E.ImageMessage{
			URL: &up.URL, DirectPath: &up.DirectPath, MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256,
			FileSHA256: up.FileSHA256, FileLength: &up.FileLength, MediaKeyTimestamp: stamp,
			Mimetype: &m.MimeType, Caption: caption, ContextInfo: info, Width: width, Height: height,
		}}
	case tenant.TypeVideo:
		return &waE2E.Message{VideoMessage: &waE2E.VideoMessage{
			URL: &up.URL, DirectPath: &up.DirectPath, MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256,
			FileSHA256: up.FileSHA256, FileLength: &up.FileLength, MediaKeyTimestamp: stamp,
			Mimetype: &m.MimeType, Caption: caption, ContextInfo: info,
		}}
	case tenant.TypeAudio, tenant.TypeVoice:
		return &waE2E.Message{AudioMessage: &waE2E.AudioMessage{
			URL: &up.URL, DirectPath: &up.DirectPath, MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256,
			FileSHA256: up.FileSHA256, FileLength: &up.FileLength, MediaKeyTimestamp: stamp,
			Mimetype: &m.MimeType, PTT: new(m.Kind == tenant.TypeVoice), ContextInfo: info, Seconds: seconds,
		}}
	case tenant.TypeSticker:
		return &waE2E.Message{StickerMessage: &waE2E.StickerMessage{
			URL: &up.URL, DirectPath: &up.DirectPath, MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256,
			FileSHA256: up.FileSHA256, FileLength: &up.FileLength, MediaKeyTimestamp: stamp,
			Mimetype: &m.MimeType, ContextInfo: info, Width: width, Height: height,
		}}
	default:
		name := m.FileName
		if name == "" {
			name = "file-" + hex.EncodeToString(up.FileSHA256[:4]) // WhatsApp shows documents by their names
		}
		document := &waE2E.Message{DocumentMessage: &waE2E.DocumentMessage{
			URL: &up.URL, DirectPath: &up.DirectPath, MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256,
			FileSHA256: up.FileSHA256, FileLength: &up.FileLength, MediaKeyTimestamp: stamp,
			Mimetype: &m.MimeType, Title: &name, FileName: &name, Caption: caption, ContextInfo: info,
		}}
		return wrapDocument(document)
	}
}

// optionalNumber is a number that is known, or nil.
func optionalNumber(n int) *uint32 {
	if n <= 0 || n > math.MaxInt32 {
		return nil
	}
	return new(uint32(n))
}

func optionalText(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
