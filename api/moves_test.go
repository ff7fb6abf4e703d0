package api_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenantfile"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// furnished is a tenant that owns something of everything.
func (n *node) furnished(t *testing.T, externalID string) (id tenant.ID, apiKey string) {
	t.Helper()
	h, key := tenanttest.Furnish(t, n.store, externalID)
	return h.ID(), key.Reveal()
}

func (n *node) export(id tenant.ID, query string) []byte {
	n.t.Helper()
	got := n.admin(http.MethodPost, "/admin/tenants/"+string(id)+"/export"+query, nil).is(200)
	require.Equal(n.t, tenantfile.ContentType, got.header.Get("Content-Type"))
	return got.body
}

func (n *node) imports(file []byte) *answer {
	n.t.Helper()
	return n.admin(http.MethodPost, "/admin/import", bytes.NewReader(file))
}

func TestATenantGoesAndComes(t *testing.T) {
	t.Parallel()
	sameURL := func(c *api.Config) { c.PublicURL = "https://wa.example.com" }
	n, other := start(t, sameURL), start(t, sameURL)
	id, key := n.furnished(t, "customer-4711")
	file := n.export(id, "")
	require.Equal(t, []tenant.ID{id}, n.fleet.departed)
	require.Contains(t, string(n.call(http.MethodGet, "/api/chats", nil, "X-API-Key", key).is(200).body), "Ana", "reads go on")

	var arrived api.ImportedTenant
	other.imports(file).is(201).into(&arrived)
	require.Equal(t, id, arrived.Tenant.ID)
	require.Equal(t, "customer-4711", arrived.Tenant.ExternalID)
	require.Greater(t, arrived.Rows, 10)
	require.JSONEq(t,
		string(n.call(http.MethodGet, "/api/chats", nil, "X-API-Key", key).is(200).body),
		string(other.call(http.MethodGet, "/api/chats", nil, "X-API-Key", key).is(200).body))
	require.JSONEq(t,
		string(n.call(http.MethodGet, "/api/events?after=0", nil, "X-API-Key", key).is(200).body),
		string(other.call(http.MethodGet, "/api/events?after=0", nil, "X-API-Key", key).is(200).body))
	row, err := other.store.Tenant(id).Session(t.Context())
	require.NoError(t, err)
	require.False(t, row.Wanted)
	require.Equal(t, "imported", row.Status.Reason)

	other.imports(file).problem(409, "TENANT_EXISTS", "TENANT_EXISTS")
	n.admin(http.MethodDelete, "/admin/tenants/"+string(id)+"/export", nil).is(200)

	var log api.AuditList
	other.admin(http.MethodGet, "/admin/audit?operation=import-tenant&tenantId="+string(id), nil).is(200).into(&log)
	require.Len(t, log.Entries, 2, "what was refused, too")
}

func TestATenantThatWasDeletedMayComeBack(t *testing.T) {
	t.Parallel()
	n := start(t)
	id, key := n.furnished(t, "")
	file := n.export(id, "")
	n.admin(http.MethodDelete, "/admin/tenants/"+string(id), nil).is(200)
	n.call(http.MethodGet, "/api/chats", nil, "X-API-Key", key).is(403)
	n.imports(file).is(201)
	require.Eventually(t, func() bool { // a key that was unknown is asked for again after a second
		return n.call(http.MethodGet, "/api/chats", nil, "X-API-Key", key).status == 200
	}, patience, 10*time.Millisecond)
	n.call(http.MethodGet, "/api/events?after=0&wait=1", nil, "X-API-Key", key).is(200) // streams, too
}

// TestAnImportWhoseEndIsUnknownHasItsLimits: the answer to the last commit is lost, and the tenant lives.
func TestAnImportWhoseEndIsUnknownHasItsLimits(t *testing.T) {
	t.Parallel()
	n := start(t, func(c *api.Config) {
		c.TenantLimits = tenant.NewLimitBook(c.Store, tenant.DefaultLimits())
		c.Store = unsureMover{c.Store}
	})
	id, key := n.furnished(t, "") // which has overrides
	file := n.export(id, "")
	n.admin(http.MethodDelete, "/admin/tenants/"+string(id), nil).is(200)
	n.imports(file).problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE")
	var limits api.AdminLimits
	n.admin(http.MethodGet, "/admin/tenants/"+string(id)+"/limits", nil).is(200).into(&limits)
	require.Equal(t, api.LimitValue{Value: 3, Default: 32, Source: "tenant"}, limits.Limits["eventStreams"])
	n.call(http.MethodGet, "/api/events?after=0&wait=1", nil, "X-API-Key", key).is(200) // it is not taken for gone
	n.imports(file).problem(409, "TENANT_EXISTS", "TENANT_EXISTS")
}

func TestAFileThatIsNotWholeLeavesNothing(t *testing.T) {
	t.Parallel()
	n, other := start(t), start(t)
	id, _ := n.furnished(t, "customer-4711")
	file := n.export(id, "")
	damaged := bytes.Clone(file)
	damaged[len(damaged)/2] ^= 1
	for name, wrong := range map[string][]byte{
		"empty": {}, "cut": file[:len(file)-1], "half": file[:len(file)/2], "damaged": damaged, "two": append(bytes.Clone(file), file...),
	} {
		other.imports(wrong).problem(422, "Validation error", "FILE_DAMAGED")
		_, err := other.store.Get(t.Context(), id)
		require.ErrorIs(t, err, tenant.ErrNotFound, name)
		require.Empty(t, leftOf(t, other, id), name)
	}
	other.imports([]byte("age-encryption.org/v1\n")).problem(422, "Validation error", "FILE_UNSUPPORTED")
	other.imports(file).is(201)
	require.NotEmpty(t, leftOf(t, other, id))
}

