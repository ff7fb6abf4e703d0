package blackbox

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryOperationInEveryWay calls every operation of the document, in group and direct chats, as the chats' owner and as a
// stranger, online and offline, and with all that must be refused.
func TestEveryOperationInEveryWay(t *testing.T) {
	t.Parallel()
	for engine, database := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, database(t))
			t.Run("Calls", f.calls)      //nolint:paralleltest // it waits for all that is parallel below it
			t.Run("Journal", f.journals) //nolint:paralleltest // it comes after
		})
	}
}

// taught names the operations that nobody has taught the table.
func (f *fleet) taught(t *testing.T) {
	t.Helper()
	for key, op := range f.document.operations() {
		require.Contains(t, table(), key, "the operation %s is new: say in the table what it answers", op.OperationID)
	}
}

// calls runs the table.
func (f *fleet) calls(t *testing.T) {
	f.taught(t)
	documented := f.document.operations()
	for key, known := range table() {
		op := documented[key]
		require.NotNil(t, op, "the table knows %s, the document does not", key)
		t.Run(op.OperationID, func(t *testing.T) {
			t.Parallel()
			for _, c := range known.cells(op) {
				t.Run(c.String(), func(t *testing.T) {
					t.Parallel()
					f.cell(t, op, known, c)
				})
			}
			t.Run("Refused", func(t *testing.T) {
				t.Parallel()
				f.refuse(t, op, known)
			})
			for _, r := range known.more {
				t.Run(r.name, func(t *testing.T) {
					t.Parallel()
					f.row(t, op, known, &r)
				})
			}
		})
	}
}

// cells are the ways to call an operation.
func (r *rows) cells(op *operation) []cell {
	var all []cell
	chats := []string{""}
	if op.ofAChat() {
		chats = []string{direct, group}
	}
	for _, chat := range chats {
		for _, owner := range []bool{true, false} {
			for _, online := range []bool{true, false} {
				all = append(all, cell{chat: chat, owner: owner, online: online})
			}
		}
	}
	return all
}

func (o *operation) ofAChat() bool    { return strings.Contains(o.path, "{chatId}") }
func (o *operation) ofAMessage() bool { return strings.Contains(o.path, "{messageId}") }

// wanted is what a cell is to answer (client API v2, §7 and §8): the form of the id, then whether the chat is there, then whether
// the account is online.
func (r *rows) wanted(op *operation, c cell) want {
	if w, differs := r.differ[c]; differs {
		return w
	}
	switch {
	case r.groupOnly && c.chat == direct:
		return notAGroup()
	case op.ofAChat() && !c.owner:
		return noChat()
	case (r.scope == action || r.scope == acting) && !c.online:
		return notOnline()
	}
	return r.want
}

// party is who calls in a cell, and whose chats it names.
func (f *fleet) party(c cell) (caller, whose *customer) {
	switch {
	case c.owner && c.online:
		return f.owner, f.owner
	case c.owner:
		return f.sleeper, f.sleeper
	case c.online:
		return f.stranger, f.owner
	default:
		return f.blank, f.owner
	}
}

func (f *fleet) cell(t *testing.T, op *operation, known *rows, c cell) {
	t.Helper()
	caller, whose := f.party(c)
	target := whose.chats[c.chat]
	if known.spare > 0 && c.owner && target != nil {
		target = whose.spare[c.chat][known.spare-1]
	}
	if known.opens && !c.owner && target != nil {
		target = whose.spare[c.chat][spares-1]
	}
	v := f.values(caller, whose, target)
	message := known.message
	if caller != f.owner && (message == "fresh" || message == "poll") {
		message = "ours" // it is not theirs to send another
	}
	if known.contact != "" {
		v["contactId"] = v.fill(known.contact)
	}
	f.name(t, v, caller, target, message)
	body, api := v.fill(known.body), caller.api
	if known.file != "" {
		body, api = f.file(t, api, known.file)
	}
	got := api.do(t, op.method, v.fill(op.path+known.query), body)
	wanted := known.wanted(op, c)
	f.require(t, op, wanted, got)
	if caller != whose {
		request := v.fill(op.path+known.query) + body
		hidden(t, whose, string(got.body)+fmt.Sprint(got.header), request)
	}
	if known.event != "" && got.status < http.StatusBadRequest && known.scope != public {
		holds := []string{v["chatId"]}
		if known.message != "" {
			holds = append(holds, v["messageId"])
		}
		caller.events.event(t, known.event, holds...)
	}
}

