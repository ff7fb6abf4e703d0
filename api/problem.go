package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/spool"
	"github.com/wafleet/wafleet/tenant"
)

// Code names a problem for programs. Codes are stable.
type Code string

// The codes. See [Code.fault] for the status and the words of each.
const (
	codeBadRequest       Code = "BAD_REQUEST"
	codeMalformedJSON    Code = "MALFORMED_JSON"
	codeMissingKey       Code = "MISSING_API_KEY"
	codeInvalidKey       Code = "INVALID_API_KEY"
	codeNotFound         Code = "NOT_FOUND"
	codeChatNotFound     Code = "CHAT_NOT_FOUND"
	codeMessageNotFound  Code = "MESSAGE_NOT_FOUND"
	codeNoMedia          Code = "MEDIA_NOT_FOUND"
	codeTenantNotFound   Code = "TENANT_NOT_FOUND"
	codeKeyNotFound      Code = "KEY_NOT_FOUND"
	codeNoPairing        Code = "NO_PAIRING"
	codeMethodNotAllowed Code = "METHOD_NOT_ALLOWED"
	codeRequestTimeout   Code = "REQUEST_TIMEOUT"
	codeNotPaired        Code = "NOT_PAIRED"
	codeAlreadyPaired    Code = "ALREADY_PAIRED"
	codePairingActive    Code = "PAIRING_ACTIVE"
	codeMessageRejected  Code = "MESSAGE_REJECTED"
	codeForbidden        Code = "FORBIDDEN"
	codeEditWindow       Code = "EDIT_WINDOW_CLOSED"
	codeMessageDeleted   Code = "MESSAGE_DELETED"
	codeActionRejected   Code = "ACTION_REJECTED"
	codeNotAText         Code = "NOT_A_TEXT"
	codeMediaGone        Code = "MEDIA_GONE"
	codeTooLarge         Code = "PAYLOAD_TOO_LARGE"
	codeUnsupportedMedia Code = "UNSUPPORTED_MEDIA_TYPE"
	codeRange            Code = "RANGE_NOT_SATISFIABLE"
	codeValidation       Code = "VALIDATION_ERROR"
	codeUpgradeRequired  Code = "UPGRADE_REQUIRED"
	codeTooManyStreams   Code = "TOO_MANY_STREAMS"
	codeClientGone       Code = "CLIENT_CLOSED_REQUEST"
	codeInternal         Code = "INTERNAL_ERROR"
	codeMisconfigured    Code = "SERVER_MISCONFIGURED"
	codeUnavailable      Code = "SERVICE_UNAVAILABLE"
	codeTransfer         Code = "MEDIA_TRANSFER_FAILED"
	codeMediaDamaged     Code = "MEDIA_DAMAGED"
	codeGatewayTimeout   Code = "GATEWAY_TIMEOUT"
)

// statusClientGone is what proxies log for a client that left before the answer. It is never seen by a client.
const statusClientGone = 499

// fault is what a code means: its status, the text of client API v2 §8 (empty where that has none: then the code stands for
// it), and a sentence.
type fault struct {
	status int
	text   string
	detail string
}

