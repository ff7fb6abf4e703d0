package tenanttest

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Disk is a small disk of its own, that can be filled up.
type Disk struct {
	tb testing.TB
	// Dir is where it is mounted.
	Dir string
}

// NewDisk mounts a file system of 24 MiB, which goes with the test. Where that is not allowed, the test is skipped.
func NewDisk(tb testing.TB) *Disk {
	tb.Helper()
	d := &Disk{tb, tb.TempDir()}
	if err := syscall.Mount("tmpfs", d.Dir, "tmpfs", 0, "size=24m"); err != nil {
		tb.Skipf("no disk can be mounted here (%v): it takes root, and a container that may", err)
	}
	tb.Cleanup(func() { require.NoError(tb, syscall.Unmount(d.Dir, syscall.MNT_DETACH)) })
	return d
}

func (d *Disk) ballast() string { return filepath.Join(d.Dir, "ballast") }

// Fill takes all the room that is left. It can be called again: SQLite may have given some back.
func (d *Disk) Fill() {
	d.tb.Helper()
	file, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(d.tb, err)
	defer func() { require.NoError(d.tb, file.Close()) }()
	for block := make([]byte, 4<<10); ; {
		if _, err = file.Write(block); err != nil {
			require.ErrorIs(d.tb, err, syscall.ENOSPC)
			return
		}
	}
}

// Empty gives all that Fill took back.
func (d *Disk) Empty() {
	d.tb.Helper()
	require.NoError(d.tb, os.Remove(d.ballast()))
}