// require holds an answer to what is wanted and to the document.
func (f *fleet) require(t *testing.T, op *operation, w want, got answer) {
	t.Helper()
	f.document.check(t, op, got)
	if w.status == 0 {
		require.Less(t, got.status, http.StatusBadRequest, got)
		return
	}
	if got.status == w.or {
		return
	}
	require.Equal(t, w.status, got.status, got)
	if w.error == "" {
		return
	}
	p := read[problem](t, got)
	require.Equal(t, []string{w.error, w.code}, []string{p.Error, p.Code}, got)
	if w.status == http.StatusUnprocessableEntity && w.code == invalid().code {
		require.NotEmpty(t, p.Errors, "each field is named: %s", got)
	}
}

// hidden says that an answer to somebody else holds nothing of the customer's, but what the request held.
func hidden(t *testing.T, c *customer, text, request string) {
	t.Helper()
	for _, secret := range c.secrets {
		if !strings.Contains(request, secret) {
			require.NotContains(t, text, secret)
		}
	}
}

// values stand for what is in braces.
type values map[string]string

func (v values) fill(text string) string {
	for name, value := range v {
		text = strings.ReplaceAll(text, "{"+name+"}", value)
	}
	return text
}

func (f *fleet) values(caller, whose *customer, target *chat) values {
	another := f.owner.spare[direct][spares-1].id
	v := values{
		"caller": caller.name, "n": strconv.FormatInt(f.numbers.Add(1), 10), "friend": whose.friend, "number": caller.number,
		"contactId": another, "another": another, "unregistered": unregistered, "invite": f.invite, "token": "wj_aaaaaaaaaaaa_bbbb",
	}
	if target != nil {
		v["chatId"], v["theirs"] = target.id, target.theirs
	}
	return v
}

// name makes {messageId} what the row wants.
func (f *fleet) name(t *testing.T, v values, caller *customer, target *chat, message string) {
	t.Helper()
	path := "/api/chats/" + v["chatId"] + "/messages"
	switch message {
	case "":
		return
	case "theirs":
		v["messageId"] = target.theirs
	case "ours":
		v["messageId"] = target.ours
	case "file":
		v["messageId"] = target.file
	case "fresh", "deleted":
		v["messageId"] = caller.sends(t, target.id)
		if message == "deleted" {
			caller.api.must(t, http.StatusNoContent, http.MethodDelete, path+"/"+v["messageId"], "")
		}
	case "our file":
		body, api := f.file(t, caller.api, "bill.pdf")
		v["messageId"] = idOf(t, api.must(t, http.StatusCreated, http.MethodPost, path, body).body)
	default:
		f.prepare(t, v, caller, target, message)
	}
}

// prepare makes a message that is not plain.
func (f *fleet) prepare(t *testing.T, v values, caller *customer, target *chat, message string) {
	t.Helper()
	require.Equal(t, "poll", message, "no such kind of message")
	const poll = `{"question":"secret?","options":["a","b"],"multiple":false}`
	if strings.HasSuffix(target.id, "@g.us") {
		v["messageId"] = idOf(t, caller.api.must(t, http.StatusCreated, http.MethodPost, "/api/chats/"+target.id+"/poll", poll).body)
		return
	}
	sent := idOf(t, f.sim.must(t, http.StatusOK, http.MethodPost, "/accounts/"+caller.friend+"/send", fmt.Sprintf(`{"to":%q,"poll":%s}`, caller.number, poll)).body)
	v["messageId"] = idOf(t, caller.events.event(t, "message.received", sent).Data)
}

