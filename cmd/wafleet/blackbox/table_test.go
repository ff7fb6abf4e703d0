package blackbox

import (
	"maps"
	"net/http"
)

// scope is what an operation needs before it can act.
type scope int

const (
	public  scope = iota // no key
	account              // a key; the account need not be online
	local                // a chat that is stored here; the account need not be online
	action               // a chat, and an account that is online
	acting               // no chat, but an account that is online
	stream               // an upgrade to WebSocket
)

// want is the answer that is wanted. Without a status: any success.
type want struct {
	status      int
	error, code string
	or          int // another status that will do: rows beside this one change what it asks for
}

// The refusals of client API v2, §3 and §8.
func ok(status int) want { return want{status: status} }

func missingKey() want {
	return refusedAs(http.StatusUnauthorized, "Missing API key", "MISSING_API_KEY")
}

func invalidKey() want { return refusedAs(http.StatusForbidden, "Invalid API key", "INVALID_API_KEY") }
func forbidden() want  { return refused(http.StatusForbidden, "FORBIDDEN") }
func notAGroup() want  { return refused(http.StatusBadRequest, "NOT_A_GROUP") }
func noChat() want     { return refusedAs(http.StatusNotFound, "Chat not found", "CHAT_NOT_FOUND") }
func noMessage() want  { return refused(http.StatusNotFound, "MESSAGE_NOT_FOUND") }

func invalid() want {
	return refusedAs(http.StatusUnprocessableEntity, "Validation error", "VALIDATION_ERROR")
}

