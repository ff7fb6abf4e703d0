package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"text/tabwriter"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/cmd/wafleet/internal/adminapi"
	"github.com/wafleet/wafleet/cmd/wafleet/internal/node"
	"github.com/wafleet/wafleet/cmd/wafleet/internal/sealed"
	"github.com/wafleet/wafleet/tenant"
)

type exportCmd struct {
	Tenant         string `arg:"" optional:"" help:"The tenant's id."`
	All            bool   `help:"All tenants of the node, one behind the other in one file."`
	Keep           bool   `help:"Leave sessions as they are, for a copy to keep. The device goes on, so that the copy's ratchets age: once they are old, messages are lost."`
	Suspend        bool   `negatable:"" default:"true" help:"Shut each tenant out here once it is exported, so that nobody changes what stays behind. Not with --keep."`
	Output         string `short:"o" placeholder:"FILE" help:"Write to a new file, which is there only when it is whole; without it, to standard output."`
	PassphraseFile string `placeholder:"FILE" help:"File whose first line is the passphrase; without it you are asked."`
}

// Run exports tenants into a sealed file.
func (c *exportCmd) Run(ctx context.Context, o *operator) (err error) {
	switch {
	case o.err != nil:
		return o.err
	case c.All == (c.Tenant != ""):
		return usageError{errors.New("name one tenant, or --all")}
	case c.Output == "" && isTerminal(o.Stdout):
		return usageError{errors.New("the file is not for terminals: redirect it, or give --output")}
	}
	defer o.client.Close()
	passphrase, err := sealed.Passphrase(c.PassphraseFile, true)
	if err != nil {
		return err
	}
	tenants := []tenant.Tenant{}
	if c.All {
		tenants, err = o.client.Tenants(ctx, tenant.Query{})
	} else {
		tenants = append(tenants, tenant.Tenant{})
		tenants[0], err = o.client.Tenant(ctx, c.Tenant)
	}
	if err != nil {
		return err
	}
	if c.Output == "" {
		return c.write(ctx, o, o.Stdout, passphrase, tenants)
	}
	return newFile(c.Output, func(w io.Writer) error { return c.write(ctx, o, w, passphrase, tenants) })
}

func (c *exportCmd) write(ctx context.Context, o *operator, to io.Writer, passphrase string, tenants []tenant.Tenant) error {
	const buffer = 256 << 10
	out := bufio.NewWriterSize(to, buffer)
	file, err := sealed.Create(out, passphrase)
	if err != nil {
		return err
	}
	for _, t := range tenants {
		end, err := o.client.Export(ctx, string(t.ID), c.Keep, file)
		done := "exported"
		if err == nil && c.Suspend && !c.Keep { // not before: a suspension in the file is one that holds on the other node
			_, err = o.client.Suspend(ctx, string(t.ID))
			done = "exported and suspended"
		}
		if err != nil {
			hint := ""
			if !c.Keep {
				hint = "; its session may be off: export it again, or take it back with wafleet admin session take-back " + string(t.ID)
			}
			return fmt.Errorf("tenant %s: %w%s", t.ID, err, hint)
		}
		_, _ = fmt.Fprintf(o.Stderr, "%s %s (%s), %d rows\n", done, t.ID, plain(t.Name), end.Rows)
	}
	if err = file.Close(); err != nil {
		return fmt.Errorf("write the file: %w", err)
	}
	if err = out.Flush(); err != nil {
		return fmt.Errorf("write the file: %w", err)
	}
	return nil
}

// newFile makes a file that its owner alone may read. It has its name only once it is whole and on the disk.
func newFile(path string, write func(io.Writer) error) (err error) {
	if _, err = os.Lstat(path); err == nil {
		return fmt.Errorf("%s is there already", path)
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("make the file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err = write(f); err != nil {
		return err
	}
	if err = errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write the file: %w", err)
	}
	if err = os.Link(f.Name(), path); err != nil { // a rename would replace a file that has come meanwhile
		return fmt.Errorf("name the file: %w", err)
	}
	return errors.Join(os.Remove(f.Name()), node.SyncFolder(dir))
}

type importCmd struct {
	File           string `arg:"" optional:"" help:"What admin export wrote; without it, standard input."`
	Connect        bool   `help:"Connect each session once its tenant is here. Not for copies that were made with --keep."`
	SkipExisting   bool   `help:"Leave tenants that live on the node already, and go on: for an import that was interrupted."`
	PassphraseFile string `placeholder:"FILE" help:"File whose first line is the passphrase; without it you are asked."`
}

// existing is the problem of a tenant that lives on the node already.
const existing = "TENANT_EXISTS"

// Run imports all tenants of a sealed file.
func (c *importCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) ([]api.ImportedTenant, error) {
		in := o.Stdin
		if c.File != "" {
			f, err := os.Open(c.File)
			if err != nil {
				return nil, err //nolint:wrapcheck // it names the file
			}
			defer func() { _ = f.Close() }()
			in = f
		}
		passphrase, err := sealed.Passphrase(c.PassphraseFile, false)
		if err != nil {
			return nil, err
		}
		opened, err := sealed.Open(in, passphrase)
		if err != nil {
			return nil, err
		}
		arrived := []api.ImportedTenant{}
		for {
			header, one, err := client.Import(ctx, opened, c.Connect)
			refusal, refused := errors.AsType[*adminapi.RefusalError](err)
			switch {
			case err == io.EOF: //nolint:errorlint // as it is, it means the end
				return arrived, nil
			case refused && refusal.Code == existing && c.SkipExisting:
				_, _ = fmt.Fprintf(o.Stderr, "left %s, which lives here already\n", header.Tenant)
			case err != nil && header.Tenant != "":
				return arrived, fmt.Errorf("tenant %s, after %d that were imported: %w", header.Tenant, len(arrived), err)
			case err != nil:
				return arrived, fmt.Errorf("after %d tenants that were imported: %w", len(arrived), err)
			default:
				_, _ = fmt.Fprintf(o.Stderr, "imported %s (%s), %d rows, session %s\n", one.Tenant.ID, plain(one.Tenant.Name), one.Rows, one.Session.State)
				arrived = append(arrived, one)
			}
		}
	}, func(w *tabwriter.Writer, arrived []api.ImportedTenant) {
		line(w, "ID", "NAME", "ROWS", "SESSION", "REASON")
		for _, one := range arrived {
			line(w, string(one.Tenant.ID), plain(one.Tenant.Name), strconv.FormatInt(int64(one.Rows), 10), string(one.Session.State), one.Session.Reason)
		}
	})
}

type sessionTakeBackCmd struct{ TenantArg }

// Run takes an export back.
func (c *sessionTakeBackCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) (api.SessionInfo, error) {
		back, err := client.CancelExport(ctx, c.Tenant)
		if err != nil {
			return back, err
		}
		// Who suspended it, the export or an operator, nobody remembers.
		if t, err := client.Tenant(ctx, c.Tenant); err == nil && t.SuspendedAt != nil {
			_, _ = fmt.Fprintf(o.Stderr, "it is still suspended: wafleet admin tenants resume %s\n", t.ID)
		}
		return back, nil
	}, sessionTable)
}