// file is a form with a file, and the caller to send it with. Without a name there is no file.
func (f *fleet) file(t *testing.T, api *caller, name string) (string, *caller) {
	t.Helper()
	fields := map[string]string{}
	if name == "" || strings.HasSuffix(name, ".pdf") {
		fields["caption"] = "see here"
	}
	body, contentType := form(t, name, map[bool]string{true: "application/pdf", false: "image/jpeg"}[strings.HasSuffix(name, ".pdf")], picture(), fields)
	return body, api.with("Content-Type", contentType)
}

func (f *fleet) row(t *testing.T, op *operation, known *rows, r *row) {
	t.Helper()
	chats := []string{r.chat}
	if r.chat == "" && op.ofAChat() {
		chats = chats[:0]
		for _, kind := range []string{direct, group} {
			if kind != direct || !known.groupOnly {
				chats = append(chats, kind)
			}
		}
	}
	for _, kind := range chats {
		target := f.owner.chats[kind]
		if target == nil && op.ofAChat() {
			unknown := *f.owner.chats[direct]
			unknown.id, target = kind, &unknown
		}
		v := f.values(f.owner, f.owner, target)
		f.name(t, v, f.owner, target, r.message)
		body, api := v.fill(r.body), f.owner.api
		switch r.media {
		case "":
		case "file":
			body, api = f.file(t, api, "bill.pdf")
		case "no file":
			body, api = f.file(t, api, "")
		default:
			api = api.with("Content-Type", r.media)
		}
		got := api.do(t, op.method, v.fill(op.path+r.query), body)
		f.require(t, op, r.want, got)
	}
}

