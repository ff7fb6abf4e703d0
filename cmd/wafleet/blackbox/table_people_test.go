package blackbox

import (
	"net/http"
	"strings"
)

// peopleTable is what is about persons, the account's own among them.
func peopleTable() map[string]*rows {
	unknown := refused(http.StatusNotFound, "CONTACT_NOT_FOUND")
	noPicture := refused(http.StatusNotFound, "PICTURE_NOT_FOUND")
	maybePicture := noPicture
	maybePicture.or = http.StatusOK // there is one for a while
	return map[string]*rows{
		"GET /api/contacts": {scope: account, want: ok(http.StatusOK), query: "?limit=2&q=friend", more: []row{
			{name: "LimitZero", query: "?limit=0", want: invalid()},
			{name: "CursorBroken", query: "?cursor=nonsense", want: invalid()},
		}},
		"GET /api/contacts/{contactId}": {
			scope: account, contact: "{friend}@c.us", want: ok(http.StatusOK), differ: map[cell]want{{}: unknown, {online: true}: unknown},
		},
		"GET /api/contacts/{contactId}/picture":     {scope: acting, want: noPicture},
		"GET /api/chats/{chatId}/picture":           {scope: action, spare: 2, want: noPicture}, // a chat that nobody gives one
		"POST /api/contacts/{contactId}/presence":   {scope: acting, want: ok(http.StatusNoContent)},
		"DELETE /api/contacts/{contactId}/presence": {scope: acting, want: ok(http.StatusNoContent)},
		"POST /api/contacts/check": {
			scope: acting, body: `{"phones":["+{friend}","+5511000000001"]}`, want: ok(http.StatusOK), more: []row{
				{name: "None", body: `{"phones":[]}`, want: invalid()},
				{name: "NoNumber", body: `{"phones":["nobody"]}`, want: invalid()},
				{name: "TooMany", body: `{"phones":["+5511000000001"` + strings.Repeat(`,"+5511000000001"`, 50) + `]}`, want: invalid()},
			},
		},
		"GET /api/blocklist":                {scope: account, want: ok(http.StatusOK)},
		"PUT /api/blocklist/{contactId}":    {scope: acting, want: ok(http.StatusNoContent)},
		"DELETE /api/blocklist/{contactId}": {scope: acting, want: ok(http.StatusNoContent)},
		"GET /api/profile":                  {scope: acting, want: ok(http.StatusOK)},
		"PATCH /api/profile": {
			scope: acting, body: `{"about":"secret of {caller}"}`, want: ok(http.StatusOK), more: []row{
				{name: "Nothing", body: `{}`, want: invalid()},
				{name: "NameEmpty", body: `{"name":""}`, want: invalid()},
				{name: "NameTooLong", body: `{"name":"` + long(26) + `"}`, want: invalid()},
			},
		},
		"GET /api/profile/picture": {scope: acting, want: maybePicture},
		"PUT /api/profile/picture": {scope: acting, file: "picture.jpg", more: []row{
			{name: "FileMissing", media: "no file", want: invalid()},
			{name: "NoPicture", media: "file", want: invalid()},
		}},
		"DELETE /api/profile/picture": {scope: acting, want: ok(http.StatusNoContent)},
		"PUT /api/presence": {
			scope: acting, body: `{"state":"available"}`, want: ok(http.StatusNoContent), more: []row{
				{name: "StateUnknown", body: `{"state":"asleep"}`, want: invalid()},
			},
		},
	}
}

// long is a text of so many characters.
func long(n int) string { return strings.Repeat("é", n) }
