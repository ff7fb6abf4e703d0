package wasim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
)

const (
	maxBody = 4 << 20
	// maxWait bounds the wait of GET inbox, callTime what a phone is given for anything else.
	maxWait  = time.Minute
	callTime = 45 * time.Second
)

// endpoint is one line of the control API.
type endpoint struct {
	method, path string
	does         string
	call         func(*Simulator, *http.Request) (status int, answer any, err error)
}

func endpoints() []endpoint {
	return slices.Concat(accountEndpoints(), groupEndpoints(), serverEndpoints())
}

func accountEndpoints() []endpoint {
	return []endpoint{
		{"POST", "/accounts", `an account with a phone: {"phone":"+5511…","name":"…","autoreply":"echo" or "You said: {text}","autoRead":true,"history":[{"phone":"+5511…" or "group":"…@g.us","name":"…","unread":0,"viaLid":false,"recent":N given at pairing, the others when asked for; 0: all,"messages":[{"id":"…","text":"…","fromMe":false,"from":"+5511… in groups","at":"2026-01-01T00:00:00Z"}]}]}; autoreply and autoRead are also for groups`, (*Simulator).postAccount},
		{"GET", "/accounts", "all accounts", (*Simulator).getAccounts},
		{"POST", "/accounts/{phone}/offline", `the phone is switched off, or on again: {"offline":true}`, (*Simulator).postOffline},
		{"POST", "/accounts/{phone}/silent", `the phone does not answer requests for its history, or does again: {"silent":true}`, (*Simulator).postSilent},
		{"POST", "/accounts/{phone}/scan", `the phone scans a QR: {"qr":"…"}`, (*Simulator).postScan},
		{"POST", "/accounts/{phone}/link", `the phone's owner types a pairing code: {"code":"ABCD-EFGH"}`, (*Simulator).postLink},
		{"POST", "/accounts/{phone}/send", `the phone sends: {"to":"+5511…" or "…@g.us","text":"…","replyTo":"…","replyFrom":"+5511…","mentions":["+5511…"],"forwarded":true,"id":"…","via":"lid" or "pn","media":{"kind":"image|video|audio|voice|document|sticker","data":"<base64>" or "size":1000000,"mimeType":"…","fileName":"…","thumbnail":"<base64>"}}; text is the caption then. Instead of text and media: "location":{"latitude":1.5,"longitude":1.5,"name":"…","address":"…"}, "contact":{"name":"…","vcard":"…"}, "poll":{"question":"…","options":["…"],"multiple":true}, "vote":{"id":"…","options":["…"]}, "edit":{"id":"…","text":"…"}, "delete":{"id":"…"}, "reaction":{"id":"…","emoji":"👍"}; vote, delete and reaction with "from":"+5511…" for a message of that member`, (*Simulator).postSend},
		{"POST", "/accounts/{phone}/read", `the phone reads: {"chat":"+5511…" or "…@g.us","ids":["…"]}`, (*Simulator).postRead},
		{"POST", "/accounts/{phone}/typing", `the phone types: {"to":"+5511…" or "…@g.us","state":"composing|recording|paused"}`, (*Simulator).postTyping},
		{"POST", "/accounts/{phone}/chats", `the phone's owner archives, pins, mutes, reads, clears or deletes a chat: {"chat":"+5511… or …@g.us","archived":true,"pinned":true,"mutedUntil":"<RFC 3339>", "forever" or null,"read":true,"clear":true,"delete":true,"via":"lid" or "pn"}`, (*Simulator).postChat},
		{"GET", "/accounts/{phone}/chats", "chats and people as they stand in the account's settings, whichever device has set them", (*Simulator).getChats},
		{"POST", "/accounts/{phone}/contacts", `the phone's owner puts somebody into the address book: {"phone":"+5511…","name":"…"}`, (*Simulator).postContact},
		{"POST", "/accounts/{phone}/profile", `what others see of the phone's owner: {"name":"…","about":"…","picture":"<base64 of a JPEG>" or "remove","pictureFor":"all|contacts|none"}, each optional`, (*Simulator).postProfile},
		{"GET", "/accounts/{phone}/profile", "what the phone sees of somebody: ?of=+5511…", (*Simulator).getProfile},
		{"POST", "/accounts/{phone}/presence", `the phone's owner is there or not: {"state":"available|unavailable"}; or the phone watches somebody: {"watch":"+5511…"}`, (*Simulator).postPresence},
		{"POST", "/accounts/{phone}/block", `the phone blocks somebody, or not any more: {"phone":"+5511…","blocked":true}`, (*Simulator).postBlock},
		{"GET", "/accounts/{phone}/inbox", "what the phone got: ?after=SEQ, and ?wait=10s to wait for the next", (*Simulator).getInbox},
		{"GET", "/accounts/{phone}/media", "the phone fetches and decrypts a file of its inbox: ?id=MESSAGE", (*Simulator).getMedia},
		{"DELETE", "/accounts/{phone}/media", "the server drops a file of the phone's inbox: ?id=MESSAGE, and &keep=true for the phone to keep it and upload it again when asked", (*Simulator).deleteMedia},
		{"POST", "/accounts/{phone}/reachout", `WhatsApp tells the account of a reach-out time lock, or that it is lifted: {"until":"<RFC 3339>"} or {}; what is refused meanwhile is a fault of kind first-contact`, (*Simulator).postReachout},
		{"POST", "/accounts/{phone}/unlink", `the phone logs a companion out: {"device":1}`, (*Simulator).postUnlink},
		{"POST", "/accounts/{phone}/companions", `a device is linked without a pairing: {"noiseKey":"<base64>","identityKey":…,"registrationId":1,"signedPreKey":{"id":1,"public":…,"signature":…},"preKeys":[{"id":1,"public":…}],"primary":{keys of a phone that does not run}}`, (*Simulator).postCompanion},
	}
}

