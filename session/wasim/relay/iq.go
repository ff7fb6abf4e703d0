package relay

import (
	"maps"
	"strconv"
	"time"

	"go.mau.fi/whatsmeow/types"
)

// iqKey finds the handler of a request: namespace, get or set, and the tag of its first child ("" without one).
type iqKey struct{ xmlns, kind, child string }

// iqHandler answers a request with the children of the result, or with an error. errAnswered means that it sent the answer itself.
type iqHandler func(c *conn, n *node) ([]node, *iqError)

// iqError is an error answer. Clients compare code and text, so that they belong together.
type iqError struct {
	code int
	text string
}

func (e *iqError) Error() string { return strconv.Itoa(e.code) + " " + e.text }

var (
	errAnswered       = &iqError{0, "answered"}
	errBadRequest     = &iqError{400, "bad-request"}
	errNotAuthorized  = &iqError{401, "not-authorized"}
	errForbidden      = &iqError{403, "forbidden"}
	errNotFound       = &iqError{404, "item-not-found"}
	errNotAcceptable  = &iqError{406, "not-acceptable"}
	errConflict       = &iqError{409, "conflict"}
	errGone           = &iqError{410, "gone"}
	errLimit          = &iqError{419, "resource-limit"}
	errNotImplemented = &iqError{501, "feature-not-implemented"}
)

// iqTable is every request of a logged-in client that is answered with more than an error.
func (s *Server) iqTable() map[iqKey]iqHandler {
	empty := func(*conn, *node) ([]node, *iqError) { return nil, nil }
	table := map[iqKey]iqHandler{
		{"passive", "set", "active"}:  (*conn).onActive,
		{"passive", "set", "passive"}: (*conn).onPassive,

		{"encrypt", "get", "count"}:        (*conn).onPreKeyCount,
		{"encrypt", "get", "digest"}:       (*conn).onPreKeyDigest,
		{"encrypt", "get", "key"}:          (*conn).onPreKeyFetch,
		{"encrypt", "set", "registration"}: (*conn).onPreKeyUpload,
		{"encrypt", "set", "rotate"}:       (*conn).onPreKeyRotate,

		{"usync", "get", "usync"}: (*conn).onUsync,

		{"md", "set", "pair-device"}:             (*conn).onPairDevice,
		{"md", "set", "link_code_companion_reg"}: (*conn).onLinkCodePrimary,
		{"md", "set", "remove-companion-device"}: (*conn).onRemoveCompanion,

		{"w:m", "set", "media_conn"}:            (*conn).onMediaConn,
		{"w:sync:app:state", "set", "sync"}:     (*conn).onAppState,
		{"privacy", "get", "privacy"}:           (*conn).onPrivacyGet,
		{"privacy", "set", "privacy"}:           (*conn).onPrivacySet,
		{"privacy", "set", "tokens"}:            (*conn).onPrivacyTokens,
		{"blocklist", "get", ""}:                (*conn).onBlocklist,
		{"blocklist", "set", "item"}:            (*conn).onBlocklistChange,
		{"status", "set", "status"}:             (*conn).onStatusSet,
		{"w:mex", "get", "query"}:               (*conn).onMex,
		{"w:biz", "get", "business_profile"}:    (*conn).onBusinessProfile,
		{"abt", "get", "props"}:                 (*conn).onProps,
		{"w:profile:picture", "get", "picture"}: (*conn).onPictureGet,
		{"w:profile:picture", "set", "picture"}: (*conn).onPictureSet,
		{"w:profile:picture", "set", ""}:        (*conn).onPictureSet,

		{"disappearing_mode", "set", "disappearing_mode"}: (*conn).onDisappearing,

		{"urn:xmpp:whatsapp:dirty", "set", "clean"}: empty,
		{"urn:xmpp:whatsapp:push", "set", "config"}: empty,
		{"tos", "set", "notice"}:                    empty,
		{"tos", "get", "request"}:                   empty,
		{"status", "get", "privacy"}: func(*conn, *node) ([]node, *iqError) {
			return nil, errNotFound // the client then uses its default
		},
	}
	maps.Copy(table, groupTable())
	return table
}

// onIQ answers every request once: an unanswered one holds its caller for more than a minute.
func (c *conn) onIQ(n *node) {
	kind := str(n, "type")
	switch kind {
	case "result", "error":
		return // the server asks a logged-in client nothing
	case "get", "set":
	default:
		c.violate("iq-type", kind)
		return
	}
	if str(n, "id") == "" {
		c.violate("iq-id", str(n, "xmlns"))
		return
	}
	xmlns := str(n, "xmlns")
	if xmlns == "w:p" {
		r := result(n)
		r.Attrs["t"] = unix(time.Now())
		c.send(r)
		return
	}
	first := ""
	if list := n.GetChildren(); len(list) > 0 {
		first = list[0].Tag
	}
	handler, ok := c.s.iqs[iqKey{xmlns, kind, first}]
	if !ok {
		c.s.rate.unknownIQ(xmlns + " " + kind + " " + first)
		c.s.log.Warn("unknown request", "xmlns", xmlns, "type", kind, "child", first)
		c.send(failed(n, errNotImplemented))
		return
	}
	answer, fault := handler(c, n)
	switch fault {
	case nil:
		c.send(result(n, answer...))
	case errAnswered:
	default:
		c.send(failed(n, fault))
	}
}

// answering is the attributes of an answer. It comes from whom the request went to, group or server.
func answering(n *node, kind string) attrs {
	a := fromServer(kind)
	a["id"] = str(n, "id")
	if to, ok := jidOf(n, "to"); ok && to.Server == types.GroupServer {
		a["from"] = to
	}
	return a
}

// result answers a request.
func result(n *node, children ...node) node { return el("iq", answering(n, "result"), children...) }

func failed(n *node, fault *iqError) node {
	a := answering(n, "error")
	return el("iq", a, node{Tag: "error", Attrs: attrs{"code": strconv.Itoa(fault.code), "text": fault.text}})
}

// notification is a stanza of the server's own, for a device's queue.
func (s *Server) notification(kind string, from types.JID, children ...node) node {
	return el("notification", attrs{"from": from, "type": kind, "id": s.newStanzaID(), "t": unix(time.Now())}, children...)
}
