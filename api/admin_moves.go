package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenantfile"
)

// MoveSessions is what moving tenants needs of the fleet.
type MoveSessions interface {
	// Depart takes a session off for good, until TakeBack.
	Depart(ctx context.Context, id tenant.ID) error
	// TakeBack lets a session be connected again.
	TakeBack(ctx context.Context, id tenant.ID) (session.View, error)
	// Leaving makes exported rows readable on other nodes.
	Leaving(ctx context.Context, id tenant.ID, rows tenant.Rows) (tenant.Rows, error)
	// Arriving makes imported rows this node's. device says whether they hold a linked device. Returns tenant.ErrForeignRows.
	Arriving(ctx context.Context, id tenant.ID, rows tenant.Rows) (here tenant.Rows, device bool, err error)
}

const (
	// maxMovers is how many tenants leave or come at a time: each takes a connection to the database.
	maxMovers = 2
	// moveBuffer is what is written to a client at once, in bytes.
	moveBuffer = 64 << 10
	// abandonTimeout bounds the wait for an import to be undone. It goes on when that has passed.
	abandonTimeout = 10 * time.Second
	// importTimeout bounds a whole import. Each piece has a deadline of its own.
	importTimeout = 24 * time.Hour
)

func exportContent() map[string]*huma.MediaType {
	return map[string]*huma.MediaType{tenantfile.ContentType: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
}

// registerAdminMoves registers the operations that move tenants between nodes.
func (s *Server) registerAdminMoves(d *document) {
	arrived := ImportedTenant{Tenant: exampleTenant(), Rows: 4711, Session: SessionInfo{
		State: session.Stopped, Since: exampleTime(), Phone: "5511988880000", Device: "5511988880000:12@s.whatsapp.net", Reason: "imported",
	}}
	register(d, &operation{
		id: "export-tenant", method: http.MethodPost, path: "/admin/tenants/{tenantId}/export", tag: tagMoves, deadline: deadlineNone,
		status:  http.StatusOK,
		summary: "Export a tenant, to run elsewhere",
		description: "Answers a stream of all that the tenant owns, as of one moment: chats, messages, the journal with its numbers, API keys " +
			"(their hashes), and the linked device, so that it goes on elsewhere without pairing and with the same keys. The session is " +
			"disconnected first and stays so: a device must not run twice. Take the export back if the tenant stays after all.\n\n" +
			"**The stream is a secret**: it holds the keys of a WhatsApp device. `wafleet admin export` encrypts it. A stream that breaks off is not " +
			"whole, which an import notices; ask again.",
		problems: []Code{codeTenantNotFound, codeGatewayTimeout},
		adjust: func(op *huma.Operation, _ huma.Registry) {
			op.Responses["200"] = &huma.Response{Description: "The tenant.", Content: exportContent()}
		},
	}, s.exportTenant)
	register(d, &operation{
		id: "cancel-export", method: http.MethodDelete, path: "/admin/tenants/{tenantId}/export", tag: tagMoves, deadline: deadlineAction,
		status:  http.StatusOK,
		summary: "Take an export back",
		description: "The tenant stays: its session may be connected here again. Only if what was exported runs nowhere else. Does nothing to a " +
			"tenant that was not exported.",
		problems: []Code{codeTenantNotFound, codeGatewayTimeout},
		response: SessionInfo{State: session.Stopped, Since: exampleTime(), Reason: "disconnected_by_operator"},
	}, (&adminSession{store: s.cfg.Store, sessions: s.cfg.Sessions}).do(s.cfg.Sessions.TakeBack))
	register(d, &operation{
		id: "import-tenant", method: http.MethodPost, path: "/admin/import", tag: tagMoves, deadline: deadlineNone,
		status:  http.StatusCreated,
		summary: "Import a tenant from elsewhere",
		description: "Takes what an export answered, from a node on either database. Nobody sees the tenant before it is whole; a stream that is " +
			"damaged or breaks off leaves nothing behind. The id, the API keys and the journal's numbers stay. Refused where the tenant lives " +
			"already, so that it may be sent again.",
		problems: []Code{
			codeTenantExists, codeExternalIDTaken, codeKeptExport, codeFileDamaged, codeFileUnsupported, codeRequestTimeout, codeUnsupportedMedia,
		},
		response: arrived,
		adjust: func(op *huma.Operation, _ huma.Registry) {
			op.RequestBody = &huma.RequestBody{Required: true, Description: "One tenant.", Content: exportContent()}
		},
	}, s.importTenant)
}

type exportInput struct {
	TenantPath

	Keep bool `query:"keep" doc:"Leave the session as it is, for a copy to keep. The device goes on, so that the copy ages: on import its session must not be connected while it runs here, and messages are lost when its ratchets are old."`
}

// move waits for nobody: who comes when too many tenants are moving is told so. The caller calls done.
func (s *Server) move() (done func(), err error) {
	if !s.movers.TryAcquire(1) {
		return nil, newProblem(codeUnavailable).because(fmt.Sprintf("%d tenants are being moved already; try again in a while.", maxMovers))
	}
	return func() { s.movers.Release(1) }, nil
}

func (s *Server) exportTenant(ctx context.Context, in *exportInput) (*huma.StreamResponse, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	look, cancel := context.WithTimeout(ctx, s.limits.ActionTimeout)
	defer cancel()
	if _, err = s.cfg.Store.Get(look, id); err != nil {
		return nil, err
	}
	done, err := s.move()
	if err != nil {
		return nil, err
	}
	if !in.Keep {
		if err = s.cfg.Sessions.Depart(look, id); err != nil {
			done()
			return nil, err
		}
	}
	life, stream, err := s.streams.open(ctx, id, "")
	if err != nil {
		done()
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer done()
		defer s.streams.close(stream)
		hc.SetHeader("Content-Type", tenantfile.ContentType)
		hc.SetHeader("Content-Disposition", disposition(string(id)+".wafleet"))
		if err := s.writeTenant(life, hc, id, in.Keep); err != nil {
			abort(ctx, err)
		}
	}}, nil
}

