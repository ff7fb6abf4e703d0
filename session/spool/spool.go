// Package spool holds files on their way between a client and WhatsApp: on disk, never in memory, and bounded.
//
// A file has no name on disk while it is used where the system allows that, so that nothing of it is left when the process is
// killed; elsewhere the next start sweeps what was left. All files of a node together are bounded in bytes, all files in
// number, and those of one owner in number, so that one tenant cannot take it all. Nobody waits for space: it is refused.
package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Errors of a spool.
var (
	// ErrFull says that the node's space or number of files is used up, or that of the owner: try again later.
	ErrFull = errors.New("no room for another temporary file")
	// ErrTooLarge says that a file would become larger than it may.
	ErrTooLarge = errors.New("file is too large")
)

// Config is how much a spool holds. Zero means the default.
type Config struct {
	Dir      string // where the files are; the system's directory for temporary files
	Space    int64  // bytes of all files; 4 GiB
	Files    int    // open at once; 128
	PerOwner int    // open at once of one owner; 8
}

const (
	pattern = "wafleet-spool-*"
	// abandoned is the age of a file with a name that nobody writes to any more.
	abandoned = time.Hour
	// step is how much space a growing file takes at once.
	step = 1 << 20
)

// Spool makes temporary files. It is safe for concurrent use.
type Spool struct {
	cfg Config

	mu     sync.Mutex
	used   int64
	files  int
	owners map[string]int
}

// New makes a spool and sweeps what a process that was killed may have left.
func New(cfg Config) (*Spool, error) {
	cfg.Dir = cmp.Or(cfg.Dir, os.TempDir())
	cfg.Space = cmp.Or(cfg.Space, 4<<30)
	cfg.Files = cmp.Or(cfg.Files, 128)
	cfg.PerOwner = cmp.Or(cfg.PerOwner, 8)
	left, err := filepath.Glob(filepath.Join(cfg.Dir, pattern))
	if err != nil {
		return nil, fmt.Errorf("look for old temporary files: %w", err)
	}
	for _, path := range left {
		info, err := os.Lstat(path)
		if err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > abandoned {
			_ = os.Remove(path) // another process may have been faster
		}
	}
	return &Spool{cfg: cfg, owners: make(map[string]int)}, nil
}

// File makes an empty file that may grow to limit bytes. Whoever gets it must Discard it. Returns ErrFull.
func (s *Spool) File(owner string, limit int64) (*File, error) {
	s.mu.Lock()
	if s.files >= s.cfg.Files || s.owners[owner] >= s.cfg.PerOwner {
		s.mu.Unlock()
		return nil, ErrFull
	}
	s.files++
	s.owners[owner]++
	s.mu.Unlock()

	f, err := os.CreateTemp(s.cfg.Dir, pattern) // mode 0600
	if err != nil {
		s.leave(owner, 0)
		return nil, fmt.Errorf("make temporary file: %w", err)
	}
	return &File{spool: s, owner: owner, limit: limit, file: f, named: os.Remove(f.Name()) != nil}, nil
}

// take reserves space.
func (s *Spool) take(n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used+n > s.cfg.Space {
		return false
	}
	s.used += n
	return true
}

func (s *Spool) leave(owner string, space int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files--
	s.used -= space
	if s.owners[owner]--; s.owners[owner] == 0 {
		delete(s.owners, owner)
	}
}

// Usage is the number of files and the bytes that are reserved for them.
func (s *Spool) Usage() (files int, space int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files, s.used
}

// File is a temporary file. It has the methods of an [os.File] that whatsmeow needs, but no Close: net/http would close what it
// sends. Writes return ErrTooLarge and ErrFull.
type File struct {
	spool *Spool
	owner string
	limit int64
	file  *os.File
	named bool

	mu    sync.Mutex
	space int64 // reserved
	gone  bool
}

// Read reads where the file stands.
func (f *File) Read(p []byte) (int, error) { return f.file.Read(p) }

// ReadAt reads at an offset.
func (f *File) ReadAt(p []byte, at int64) (int, error) { return f.file.ReadAt(p, at) }

// Seek moves where the file stands.
func (f *File) Seek(offset int64, whence int) (int64, error) { return f.file.Seek(offset, whence) }

// Stat describes the file.
func (f *File) Stat() (fs.FileInfo, error) { return f.file.Stat() }

// Truncate changes the file's size.
func (f *File) Truncate(size int64) error {
	if err := f.reserve(size); err != nil {
		return err
	}
	return f.file.Truncate(size)
}

// Write writes where the file stands.
func (f *File) Write(p []byte) (int, error) {
	at, err := f.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	if err = f.reserve(at + int64(len(p))); err != nil {
		return 0, err
	}
	return f.file.Write(p)
}

// WriteAt writes at an offset.
func (f *File) WriteAt(p []byte, at int64) (int, error) {
	if err := f.reserve(at + int64(len(p))); err != nil {
		return 0, err
	}
	return f.file.WriteAt(p, at)
}

// Size is how long the file is.
func (f *File) Size() (int64, error) {
	info, err := f.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// reserve takes the space for a file of that size.
func (f *File) reserve(size int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.gone:
		return fs.ErrClosed
	case size > f.limit:
		return ErrTooLarge
	case size <= f.space:
		return nil
	}
	more := (size - f.space + step - 1) / step * step
	if !f.spool.take(more) {
		return ErrFull
	}
	f.space += more
	return nil
}

// Discard ends the file and gives its space back. It may be called more than once.
func (f *File) Discard() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone {
		return
	}
	f.gone = true
	_ = f.file.Close() // nobody needs what was not written
	if f.named {
		_ = os.Remove(f.file.Name()) // swept at the next start
	}
	f.spool.leave(f.owner, f.space)
}
