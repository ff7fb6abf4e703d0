package session_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"image"
	"image/png"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

func noise(size int, seed byte) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// sendFile sends bytes as a file.
func (c *customer) sendFile(chat tenant.ChatID, data []byte, m session.FileMessage) (tenant.Message, error) {
	c.w.t.Helper()
	file, err := c.w.fleet.NewFile(c.ID())
	require.NoError(c.w.t, err)
	defer file.Discard()
	_, err = file.Write(data)
	require.NoError(c.w.t, err)
	m.File = file
	return c.w.fleet.SendFile(within(c.w.t), c.ID(), chat, &m)
}

// fetch fetches a stored message's file.
func (c *customer) fetch(chat tenant.ChatID, id string) ([]byte, error) {
	c.w.t.Helper()
	m, err := c.Message(within(c.w.t), chat, tenant.MessageID(id), "")
	require.NoError(c.w.t, err)
	file, err := c.w.fleet.FetchFile(within(c.w.t), c.ID(), &m)
	if err != nil {
		return nil, err
	}
	defer file.Discard()
	_, err = file.Seek(0, io.SeekStart)
	require.NoError(c.w.t, err)
	return io.ReadAll(file)
}

func fetchedBy(t *testing.T, p *phone.Phone, id string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	file, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, p.Fetch(within(t), id, file))
	require.NoError(t, file.Close())
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	return got
}

var kinds = []struct {
	kind     tenant.MessageType
	mimeType string
}{
	{tenant.TypeImage, "image/jpeg"},
	{tenant.TypeVideo, "video/mp4"},
	{tenant.TypeAudio, "audio/mpeg"},
	{tenant.TypeVoice, "audio/ogg; codecs=opus"},
	{tenant.TypeDocument, "application/pdf"},
	{tenant.TypeSticker, "image/webp"},
}

func TestFilesGoBothWaysByteForByte(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine tenanttest.Engine) {
		t.Helper()
		w := newWorld(t, engine)
		c := w.paired(wasim.PhoneConfig{Name: "Shop"})
		ana := w.phone(wasim.PhoneConfig{Name: "Ana"})
		chat := c.chatID(ana)
		for i, k := range kinds {
			data := noise(100_000+i, byte(i)) // block boundaries and not
			caption := ""
			if session.Captioned(k.kind) {
				caption = "see " + string(k.kind)
			}

			// Out.
			sent, err := c.sendFile(chat, data, session.FileMessage{
				Kind: k.kind, MimeType: k.mimeType, FileName: "a file.bin", Caption: caption,
			})
			require.NoError(t, err)
			require.Equal(t, k.kind, sent.Type)
			require.Equal(t, tenant.StatusSent, sent.Status)
			require.Equal(t, caption, sent.Text)
			require.Equal(t, sum(data), sent.Media.SHA256)
			require.Equal(t, int64(len(data)), sent.Media.Size)
			require.Equal(t, k.mimeType, sent.Media.MimeType)
			require.Equal(t, "/api/chats/"+string(chat)+"/messages/"+string(sent.ID)+"/media", sent.Media.URL)
			entry, err := ana.WaitEntry(within(t), 0, func(e phone.Entry) bool {
				return e.Kind == phone.KindMessage && e.IDs[0] == string(sent.ID)
			})
			require.NoError(t, err)
			require.Equal(t, string(k.kind), entry.File.Kind)
			require.Equal(t, caption, entry.Text)
			require.Equal(t, sum(data), entry.File.SHA256)
			require.True(t, bytes.Equal(data, fetchedBy(t, ana, string(sent.ID))), "%s arrives", k.kind)
			again, err := c.fetch(chat, string(sent.ID))
			require.NoError(t, err)
			require.True(t, bytes.Equal(data, again), "what we sent can be fetched")

			// In.
			data = noise(70_000+i, byte(100+i))
			id, err := ana.SendFile(within(t), c.phone.Number(), phone.File{
				Kind: string(k.kind), Data: data, MimeType: k.mimeType, Name: "invoice.pdf", Caption: caption,
				Thumbnail: []byte("a picture"), Width: 64, Height: 32, Seconds: 3,
			}, phone.SendOptions{ReplyTo: string(sent.ID)})
			require.NoError(t, err)
			got := c.message(chat, id, nil)
			require.Equal(t, k.kind, got.Type)
			require.Equal(t, caption, got.Text)
			require.Equal(t, sent.ID, got.ReplyTo)
			require.Equal(t, sum(data), got.Media.SHA256)
			require.Equal(t, int64(len(data)), got.Media.Size)
			require.Equal(t, k.mimeType, got.Media.MimeType)
			if k.kind == tenant.TypeDocument {
				require.Equal(t, "invoice.pdf", got.Media.FileName)
			}
			fetched, err := c.fetch(chat, id)
			require.NoError(t, err)
			require.True(t, bytes.Equal(data, fetched), "%s can be fetched", k.kind)
			if k.kind == tenant.TypeAudio || k.kind == tenant.TypeVoice {
				require.Equal(t, int64(3000), got.Media.DurationMs)
				continue
			}
			picture, _, err := session.Thumbnail(&got)
			require.NoError(t, err)
			require.Equal(t, "a picture", string(picture))
			require.NotEmpty(t, got.Media.ThumbnailURL)
		}
	})
}

