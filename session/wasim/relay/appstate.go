package relay

import (
	"strconv"

	"go.mau.fi/whatsmeow/proto/waServerSync"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"
)

// collection is one app-state collection: the patches from the first, opaque to the relay. A request for a snapshot is answered with all of
// them, which clients accept; real snapshots can be built here from the patches' index MACs.
type collection struct {
	patches [][]byte // patch i has version i+1
}

func knownCollection(name string) bool {
	switch name {
	case "critical_block", "critical_unblock_low", "regular_high", "regular", "regular_low":
		return true
	default:
		return false
	}
}

// onAppState fetches and pushes collections. A push over another version than the present one is refused with what the client lacks.
func (c *conn) onAppState(n *node) ([]node, *iqError) {
	req, _ := child(n, "sync")
	acct := c.dev.acct
	var answer, changed []node
	acct.mu.Lock()
	for _, each := range req.GetChildren() {
		name := str(&each, "name")
		if each.Tag != "collection" || !knownCollection(name) {
			acct.mu.Unlock()
			return nil, c.bad("app-state", "unknown collection")
		}
		if acct.appState == nil {
			acct.appState = make(map[string]*collection)
		}
		col := acct.appState[name]
		if col == nil {
			col = &collection{}
			acct.appState[name] = col
		}
		patch, push := child(&each, "patch")
		base, _ := strconv.ParseUint(str(&each, "version"), 10, 32)
		if str(&each, "return_snapshot") == "true" {
			base = 0
		}
		if !push {
			answer = append(answer, col.since(name, base))
			continue
		}
		done, refused := col.push(name, base, payload(patch), c.s.cfg.MaxAppState)
		answer = append(answer, done)
		if !refused {
			changed = append(changed, node{Tag: "collection", Attrs: attrs{"name": name, "version": strconv.Itoa(len(col.patches))}})
		}
	}
	acct.mu.Unlock()
	if len(changed) > 0 {
		c.toOwnOthers(func() node { return c.s.notification("server_sync", types.ServerJID, changed...) })
	}
	return []node{el("sync", nil, answer...)}, nil
}

// since is the collection with the patches after a version. An empty one has no children.
func (col *collection) since(name string, base uint64) node {
	n := node{Tag: "collection", Attrs: attrs{"name": name, "version": strconv.Itoa(len(col.patches))}}
	if base >= uint64(len(col.patches)) {
		return n
	}
	var list []node
	for _, p := range col.patches[base:] {
		list = append(list, leaf("patch", p))
	}
	n.Content = []node{el("patches", nil, list...)}
	return n
}

func (col *collection) push(name string, base uint64, raw []byte, limit int) (answer node, refused bool) {
	if base != uint64(len(col.patches)) {
		answer = col.since(name, base)
		answer.Attrs["type"] = "error"
		answer.Content = append([]node{{Tag: "error", Attrs: attrs{"code": "409", "text": "conflict"}}}, answer.GetChildren()...)
		return answer, true
	}
	var patch waServerSync.SyncdPatch
	if proto.Unmarshal(raw, &patch) == nil && len(col.patches) < limit {
		// clients send the patch without its version, and read it with
		patch.Version = &waServerSync.SyncdVersion{Version: new(base + 1)}
		if stored, err := proto.Marshal(&patch); err == nil {
			col.patches = append(col.patches, stored)
			return node{Tag: "collection", Attrs: attrs{"name": name, "version": strconv.Itoa(len(col.patches))}}, false
		}
	}
	return el("collection", attrs{"name": name, "type": "error"},
		node{Tag: "error", Attrs: attrs{"code": "400", "text": "bad-request"}}), true
}
