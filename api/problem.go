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
	codeNotAGroup        Code = "NOT_A_GROUP"
	codeMissingKey       Code = "MISSING_API_KEY"
	codeInvalidKey       Code = "INVALID_API_KEY"
	codeSuspended        Code = "TENANT_SUSPENDED"
	codeScope            Code = "INSUFFICIENT_SCOPE"
	codeRole             Code = "INSUFFICIENT_ROLE"
	codeSessionSuspended Code = "SESSION_SUSPENDED"
	codeExternalIDTaken  Code = "EXTERNAL_ID_TAKEN"
	codeMetadataFull     Code = "METADATA_FULL"
	codeKeyEnded         Code = "KEY_ENDED"
	codeLastOwner        Code = "LAST_OWNER"
	codeDeletionNotFound Code = "DELETION_NOT_FOUND"
	codeNotFound         Code = "NOT_FOUND"
	codeChatNotFound     Code = "CHAT_NOT_FOUND"
	codeMessageNotFound  Code = "MESSAGE_NOT_FOUND"
	codeNoMedia          Code = "MEDIA_NOT_FOUND"
	codeContactNotFound  Code = "CONTACT_NOT_FOUND"
	codeNotOnWhatsApp    Code = "NOT_ON_WHATSAPP"
	codeNoPicture        Code = "PICTURE_NOT_FOUND"
	codeNoName           Code = "NO_NAME"
	codeRateLimited      Code = "RATE_LIMITED"
	codeTenantNotFound   Code = "TENANT_NOT_FOUND"
	codeKeyNotFound      Code = "KEY_NOT_FOUND"
	codeNoPairing        Code = "NO_PAIRING"
	codeLinkNotFound     Code = "PAIRING_LINK_NOT_FOUND"
	codeTooManyLinks     Code = "TOO_MANY_PAIRING_LINKS"
	codeMethodNotAllowed Code = "METHOD_NOT_ALLOWED"
	codeRequestTimeout   Code = "REQUEST_TIMEOUT"
	codeNotPaired        Code = "NOT_PAIRED"
	codeAlreadyPaired    Code = "ALREADY_PAIRED"
	codePairingActive    Code = "PAIRING_ACTIVE"
	codeExported         Code = "TENANT_EXPORTED"
	codeTenantExists     Code = "TENANT_EXISTS"
	codeKeptExport       Code = "KEPT_EXPORT"
	codeFileDamaged      Code = "FILE_DAMAGED"
	codeFileUnsupported  Code = "FILE_UNSUPPORTED"
	codeMessageRejected  Code = "MESSAGE_REJECTED"
	codeForbidden        Code = "FORBIDDEN"
	codeInviteNotFound   Code = "INVITE_NOT_FOUND"
	codeInviteRevoked    Code = "INVITE_REVOKED"
	codeEditWindow       Code = "EDIT_WINDOW_CLOSED"
	codeMessageDeleted   Code = "MESSAGE_DELETED"
	codeActionRejected   Code = "ACTION_REJECTED"
	codeNotAText         Code = "NOT_A_TEXT"
	codeNotAPoll         Code = "NOT_A_POLL"
	codeNotForwardable   Code = "NOT_FORWARDABLE"
	codeKeyReused        Code = "IDEMPOTENCY_KEY_REUSED"
	codeMediaGone        Code = "MEDIA_GONE"
	codeTooLarge         Code = "PAYLOAD_TOO_LARGE"
	codeUnsupportedMedia Code = "UNSUPPORTED_MEDIA_TYPE"
	codeRange            Code = "RANGE_NOT_SATISFIABLE"
	codeValidation       Code = "VALIDATION_ERROR"
	codeUpgradeRequired  Code = "UPGRADE_REQUIRED"
	codeTooManyStreams   Code = "TOO_MANY_STREAMS"
	codeTooManyRequests  Code = "TOO_MANY_REQUESTS"
	codeJoinNotFound     Code = "JOIN_URL_NOT_FOUND"
	codeClientGone       Code = "CLIENT_CLOSED_REQUEST"
	codeInternal         Code = "INTERNAL_ERROR"
	codeMisconfigured    Code = "SERVER_MISCONFIGURED"
	codeUnavailable      Code = "SERVICE_UNAVAILABLE"
	codeTransfer         Code = "MEDIA_TRANSFER_FAILED"
	codeMediaDamaged     Code = "MEDIA_DAMAGED"
	codeGatewayTimeout   Code = "GATEWAY_TIMEOUT"
	codePhoneSilent      Code = "PHONE_SILENT"
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
	case codeNotAGroup:
		return fault{http.StatusBadRequest, "NOT_A_GROUP", "This is for groups; the chat is a person's."}
	case codeMissingKey:
		return fault{http.StatusUnauthorized, "Missing API key", "Send your API key in the header X-API-Key."}
	case codeInvalidKey:
		return fault{http.StatusForbidden, "Invalid API key", "The API key is unknown, revoked or expired."}
	case codeSuspended:
		return fault{http.StatusForbidden, "", "The account is suspended; its operator has to act."}
	case codeScope:
		return fault{http.StatusForbidden, "", "The API key may not do this: it lacks the scope that \"scope\" names."}
	case codeRole:
		return fault{http.StatusForbidden, "", "The admin key may not do this: its role is too small."}
	case codeSessionSuspended:
		return fault{http.StatusConflict, "", "The tenant is suspended: resume it first."}
	case codeExternalIDTaken:
		return fault{http.StatusConflict, "", "Another tenant has this externalId; nothing was changed."}
	case codeMetadataFull:
		return fault{http.StatusConflict, "", "The tenant would have more than 50 keys of metadata: remove some."}
	case codeKeyEnded:
		return fault{http.StatusConflict, "", "The key was revoked or has expired: make a new one."}
	case codeLastOwner:
		return fault{http.StatusConflict, "", "This is the last owner's key, and the node was started without an admin key: make another owner first."}
	case codeDeletionNotFound:
		return fault{http.StatusNotFound, "", "No tenant of this id was deleted."}
	case codeNotFound:
		return fault{http.StatusNotFound, "", "There is no such resource."}
	case codeChatNotFound:
		return fault{http.StatusNotFound, "Chat not found", "There is no such chat."}
	case codeMessageNotFound:
		return fault{http.StatusNotFound, "", "There is no such message in the chat."}
	case codeNoMedia:
		return fault{http.StatusNotFound, "", "The message has no file."}
	case codeContactNotFound:
		return fault{http.StatusNotFound, "", "Nothing is known of this person."}
	case codeNotOnWhatsApp:
		return fault{http.StatusNotFound, "", "Nobody on WhatsApp has this number."}
	case codeNoPicture:
		return fault{http.StatusNotFound, "", "There is no picture."}
	case codeNoName:
		return fault{http.StatusConflict, "", "The account has no name yet, without which WhatsApp does not show it: set one with PATCH /api/profile."}
	case codeRateLimited:
		return fault{http.StatusTooManyRequests, "", "A limit is used up; the header Retry-After says when to come again."}
	case codeTenantNotFound:
		return fault{http.StatusNotFound, "", "There is no such tenant."}
	case codeKeyNotFound:
		return fault{http.StatusNotFound, "", "The tenant has no such API key."}
	case codeNoPairing:
		return fault{http.StatusNotFound, "", "No pairing is under way, or it has no QR code to show now."}
	case codeLinkNotFound:
		return fault{http.StatusNotFound, "", "The tenant has no such pairing link."}
	case codeTooManyLinks:
		return fault{http.StatusConflict, "", "The tenant has 50 pairing links that can be used: revoke some, or let them expire."}
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
	case codeExported:
		return fault{http.StatusConflict, "", "The tenant was exported, to run on another node. If it was imported nowhere, take the export back first."}
	case codeTenantExists:
		return fault{http.StatusConflict, "", "The tenant lives on this node already; nothing was changed."}
	case codeKeptExport:
		return fault{http.StatusConflict, "", "The tenant went on where it was exported: import it without connecting it, make sure that it does not run there, then connect it."}
	case codeFileDamaged:
		return fault{http.StatusUnprocessableEntity, "Validation error", "The file is damaged or not whole; nothing of it was kept."}
	case codeFileUnsupported:
		return fault{http.StatusUnprocessableEntity, "Validation error", "The file is no exported tenant, or one that this version cannot take; nothing of it was kept."}
	case codeMessageRejected:
		return fault{http.StatusConflict, "", "WhatsApp refused the message; it is stored as failed."}
	case codeInviteNotFound:
		return fault{http.StatusNotFound, "", "No group has this invitation link."}
	case codeInviteRevoked:
		return fault{http.StatusGone, "", "The invitation link was reset: ask for the new one."}
	case codeForbidden:
		return fault{http.StatusForbidden, "FORBIDDEN", "WhatsApp does not let this account do that: the message is somebody else's, or only a group's members or admins may."}
	case codeEditWindow:
		return fault{http.StatusConflict, "", "The message was sent more than 15 minutes ago: WhatsApp does not let it be edited any more."}
	case codeMessageDeleted:
		return fault{http.StatusConflict, "", "The message is deleted."}
	case codeActionRejected:
		return fault{http.StatusConflict, "", "WhatsApp refused; nothing has changed."}
	case codeNotAText:
		return fault{http.StatusUnprocessableEntity, "Validation error", "The message is not a text: only texts can be edited."}
	case codeNotAPoll:
		return fault{http.StatusUnprocessableEntity, "Validation error", "The message is not a poll, or one whose key this account was never given."}
	case codeNotForwardable:
		return fault{http.StatusUnprocessableEntity, "Validation error", "The message is of a kind that cannot be forwarded."}
	case codeKeyReused:
		return fault{http.StatusUnprocessableEntity, "Validation error", "The Idempotency-Key was used for another request: repeat that one as it was, or choose another key."}
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
	case codeTooManyRequests:
		return fault{http.StatusTooManyRequests, "", "Too many requests came from this address: wait as long as Retry-After says."}
	case codeJoinNotFound:
		return fault{http.StatusNotFound, "", "There is no such join URL, or it is no longer valid."}
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
	case codePhoneSilent:
		return fault{http.StatusGatewayTimeout, "", "The account's phone did not answer in time: it must be on and connected to the internet."}
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
	Limit         string              `json:"limit,omitempty" doc:"The limit that is used up, where it is one of the tenant's; see GET /api/limits, and reachout for WhatsApp's reach-out time lock." example:"coldChats"`
	Scope         tenant.Scope        `json:"scope,omitempty" enum:"read,send,manage" doc:"The scope that the API key lacks." example:"send"`
	MessageStatus string              `json:"messageStatus,omitempty" doc:"The status of that message." example:"pending"`
	Received      *int                `json:"received,omitempty" doc:"How many messages of a history had come, and stay stored."`
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
	stateOf(r.Context()).code = p.Code
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
			stateOf(ctx.Context()).code = own.Code
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
	if partly, ok := errors.AsType[*session.PartlyError](err); ok {
		return partlyProblem(partly, forTenant)
	}
	if sync, ok := errors.AsType[*session.SyncError](err); ok {
		return syncProblem(sync)
	}
	if partial, ok := errors.AsType[*session.HistoryError](err); ok {
		return historyProblem(partial, forTenant)
	}
	if offline, ok := errors.AsType[*session.OfflineError](err); ok {
		return offlineProblem(offline)
	}
	if p := groupProblem(err); p != nil {
		return p
	}
	if silent, ok := errors.AsType[*session.UnansweredError](err); ok {
		p := newProblem(codeGatewayTimeout).because("WhatsApp did not answer in time. The message is stored and will be sent under the same id.")
		if silent.Unsure {
			p = p.because("The database did not answer in time: the message may be stored or not. If it is, it will be sent under its id; look it up before you send it again.")
		}
		p.MessageID, p.MessageStatus = silent.Message.ID, tenant.StatusPending.String()
		return p
	}
	if rejected, ok := errors.AsType[*session.RejectedError](err); ok {
		return rejectedProblem(rejected)
	}
	if _, uncertain := errors.AsType[*session.UncertainError](err); uncertain {
		return newProblem(codeGatewayTimeout).because("WhatsApp did not answer in time. It may have done what you asked for; nothing has changed here. " +
			"Ask again: twice does no harm.")
	}
	if limit, ok := errors.AsType[*session.LimitError](err); ok {
		return limitProblem(limit)
	}
	if refused, ok := errors.AsType[*session.RefusedError](err); ok {
		return newProblem(codeActionRejected).because("WhatsApp refused with code " + strconv.Itoa(refused.Code) + "; nothing has changed.")
	}
	if errors.Is(err, session.ErrNoStateKey) {
		return stateKeyProblem()
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

// rejectedProblem says that a message failed, and why if that is known.
func rejectedProblem(e *session.RejectedError) *Problem {
	p := newProblem(codeMessageRejected)
	if e.Code == 0 {
		p.Detail = "The message of this Idempotency-Key failed: WhatsApp refused it, or did not take it for too long. Send it anew under another key."
	} else {
		p.Detail = "WhatsApp refused the message with code " + strconv.Itoa(e.Code) + "; it is stored as failed."
	}
	p.MessageID, p.MessageStatus = e.Message.ID, tenant.StatusFailed.String()
	return p
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
		{tenant.ErrPairingLinkNotFound, codeLinkNotFound, ""},
		{tenant.ErrTooManyPairingLinks, codeTooManyLinks, ""},
		{tenant.ErrSuspended, codeSuspended, ""},
		{tenant.ErrExternalIDTaken, codeExternalIDTaken, ""},
		{tenant.ErrMetadataFull, codeMetadataFull, ""},
		{tenant.ErrKeyEnded, codeKeyEnded, ""},
		{tenant.ErrLastOwner, codeLastOwner, ""},
		{tenant.ErrDeletionNotFound, codeDeletionNotFound, ""},
		{session.ErrSuspended, codeSessionSuspended, ""},
		{tenant.ErrInvalidChatID, codeValidation, "path.chatId"},
		{tenant.ErrInvalidCursor, codeValidation, "query.cursor"},
		{tenant.ErrChatNotFound, codeChatNotFound, ""},
		{tenant.ErrMessageNotFound, codeMessageNotFound, ""},
		{tenant.ErrNoMedia, codeNoMedia, ""},
		{tenant.ErrJoinTokenNotFound, codeJoinNotFound, ""},
		{tenant.ErrContactNotFound, codeContactNotFound, ""},
		{session.ErrNotOnWhatsApp, codeNotOnWhatsApp, ""},
		{session.ErrNoPicture, codeNoPicture, ""},
		{session.ErrNoName, codeNoName, ""},
		{tenant.ErrUnavailable, codeUnavailable, ""},
		{tenant.ErrClosed, codeUnavailable, ""},
		{session.ErrNotPaired, codeNotPaired, ""},
		{session.ErrExported, codeExported, ""},
		{tenant.ErrExists, codeTenantExists, ""},
		{tenant.ErrLeaving, codeUnavailable, ""},
		{tenant.ErrForeignRows, codeFileUnsupported, ""},
		{session.ErrAlreadyPaired, codeAlreadyPaired, ""},
		{session.ErrPairingActive, codePairingActive, ""},
		{session.ErrNoPairing, codeNoPairing, ""},
		{session.ErrMediaGone, codeMediaGone, ""},
		{session.ErrMediaDamaged, codeMediaDamaged, ""},
		{session.ErrPhoneSilent, codePhoneSilent, ""},
		{session.ErrTransfer, codeTransfer, ""},
		{session.ErrNoAnswer, codeGatewayTimeout, ""},
		{spool.ErrFull, codeUnavailable, ""},
		{session.ErrInvalidPhone, codeValidation, "body.phone"},
		{session.ErrStopping, codeUnavailable, ""},
		{session.ErrBusy, codeUnavailable, ""},
		{session.ErrForbidden, codeForbidden, ""},
		{session.ErrInviteInvalid, codeInviteNotFound, ""},
		{session.ErrInviteRevoked, codeInviteRevoked, ""},
		{session.ErrDeleted, codeMessageDeleted, ""},
		{session.ErrNotText, codeNotAText, ""},
		{session.ErrEditWindow, codeEditWindow, ""},
		{session.ErrNotPoll, codeNotAPoll, ""},
		{session.ErrUnknownOption, codeValidation, "body.options"},
		{session.ErrSingleChoice, codeValidation, "body.options"},
		{session.ErrNotForwardable, codeNotForwardable, ""},
		{session.ErrKeyReused, codeKeyReused, ""},
		{context.DeadlineExceeded, codeGatewayTimeout, ""},
		{context.Canceled, codeClientGone, ""},
	}
}

