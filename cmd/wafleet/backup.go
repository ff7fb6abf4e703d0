package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/alecthomas/kong"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/config"
	"github.com/wafleet/wafleet/tenant/tenantsql"
)

type backupCmd struct {
	storeFlags

	To string `required:"" placeholder:"FILE" help:"The new file. It holds the keys of devices: keep it as you keep passwords."`
}

// Run copies the database of a node, which may be running.
func (b *backupCmd) Run(ctx context.Context, command *kong.Context, p program) error {
	c, err := b.load(command, p)
	if err != nil {
		return err
	}
	database := config.Database(c.DatabaseURL())
	err = tenantsql.Backup(ctx, c.DatabaseURL(), b.To)
	switch {
	case errors.Is(err, tenantsql.ErrNotEmbedded):
		return usageError{errors.New("the database is PostgreSQL: back it up with pg_dump, see docs/BACKUP.md")}
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s is there already: name a new file", b.To)
	case err != nil:
		return fmt.Errorf("back up %s: %w", database, err)
	}
	info, err := os.Stat(b.To)
	if err != nil {
		return fmt.Errorf("look at the copy: %w", err)
	}
	_, err = fmt.Fprintf(p.Stdout, "%s: %d bytes, a verified copy of %s\n", b.To, info.Size(), database)
	return err //nolint:wrapcheck // stdout is gone
}
