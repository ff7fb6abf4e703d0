package tenantsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // sql.Open finds it by name
)

const (
	vacuumInto = `VACUUM INTO $1`
	quickCheck = `PRAGMA quick_check(1)`
)

// ErrNotEmbedded says that a database is not a file of ours: its own tools back it up.
var ErrNotEmbedded = errors.New("not an SQLite database")

// Backup copies an SQLite database into a file that does not exist yet, as of one moment, while a node runs on it: writers do not wait.
// The copy is verified and on the disk when Backup returns, and only its owner may read it. It needs room for a second database,
// and the write-ahead log grows meanwhile. Returns ErrNotEmbedded, [fs.ErrExist], [fs.ErrNotExist].
func Backup(ctx context.Context, databaseURL, to string) (err error) {
	path := sqlitePath(databaseURL)
	if scheme, _, _ := strings.Cut(databaseURL, ":"); scheme != "sqlite" {
		return ErrNotEmbedded
	}
	if _, err = os.Stat(path); err != nil {
		return fmt.Errorf("database: %w", err)
	}
	// SQLite writes into a file that is there only if it is empty; made here, it has the right mode and replaces nothing.
	made, err := os.OpenFile(filepath.Clean(to), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make the copy: %w", err)
	}
	defer func() {
		err = errors.Join(err, made.Close())
		if err != nil {
			_ = os.Remove(to)
		}
	}()
	if err = withFile(ctx, path, func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, vacuumInto, to)
		return err
	}); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	if err = withFile(ctx, to, func(db *sql.DB) error {
		var verdict string
		if err := db.QueryRowContext(ctx, quickCheck).Scan(&verdict); err != nil {
			return err
		}
		if verdict != "ok" {
			return fmt.Errorf("it is damaged: %s", verdict)
		}
		return nil
	}); err != nil {
		return fmt.Errorf("check the copy: %w", err)
	}
	if err = made.Sync(); err != nil {
		return fmt.Errorf("sync the copy: %w", err)
	}
	folder, err := os.Open(filepath.Dir(filepath.Clean(to)))
	if err != nil {
		return fmt.Errorf("sync the folder: %w", err)
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// withFile opens a database file that exists, for one connection.
func withFile(ctx context.Context, path string, do func(*sql.DB) error) (err error) {
	query := url.Values{"mode": {"rw"}, "_pragma": {fmt.Sprintf("busy_timeout(%d)", sqliteBusyTimeout.Milliseconds())}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: query.Encode()}).String())
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, db.Close()) }()
	if err = db.PingContext(ctx); err != nil {
		return err
	}
	return do(db)
}