// fault is the table of all problems.
func (c Code) fault() fault { //nolint:funlen // a table
	switch c {
	case codeBadRequest:
		return fault{http.StatusBadRequest, "", "The request is malformed."}
	case codeMalformedJSON:
		return fault{http.StatusBadRequest, "", "The body is not JSON."}
	case codeMissingKey:
		return fault{http.StatusUnauthorized, "Missing API key", "Send your API key in the header X-API-Key."}
	case codeInvalidKey:
		return fault{http.StatusForbidden, "Invalid API key", "The API key is unknown, revoked or expired."}
	case codeNotFound:
		return fault{http.StatusNotFound, "", "There is no such resource."}
	case codeChatNotFound:
		return fault{http.StatusNotFound, "Chat not found", "There is no such chat."}
	case codeMessageNotFound:
		return fault{http.StatusNotFound, "", "There is no such message in the chat."}
	case codeNoMedia:
		return fault{http.StatusNotFound, "", "The message has no file."}
	case codeTenantNotFound:
		return fault{http.StatusNotFound, "", "There is no such tenant."}
	case codeKeyNotFound:
		return fault{http.StatusNotFound, "", "The tenant has no such API key."}
	case codeNoPairing:
		return fault{http.StatusNotFound, "", "No pairing is under way, or it has no QR code to show now."}
	case codeMethodNotAllowed:
		return fault{http.StatusMethodNotAllowed, "", "The resource does not know this method; the header Allow lists those that it knows."}
	case codeRequestTimeout:
		return fault{http.StatusRequestTimeout, "", "The body did not arrive in time."}
	case codeNotPaired:
		return fault{http.StatusConflict, "", "No device is linked: pair one first."}
	case codeAlreadyPaired:
		return fault{http.StatusConflict, "", "A device is linked already: log it out first."}
	case codePairingActive:
		return fault{http.StatusConflict, "", "Another pairing is under way: cancel it first."}
	case codeMessageRejected:
		return fault{http.StatusConflict, "", "WhatsApp refused the message; it is stored as failed."}
	case codeForbidden:
		return fault{http.StatusForbidden, "FORBIDDEN", "WhatsApp does not let this account do that: the message is somebody else's."}
	case codeEditWindow:
		return fault{http.StatusConflict, "", "The message was sent more than 15 minutes ago: WhatsApp does not let it be edited any more."}
	case codeMessageDeleted:
		return fault{http.StatusConflict, "", "The message is deleted."}
	case codeActionRejected:
		return fault{http.StatusConflict, "", "WhatsApp refused; nothing has changed."}
	case codeNotAText:
		return fault{http.StatusUnprocessableEntity, "Validation error", "The message is not a text: only texts can be edited."}
	case codeMediaGone:
		return fault{http.StatusGone, "", "Neither WhatsApp nor the phone has the file any more."}
	case codeTooLarge:
		return fault{http.StatusRequestEntityTooLarge, "", "The body is too large."}
	case codeUnsupportedMedia:
		return fault{http.StatusUnsupportedMediaType, "", "The body must be JSON: send it with Content-Type: application/json."}
	case codeRange:
		return fault{http.StatusRequestedRangeNotSatisfiable, "", "The file is shorter than the range that was asked for."}
	case codeValidation:
		return fault{http.StatusUnprocessableEntity, "Validation error", "The request is not valid; \"errors\" lists each field."}
	case codeUpgradeRequired:
		return fault{http.StatusUpgradeRequired, "", "This is a WebSocket: connect with a WebSocket client."}
	case codeTooManyStreams:
		return fault{http.StatusTooManyRequests, "", "Too many event streams are open at once."}
	case codeClientGone:
		return fault{statusClientGone, "", "The client left before the answer."}
	case codeInternal:
		return fault{http.StatusInternalServerError, "", "Internal error."}
	case codeMisconfigured:
		return fault{http.StatusInternalServerError, "Server misconfigured", "The server cannot check keys; its operator has to act."}
	case codeUnavailable:
		return fault{http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE", "The server cannot do this for now; try again later."}
	case codeTransfer:
		return fault{http.StatusBadGateway, "", "WhatsApp's media servers did not take or deliver the file; try again."}
	case codeMediaDamaged:
		return fault{http.StatusBadGateway, "", "What WhatsApp delivered is not the file that the sender announced, or it is too large."}
	case codeGatewayTimeout:
		return fault{http.StatusGatewayTimeout, "", "WhatsApp did not answer in time."}
	}
	return fault{http.StatusInternalServerError, "", "Internal error."}
}

// codeForStatus is the code of problems that are known by their status alone, as Huma's own are.
func codeForStatus(status int) Code {
	for _, c := range []Code{
		codeBadRequest, codeMissingKey, codeInvalidKey, codeNotFound, codeMethodNotAllowed, codeRequestTimeout, codeTooLarge,
		codeUnsupportedMedia, codeValidation, codeUpgradeRequired, codeTooManyStreams, codeUnavailable, codeGatewayTimeout,
	} {
		if c.fault().status == status {
			return c
		}
	}
	if status >= http.StatusBadRequest && status < http.StatusInternalServerError {
		return Code(strings.ToUpper(strings.ReplaceAll(http.StatusText(status), " ", "_")))
	}
	return codeInternal
}

// Problem is the body of every answer that is not a success (RFC 9457).
type Problem struct { //nolint:errname // RFC 9457's own word
	Title  string `json:"title" doc:"The status in words." example:"Not Found"`
	Status int    `json:"status" doc:"The HTTP status." example:"404"`
	Detail string `json:"detail" doc:"What went wrong, as a sentence." example:"There is no such chat."`
	Text   string `json:"error" doc:"What went wrong, in the words of the specification; the same as code where it has none." example:"Chat not found"`
	Code   Code   `json:"code" doc:"What went wrong, for programs. Stable." example:"CHAT_NOT_FOUND"`
	// RequestID is also in the header X-Request-Id and in the server's logs.
	RequestID     string              `json:"requestId,omitempty" doc:"The request's id, to be quoted to the operator." example:"7f4df2e07ba94be2"`
	MessageID     tenant.MessageID    `json:"messageId,omitempty" doc:"The message that was stored all the same."`
	MessageStatus string              `json:"messageStatus,omitempty" doc:"The status of that message." example:"pending"`
	Errors        []*huma.ErrorDetail `json:"errors,omitempty" doc:"Each field that is not valid."`

	retryAfter time.Duration
}

var (
	_ huma.StatusError       = (*Problem)(nil)
	_ huma.HeadersError      = (*Problem)(nil)
	_ huma.ContentTypeFilter = (*Problem)(nil)
)

// newProblem is the problem that a code stands for, with the code's own sentence.
func newProblem(c Code) *Problem {
	f := c.fault()
	p := &Problem{Title: http.StatusText(f.status), Status: f.status, Detail: f.detail, Text: f.text, Code: c}
	if p.Text == "" {
		p.Text = string(c)
	}
	if p.Title == "" {
		p.Title = "Client Closed Request"
	}
	if f.status == http.StatusServiceUnavailable || f.status == http.StatusTooManyRequests {
		p.retryAfter = defaultRetryAfter
	}
	return p
}

// defaultRetryAfter is what Retry-After says when nothing better is known.
const defaultRetryAfter = 2 * time.Second

// because replaces the code's sentence.
func (p *Problem) because(detail string) *Problem {
	p.Detail = detail
	return p
}

// invalid is a 422 about one field.
func invalid(location, message string) *Problem {
	p := newProblem(codeValidation)
	p.Errors = []*huma.ErrorDetail{{Location: location, Message: message}}
	return p
}

// Error is for logs.
func (p *Problem) Error() string { return string(p.Code) + ": " + p.Detail }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType makes the answer application/problem+json.
func (p *Problem) ContentType(string) string { return problemType }

const problemType = "application/problem+json"

// GetHeaders are the headers that go with the problem.
func (p *Problem) GetHeaders() http.Header {
	if p.retryAfter <= 0 {
		return nil
	}
	seconds := int64(math.Ceil(p.retryAfter.Seconds()))
	return http.Header{"Retry-After": {strconv.FormatInt(seconds, 10)}}
}

// write answers with the problem, outside of Huma.
func (p *Problem) write(w http.ResponseWriter, r *http.Request) {
	if p.RequestID == "" {
		p.RequestID = stateOf(r.Context()).id
	}
	maps.Copy(w.Header(), p.GetHeaders())
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(p) //nolint:errchkjson // the status is sent; a client that left learns nothing more
}

// InstallErrors makes Huma's own errors problems of ours, and other spellings of a field's name unknown fields. What it sets are
// Huma's package variables, so it is called once, before [New], by whoever owns the process.
func InstallErrors() {
	huma.ValidateStrictCasing = true
	huma.NewError = fromHuma
	huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
		p := fromHuma(status, msg, errs...)
		if own, ok := errors.AsType[*Problem](p); ok {
			own.RequestID = stateOf(ctx.Context()).id
		}
		return p
	}
}

