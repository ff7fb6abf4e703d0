package spool_test

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/spool"
)

func TestFilesAreBoundedAndLeaveNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := spool.New(spool.Config{Dir: dir, Space: 3 << 20, Files: 3, PerOwner: 2})
	require.NoError(t, err)

	a, err := s.File("ana", 2<<20)
	require.NoError(t, err)
	_, err = a.Write(make([]byte, 2<<20))
	require.NoError(t, err)
	_, err = a.Write([]byte{1})
	require.ErrorIs(t, err, spool.ErrTooLarge)
	_, err = a.WriteAt([]byte{1}, 2<<20)
	require.ErrorIs(t, err, spool.ErrTooLarge)
	require.ErrorIs(t, a.Truncate(3<<20), spool.ErrTooLarge)

	b, err := s.File("ana", 2<<20)
	require.NoError(t, err)
	_, err = s.File("ana", 1)
	require.ErrorIs(t, err, spool.ErrFull, "two files of one owner")
	c, err := s.File("bob", 1)
	require.NoError(t, err)
	_, err = s.File("eve", 1)
	require.ErrorIs(t, err, spool.ErrFull, "three files of all")
	_, err = b.Write(make([]byte, 1<<20))
	require.NoError(t, err)
	_, err = b.Write([]byte{1})
	require.ErrorIs(t, err, spool.ErrFull, "the space of all")

	a.Discard()
	a.Discard()
	_, err = a.Write([]byte{1})
	require.ErrorIs(t, err, fs.ErrClosed)
	_, err = b.Write([]byte("tail"))
	require.NoError(t, err)
	_, err = b.Seek(1<<20, io.SeekStart)
	require.NoError(t, err)
	tail, err := io.ReadAll(b)
	require.NoError(t, err)
	require.Equal(t, "tail", string(tail))
	b.Discard()
	c.Discard()
	files, space := s.Usage()
	require.Zero(t, files)
	require.Zero(t, space)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestTheNextStartSweepsWhatWasLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{
		"wafleet-spool-1": 2 * time.Hour, "wafleet-spool-2": time.Minute, "other": 2 * time.Hour,
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
		at := time.Now().Add(-age)
		require.NoError(t, os.Chtimes(path, at, at))
	}
	_, err := spool.New(spool.Config{Dir: dir})
	require.NoError(t, err)
	require.NoFileExists(t, filepath.Join(dir, "wafleet-spool-1"))
	require.FileExists(t, filepath.Join(dir, "wafleet-spool-2"), "it may be another process's")
	require.FileExists(t, filepath.Join(dir, "other"))
}
