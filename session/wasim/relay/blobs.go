package relay

import (
	"bytes"
	"container/list"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	inMemory    = 256 << 10 // larger files lie on disk
	maxSpilling = 8         // uploads written to disk at once
	maxGone     = 10_000    // files that are remembered to have been there
)

var errBlobsClosed = errors.New("files are gone")

// blobs are the encrypted files of everybody by the hash of their bytes: the small ones in memory, the others in a directory of their own.
// They are bounded in bytes and in age: the oldest give way. A file that was gone and is uploaded again is found in another place than before.
type blobs struct {
	limit int64
	age   time.Duration
	base  string
	slots chan struct{} // one for each upload to disk: what is not stored yet is bounded too

	mu     sync.Mutex
	byKey  map[string]*list.Element
	order  *list.List // of *blob, the oldest first
	size   int64
	gone   map[string]tombstone
	buried []string // keys of gone, the oldest first
	dir    string   // "" until the first large file
	root   *os.Root
	files  int
	closed bool
}

type blob struct {
	key  string
	gen  int
	at   time.Time
	size int64
	data []byte
	file string // "" if it is in memory
}

// blobRef names a file at the place where it is now.
type blobRef struct {
	key string
	gen int
}

// tombstone is what remains of a file: how often it was there, and how a download is answered.
type tombstone struct{ gen, status int }

func newBlobs(cfg Config) *blobs {
	return &blobs{
		limit: cfg.MaxBlobBytes, age: cfg.MaxBlobAge, base: cfg.MediaDir, slots: make(chan struct{}, maxSpilling),
		byKey: make(map[string]*list.Element), order: list.New(), gone: make(map[string]tombstone),
	}
}

// path is where clients find the file. It must have a query: they append to it.
func (r blobRef) path(kind string) string {
	return mediaPrefix + kind + "/" + r.key + "?ccb=1&oe=" + strconv.Itoa(r.gen)
}

func blobKey(sum []byte) string { return base64.RawURLEncoding.EncodeToString(sum) }

// put stores bytes in memory.
func (b *blobs) put(data []byte) blobRef {
	sum := sha256.Sum256(data)
	return b.store(&blob{key: blobKey(sum[:]), size: int64(len(data)), data: data})
}

// store takes a new file. One that is there already becomes the newest.
func (b *blobs) store(fresh *blob) blobRef {
	b.mu.Lock()
	defer b.mu.Unlock()
	fresh.at = time.Now()
	if e, ok := b.byKey[fresh.key]; ok {
		b.discardFile(fresh)
		old := blobOf(e)
		old.at = fresh.at
		b.order.MoveToBack(e)
		return blobRef{old.key, old.gen}
	}
	fresh.gen = b.gone[fresh.key].gen + 1
	b.byKey[fresh.key] = b.order.PushBack(fresh)
	b.size += fresh.size
	for b.size > b.limit && b.order.Len() > 1 {
		b.drop(b.order.Front(), http.StatusNotFound)
	}
	return blobRef{fresh.key, fresh.gen}
}

func blobOf(e *list.Element) *blob {
	found, _ := e.Value.(*blob) // nothing else is in the list
	return found
}

// drop is for who holds the lock.
func (b *blobs) drop(e *list.Element, status int) {
	old := blobOf(e)
	b.order.Remove(e)
	delete(b.byKey, old.key)
	b.size -= old.size
	b.discardFile(old)
	if _, known := b.gone[old.key]; !known {
		if len(b.buried) >= maxGone {
			delete(b.gone, b.buried[0])
			b.buried = b.buried[1:]
		}
		b.buried = append(b.buried, old.key)
	}
	b.gone[old.key] = tombstone{old.gen, status}
}

func (b *blobs) discardFile(old *blob) {
	if old.file != "" && b.root != nil {
		_ = b.root.Remove(old.file) // a download that has opened it goes on
	}
}

// expire drops what is too old.
func (b *blobs) expire(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for e := b.order.Front(); e != nil && now.Sub(blobOf(e).at) > b.age; e = b.order.Front() {
		b.drop(e, http.StatusNotFound)
	}
}

