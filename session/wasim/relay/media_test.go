package relay_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/session/wasim/relay"
)

// download fetches a file by its direct path, which must be answered like this.
func (s *sim) download(t *testing.T, directPath string, status int) []byte {
	t.Helper()
	resp, err := s.http.Get("https://" + relay.MediaHost + directPath + "&hash=x&mms-type=image&__wa-mms=")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, status, resp.StatusCode)
	return body
}

// put uploads bytes as a client does and returns the direct path.
func (s *sim) put(t *testing.T, token string, body io.Reader, status int) string {
	t.Helper()
	resp, err := s.http.Post("https://"+relay.MediaHost+"/mms/document/"+token+"?auth=simulated&token="+token, "", body)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, status, resp.StatusCode)
	if status != http.StatusOK {
		return ""
	}
	var answer struct {
		DirectPath string `json:"direct_path"` //nolint:tagliatelle // as WhatsApp names it
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	return answer.DirectPath
}

func tokenOf(data []byte) string {
	sum := sha256.Sum256(data)
	return base64.URLEncoding.EncodeToString(sum[:])
}

// endless is n bytes without memory for them.
func endless(n int64) io.Reader { return io.LimitReader(zeros{}, n) }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestLargeFiles(t *testing.T) {
	t.Parallel()
	unit := int64(1 << 20)
	if raceEnabled { // hashing is dear there
		unit = 64 << 10
	}
	dir := t.TempDir()
	s := start(t, relay.Config{MediaDir: dir, MaxBlobBytes: 250 * unit})
	files := func() (list []string) {
		list, err := filepath.Glob(filepath.Join(dir, "*", "*"))
		require.NoError(t, err)
		return list
	}
	hash := func(n int64) string {
		h := sha256.New()
		_, err := io.Copy(h, endless(n))
		require.NoError(t, err)
		return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
	}
	large := 100 * unit
	path := s.put(t, hash(large), endless(large), http.StatusOK)
	require.Len(t, files(), 1)
	require.Equal(t, path, s.put(t, hash(large), endless(large), http.StatusOK), "the same again is the same file")
	require.Len(t, files(), 1)
	s.put(t, hash(1), endless(large/2), http.StatusBadRequest)
	if !raceEnabled {
		s.put(t, hash(1), endless(129<<20), http.StatusRequestEntityTooLarge)
	}
	require.Len(t, files(), 1, "what was refused is gone")

	resp, err := s.http.Get("https://" + relay.MediaHost + path)
	require.NoError(t, err)
	h := sha256.New()
	n, err := io.Copy(h, resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, large, n)
	require.Equal(t, large, resp.ContentLength)
	require.Equal(t, hash(large), base64.RawURLEncoding.EncodeToString(h.Sum(nil)))

	s.put(t, hash(90*unit), endless(90*unit), http.StatusOK)
	s.put(t, hash(80*unit), endless(80*unit), http.StatusOK)
	require.Len(t, files(), 2, "the oldest gave way")
	s.download(t, path, http.StatusNotFound)
	st := s.Stats()
	require.Equal(t, 2, st.Blobs)
	require.Equal(t, 170*unit, st.BlobBytes)
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	require.Less(t, mem.HeapAlloc, uint64(500<<20)) // of all tests at once; the files alone were 270 MiB
}

func TestTheMediaDirectoryGoesWithServe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	entries := func() int {
		list, err := os.ReadDir(dir)
		require.NoError(t, err)
		return len(list)
	}
	t.Cleanup(func() { require.Zero(t, entries()) }) // runs after that of start, which ends Serve
	s := start(t, relay.Config{MediaDir: dir})
	require.Zero(t, entries(), "made with the first large file")
	data := bytes.Repeat([]byte("x"), 1<<20)
	s.put(t, tokenOf(data), bytes.NewReader(data), http.StatusOK)
	require.Equal(t, 1, entries())
}

func TestFilesGetOld(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{MaxBlobAge: 50 * time.Millisecond, PingTimeout: 900 * time.Millisecond})
	path := s.put(t, tokenOf([]byte("x")), strings.NewReader("x"), http.StatusOK)
	require.Eventually(t, func() bool { return s.Stats().Blobs == 0 }, patience, 5*time.Millisecond)
	s.download(t, path, http.StatusNotFound)
}