func serverEndpoints() []endpoint {
	return []endpoint{
		{"POST", "/faults", `what goes wrong next: {"kind":"drop|stall|stream-error|connect-failure|slow|duplicate|reorder|silence|passkey","phone":"…","device":1,"primary":false,"code":503,"count":1,"delayMs":100}`, (*Simulator).postFault},
		{"DELETE", "/faults", "nothing goes wrong any more", (*Simulator).deleteFaults},
		{"GET", "/stats", "connections, stanzas by tag, unacknowledged messages", (*Simulator).getStats},
		{"GET", "/info", "Noise root key, WebSocket and media addresses, CA certificate", (*Simulator).getInfo},
	}
}

// problem is an error with its HTTP status and a stable code.
type problem struct {
	status int
	code   string
	err    error
}

func (p *problem) Error() string { return p.err.Error() }
func (p *problem) Unwrap() error { return p.err }

func badRequest(format string, args ...any) error {
	return &problem{http.StatusBadRequest, "BAD_REQUEST", fmt.Errorf(format, args...)}
}

// problemOf finds status and code of an error by what it is.
func problemOf(err error) (int, string) {
	if p, ok := errors.AsType[*problem](err); ok {
		return p.status, p.code
	}
	for _, known := range []struct {
		err    error
		status int
		code   string
	}{
		{ErrUnknownPhone, http.StatusNotFound, "UNKNOWN_ACCOUNT"},
		{ErrExists, http.StatusConflict, "ACCOUNT_EXISTS"},
		{ErrTooMany, http.StatusConflict, "TOO_MANY_ACCOUNTS"},
		{ErrClosed, http.StatusServiceUnavailable, "CLOSED"},
		{phone.ErrClosed, http.StatusServiceUnavailable, "CLOSED"},
		{phone.ErrBadNumber, http.StatusBadRequest, "BAD_NUMBER"},
		{phone.ErrBadGroup, http.StatusBadRequest, "BAD_GROUP"},
		{phone.ErrBadQR, http.StatusBadRequest, "BAD_QR"},
		{phone.ErrBadCode, http.StatusBadRequest, "BAD_CODE"},
		{phone.ErrNoRequest, http.StatusConflict, "NO_PAIRING_REQUEST"},
		{phone.ErrBadKind, http.StatusBadRequest, "BAD_KIND"},
		{phone.ErrNoFile, http.StatusNotFound, "NO_SUCH_FILE"},
		{phone.ErrUnknownUser, http.StatusNotFound, "UNKNOWN_USER"},
		{phone.ErrUnlinked, http.StatusConflict, "PHONE_LOGGED_OUT"},
		{phone.ErrUnknownMessage, http.StatusNotFound, "UNKNOWN_MESSAGE"},
		{phone.ErrUnknownGroup, http.StatusNotFound, "UNKNOWN_GROUP"},
		{phone.ErrNotMember, http.StatusForbidden, "NOT_A_MEMBER"},
		{phone.ErrNotAllowed, http.StatusForbidden, "NOT_ALLOWED"},
		{phone.ErrMember, http.StatusConflict, "MEMBER_ALREADY"},
		{phone.ErrBadInvite, http.StatusNotFound, "UNKNOWN_INVITE"},
		{phone.ErrGone, http.StatusGone, "INVITE_GONE"},
		{phone.ErrNotAcceptable, http.StatusBadRequest, "NOT_ACCEPTABLE"},
		{phone.ErrRefused, http.StatusBadGateway, "REFUSED"},
		{relay.ErrUnknownAccount, http.StatusNotFound, "UNKNOWN_ACCOUNT"},
		{relay.ErrUnknownGroup, http.StatusNotFound, "UNKNOWN_GROUP"},
		{relay.ErrUnknownDevice, http.StatusNotFound, "UNKNOWN_DEVICE"},
		{relay.ErrInvalidAccount, http.StatusBadRequest, "BAD_ACCOUNT"},
		{relay.ErrAlreadyRegistered, http.StatusConflict, "ACCOUNT_EXISTS"},
		{relay.ErrInvalidFault, http.StatusBadRequest, "BAD_FAULT"},
		{context.DeadlineExceeded, http.StatusGatewayTimeout, "TIMEOUT"},
		{context.Canceled, http.StatusServiceUnavailable, "CLOSED"},
	} {
		if errors.Is(err, known.err) {
			return known.status, known.code
		}
	}
	return http.StatusInternalServerError, "INTERNAL"
}