// open finds a file at a place, 0 meaning wherever it is. Otherwise status says what to answer.
func (b *blobs) open(key string, gen int) (r io.ReadCloser, size int64, status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.byKey[key]
	if !ok || gen != 0 && gen != blobOf(e).gen {
		if status = b.gone[key].status; status == 0 {
			status = http.StatusNotFound
		}
		return nil, 0, status
	}
	found := blobOf(e)
	if found.file == "" {
		return io.NopCloser(bytes.NewReader(found.data)), found.size, http.StatusOK
	}
	f, err := b.root.Open(found.file)
	if err != nil {
		return nil, 0, http.StatusInternalServerError
	}
	return f, found.size, http.StatusOK
}

// has says whether a file is still at its place.
func (b *blobs) has(r blobRef) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.byKey[r.key]
	return ok && blobOf(e).gen == r.gen
}

func (b *blobs) remove(key string, status int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.byKey[key]
	if ok {
		b.drop(e, status)
	}
	return ok
}

func (b *blobs) stat() (count int, size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.byKey), b.size
}

// create makes a file for an upload, and with the first one the directory.
func (b *blobs) create() (*os.File, string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, "", errBlobsClosed
	}
	if b.root == nil {
		dir, err := os.MkdirTemp(b.base, "wasim-media-")
		if err != nil {
			return nil, "", fmt.Errorf("make media directory: %w", err)
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			return nil, "", errors.Join(fmt.Errorf("open media directory: %w", err), os.Remove(dir))
		}
		b.dir, b.root = dir, root
	}
	b.files++
	name := strconv.Itoa(b.files)
	f, err := b.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, "", fmt.Errorf("make media file: %w", err)
	}
	return f, name, nil
}

// close removes all files. Nobody uploads or downloads any more.
func (b *blobs) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.root != nil {
		_ = b.root.Close()
		_ = os.RemoveAll(b.dir)
		b.root = nil
	}
	b.byKey, b.size = make(map[string]*list.Element), 0
	b.order.Init()
}

// spill takes the bytes of an upload: in memory while they are few, then in a file.
type spill struct {
	b    *blobs
	done <-chan struct{} // whoever uploads has left
	size int64
	buf  []byte
	file *os.File
	name string
	kept bool // its blob was stored
}

func (s *spill) Write(p []byte) (int, error) {
	s.size += int64(len(p))
	if s.file == nil {
		if s.size <= inMemory {
			s.buf = append(s.buf, p...)
			return len(p), nil
		}
		if err := s.toDisk(); err != nil {
			return 0, err
		}
	}
	if _, err := s.file.Write(p); err != nil {
		return 0, fmt.Errorf("write media file: %w", err)
	}
	return len(p), nil
}

func (s *spill) toDisk() error {
	select {
	case s.b.slots <- struct{}{}:
	case <-s.done:
		return errBlobsClosed
	}
	f, name, err := s.b.create()
	if err != nil {
		<-s.b.slots
		return err
	}
	s.file, s.name = f, name
	if _, err = f.Write(s.buf); err != nil {
		return fmt.Errorf("write media file: %w", err)
	}
	s.buf = nil
	return nil
}

// end closes the file. It is removed unless its blob was stored.
func (s *spill) end() {
	if s.file == nil {
		return
	}
	_ = s.file.Close() // nothing is buffered: a failed write was told by Write
	s.file = nil
	<-s.b.slots
	if !s.kept {
		s.b.mu.Lock()
		s.b.discardFile(&blob{file: s.name})
		s.b.mu.Unlock()
	}
}

// Drop makes the server forget a file, as WhatsApp does after some time: downloads from its direct path (or URL) are answered with status, 0
// meaning 404. When the same bytes are uploaded again they get another path. Errors: ErrUnknownMedia, ErrInvalidFault (status other
// than 403, 404, 410).
func (s *Server) Drop(directPath string, status int) error {
	switch status {
	case 0:
		status = http.StatusNotFound
	case http.StatusForbidden, http.StatusNotFound, http.StatusGone:
	default:
		return fmt.Errorf("%w: status must be 403, 404 or 410", ErrInvalidFault)
	}
	u, err := url.Parse(directPath)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnknownMedia, err)
	}
	if !s.blobs.remove(strings.TrimRight(path.Base(u.Path), "="), status) {
		return fmt.Errorf("%w: %s", ErrUnknownMedia, u.Path)
	}
	return nil
}