func TestDroppedFiles(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{})
	data := []byte("sealed")
	path := s.put(t, tokenOf(data), bytes.NewReader(data), http.StatusOK)
	require.NoError(t, s.Fault(relay.Fault{Kind: relay.FaultMedia, Code: 503}))
	s.download(t, path, 503)
	require.Equal(t, data, s.download(t, path, 200))
	require.NoError(t, s.Fault(relay.Fault{Kind: relay.FaultMedia, Count: -1}))
	s.download(t, path, 404)
	s.download(t, path, 404)
	s.ClearFaults()
	require.ErrorIs(t, s.Fault(relay.Fault{Kind: relay.FaultMedia, Code: 200}), relay.ErrInvalidFault)

	require.ErrorIs(t, s.Drop(path, 500), relay.ErrInvalidFault)
	require.NoError(t, s.Drop("https://"+relay.MediaHost+path, 410))
	s.download(t, path, 410)
	require.ErrorIs(t, s.Drop(path, 0), relay.ErrUnknownMedia)
	fresh := s.put(t, tokenOf(data), bytes.NewReader(data), http.StatusOK)
	require.NotEqual(t, path, fresh, "uploaded again, found elsewhere")
	s.download(t, path, 410)
	require.Equal(t, data, s.download(t, fresh, 200))
}

// TestMediaRetry lets a companion ask the phone for a file that WhatsApp has dropped.
func TestMediaRetry(t *testing.T) {
	t.Parallel()
	s := start(t, relay.Config{})
	p := s.online(t, s.primary(t, ""))
	one := pair(t, s, p)
	two := pairRaw(t, s, p, newCreds())
	p.stash, two.stash = nil, nil
	contact := s.phone(t, "Contact")
	up, err := contact.Upload(t.Context(), []byte("the picture"), whatsmeow.MediaImage)
	require.NoError(t, err)
	sent := &waE2E.ImageMessage{
		DirectPath: &up.DirectPath, MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256, FileSHA256: up.FileSHA256, FileLength: &up.FileLength,
	}
	resp, err := contact.SendMessage(t.Context(), one.lid(), &waE2E.Message{ImageMessage: sent})
	require.NoError(t, err)
	got := await(one, func(m *events.Message) bool { return m.Message.GetImageMessage() != nil })
	require.NoError(t, s.Drop(up.DirectPath, 0))
	_, err = one.Download(t.Context(), got.Message.GetImageMessage())
	require.ErrorIs(t, err, whatsmeow.ErrMediaDownloadFailedWith404)

	require.NoError(t, one.SendMediaRetryReceipt(t.Context(), &got.Info, sent.MediaKey))
	ask := p.find(func(n *node) bool { return n.Tag == "receipt" && n.Attrs["type"] == "server-error" })
	require.Equal(t, resp.ID, ask.Attrs["id"])
	require.Equal(t, *one.Store.ID, ask.Attrs["from"], "the answer goes to the device that asked")
	require.NotEmpty(t, child(ask, "encrypt", "enc_p").Content)
	require.Equal(t, contact.lid(), child(ask, "rmr").Attrs["jid"])
	p.send(node{Tag: "ack", Attrs: attrs{"class": "receipt", "id": resp.ID, "to": ask.Attrs["from"], "type": "server-error"}})
	answer := func(id string, content ...node) {
		p.send(node{
			Tag: "notification", Attrs: attrs{"type": "mediaretry", "id": id, "to": ask.Attrs["from"]},
			Content: append([]node{*child(ask, "rmr")}, content...),
		})
		ack := p.find(func(n *node) bool { return n.Tag == "ack" && n.Attrs["id"] == id })
		require.Equal(t, "notification", ack.Attrs["class"])
	}
	answer(resp.ID, node{Tag: "error", Attrs: attrs{"code": "2"}})
	retry := await[*events.MediaRetry](one, nil)
	require.Equal(t, resp.ID, retry.MessageID)
	require.Equal(t, 2, retry.Error.Code)
	answer(resp.ID, node{Tag: "encrypt", Content: []node{{Tag: "enc_p", Content: []byte("sealed")}, {Tag: "enc_iv", Content: make([]byte, 12)}}})
	retry = await[*events.MediaRetry](one, nil)
	require.Equal(t, []byte("sealed"), retry.Ciphertext)
	require.Eventually(t, func() bool {
		return s.Stats().UnacknowledgedByPhone[p.c.phone] <= s.Stats().Queues[p.c.phone+":0"]+s.Stats().Queues[p.c.phone+":2"]
	},
		patience, 5*time.Millisecond)
	for n := range two.in {
		require.NotEqual(t, "mediaretry", n.Attrs["type"])
		if len(two.in) == 0 {
			break
		}
	}
}