// writeTenant writes a tenant as a file.
func (s *Server) writeTenant(ctx context.Context, hc huma.Context, id tenant.ID, kept bool) error {
	out := bufio.NewWriterSize(&patientWriter{hc, s.limits.WriteTimeout}, moveBuffer)
	schema, _ := s.cfg.Store.Schema()
	file, err := tenantfile.NewWriter(out, tenantfile.Header{
		Tenant: id, Schema: schema, Version: s.cfg.Version, At: time.Now().UTC(), Kept: kept,
	})
	if err != nil {
		return err
	}
	err = s.cfg.Store.Export(ctx, id, func(rows tenant.Rows) error {
		leaving, err := s.cfg.Sessions.Leaving(ctx, id, rows)
		if err != nil {
			return err
		}
		return file.Rows(leaving)
	})
	if err != nil {
		return err
	}
	if _, err = file.Close(); err != nil {
		return err
	}
	return out.Flush()
}

type importInput struct {
	Connect bool `query:"connect" doc:"Connect the session once the tenant is here, unless the tenant is suspended."`

	request *http.Request
	writer  http.ResponseWriter
}

// Resolve keeps the request, whose body is read as it comes.
func (in *importInput) Resolve(hc huma.Context) []error {
	in.request, in.writer = humago.Unwrap(hc)
	return nil
}

var _ huma.Resolver = (*importInput)(nil)

// ImportedTenant is the answer of POST /admin/import.
type ImportedTenant struct {
	Tenant  tenant.Tenant `json:"tenant" doc:"The tenant, as it was."`
	Session SessionInfo   `json:"session" doc:"Its session here. One whose device did not come along is logged out, and must be paired again."`
	Rows    int           `json:"rows" doc:"How many rows came." example:"4711"`
}

type importOutput struct {
	Body ImportedTenant
}

func (s *Server) importTenant(ctx context.Context, in *importInput) (*importOutput, error) {
	done, err := s.move()
	if err != nil {
		return nil, err
	}
	defer done()
	out, err := s.readTenant(ctx, in)
	if err != nil {
		in.writer.Header().Set("Connection", "close") // or net/http would wait for the rest of the body before it answers
		return nil, err
	}
	return &importOutput{Body: *out}, nil
}