func TestAFileThatWhatsAppDroppedComesFromThePhone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c := w.paired(wasim.PhoneConfig{Name: "Shop"})
	ana := w.phone(wasim.PhoneConfig{Name: "Ana"})
	chat := c.chatID(ana)
	receive := func(data []byte) string {
		id, err := ana.SendFile(within(t), c.phone.Number(), phone.File{Kind: phone.FileImage, Data: data}, phone.SendOptions{})
		require.NoError(t, err)
		c.message(chat, id, nil)
		_, err = c.phone.WaitEntry(within(t), 0, func(e phone.Entry) bool { return e.Kind == phone.KindMessage && e.IDs[0] == id })
		require.NoError(t, err)
		return id
	}
	data := noise(50_000, 1)
	kept, lost, silent := receive(data), receive(noise(10, 2)), receive(noise(10, 3))
	require.NoError(t, c.phone.DropFile(within(t), kept, true))
	require.NoError(t, c.phone.DropFile(within(t), lost, false))
	require.NoError(t, c.phone.DropFile(within(t), silent, true))

	got, err := c.fetch(chat, kept)
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, got))
	_, err = c.fetch(chat, lost)
	require.ErrorIs(t, err, session.ErrMediaGone)
	c.phone.Close()
	w.anew(func(p *session.Pace) { p.ReuploadTimeout = 2 * time.Second }, c)
	_, err = c.fetch(chat, silent)
	require.ErrorIs(t, err, session.ErrPhoneSilent)
	got, err = c.fetch(chat, kept)
	require.NoError(t, err, "it is there again")
	require.True(t, bytes.Equal(data, got))
}

func TestFilesNeedAConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c := w.paired(wasim.PhoneConfig{})
	ana := w.phone(wasim.PhoneConfig{})
	chat := c.chatID(ana)
	sent, err := c.sendFile(chat, noise(1000, 1), session.FileMessage{Kind: tenant.TypeDocument, MimeType: "application/pdf"})
	require.NoError(t, err)
	text := c.send(chat, "no file")
	_, err = c.fetch(chat, string(text.ID))
	require.ErrorIs(t, err, tenant.ErrNoMedia)
	_, err = c.sendFile(tenant.PersonID(number()), noise(10, 1), session.FileMessage{Kind: tenant.TypeDocument})
	require.ErrorIs(t, err, tenant.ErrChatNotFound)
	_, err = w.fleet.Disconnect(within(t), c.ID())
	require.NoError(t, err)
	c.until(session.Stopped)
	_, err = c.fetch(chat, string(sent.ID))
	var offline *session.OfflineError
	require.ErrorAs(t, err, &offline)
	before := len(c.all(chat))
	_, err = c.sendFile(chat, noise(10, 1), session.FileMessage{Kind: tenant.TypeDocument})
	require.ErrorAs(t, err, &offline)
	require.Len(t, c.all(chat), before, "nothing is stored of a file that could not be uploaded")
}