// refuse calls an operation in all the ways that must be refused before it acts, in the order of the checks.
func (f *fleet) refuse(t *testing.T, op *operation, known *rows) {
	t.Helper()
	kind := direct
	if known.groupOnly {
		kind = group
	}
	target := f.owner.chats[kind]
	v := f.values(f.owner, f.owner, target)
	v["messageId"] = target.theirs
	path, body := v.fill(op.path+known.query), v.fill(known.body)
	owner, sleeper := f.owner.api, f.sleeper.api
	if known.file != "" {
		body, owner = f.file(t, owner, known.file)
		sleeper = sleeper.with("Content-Type", owner.header["Content-Type"])
	}
	nobody := owner.without("X-API-Key")
	if op.public() {
		f.require(t, op, known.want, nobody.do(t, op.method, path, body))
	} else {
		f.require(t, op, missingKey(), nobody.do(t, op.method, path, body))
		f.require(t, op, missingKey(), nobody.do(t, op.method, strings.ReplaceAll(path, v["chatId"], "nonsense"), body))
		for _, wrong := range []string{"nonsense", f.owner.key + "x", f.owner.key[:len(f.owner.key)-1], "wf_aaaaaaaaaaaaaaaaaa_bbbb"} {
			f.require(t, op, invalidKey(), owner.with("X-API-Key", wrong).do(t, op.method, path, body))
		}
		f.require(t, op, invalid(), owner.do(t, op.method, path+map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")]+"nope=1", body))
	}
	if op.ofAChat() {
		f.refuseChats(t, op, known, owner, body)
	}
	if op.ofAMessage() {
		v["messageId"] = "NOSUCHMESSAGE"
		f.require(t, op, noMessage(), owner.do(t, op.method, v.fill(op.path), body))
		v["chatId"] = f.sleeper.chats[kind].id
		f.require(t, op, noMessage(), sleeper.do(t, op.method, v.fill(op.path), body)) // offline comes after
	}
	if strings.Contains(op.path, "{contactId}") {
		for _, id := range []string{"nonsense", noGroup, "1@example.org"} {
			v["contactId"] = id
			f.require(t, op, invalid(), owner.do(t, op.method, v.fill(op.path), body))
		}
	}
	if op.takesJSON() {
		f.refuseBodies(t, op, path, owner)
		f.refuseBodies(t, op, path, sleeper) // neither a missing chat nor being offline comes first
	}
}

func (f *fleet) refuseChats(t *testing.T, op *operation, known *rows, owner *caller, body string) {
	t.Helper()
	for _, id := range []string{"nonsense", "123@example.org", "@c.us", "1@c.us@c.us"} {
		f.require(t, op, invalid(), f.at(t, op, known, owner, id, body))
	}
	f.require(t, op, noChat(), f.at(t, op, known, owner, noGroup, body))
	if known.groupOnly {
		f.require(t, op, notAGroup(), f.at(t, op, known, owner, unregistered, body))
	} else {
		f.require(t, op, noChat(), f.at(t, op, known, owner, unregistered, body))
	}
}

// at calls an operation as the owner, on a chat that it does not have.
func (f *fleet) at(t *testing.T, op *operation, known *rows, owner *caller, chatID, body string) answer {
	t.Helper()
	v := f.values(f.owner, f.owner, nil)
	v["chatId"], v["messageId"] = chatID, "3EB0C767D097B7C7C8F5"
	return owner.do(t, op.method, v.fill(op.path+known.query), body)
}

func (f *fleet) refuseBodies(t *testing.T, op *operation, path string, api *caller) {
	t.Helper()
	for _, body := range []string{"{", "hello", `{"a":`, "\"\xff\""} {
		f.require(t, op, refused(http.StatusBadRequest, "MALFORMED_JSON"), api.do(t, op.method, path, body))
	}
	for _, body := range []string{"[]", `"x"`, "1", `{"nope":1}`} {
		f.require(t, op, invalid(), api.do(t, op.method, path, body))
	}
	unsupported := refused(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE")
	f.require(t, op, unsupported, api.with("Content-Type", "text/plain").do(t, op.method, path, `{}`))
	f.require(t, op, unsupported, api.with("Content-Encoding", "gzip").do(t, op.method, path, `{}`))
}

// journals reads what the sockets have shown once more, from different numbers on and as a list: it is always the same.
func (f *fleet) journals(t *testing.T) {
	for _, c := range []*customer{f.owner, f.stranger, f.sleeper, f.blank} {
		latest := read[struct{ Latest int64 }](t, c.api.must(t, http.StatusOK, http.MethodGet, "/api/events?limit=1", "")).Latest
		if latest == 0 {
			continue // nothing ever happened to it
		}
		shown := func(s *socket) []frame {
			s.see(t, fmt.Sprintf("event %d of %s", latest, c.name), func(e *frame) bool { return e.Seq >= latest })
			return slices.DeleteFunc(s.journal(), func(e frame) bool { return e.Seq > latest })
		}
		live := shown(c.events)
		require.Len(t, live, int(latest))
		for _, since := range []int64{0, 1, latest / 2, latest - 1} {
			require.Equal(t, live[since:], shown(listen(t, f.base, c.key, since)), "the same from %d on", since)
		}
		var listed []frame
		for after := int64(0); after < latest; {
			page := read[struct {
				Events []frame
				Next   int64
			}](t, c.api.must(t, http.StatusOK, http.MethodGet, fmt.Sprintf("/api/events?limit=7&after=%d", after), ""))
			require.NotEmpty(t, page.Events)
			listed, after = append(listed, page.Events...), page.Next
		}
		require.Equal(t, live, listed[:latest])
		for _, e := range live {
			require.NoError(t, f.document.frame(&e), "%s", e.Data)
			if c != f.owner {
				hidden(t, f.owner, string(e.Data), "")
			}
		}
	}
}