// leftOf are the chats and messages that are stored under an id.
func leftOf(t *testing.T, n *node, id tenant.ID) (left []string) {
	t.Helper()
	for _, table := range []string{"tenant", "chat", "message", "journal", "api_key", "session", "head", "contact"} {
		var count int
		require.NoError(t, n.store.Database().QueryRow(t.Context(), "SELECT COUNT(*) FROM "+table+" WHERE tenant_id=$1", string(id)).Scan(&count))
		if count > 0 {
			left = append(left, table)
		}
	}
	return left
}

// remade is a file with another header, and rows that change made.
func remade(t *testing.T, file []byte, header func(*tenantfile.Header), change func(tenant.Rows) tenant.Rows) []byte {
	t.Helper()
	in, err := tenantfile.NewReader(bytes.NewReader(file))
	require.NoError(t, err)
	h := in.Header()
	header(&h)
	var out bytes.Buffer
	w, err := tenantfile.NewWriter(&out, h)
	require.NoError(t, err)
	for {
		rows, err := in.Next()
		if err == io.EOF { //nolint:errorlint // as it is
			break
		}
		require.NoError(t, err)
		require.NoError(t, w.Rows(change(rows)))
	}
	_, err = w.Close()
	require.NoError(t, err)
	return out.Bytes()
}

func same(rows tenant.Rows) tenant.Rows { return rows }

func TestFilesThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	n, other := start(t), start(t)
	id, _ := n.furnished(t, "customer-4711")
	file := n.export(id, "")
	schema, _ := n.store.Schema()
	for name, wrong := range map[string][]byte{
		"newer": remade(t, file, func(h *tenantfile.Header) { h.Schema = schema + 1 }, same),
		"old":   remade(t, file, func(h *tenantfile.Header) { h.Schema = 1 }, same),
		"other": remade(t, file, func(h *tenantfile.Header) { h.Tenant = tenant.NewID() }, same),
		"table": remade(t, file, func(*tenantfile.Header) {}, func(rows tenant.Rows) tenant.Rows {
			rows.Table += "_of_the_future"
			return rows
		}),
	} {
		other.imports(wrong).problem(422, "Validation error", "FILE_UNSUPPORTED")
		require.Empty(t, leftOf(t, other, id), name)
	}
	other.admin(http.MethodPost, "/admin/tenants", `{"name":"Other","externalId":"customer-4711"}`).is(201)
	other.imports(file).problem(409, "EXTERNAL_ID_TAKEN", "EXTERNAL_ID_TAKEN")
	require.Empty(t, leftOf(t, other, id))
}

func TestACopyIsNotConnected(t *testing.T) {
	t.Parallel()
	n, other := start(t), start(t)
	id, _ := n.furnished(t, "")
	file := n.export(id, "?keep=true")
	require.Empty(t, n.fleet.departed)
	other.admin(http.MethodPost, "/admin/import?connect=true", bytes.NewReader(file)).problem(409, "KEPT_EXPORT", "KEPT_EXPORT")
	other.imports(file).is(201)
}

func TestASessionThatDoesNotEndIsNotExported(t *testing.T) {
	t.Parallel()
	n := start(t)
	id, _ := n.furnished(t, "")
	n.fleet.set(func(f *fleet) { f.fail = session.ErrStopping })
	n.admin(http.MethodPost, "/admin/tenants/"+string(id)+"/export", nil).problem(503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE")
	n.admin(http.MethodPost, "/admin/tenants/"+string(tenant.NewID())+"/export", nil).problem(404, "TENANT_NOT_FOUND", "TENANT_NOT_FOUND")
}

// slowly is a body of which nothing more comes.
type slowly struct {
	io.Reader

	closed chan struct{}
}

func (s slowly) Read(p []byte) (int, error) {
	if n, err := s.Reader.Read(p); err == nil {
		return n, nil
	}
	<-s.closed
	return 0, io.ErrUnexpectedEOF
}

func TestWhoStopsSendingIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	n := start(t, func(c *api.Config) { c.Limits.BodyTimeout = time.Second })
	id, _ := n.furnished(t, "")
	file := n.export(id, "")
	n.admin(http.MethodDelete, "/admin/tenants/"+string(id), nil).is(200)
	body := slowly{bytes.NewReader(file[:len(file)/2]), make(chan struct{})}
	defer close(body.closed)
	n.admin(http.MethodPost, "/admin/import", body).problem(408, "REQUEST_TIMEOUT", "REQUEST_TIMEOUT")
	require.Empty(t, leftOf(t, n, id))
}

// TestAFewMoveAtATime: whoever holds a place without taking anything loses it.
func TestAFewMoveAtATime(t *testing.T) {
	t.Parallel()
	n := start(t)
	id, _ := n.furnished(t, "")
	file := n.export(id, "")
	open := func() net.Conn {
		conn, err := net.Dial("tcp", strings.TrimPrefix(n.url, "http://"))
		require.NoError(t, err)
		_, err = io.WriteString(conn, "POST /admin/import HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+adminKey+"\r\nContent-Length: 100000\r\n\r\n")
		require.NoError(t, err)
		return conn
	}
	var held []net.Conn
	busy := func() bool {
		held = append(held, open()) // one more each time: what asks takes a place, too, and may have been faster
		return n.imports(file).status == http.StatusServiceUnavailable
	}
	require.Eventually(t, busy, patience, 5*time.Millisecond)
	for _, conn := range held {
		require.NoError(t, conn.Close())
	}
	require.Eventually(t, func() bool { return n.imports(file).status == http.StatusConflict }, patience, 5*time.Millisecond)
}