func TestAPictureTellsItsSize(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite())
	c := w.paired(wasim.PhoneConfig{})
	ana := w.phone(wasim.PhoneConfig{})
	var data bytes.Buffer
	require.NoError(t, png.Encode(&data, image.NewGray(image.Rect(0, 0, 300, 200))))
	sent, err := c.sendFile(c.chatID(ana), data.Bytes(), session.FileMessage{Kind: tenant.TypeImage, MimeType: "image/png"})
	require.NoError(t, err)
	require.Equal(t, []int{300, 200}, []int{sent.Media.Width, sent.Media.Height})
	got, err := ana.WaitEntry(within(t), 0, func(e phone.Entry) bool { return e.File != nil })
	require.NoError(t, err)
	require.Equal(t, []uint32{300, 200}, []uint32{got.File.Width, got.File.Height})
}

// TestAnUploadIsTriedAgain has the media server cut an upload off before it takes the file.
func TestAnUploadIsTriedAgain(t *testing.T) {
	t.Parallel()
	var attempts, fail atomic.Int64
	w := newWorld(t, sqlite(), func(w *world) { // before the fleet starts: its sessions read the field
		whole := w.clients.Media.Transport
		w.clients.Media.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost && attempts.Add(1) <= fail.Load() {
				_, _ = io.CopyN(io.Discard, r.Body, 1000)
				_ = r.Body.Close()
				return nil, io.ErrUnexpectedEOF
			}
			return whole.RoundTrip(r)
		})
	})
	c := w.paired(wasim.PhoneConfig{})
	ana := w.phone(wasim.PhoneConfig{})
	chat := c.chatID(ana)
	c.send(chat, "hello")
	data := noise(200_000, 9)
	fail.Store(2)
	sent, err := c.sendFile(chat, data, session.FileMessage{Kind: tenant.TypeDocument, MimeType: "application/pdf"})
	require.NoError(t, err)
	require.Equal(t, int64(3), attempts.Load())
	_, err = ana.WaitEntry(within(t), 0, func(e phone.Entry) bool { return e.IDs[0] == string(sent.ID) })
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, fetchedBy(t, ana, string(sent.ID))))

	before := len(c.all(chat))
	attempts.Store(0)
	fail.Store(100)
	_, err = c.sendFile(chat, data, session.FileMessage{Kind: tenant.TypeDocument, MimeType: "application/pdf"})
	require.ErrorIs(t, err, session.ErrTransfer)
	require.Len(t, c.all(chat), before)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestWhatWhatsAppDeliversIsVerified(t *testing.T) {
	t.Parallel()
	var change atomic.Pointer[func(*http.Response)] // what happens to downloads; others download at the same time
	w := newWorld(t, sqlite(), func(w *world) {
		whole := w.clients.Media.Transport
		w.clients.Media.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			resp, err := whole.RoundTrip(r)
			if fn := change.Load(); err == nil && r.Method == http.MethodGet && fn != nil {
				body := resp.Body
				(*fn)(resp)
				resp.Body = both{resp.Body, body}
			}
			return resp, err
		})
	})
	c := w.paired(wasim.PhoneConfig{})
	ana := w.phone(wasim.PhoneConfig{})
	chat := c.chatID(ana)
	id, err := ana.SendFile(within(t), c.phone.Number(), phone.File{Kind: phone.FileVideo, Data: noise(100_000, 4)}, phone.SendOptions{})
	require.NoError(t, err)
	c.message(chat, id, nil)
	for name, tc := range map[string]struct {
		change func(*http.Response)
		want   error
	}{
		"Changed": {func(r *http.Response) {
			raw, _ := io.ReadAll(r.Body)
			raw[len(raw)/2] ^= 1
			r.Body = io.NopCloser(bytes.NewReader(raw))
		}, session.ErrMediaDamaged},
		"Short":   {func(r *http.Response) { r.Body = io.NopCloser(io.LimitReader(r.Body, 5)) }, session.ErrMediaDamaged},
		"Endless": {func(r *http.Response) { r.Body = io.NopCloser(io.MultiReader(r.Body, zeros{})) }, session.ErrMediaDamaged},
		"Failing": {func(r *http.Response) { r.StatusCode = http.StatusInternalServerError }, session.ErrTransfer},
	} {
		change.Store(&tc.change)
		_, err = c.fetch(chat, id)
		require.ErrorIs(t, err, tc.want, name)
	}
}

// zeros has no end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// both reads one body and closes another.
type both struct {
	io.Reader
	io.Closer
}