// readTenant takes a tenant from a request.
func (s *Server) readTenant(ctx context.Context, in *importInput) (*ImportedTenant, error) {
	if encoding := in.request.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, newProblem(codeUnsupportedMedia).because("Compressed bodies are not supported.")
	}
	control := http.NewResponseController(in.writer)
	_ = control.SetWriteDeadline(time.Now().Add(importTimeout + s.limits.WriteTimeout)) // recorders in tests know no deadlines
	defer func() {
		_ = control.SetReadDeadline(time.Time{})
		_ = control.SetWriteDeadline(time.Now().Add(s.limits.WriteTimeout))
	}()
	body := bufio.NewReaderSize(&patientBody{
		ReadCloser: in.request.Body, control: control, patience: s.limits.BodyTimeout, end: time.Now().Add(importTimeout),
	}, moveBuffer)
	file, err := tenantfile.NewReader(body)
	if err != nil {
		return nil, s.fileProblem(err)
	}
	noteTenant(ctx, file.Header().Tenant)
	if err = s.acceptable(file.Header(), in.Connect); err != nil {
		return nil, err
	}
	shown, device, err := s.takeTenant(ctx, file, body)
	if errors.Is(err, tenant.ErrOutcomeUnknown) {
		_ = s.receive(context.WithoutCancel(ctx), file.Header().Tenant) // it lives, or there is nothing to be done
	}
	if err != nil {
		return nil, err
	}
	if err = s.receive(ctx, shown.ID); err != nil {
		return nil, err
	}
	return s.bringUp(ctx, shown, file.End().Rows, in.Connect && device && shown.SuspendedAt == nil)
}

// receive tells the parts of the node of a tenant that has come.
func (s *Server) receive(ctx context.Context, id tenant.ID) error {
	s.keys.welcome(id)
	s.cfg.TenantLimits.Arrive(ctx, id)
	return s.obeySuspension(ctx, id)
}

// acceptable says whether a tenant may be taken from what its header says.
func (s *Server) acceptable(h tenantfile.Header, connect bool) error {
	current, oldest := s.cfg.Store.Schema()
	switch {
	case h.Schema > current:
		return newProblem(codeFileUnsupported).because("A newer wafleet (" + h.Version + ") has written the file: upgrade this node first.")
	case h.Schema < oldest:
		return newProblem(codeFileUnsupported).because("The file is too old: a wafleet of version " + h.Version + " has written it.")
	case h.Kept && connect:
		return newProblem(codeKeptExport)
	}
	return nil
}

// takeTenant stores a tenant, or nothing of it.
func (s *Server) takeTenant(ctx context.Context, file *tenantfile.Reader, body io.Reader) (shown tenant.Tenant, device bool, err error) {
	id := file.Header().Tenant
	store, err := s.cfg.Store.Import(ctx, id)
	if err != nil {
		return shown, false, err
	}
	defer func() {
		if err == nil {
			return
		}
		undoing, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
		defer cancel()
		if undone := store.Abandon(undoing); undone != nil {
			stateOf(ctx).log.WarnContext(ctx, "what came of a tenant is not deleted yet", "tenant", string(id), "error", undone)
		}
	}()
	for {
		rows, err := file.Next()
		if err == io.EOF { //nolint:errorlint // as it is, it means the end
			break
		}
		if err != nil {
			return shown, false, s.fileProblem(err)
		}
		rows, linked, err := s.cfg.Sessions.Arriving(ctx, id, rows)
		if err != nil {
			return shown, false, err
		}
		device = device || linked
		if err = store.Put(ctx, rows); err != nil {
			return shown, false, err
		}
	}
	if n, _ := body.Read(make([]byte, 1)); n > 0 {
		return shown, false, newProblem(codeFileDamaged).because("There is more behind the tenant: send one at a time.")
	}
	shown, err = store.Finish(ctx, func(row tenant.Session) tenant.Session { return session.Arrived(row, device) })
	return shown, device, err
}

// bringUp tells of a tenant that has come, and connects its session if asked to.
func (s *Server) bringUp(ctx context.Context, shown tenant.Tenant, rows int, connect bool) (*ImportedTenant, error) {
	ctx, cancel := context.WithTimeout(ctx, s.limits.ActionTimeout)
	defer cancel()
	look := s.cfg.Sessions.View
	if connect {
		look = s.cfg.Sessions.Connect
	}
	view, err := look(ctx, shown.ID)
	if errors.Is(err, session.ErrNotPaired) {
		view, err = s.cfg.Sessions.View(ctx, shown.ID)
	}
	if err != nil {
		return nil, err
	}
	return &ImportedTenant{Tenant: shown, Session: sessionInfo(&view), Rows: rows}, nil
}

// fileProblem says what is wrong with a file that could not be read.
func (s *Server) fileProblem(err error) error {
	switch {
	case errors.Is(err, tenantfile.ErrDamaged), err == io.EOF: //nolint:errorlint // as it is: there was nothing
		return newProblem(codeFileDamaged)
	case errors.Is(err, tenantfile.ErrNewer), errors.Is(err, tenantfile.ErrNotAFile):
		return newProblem(codeFileUnsupported).because("This cannot be imported: " + err.Error() + ".")
	default:
		return s.bodyProblem(err)
	}
}
