package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/cmd/wafleet/internal/adminapi"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

type adminCmd struct {
	URL          string `default:"http://127.0.0.1:8080" fromenv:"WAFLEET_URL" placeholder:"URL" help:"The node. [$$WAFLEET_URL]"`
	AdminKey     string `fromenv:"WAFLEET_ADMIN_KEY" placeholder:"KEY" help:"The admin key; others see flags, so better in [$$WAFLEET_ADMIN_KEY] or a file."`
	AdminKeyFile string `fromenv:"WAFLEET_ADMIN_KEY_FILE" placeholder:"FILE" help:"File that holds the admin key. [$$WAFLEET_ADMIN_KEY_FILE]"`
	JSON         bool   `help:"Print the node's answers as JSON."`

	Tenants struct {
		Create  tenantCreateCmd  `cmd:"" help:"Create a tenant."`
		List    tenantListCmd    `cmd:"" help:"List and search tenants."`
		Show    tenantShowCmd    `cmd:"" help:"Show a tenant."`
		Update  tenantUpdateCmd  `cmd:"" help:"Change a tenant's name, external id or metadata."`
		Suspend tenantSuspendCmd `cmd:"" help:"Shut a tenant out; its device stays linked."`
		Resume  tenantResumeCmd  `cmd:"" help:"Let a suspended tenant in again."`
		Delete  tenantDeleteCmd  `cmd:"" help:"Delete a tenant with all its data, and show what was deleted."`
	} `cmd:"" help:"Tenants."`
	Deletions deletionsCmd `cmd:"" help:"What was deleted with tenants that are gone."`
	Limits    struct {
		Show limitsShowCmd `cmd:"" help:"Show a tenant's limits and what is left of them."`
		Set  limitsSetCmd  `cmd:"" help:"Give a tenant limits of its own, or take them back. It holds at once."`
	} `cmd:"" help:"What one tenant may take."`
	Keys struct {
		Create keyCreateCmd `cmd:"" help:"Create an API key. It is shown once."`
		List   keyListCmd   `cmd:"" help:"List a tenant's API keys."`
		Update keyUpdateCmd `cmd:"" help:"Change an API key's label, scopes or expiry. It holds at once."`
		Rotate keyRotateCmd `cmd:"" help:"Make the successor of an API key, which goes on working for a while."`
		Revoke keyRevokeCmd `cmd:"" help:"Revoke an API key at once."`
	} `cmd:"" help:"API keys of a tenant."`
	Session struct {
		Show       sessionShowCmd       `cmd:"" help:"Show a tenant's session."`
		Connect    sessionConnectCmd    `cmd:"" help:"Bring a session online."`
		Disconnect sessionDisconnectCmd `cmd:"" help:"Take a session offline until it is connected again."`
		Logout     sessionLogoutCmd     `cmd:"" help:"Unlink a session's device."`
		TakeBack   sessionTakeBackCmd   `cmd:"" help:"Take an export back: the session may be connected here again."`
	} `cmd:"" help:"A tenant's session."`
	Sessions    sessionsCmd    `cmd:"" help:"The sessions of all tenants, as they are now."`
	Nodes       nodesCmd       `cmd:"" help:"The node behind the API: version, database, sessions by state."`
	Pair        pairCmd        `cmd:"" help:"Link a tenant's WhatsApp account, by QR code or by pairing code."`
	PairingLink pairingLinkCmd `cmd:"" help:"Links to a page on which the tenant's own customer links the account."`
	Usage       usageCmd       `cmd:"" help:"What tenants used."`
	Audit       auditCmd       `cmd:"" help:"The newest entries of the audit log."`
	AdminKeys   struct {
		Create adminKeyCreateCmd `cmd:"" help:"Create an admin key. It is shown once."`
		List   adminKeyListCmd   `cmd:"" help:"List admin keys."`
		Rotate adminKeyRotateCmd `cmd:"" help:"Make the successor of an admin key, which goes on working for a while."`
		Revoke adminKeyRevokeCmd `cmd:"" help:"Revoke an admin key at once."`
	} `cmd:"" help:"Keys of operators, with roles."`
	Export exportCmd `cmd:"" help:"Write a tenant with all that it owns into an encrypted file, to run on another node."`
	Import importCmd `cmd:"" help:"Take tenants in that were exported."`
}

