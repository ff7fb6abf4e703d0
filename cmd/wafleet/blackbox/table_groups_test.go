package blackbox

import "net/http"

// groupTable is what only groups have (client API v2 §7): on a direct chat it is refused by the form of its id.
func groupTable() map[string]*rows {
	all := participantsTable()
	for key, r := range map[string]*rows{
		"PATCH /api/chats/{chatId}/name": {
			body: `{"name":"secret of {caller}, {n}"}`, want: ok(http.StatusOK), event: "group.updated", more: []row{
				{name: "Empty", body: `{"name":""}`, want: invalid()},
				{name: "TooLong", body: `{"name":"` + long(101) + `"}`, want: invalid()},
				{name: "NoAdmin", chat: foreign, body: `{"name":"x"}`, want: forbidden()},
			},
		},
		"PATCH /api/chats/{chatId}/description": {
			body: `{"description":"secret of {caller}, {n}"}`, want: ok(http.StatusOK), event: "group.updated", more: []row{
				{name: "Removed", body: `{"description":""}`, want: ok(http.StatusOK)},
				{name: "NoAdmin", chat: foreign, body: `{"description":"x"}`, want: forbidden()},
			},
		},
		"PUT /api/chats/{chatId}/picture": {file: "picture.jpg", more: []row{
			{name: "FileMissing", media: "no file", want: invalid()},
			{name: "NoForm", body: `{}`, want: refused(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE")},
			{name: "NoPicture", media: "file", want: invalid()},
		}},
		"DELETE /api/chats/{chatId}/picture": {},
		"GET /api/chats/{chatId}/settings":   {scope: local, want: ok(http.StatusOK)},
		"PATCH /api/chats/{chatId}/settings": {
			body: `{"locked":true}`, want: ok(http.StatusOK), more: []row{
				{name: "All", body: `{"announce":true,"locked":true,"joinApproval":true,"memberAdd":"admins"}`, want: ok(http.StatusOK)},
				{name: "Nothing", body: `{}`, want: invalid()},
				{name: "MemberAddUnknown", body: `{"memberAdd":"nobody"}`, want: invalid()},
				{name: "NoAdmin", chat: foreign, body: `{"announce":false}`, want: forbidden()},
			},
		},
		"POST /api/chats/{chatId}/leave":        {spare: 2, want: ok(http.StatusNoContent)},
		"GET /api/chats/{chatId}/invite":        {want: ok(http.StatusOK), more: []row{{name: "NoAdmin", chat: foreign, want: forbidden()}}},
		"POST /api/chats/{chatId}/invite/reset": {want: ok(http.StatusOK), more: []row{{name: "NoAdmin", chat: foreign, want: forbidden()}}},
		"POST /api/chats/{chatId}/join-url":     {want: ok(http.StatusCreated), more: []row{{name: "NoAdmin", chat: foreign, want: forbidden()}}},
		"DELETE /api/chats/{chatId}/join-url":   {scope: local, want: ok(http.StatusNoContent)},
		"POST /api/chats/{chatId}/poll": {
			body: `{"question":"secret of {caller}?","options":["a","b"],"multiple":false}`, want: ok(http.StatusCreated), event: "message.sent",
			differ: map[cell]want{{chat: group}: notOnline()}, // whether a stranger may write is only known to WhatsApp
			more: []row{
				{name: "OneOption", body: `{"question":"q?","options":["a"]}`, want: invalid()},
				{name: "TooManyOptions", body: `{"question":"q?","options":["1","2","3","4","5","6","7","8","9","10","11","12","13"]}`, want: invalid()},
				{name: "SameOptions", body: `{"question":"q?","options":["a","a"]}`, want: invalid()},
				{name: "NoQuestion", body: `{"question":"","options":["a","b"]}`, want: invalid()},
			},
		},
	} {
		if r.scope == public {
			r.scope = action
		}
		r.groupOnly, all[key] = true, r
	}
	all["POST /api/groups/create"] = &rows{
		scope: acting, body: `{"name":"secret of {caller}, {n}","participants":["{friend}@c.us"]}`, want: ok(http.StatusCreated), more: []row{
			{name: "NoName", body: `{"name":"","participants":["{friend}@c.us"]}`, want: invalid()},
			{name: "NameTooLong", body: `{"name":"` + long(101) + `","participants":["{friend}@c.us"]}`, want: invalid()},
			{name: "NoPerson", body: `{"name":"x","participants":["` + noGroup + `"]}`, want: invalid()},
		},
	}
	all["GET /api/groups/join/{token}"] = &rows{want: refused(http.StatusNotFound, "JOIN_URL_NOT_FOUND")} // see TestJoinURLs
	all["POST /api/groups/join"] = &rows{                                                                 // the owner is in that group already
		scope: acting, body: `{"invite":"https://chat.whatsapp.com/{invite}"}`, want: ok(http.StatusOK), more: []row{
			{name: "NoInvitation", body: `{"invite":"https://example.org/"}`, want: invalid()},
			{name: "UnknownInvitation", body: `{"invite":"AAAAAAAAAAAAAAAAAAAAAA"}`, want: refused(http.StatusNotFound, "INVITE_NOT_FOUND")},
		}, differ: map[cell]want{{online: true}: ok(http.StatusCreated)},
	}
	return all
}

func participantsTable() map[string]*rows {
	const path = "/api/chats/{chatId}/participants"
	another := `{"participants":["{another}"]}`
	refusals := []row{
		{name: "Nobody", body: `{"participants":[]}`, want: invalid()},
		{name: "NoPerson", body: `{"participants":["` + noGroup + `"]}`, want: invalid()},
		{name: "NoAdmin", chat: foreign, body: `{"participants":["{another}"]}`, want: forbidden()},
	}
	all := map[string]*rows{
		"GET " + path:                                    {scope: local},
		"POST " + path:                                   {body: another, event: "group.participants", more: refusals},
		"DELETE " + path:                                 {body: another, more: append(refusals, row{name: "InTheQuery", query: "?participants={unregistered}", want: ok(http.StatusOK)})},
		"POST " + path + "/promote":                      {body: `{"participants":["{friend}@c.us"]}`, more: refusals},
		"POST " + path + "/demote":                       {body: another, more: refusals},
		"GET /api/chats/{chatId}/join-requests":          {more: []row{{name: "NoAdmin", chat: foreign, want: forbidden()}}},
		"POST /api/chats/{chatId}/join-requests/approve": {body: another, more: refusals},
		"POST /api/chats/{chatId}/join-requests/reject":  {body: another, more: refusals},
	}
	for _, r := range all {
		if r.scope == public {
			r.scope = action
		}
		r.groupOnly, r.want = true, ok(http.StatusOK)
	}
	return all
}
