package api

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wafleet/wafleet/tenant"
)

// registerChats registers the operations on chats (client API v2 §5).
func registerChats(d *document) {
	h := &chatHandler{limits: d.server.limits, public: d.server.cfg.PublicURL}
	tenantOperation(d, &operation{
		id: "list-chats", scope: tenant.ScopeRead, method: http.MethodGet, path: "/api/chats", tag: tagChats, deadline: deadlineNone,
		summary: "List chats",
		description: "All chats, newest activity first, with their last messages. With `limit` in pages: pass `nextCursor` as `cursor` " +
			"until there is none.",
		response: ChatList{Chats: []tenant.Chat{exampleChat()}},
		adjust: func(op *huma.Operation, schemas huma.Registry) {
			op.Responses["200"] = jsonResponse[ChatList](schemas)
		},
	}, h.list)
	tenantOperation(d, &operation{
		id: "get-chat", scope: tenant.ScopeRead, method: http.MethodGet, path: "/api/chats/{chatId}", tag: tagChats,
		summary:  "Get a chat",
		problems: []Code{codeChatNotFound},
		response: exampleChat(),
	}, h.get)
	tenantOperation(d, &operation{
		id: "delete-chat", scope: tenant.ScopeManage, method: http.MethodDelete, path: "/api/chats/{chatId}", tag: tagChats,
		summary: "Delete a chat here",
		description: "Deletes the chat and its messages from the local database only; a group is not left. A later message, send or " +
			"sync makes the chat anew, without the old messages.",
		problems: []Code{codeChatNotFound},
	}, deleteChat)
}

// ChatList is the answer of GET /api/chats.
type ChatList struct {
	Chats      []tenant.Chat `json:"chats" nullable:"false" doc:"Newest activity first."`
	NextCursor string        `json:"nextCursor,omitempty" doc:"Where the next page starts; absent on the last."`
}

type listChatsInput struct {
	Type     tenant.ChatType `query:"type" enum:"group,direct" doc:"Only chats of this type."`
	Archived optional[bool]  `query:"archived" doc:"Only archived chats, or only the others."`
	Search   string          `query:"q" maxLength:"200" doc:"Part of the name or of the phone number, in any case." example:"ana"`
	Limit    int             `query:"limit" minimum:"1" maximum:"1000" doc:"Chats in a page; all chats when absent."`
	Cursor   string          `query:"cursor" maxLength:"500" doc:"nextCursor of the page before."`
}

type chatHandler struct {
	limits Limits
	public string // the node's public URL
}

// list streams: an account may have tens of thousands of chats. The deadline of reads holds until the first of them is there;
// then a client may take its time, as long as it takes something now and then.
func (h *chatHandler) list(ctx context.Context, t tenant.Handle, in *listChatsInput) (*huma.StreamResponse, error) {
	q := tenant.ChatQuery{
		Cursor: in.Cursor, Type: in.Type, Archived: in.Archived.pointer(), Search: tenant.CleanText(in.Search),
	}
	if in.Limit > 0 {
		q.Limit = in.Limit + 1 // one more tells whether there is a next page
	}
	reading, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(h.limits.ReadTimeout, func() { cancel(context.DeadlineExceeded) })
	next, stop := iter.Pull2(t.Chats(reading, q))
	end := func() {
		stop()
		cancel(nil)
	}
	first, err, more := next()
	late.Stop()
	if more && err != nil {
		if isDeadline(context.Cause(reading)) {
			err = newProblem(codeUnavailable)
		}
		end()
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer end()
		hc.SetHeader("Content-Type", jsonType)
		out := &chatWriter{w: bufio.NewWriterSize(&patientWriter{hc, h.limits.WriteTimeout}, chatBuffer), limit: in.Limit}
		for chat := first; more; chat, err, more = next() {
			if err != nil {
				abort(ctx, err)
			}
			showJoinURL(ctx, h.public, &chat)
			if !out.chat(&chat) {
				break
			}
		}
		if err := out.end(); err != nil {
			abort(ctx, err)
		}
	}}, nil
}

const chatBuffer = 32 << 10

// patientWriter gives the client that long for each piece of an answer.
type patientWriter struct {
	hc       huma.Context
	patience time.Duration
}

// Write writes a piece.
func (w *patientWriter) Write(p []byte) (int, error) {
	extendWrite(w.hc, w.patience)
	return w.hc.BodyWriter().Write(p)
}

// abort cuts an answer that has begun off, so that the client sees that it is not whole.
func abort(ctx context.Context, err error) {
	stateOf(ctx).log.WarnContext(ctx, "answer cut off", "error", err)
	panic(http.ErrAbortHandler)
}

// chatWriter writes a ChatList chat by chat.
type chatWriter struct {
	w     *bufio.Writer
	limit int // 0: none
	n     int
	last  string // cursor after the last chat written
	next  string
	err   error
}

// chat writes one chat; false says that the page is full or the client gone.
func (c *chatWriter) chat(chat *tenant.Chat) bool {
	if c.limit > 0 && c.n == c.limit {
		c.next = c.last
		return false
	}
	separator := ","
	if c.n == 0 {
		separator = `{"chats":[`
	}
	c.n++
	if c.n == c.limit {
		c.last = chat.Cursor()
	}
	var raw []byte
	raw, c.err = json.Marshal(chat)
	if c.err == nil {
		_, c.err = c.w.WriteString(separator)
	}
	if c.err == nil {
		_, c.err = c.w.Write(raw)
	}
	return c.err == nil
}

func (c *chatWriter) end() error {
	if c.err != nil {
		return c.err
	}
	if c.n == 0 {
		_, _ = c.w.WriteString(`{"chats":[`) // bufio keeps the error for Flush
	}
	_, _ = c.w.WriteString("]")
	if c.next != "" {
		cursor, err := json.Marshal(c.next)
		if err != nil {
			return err
		}
		_, _ = c.w.WriteString(`,"nextCursor":`)
		_, _ = c.w.Write(cursor)
	}
	_, _ = io.WriteString(c.w, "}\n")
	return c.w.Flush()
}

type chatOutput struct {
	Body tenant.Chat
}

type chatInput struct {
	ChatPath
}

func (h *chatHandler) get(ctx context.Context, t tenant.Handle, in *chatInput) (*chatOutput, error) {
	id, err := in.ChatID.id()
	if err != nil {
		return nil, err
	}
	chat, err := t.Chat(ctx, id)
	if err != nil {
		return nil, err
	}
	showJoinURL(ctx, h.public, &chat)
	return &chatOutput{Body: chat}, nil
}

func deleteChat(ctx context.Context, t tenant.Handle, in *chatInput) (*struct{}, error) {
	id, err := in.ChatID.id()
	if err != nil {
		return nil, err
	}
	_, err = t.Commit(ctx, tenant.DeleteChat{ID: id})
	return nil, err
}

// schemaOf is the schema of a type, as a component where it has a name.
func schemaOf[T any](schemas huma.Registry) *huma.Schema {
	return schemas.Schema(reflect.TypeFor[T](), true, "")
}