// maxEchoed is the longest value, in bytes, that a validation error shows to its sender again.
const maxEchoed = 100

// fromHuma makes a problem of what Huma found.
func fromHuma(status int, msg string, errs ...error) huma.StatusError {
	code := codeForStatus(status)
	if code == codeBadRequest && len(errs) > 0 {
		code = codeMalformedJSON // the only 400 of Huma's with details
	}
	p := newProblem(code)
	if code == codeBadRequest && msg != "" {
		p.Detail = strings.ToUpper(msg[:1]) + msg[1:] + "."
	}
	if status != 0 && p.Status != status {
		p.Status, p.Title = status, http.StatusText(status)
	}
	for _, err := range errs {
		if err == nil || p.Status >= http.StatusInternalServerError {
			continue
		}
		detail := &huma.ErrorDetail{Message: err.Error()}
		if found, ok := errors.AsType[*huma.ErrorDetail](err); ok {
			clone := *found
			detail = &clone
		}
		text, isText := detail.Value.(string)
		_, isScalar := detail.Value.(float64)
		if (!isText && !isScalar) || len(text) > maxEchoed || detail.Location == "body" || strings.HasSuffix(detail.Location, "apiKey") {
			detail.Value = nil
		}
		p.Errors = append(p.Errors, detail)
	}
	return p
}