// historyProblem says what ended a fetch of history, and what has come of it.
func historyProblem(e *session.HistoryError, forTenant bool) *Problem {
	p := problemOf(e.Err, forTenant)
	if _, uncertain := errors.AsType[*session.UncertainError](e.Err); uncertain {
		p = newProblem(codeGatewayTimeout) // nothing is uncertain about a question
	}
	p.Received = &e.Received
	p.Detail += " Messages that had come by then: " + strconv.Itoa(e.Received) + "; they stay stored, and the next call goes on from there."
	return p
}

// offlineProblem says why the session cannot act and what to do.
func offlineProblem(e *session.OfflineError) *Problem {
	p := newProblem(codeUnavailable)
	p.Detail = "The session is not connected to WhatsApp (" + string(e.View.State) + ")."
	if e.View.State == session.Online { // lost a moment ago, or WhatsApp wants to be left alone for a while
		p.Detail = "WhatsApp cannot do this for now; try again later."
	}
	if e.View.Message != "" {
		p.Detail += " " + e.View.Message
	}
	// "Nothing: …" answers the operator's question what to do; here it would be no sentence of its own.
	if e.View.Action != "" && !strings.HasPrefix(e.View.Action, "Nothing") {
		p.Detail += " " + e.View.Action
	}
	p.retryAfter = e.RetryAfter(time.Now())
	if e.Pending != "" {
		p.Detail += " The message is stored and goes out under its id when the session is connected again."
		p.MessageID, p.MessageStatus = e.Pending, tenant.StatusPending.String()
	}
	return p
}

// logProblem logs what only the operator should see.
func logProblem(ctx context.Context, p *Problem, err error) {
	state := stateOf(ctx)
	p.RequestID, state.code = state.id, p.Code
	if p.Code == codeInternal || p.Code == codeMisconfigured {
		state.log.ErrorContext(ctx, "request failed", slog.String("operation", state.operation), slog.Any("error", err))
	}
}
