package wasim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"

	"github.com/wafleet/wafleet/session/wasim/phone"
)

// maxGenerated bounds a file that a phone makes up, in bytes.
const maxGenerated = 100 << 20

// sentMedia is a file that a phone is told to send: the bytes, or how many to make up.
type sentMedia struct {
	Kind      string `json:"kind"`
	Data      []byte `json:"data"`
	Size      int    `json:"size"`
	MimeType  string `json:"mimeType"`
	FileName  string `json:"fileName"`
	Thumbnail []byte `json:"thumbnail"`
	Width     uint32 `json:"width"`
	Height    uint32 `json:"height"`
	Seconds   uint32 `json:"seconds"`
}

func (m *sentMedia) file(caption string) (phone.File, error) {
	if len(m.Data) == 0 {
		if m.Size <= 0 || m.Size > maxGenerated {
			return phone.File{}, badRequest("data is missing, or a size from 1 to %d for bytes that are made up", maxGenerated)
		}
		m.Data = made(m.Size)
	}
	return phone.File{
		Kind: m.Kind, Data: m.Data, MimeType: m.MimeType, Name: m.FileName, Caption: caption, Thumbnail: m.Thumbnail,
		Width: m.Width, Height: m.Height, Seconds: m.Seconds,
	}, nil
}

// made makes bytes up: the same ones for the same size.
func made(size int) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data) // never fails
	return data
}

// fetched is a file that a phone has fetched; serving it ends it.
type fetched struct{ file *os.File }

func isFile(answer any) bool {
	_, ok := answer.(*fetched)
	return ok
}

func (f *fetched) discard() {
	_ = f.file.Close()
	_ = os.Remove(f.file.Name()) // the system's own directory is swept in time
}

// serve answers with the file and its hash.
func (f *fetched) serve(w http.ResponseWriter) {
	defer f.discard()
	sum := sha256.New()
	size, err := io.Copy(sum, io.NewSectionReader(f.file, 0, 1<<40))
	if err != nil {
		writeError(w, fmt.Errorf("read the file: %w", err))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	h.Set("X-Sha256", hex.EncodeToString(sum.Sum(nil)))
	_, _ = io.Copy(w, io.NewSectionReader(f.file, 0, size)) // the caller has left
}

func (s *Simulator) getMedia(r *http.Request) (int, any, error) {
	p, err := s.phoneOf(r)
	if err != nil {
		return 0, nil, err
	}
	file, err := os.CreateTemp("", "wasim-media-*")
	if err != nil {
		return 0, nil, fmt.Errorf("make a temporary file: %w", err)
	}
	got := &fetched{file}
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	if err = p.Fetch(ctx, r.URL.Query().Get("id"), file); err != nil {
		got.discard()
		return 0, nil, err
	}
	return http.StatusOK, got, nil
}

func (s *Simulator) deleteMedia(r *http.Request) (int, any, error) {
	p, err := s.phoneOf(r)
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	query := r.URL.Query()
	if err = p.DropFile(ctx, query.Get("id"), query.Get("keep") == "true"); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, nil
}