// problemOf is the problem that an error of the domain stands for. What it does not know becomes an internal error, which the
// caller logs. forTenant says that a tenant asks: a tenant that is gone has no valid key any more.
func problemOf(err error, forTenant bool) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if offline, ok := errors.AsType[*session.OfflineError](err); ok {
		return offlineProblem(offline)
	}
	if silent, ok := errors.AsType[*session.UnansweredError](err); ok {
		p := newProblem(codeGatewayTimeout).because("WhatsApp did not answer in time. The message is stored and will be sent under the same id.")
		p.MessageID, p.MessageStatus = silent.Message.ID, tenant.StatusPending.String()
		return p
	}
	if rejected, ok := errors.AsType[*session.RejectedError](err); ok {
		p := newProblem(codeMessageRejected).because("WhatsApp refused the message with code " + strconv.Itoa(rejected.Code) + "; it is stored as failed.")
		p.MessageID, p.MessageStatus = rejected.Message.ID, tenant.StatusFailed.String()
		return p
	}
	if _, uncertain := errors.AsType[*session.UncertainError](err); uncertain {
		return newProblem(codeGatewayTimeout).because("WhatsApp did not answer in time. It may have done what you asked for; nothing has changed here. " +
			"Ask again: twice does no harm.")
	}
	if refused, ok := errors.AsType[*session.RefusedError](err); ok {
		return newProblem(codeActionRejected).because("WhatsApp refused with code " + strconv.Itoa(refused.Code) + "; nothing has changed.")
	}
	for _, known := range domainErrors() {
		if errors.Is(err, known.err) {
			if known.code == codeTenantNotFound && forTenant {
				return newProblem(codeInvalidKey)
			}
			if known.field != "" {
				return invalid(known.field, known.err.Error())
			}
			return newProblem(known.code)
		}
	}
	return newProblem(codeInternal)
}

// domainError is a line of the table of errors.
type domainError struct {
	err   error
	code  Code
	field string // the field that is to blame, for 422
}

// domainErrors is the table of the sentinels of tenant and session.
func domainErrors() []domainError {
	return []domainError{
		{tenant.ErrNotFound, codeTenantNotFound, ""},
		{tenant.ErrInvalidID, codeTenantNotFound, ""},
		{tenant.ErrKeyNotFound, codeKeyNotFound, ""},
		{tenant.ErrInvalidKey, codeInvalidKey, ""},
		{tenant.ErrInvalidChatID, codeValidation, "path.chatId"},
		{tenant.ErrInvalidCursor, codeValidation, "query.cursor"},
		{tenant.ErrChatNotFound, codeChatNotFound, ""},
		{tenant.ErrMessageNotFound, codeMessageNotFound, ""},
		{tenant.ErrNoMedia, codeNoMedia, ""},
		{tenant.ErrUnavailable, codeUnavailable, ""},
		{tenant.ErrClosed, codeUnavailable, ""},
		{session.ErrNotPaired, codeNotPaired, ""},
		{session.ErrAlreadyPaired, codeAlreadyPaired, ""},
		{session.ErrPairingActive, codePairingActive, ""},
		{session.ErrNoPairing, codeNoPairing, ""},
		{session.ErrMediaGone, codeMediaGone, ""},
		{session.ErrMediaDamaged, codeMediaDamaged, ""},
		{session.ErrPhoneSilent, codeGatewayTimeout, ""},
		{session.ErrTransfer, codeTransfer, ""},
		{spool.ErrFull, codeUnavailable, ""},
		{session.ErrInvalidPhone, codeValidation, "body.phone"},
		{session.ErrStopping, codeUnavailable, ""},
		{session.ErrForbidden, codeForbidden, ""},
		{session.ErrDeleted, codeMessageDeleted, ""},
		{session.ErrNotText, codeNotAText, ""},
		{session.ErrEditWindow, codeEditWindow, ""},
		{context.DeadlineExceeded, codeGatewayTimeout, ""},
		{context.Canceled, codeClientGone, ""},
	}
}

// offlineProblem says why the session cannot act and what to do.
func offlineProblem(e *session.OfflineError) *Problem {
	p := newProblem(codeUnavailable)
	p.Detail = "The session is not connected to WhatsApp (" + string(e.View.State) + ")."
	if e.View.Message != "" {
		p.Detail += " " + e.View.Message
	}
	// "Nothing: …" answers the operator's question what to do; here it would be no sentence of its own.
	if e.View.Action != "" && !strings.HasPrefix(e.View.Action, "Nothing") {
		p.Detail += " " + e.View.Action
	}
	p.retryAfter = e.RetryAfter(time.Now())
	return p
}

// logProblem logs what only the operator should see.
func logProblem(ctx context.Context, p *Problem, err error) {
	state := stateOf(ctx)
	p.RequestID = state.id
	if p.Code == codeInternal || p.Code == codeMisconfigured {
		state.log.ErrorContext(ctx, "request failed", slog.String("operation", state.operation), slog.Any("error", err))
	}
}