// AfterApply hands the commands below the client that they share. kong calls it once all flags are known.
func (a *adminCmd) AfterApply(command *kong.Context, p program) error {
	key := a.AdminKey
	if a.AdminKeyFile != "" && key == "" {
		raw, err := os.ReadFile(a.AdminKeyFile)
		if err != nil {
			return fmt.Errorf("admin key: %w", err)
		}
		key = strings.TrimSpace(string(raw))
	}
	client, err := adminapi.New(a.URL, key)
	command.Bind(&operator{client: client, err: err, json: a.JSON, program: p})
	return nil
}

// operator is what the admin commands work with.
type operator struct {
	program

	client *adminapi.Client
	err    error // why there is no client
	json   bool
}

// do runs a command and shows what it returns: as JSON, or with table.
func do[T any](o *operator, act func(*adminapi.Client) (T, error), table func(w *tabwriter.Writer, result T)) error {
	if o.err != nil {
		return o.err
	}
	defer o.client.Close()
	result, err := act(o.client)
	if err != nil {
		return err
	}
	if o.json {
		out := json.NewEncoder(o.Stdout)
		out.SetIndent("", "  ")
		return out.Encode(result) //nolint:wrapcheck // stdout is gone
	}
	const gap = 2
	w := tabwriter.NewWriter(o.Stdout, 0, 0, gap, ' ', 0)
	table(w, result)
	return w.Flush() //nolint:wrapcheck // stdout is gone
}

func line(w *tabwriter.Writer, cells ...string) {
	_, _ = fmt.Fprintln(w, strings.Join(cells, "\t")) // Flush reports it
}

// plain keeps control characters, which could rewrite the terminal, out of what others named.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return '\uFFFD'
		}
		return r
	}, s)
}

func day(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format(time.RFC3339) // as the API and the logs have it
}

func tenantTable(w *tabwriter.Writer, tenants ...tenant.Tenant) {
	line(w, "ID", "NAME", "EXTERNAL ID", "CREATED", "SESSION", "SUSPENDED")
	for i := range tenants {
		t := &tenants[i]
		line(w, string(t.ID), plain(t.Name), plain(t.ExternalID), day(&t.CreatedAt), t.SessionState, day(t.SuspendedAt))
	}
}

// QuietFlag is for programs. Exported because kong looks only into exported embedded fields.
type QuietFlag struct {
	Quiet bool `short:"q" help:"Print the id alone."`
}

func (f QuietFlag) tenants(w *tabwriter.Writer, tenants ...tenant.Tenant) {
	if !f.Quiet {
		tenantTable(w, tenants...)
		return
	}
	for i := range tenants {
		line(w, string(tenants[i].ID))
	}
}

type tenantCreateCmd struct {
	Name       string            `arg:"" help:"The tenant's name."`
	ExternalID string            `placeholder:"ID" help:"Your own id of the tenant: creating it again gives the same tenant."`
	Metadata   map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"What you note about the tenant; as often as you like."`
	QuietFlag
}

// Run creates a tenant.
func (c *tenantCreateCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) (tenant.Tenant, error) {
		return client.CreateTenant(ctx, api.NewTenant{Name: c.Name, ExternalID: c.ExternalID, Metadata: c.Metadata})
	}, func(w *tabwriter.Writer, t tenant.Tenant) { c.tenants(w, t) })
}

type tenantListCmd struct {
	Search    string            `placeholder:"TEXT" help:"Only tenants with this in the name, the external id or the id; capitals do not matter."`
	Metadata  map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"Only tenants of which you noted this."`
	State     session.State     `placeholder:"STATE" help:"Only tenants whose session was in this state when it was stored last, e.g. logged_out."`
	Suspended *bool             `negatable:"" help:"Only tenants that are suspended, or that are not."`
	QuietFlag
}

