package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/tenant"
)

// upload sends made-up bytes to somebody as a file and returns the message and the bytes' hash. Nothing of it is held in memory.
func (c *customer) upload(to tenant.ChatID, size int64, contentType, caption string) (tenant.Message, string) {
	t := c.w.t
	t.Helper()
	reader, writer := io.Pipe()
	form := multipart.NewWriter(writer)
	sum := sha256.New()
	go func() { // ends with the request, which reads the pipe or closes it
		err := form.WriteField("caption", caption)
		if err == nil {
			var part io.Writer
			part, err = form.CreatePart(textproto.MIMEHeader{
				"Content-Disposition": {`form-data; name="file"; filename="big.bin"`}, "Content-Type": {contentType},
			})
			if err == nil {
				_, err = io.CopyN(io.MultiWriter(part, sum), rand.NewChaCha8([32]byte{7}), size)
			}
		}
		if err == nil {
			err = form.Close()
		}
		_ = writer.CloseWithError(err) // never fails
	}()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.w.base+"/api/chats/"+string(to)+"/messages", reader)
	require.NoError(t, err)
	req.Header.Set("X-API-Key", c.key)
	req.Header.Set("Content-Type", form.FormDataContentType())
	resp, err := c.api.http.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	got := answer{status: resp.StatusCode, header: resp.Header, body: body}
	require.Equal(t, http.StatusCreated, got.status, "%s", body)
	var sent tenant.Message
	got.into(t, &sent)
	return sent, hex.EncodeToString(sum.Sum(nil))
}

// download fetches a message's file and returns its hash and size.
func (c *customer) download(m *tenant.Message) (hash string, size int64) {
	t := c.w.t
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.w.base+m.Media.URL, http.NoBody)
	require.NoError(t, err)
	req.Header.Set("X-API-Key", c.key)
	resp, err := c.api.http.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	sum := sha256.New()
	size, err = io.Copy(sum, resp.Body)
	require.NoError(t, err)
	return hex.EncodeToString(sum.Sum(nil)), size
}

// memory is the node's resident memory in bytes: now, and at its peak.
func (p *process) memory() (now, peak int64) {
	p.t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	require.NoError(p.t, err)
	for line := range strings.Lines(string(raw)) {
		name, value, _ := strings.Cut(line, ":")
		kilobytes, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			now = kilobytes << 10
		case "VmHWM":
			peak = kilobytes << 10
		}
	}
	return now, peak
}

// forget makes the peak start anew from now.
func (p *process) forget() {
	p.t.Helper()
	require.NoError(p.t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.Cmd.Process.Pid), []byte("5"), 0o600))
}

// maxGrowth is how much memory a file of 100 MB may take, in bytes.
const maxGrowth = 30 << 20

//nolint:paralleltest // it measures memory, and takes some
func TestAFileOfAHundredMegabytesTakesLittleMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("memory is read from /proc")
	}
	size := int64(100_000_000)
	if raceDetector {
		size = 8_000_000 // and the detector's own memory is not measured
	}
	w := newWorld(t, sqliteDatabase(t))
	c, ana := w.customer("Shop"), w.person("Ana")
	c.text(ana.chatID(), "hello")
	ana.got("hello")
	_, _ = c.upload(ana.chatID(), 1_000_000, "application/pdf", "") // what the first file costs: connections, buffers

	measured := func(what string, do func()) {
		w.node.forget()
		before, _ := w.node.memory()
		start := time.Now()
		do()
		_, peak := w.node.memory()
		t.Logf("%s: %d bytes took %d bytes of memory and %s", what, size, peak-before, time.Since(start).Round(time.Millisecond))
		if !raceDetector {
			require.Less(t, peak-before, int64(maxGrowth), what)
		}
	}
	var sent tenant.Message
	var hash string
	measured("send", func() { sent, hash = c.upload(ana.chatID(), size, "application/pdf", "big") })
	require.Equal(t, hash, sent.Media.SHA256)
	require.Equal(t, size, sent.Media.Size)
	require.Equal(t, hash, ana.got("big").File.SHA256)
	measured("fetch", func() {
		got, n := c.download(&sent)
		require.Equal(t, hash, got)
		require.Equal(t, size, n)
	})
	path := t.TempDir() + "/file"
	file, err := os.Create(path)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	require.NoError(t, ana.Fetch(t.Context(), string(sent.ID), file))
	sum := sha256.New()
	_, err = io.Copy(sum, io.NewSectionReader(file, 0, size+1))
	require.NoError(t, err)
	require.Equal(t, hash, hex.EncodeToString(sum.Sum(nil)), "what arrives is what was sent")
}

func TestFilesSurviveARestart(t *testing.T) {
	t.Parallel()
	for engine, database := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			c, ana := w.customer("Shop"), w.person("Ana")
			feed := c.feed(0)
			_, err := ana.SendFile(t.Context(), c.Number(), phone.File{
				Kind: phone.FileDocument, Data: []byte("an invoice"), Name: "invoice.pdf", MimeType: "application/pdf", Caption: "May",
			}, phone.SendOptions{})
			require.NoError(t, err)
			in := feed.received("May")
			require.Equal(t, "invoice.pdf", in.Media.FileName)
			out, hash := c.upload(ana.chatID(), 5000, "image/jpeg", "a picture")
			w.node.Kill()
			w.start()
			c.connect()
			c.online()
			got, _ := c.download(&out)
			require.Equal(t, hash, got)
			answer := c.api.call(http.StatusOK, http.MethodGet, in.Media.URL, "")
			require.Equal(t, "an invoice", string(answer.body))
			require.Equal(t, `attachment; filename="invoice.pdf"`, answer.header.Get("Content-Disposition"))
		})
	}
}