// handler routes by hand what the mux would answer with plain text: unknown paths and methods.
func (s *Simulator) handler() http.Handler {
	mux := http.NewServeMux()
	byPath := make(map[string][]endpoint)
	for _, e := range endpoints() {
		byPath[e.path] = append(byPath[e.path], e)
	}
	for path, list := range byPath {
		if !isGroupAction(path) {
			mux.HandleFunc(path, s.oneOf(path, list))
		}
	}
	mux.HandleFunc("/groups/{id}/{action}", s.groupAction(byPath))
	mux.HandleFunc("GET /{$}", help)
	mux.HandleFunc("/", notFound)
	return onlyLocal(mux)
}

func notFound(w http.ResponseWriter, r *http.Request) {
	writeError(w, &problem{http.StatusNotFound, "NOT_FOUND", fmt.Errorf("no such call: %s; GET / lists them", r.URL.Path)})
}

// oneOf answers the calls of one path, by their methods.
func (s *Simulator) oneOf(path string, list []endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, e := range list {
			if e.method == r.Method {
				s.answer(w, r, e)
				return
			}
		}
		var allowed []string
		for _, e := range list {
			allowed = append(allowed, e.method)
		}
		slices.Sort(allowed)
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		writeError(w, &problem{http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", fmt.Errorf("%s takes %s", path, strings.Join(allowed, " or "))})
	}
}

// onlyLocal refuses what a page in a browser on this machine could be made to send: there is no other protection.
func onlyLocal(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if local := strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback(); !local || r.Header.Get("Origin") != "" {
			writeError(w, &problem{http.StatusForbidden, "FORBIDDEN", errors.New("the control API answers local tools only, not browsers' pages")})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Simulator) answer(w http.ResponseWriter, r *http.Request, e endpoint) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	status, answer, err := e.call(s, r)
	switch {
	case err != nil:
		writeError(w, err)
	case answer == nil:
		w.WriteHeader(status)
	case isFile(answer):
		answer.(*fetched).serve(w) //nolint:errcheck,forcetypeassert // just asked
	default:
		writeJSON(w, status, answer)
	}
}

func writeError(w http.ResponseWriter, err error) {
	status, code := problemOf(err)
	writeJSON(w, status, struct {
		Error string `json:"error"`
		Code  string `json:"code"`
	}{sentence(err.Error()), code})
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, `{"error":"Internal error.","code":"INTERNAL"}`, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the caller has left
}

// decode reads a JSON object and nothing else.
func decode(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return &problem{http.StatusRequestEntityTooLarge, "TOO_LARGE", fmt.Errorf("the body is longer than %d bytes", maxBody)}
		}
		if errors.Is(err, io.EOF) {
			return badRequest("the body is empty; a JSON object is wanted")
		}
		return badRequest("the body is not what is wanted: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return badRequest("there is something behind the JSON object")
	}
	return nil
}

// phoneOf finds the phone of the path.
func (s *Simulator) phoneOf(r *http.Request) (*phone.Phone, error) {
	return s.phoneBy(r.PathValue("phone"))
}

func (s *Simulator) phoneBy(number string) (*phone.Phone, error) {
	number, err := phone.Number(number)
	if err != nil {
		return nil, err
	}
	p, ok := s.Phone(number)
	if !ok {
		return nil, fmt.Errorf("%w: +%s", ErrUnknownPhone, number)
	}
	return p, nil
}

func help(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	b.WriteString("wasim: a simulated WhatsApp\n\n")
	for _, e := range endpoints() {
		fmt.Fprintf(&b, "%-6s %-26s %s\n", e.method, e.path, e.does)
	}
	b.WriteString("\nNumbers are in international form, with or without +. Errors are JSON: {\"error\":…,\"code\":…}.\n")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, b.String()) // the caller has left
}

func parseWait(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if seconds, numErr := strconv.Atoi(s); numErr == nil {
		d, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || d < 0 {
		return 0, badRequest("wait is neither a number of seconds nor a duration like 10s")
	}
	return min(d, maxWait), nil
}