func notOnline() want {
	return refused(http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE")
}
func refused(status int, code string) want { return refusedAs(status, code, code) }

func refusedAs(status int, text, code string) want {
	return want{status: status, error: text, code: code}
}

// cell is one way to call an operation: as the chats' owner or as a stranger who knows their ids, online or offline.
type cell struct {
	chat   string // direct or group; empty for operations without a chat
	owner  bool
	online bool
}

func (c cell) String() string {
	name := "Stranger"
	if c.owner {
		name = "Owner"
	}
	if c.online {
		name += "Online"
	} else {
		name += "Offline"
	}
	return name + map[string]string{direct: "Direct", group: "Group"}[c.chat]
}

// rows are all that is known of one operation: from its scope follows what each cell answers, besides those that differ.
type rows struct {
	scope     scope
	groupOnly bool
	message   string // what {messageId} is: theirs, ours, file, or fresh, a new one of the caller's
	contact   string // what {contactId} is, with {values}; somebody whom no other row looks at if empty
	spare     int    // which spare chat it may destroy, from 1; 0: none
	opens     bool   // opens chats: strangers call it on one that no other row looks at
	body      string // JSON, with {values}
	file      string // the name of the file of a form, in place of a body
	query     string
	want      want // of the owner who is online
	differ    map[cell]want
	event     string // that the caller's WebSocket shows afterwards, about the chat
	more      []row
}

// row is a call by the owner who is online, which the cells do not have.
type row struct {
	name        string
	chat        string // direct, group or foreign: those of the fleet; another text: an id; empty: direct and group
	message     string // as in rows, or: deleted, our file
	body, query string
	media       string // another content type; file and no file are forms
	want        want
}

// unregistered is somebody who is not on WhatsApp, noGroup a group that does not exist.
const (
	unregistered = "5511000000001@c.us"
	noGroup      = "120363999999999999@g.us"
)

// table is every operation, by method and path.
func table() map[string]*rows {
	all := make(map[string]*rows)
	for _, part := range []map[string]*rows{serverTable(), chatTable(), messageTable(), groupTable(), peopleTable()} {
		maps.Copy(all, part)
	}
	return all
}

func serverTable() map[string]*rows {
	return map[string]*rows{
		"GET /api/health":  {scope: public, want: ok(http.StatusOK)},
		"GET /api/status":  {scope: account, want: ok(http.StatusOK)},
		"GET /api/session": {scope: account, want: ok(http.StatusOK)},
		"GET /api/limits":  {scope: account, want: ok(http.StatusOK)},
		"GET /api/events": {scope: account, want: ok(http.StatusOK), query: "?after=0&limit=1000", more: []row{
			{name: "LimitTooLarge", query: "?limit=1001", want: invalid()},
			{name: "AfterNoNumber", query: "?after=x", want: invalid()},
			{name: "WaitTooLong", query: "?wait=61", want: invalid()},
			{name: "SomeTypes", query: "?types=message.sent,message.received", want: ok(http.StatusOK)},
			{name: "TypeUnknown", query: "?types=weather", want: invalid()},
			{name: "TypeLiveOnly", query: "?types=typing", want: invalid()},
		}},
		"GET /api/events/stream": {scope: account, want: ok(http.StatusOK), query: "?after=0", more: []row{
			{name: "AfterNoNumber", query: "?after=x", want: invalid()},
			{name: "SomeTypes", query: "?types=message.sent,typing", want: ok(http.StatusOK)},
			{name: "TypeUnknown", query: "?types=weather", want: invalid()},
		}},
		"GET /ws": {scope: stream, want: refused(http.StatusUpgradeRequired, "UPGRADE_REQUIRED"), more: []row{
			{name: "SinceNoNumber", query: "?since=x", want: invalid()},
		}},
	}
}

func chatTable() map[string]*rows {
	return map[string]*rows{
		"GET /api/chats": {scope: account, want: ok(http.StatusOK), more: []row{
			{name: "Filtered", query: "?type=direct&archived=false&q=friend&limit=1", want: ok(http.StatusOK)},
			{name: "TypeUnknown", query: "?type=channel", want: invalid()},
			{name: "LimitZero", query: "?limit=0", want: invalid()},
			{name: "CursorBroken", query: "?limit=1&cursor=nonsense", want: invalid()},
			{name: "ParameterUnknown", query: "?nope=1", want: invalid()},
		}},
		"GET /api/chats/{chatId}":    {scope: local, want: ok(http.StatusOK)},
		"DELETE /api/chats/{chatId}": {scope: local, want: ok(http.StatusNoContent), spare: 1, event: "chat.deleted"},
		"PATCH /api/chats/{chatId}": {
			scope: action, body: `{"pinned":true}`, want: ok(http.StatusOK), event: "chat.updated", more: []row{
				{name: "Muted", body: `{"mutedUntil":"2099-01-01T00:00:00Z"}`, want: ok(http.StatusOK)},
				{name: "MutedInThePast", body: `{"mutedUntil":"2020-01-01T00:00:00Z"}`, want: invalid()},
				{name: "ArchivedAndPinned", body: `{"archived":true,"pinned":true}`, want: invalid()},
				{name: "Nothing", body: `{}`, want: invalid()},
			},
		},
		"POST /api/chats/sync":          {scope: acting, want: ok(http.StatusOK)},
		"POST /api/chats/{chatId}/read": {scope: action, want: ok(http.StatusNoContent)},
		"POST /api/chats/{chatId}/typing": {
			scope: action, body: `{"state":"composing"}`, want: ok(http.StatusNoContent), more: []row{
				{name: "StateUnknown", body: `{"state":"sleeping"}`, want: invalid()},
			},
		},
		"GET /api/chats/{chatId}/media": {scope: local, want: ok(http.StatusOK), query: "?limit=10", more: []row{
			{name: "OfAType", query: "?type=image", want: ok(http.StatusOK)},
			{name: "TypeUnknown", query: "?type=text", want: invalid()},
			{name: "LimitTooLarge", query: "?limit=1001", want: invalid()},
		}},
	}
}

func messageTable() map[string]*rows {
	return map[string]*rows{
		"GET /api/chats/{chatId}/messages": {scope: local, want: ok(http.StatusOK), query: "?limit=100", more: []row{
			{name: "LimitTooLarge", query: "?limit=1001", want: invalid()},
			{name: "LimitZero", query: "?limit=0", want: invalid()},
			{name: "Searched", query: "?q=answered&before=2100-01-01T00:00:00Z&after=2000-01-01T00:00:00Z", want: ok(http.StatusOK)},
			{name: "TimeBroken", query: "?before=yesterday", want: invalid()},
			{name: "CursorBroken", query: "?cursor=nonsense", want: invalid()},
		}},
		"POST /api/chats/{chatId}/messages":                  sendRows(),
		"PATCH /api/chats/{chatId}/messages/{messageId}":     editRows(),
		"DELETE /api/chats/{chatId}/messages/{messageId}":    deleteRows(),
		"GET /api/chats/{chatId}/messages/{messageId}/media": mediaRows(),
		"GET /api/chats/{chatId}/messages/{messageId}/media/thumbnail": {
			scope: local, message: "file", want: ok(http.StatusOK), more: []row{
				{name: "OfAText", message: "theirs", want: refused(http.StatusNotFound, "MEDIA_NOT_FOUND")},
			},
		},
		"PUT /api/chats/{chatId}/messages/{messageId}/reactions": {
			scope: action, message: "theirs", body: `{"emoji":"👍"}`, want: ok(http.StatusOK), event: "message.reaction", more: []row{
				{name: "NoEmoji", message: "theirs", body: `{"emoji":""}`, want: invalid()},
				{name: "ToOurOwn", message: "ours", body: `{"emoji":"❤️"}`, want: ok(http.StatusOK)},
			},
		},
		"DELETE /api/chats/{chatId}/messages/{messageId}/reactions": {scope: action, message: "ours", want: ok(http.StatusNoContent)},
		"POST /api/chats/{chatId}/messages/{messageId}/forward": {
			scope: action, message: "theirs", body: `{"to":"{chatId}"}`, want: ok(http.StatusCreated), more: []row{
				{name: "AFile", message: "file", body: `{"to":"{chatId}"}`, want: ok(http.StatusCreated)},
				{name: "Deleted", message: "deleted", body: `{"to":"{chatId}"}`, want: refused(http.StatusConflict, "MESSAGE_DELETED")},
				{name: "ToNobody", message: "theirs", body: `{"to":"` + unregistered + `"}`, want: noChat()},
				{name: "ToNonsense", message: "theirs", body: `{"to":"nonsense"}`, want: invalid()},
			},
		},
		"POST /api/chats/{chatId}/messages/{messageId}/votes": {
			scope: action, message: "poll", body: `{"options":["a"]}`, want: ok(http.StatusOK), event: "poll.vote", more: []row{
				{name: "Withdrawn", message: "poll", body: `{"options":[]}`, want: ok(http.StatusOK)},
				{name: "UnknownOption", message: "poll", body: `{"options":["z"]}`, want: invalid()},
				{name: "TwoOfOne", message: "poll", body: `{"options":["a","b"]}`, want: invalid()},
				{name: "InAText", message: "theirs", body: `{"options":["a"]}`, want: refusedAs(http.StatusUnprocessableEntity, "Validation error", "NOT_A_POLL")},
			},
		},
		"GET /api/whatsapp/messages/{chatId}": {
			scope: action, opens: true, want: ok(http.StatusOK), differ: map[cell]want{
				{chat: direct, online: true}: ok(http.StatusOK), {chat: direct}: notOnline(), {chat: group}: notOnline(),
			}, more: []row{
				{name: "LimitTooLarge", query: "?limit=501", want: invalid()},
				{name: "LimitZero", query: "?limit=0", want: invalid()},
			},
		},
	}
}

func sendRows() *rows {
	return &rows{
		scope: action, opens: true, body: `{"message":"secret of {caller}, sent {n}"}`, want: ok(http.StatusCreated), event: "message.sent",
		differ: map[cell]want{
			// Whoever is on WhatsApp can be written to, whether there is a chat or not.
			{chat: direct, online: true}: ok(http.StatusCreated),
			// Whether the stranger may write is only known to WhatsApp.
			{chat: direct}: notOnline(), {chat: group}: notOnline(),
		},
		more: []row{
			{name: "Quoting", body: `{"message":"answer {n}","replyTo":"{theirs}","mentions":["{friend}@c.us"]}`, want: ok(http.StatusCreated)},
			{name: "QuotingNothing", body: `{"message":"x","replyTo":"NOSUCHMESSAGE"}`, want: noMessage()},
			{name: "Empty", body: `{"message":""}`, want: invalid()},
			{name: "Missing", body: `{}`, want: invalid()},
			{name: "NoText", body: `{"message":1}`, want: invalid()},
			{name: "MentionNobody", body: `{"message":"x","mentions":["everybody"]}`, want: invalid()},
			{name: "NotRegistered", chat: unregistered, body: `{"message":"x"}`, want: noChat()},
			{name: "NoSuchGroup", chat: noGroup, body: `{"message":"x"}`, want: noChat()},
			{name: "FormWithoutBoundary", body: "x", media: "multipart/form-data", want: refused(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE")},
			{name: "Place", body: `{"location":{"latitude":-23.5,"longitude":-46.6,"name":"MASP"}}`, want: ok(http.StatusCreated)},
			{name: "PlaceNowhere", body: `{"location":{"latitude":91,"longitude":0}}`, want: invalid()},
			{name: "Card", body: `{"contact":{"name":"Ana","phone":"+5511999990001"}}`, want: ok(http.StatusCreated)},
			{name: "CardWithoutNumber", body: `{"contact":{"name":"Ana"}}`, want: invalid()},
			{name: "TwoContents", body: `{"message":"x","location":{"latitude":1,"longitude":1}}`, want: invalid()},
			{name: "Forwarded", body: `{"message":"x","forwarded":true}`, want: ok(http.StatusCreated)},
			{name: "File", media: "file", want: ok(http.StatusCreated)},
			{name: "FileMissing", media: "no file", want: invalid()},
		},
	}
}

func editRows() *rows {
	return &rows{
		scope: action, message: "fresh", body: `{"message":"secret of {caller}, edited {n}"}`, want: ok(http.StatusOK), event: "message.edited",
		more: []row{
			{name: "Theirs", message: "theirs", body: `{"message":"x"}`, want: forbidden()},
			{name: "Empty", message: "fresh", body: `{"message":""}`, want: invalid()},
			{name: "Missing", message: "fresh", body: `{}`, want: invalid()},
			{name: "Deleted", message: "deleted", body: `{"message":"x"}`, want: refused(http.StatusConflict, "MESSAGE_DELETED")},
			{name: "AFile", message: "our file", body: `{"message":"x"}`, want: refusedAs(http.StatusUnprocessableEntity, "Validation error", "NOT_A_TEXT")},
		},
	}
}

func deleteRows() *rows {
	return &rows{
		scope: action, message: "fresh", want: ok(http.StatusNoContent), event: "message.deleted",
		more: []row{
			{name: "TheirsInADirectChat", chat: direct, message: "theirs", want: forbidden()},
			{name: "OurFile", message: "our file", want: ok(http.StatusNoContent)},
			{name: "Again", message: "deleted", want: ok(http.StatusNoContent)},
		},
	}
}

func mediaRows() *rows {
	return &rows{
		scope: action, message: "file", want: ok(http.StatusOK), more: []row{ // it is fetched from WhatsApp
			{name: "OfAText", message: "theirs", want: refused(http.StatusNotFound, "MEDIA_NOT_FOUND")},
		},
	}
}