// Run lists tenants.
func (c *tenantListCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) ([]tenant.Tenant, error) {
		return client.Tenants(ctx, tenant.Query{Search: c.Search, Metadata: c.Metadata, State: string(c.State), Suspended: c.Suspended})
	}, func(w *tabwriter.Writer, all []tenant.Tenant) { c.tenants(w, all...) })
}

// TenantArg names a tenant on the command line. Exported because kong looks only into exported embedded fields.
type TenantArg struct {
	Tenant string `arg:"" help:"The tenant's id."`
}

type tenantShowCmd struct{ TenantArg }

// Run shows a tenant.
func (c *tenantShowCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) (tenant.Tenant, error) {
		return client.Tenant(ctx, c.Tenant)
	}, func(w *tabwriter.Writer, t tenant.Tenant) { tenantTable(w, t) })
}

type tenantUpdateCmd struct {
	TenantArg

	Name       *string           `placeholder:"NAME" help:"Its new name."`
	ExternalID *string           `placeholder:"ID" help:"Your own id of the tenant; empty for none."`
	Metadata   map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"Note this about the tenant; as often as you like."`
	Forget     []string          `sep:"none" placeholder:"KEY" help:"Note this no longer."`
}

// Run changes a tenant.
func (c *tenantUpdateCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) (tenant.Tenant, error) {
		change := api.ChangeTenant{Name: c.Name, ExternalID: c.ExternalID, Metadata: api.MetadataChange{}}
		for key, value := range c.Metadata {
			change.Metadata[key] = &value
		}
		for _, key := range c.Forget {
			change.Metadata[key] = nil
		}
		return client.ChangeTenant(ctx, c.Tenant, change)
	}, func(w *tabwriter.Writer, t tenant.Tenant) { tenantTable(w, t) })
}

type tenantDeleteCmd struct {
	TenantArg

	Yes bool `help:"Do not ask."`
}

var errNotConfirmed = errors.New("nothing was deleted: confirm by the tenant's name, or with --yes")

// Run deletes a tenant.
func (c *tenantDeleteCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) (tenant.Deletion, error) {
		t, err := client.Tenant(ctx, c.Tenant)
		if err != nil {
			return tenant.Deletion{}, err
		}
		if !c.Yes {
			_, _ = fmt.Fprintf(o.Stderr, "This deletes %q with its chats, messages and keys, and unlinks its device.\nType its name to go on: ", plain(t.Name))
			answer, _ := bufio.NewReader(o.Stdin).ReadString('\n') // no answer is no consent
			if strings.TrimSpace(answer) != t.Name {
				return tenant.Deletion{}, errNotConfirmed
			}
		}
		return client.DeleteTenant(ctx, c.Tenant)
	}, deletionTable)
}

type keyCreateCmd struct {
	TenantArg

	Scope   tenant.Scopes `placeholder:"SCOPE" help:"What it may do: read, send, manage; everything without."`
	Label   string        `placeholder:"TEXT" help:"What you call the key."`
	Expires time.Duration `placeholder:"DURATION" help:"After how long it stops working, e.g. 720h; never without."`
}

// Run creates an API key.
func (c *keyCreateCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) (api.CreatedKey, error) {
		key := api.NewKey{Label: c.Label, Scopes: c.Scope}
		if c.Expires != 0 {
			key.ExpiresAt = new(time.Now().Add(c.Expires))
		}
		return client.CreateKey(ctx, c.Tenant, key)
	}, func(w *tabwriter.Writer, k api.CreatedKey) { line(w, k.APIKey) })
}

type keyListCmd struct{ TenantArg }

// Run lists a tenant's API keys.
func (c *keyListCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) ([]tenant.Key, error) {
		return client.Keys(ctx, c.Tenant)
	}, keyTable)
}

func keyTable(w *tabwriter.Writer, keys []tenant.Key) {
	line(w, "ID", "LABEL", "SCOPES", "CREATED", "EXPIRES", "REVOKED", "LAST USED")
	for i := range keys {
		k := &keys[i]
		line(w, string(k.ID), plain(k.Label), k.Scopes.String(), day(&k.CreatedAt), day(k.ExpiresAt), day(k.RevokedAt), day(k.LastUsedAt))
	}
}

// KeyArg names an API key on the command line. Exported because kong looks only into exported embedded fields.
type KeyArg struct {
	TenantArg

	Key string `arg:"" help:"The key's id, the part of the API key between wf_ and the next _."`
}

type keyUpdateCmd struct {
	KeyArg

	Label   *string       `placeholder:"TEXT" help:"What you call the key."`
	Scope   tenant.Scopes `placeholder:"SCOPE" help:"What it may do from now on: read, send, manage."`
	Expires time.Duration `placeholder:"DURATION" xor:"expiry" help:"After how long from now it stops working."`
	Forever bool          `xor:"expiry" help:"It never stops working by itself."`
}

// Run changes an API key.
func (c *keyUpdateCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) (tenant.Key, error) {
		change := tenant.KeyChange{Label: c.Label, Scopes: c.Scope}
		switch {
		case c.Forever:
			change.ExpiresAt = &time.Time{}
		case c.Expires != 0:
			change.ExpiresAt = new(time.Now().Add(c.Expires))
		}
		return client.ChangeKey(ctx, c.Tenant, c.Key, change)
	}, func(w *tabwriter.Writer, k tenant.Key) { keyTable(w, []tenant.Key{k}) })
}

type keyRevokeCmd struct{ KeyArg }

// Run revokes an API key.
func (c *keyRevokeCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) (string, error) {
		return c.Key, client.RevokeKey(ctx, c.Tenant, c.Key)
	}, func(w *tabwriter.Writer, id string) { line(w, "revoked "+id) })
}

func sessionTable(w *tabwriter.Writer, s api.SessionInfo) {
	for _, row := range [][2]string{
		{"state", string(s.State)},
		{"since", day(&s.Since)},
		{"until", day(s.Until)},
		{"phone", s.Phone},
		{"name", s.Name},
		{"device", s.Device},
		{"reason", s.Reason},
		{"message", s.Message},
		{"action", s.Action},
	} {
		if row[1] != "" && row[1] != "-" {
			line(w, row[0], plain(row[1]))
		}
	}
}

type sessionShowCmd struct{ TenantArg }

// Run shows a tenant's session.
func (c *sessionShowCmd) Run(ctx context.Context, o *operator) error {
	return do(o, func(client *adminapi.Client) (api.SessionInfo, error) {
		return client.Session(ctx, c.Tenant)
	}, sessionTable)
}

type (
	sessionConnectCmd    struct{ TenantArg }
	sessionDisconnectCmd struct{ TenantArg }
	sessionLogoutCmd     struct{ TenantArg }
)

// Run connects a session.
func (c *sessionConnectCmd) Run(ctx context.Context, o *operator) error {
	return changeSession(ctx, o, c.Tenant, "connect")
}

// Run disconnects a session.
func (c *sessionDisconnectCmd) Run(ctx context.Context, o *operator) error {
	return changeSession(ctx, o, c.Tenant, "disconnect")
}

// Run logs a session out.
func (c *sessionLogoutCmd) Run(ctx context.Context, o *operator) error {
	return changeSession(ctx, o, c.Tenant, "logout")
}

func changeSession(ctx context.Context, o *operator, id, action string) error {
	return do(o, func(client *adminapi.Client) (api.SessionInfo, error) {
		return client.ChangeSession(ctx, id, action)
	}, sessionTable)
}
