package relay

import (
	"maps"
	"net/http"
	"slices"
	"strconv"

	"go.mau.fi/whatsmeow/proto/waServerSync"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"
)

// collection is one app-state collection. Its patches are opaque to the relay, but for the MACs of their indexes: the last record of each index
// is what a snapshot is made of. The account's lock guards it.
type collection struct {
	name    string
	version uint64
	patches [][]byte // the last ones: patch i has version first()+i
	records map[string]*waServerSync.SyncdRecord
	last    *waServerSync.SyncdPatch // without its mutations: its MAC covers all records
	opaque  bool                     // mutations lie outside a patch: there can be no snapshot
	shot    snapshot
}

// snapshot is a collection at one version, stored as a file.
type snapshot struct {
	version   uint64 // 0: none
	ref       blobRef
	reference []byte // what clients find and read the file by
}

func (col *collection) first() uint64 { return col.version - uint64(len(col.patches)) + 1 }

func knownCollection(name string) bool {
	switch name {
	case "critical_block", "critical_unblock_low", "regular_high", "regular", "regular_low":
		return true
	default:
		return false
	}
}

// appStateRequest is one collection of a request.
type appStateRequest struct {
	name  string
	base  uint64
	want  bool // a snapshot
	patch []byte
	push  bool
}

func (c *conn) readAppState(n *node) ([]appStateRequest, *iqError) {
	req, _ := child(n, "sync")
	var list []appStateRequest
	for _, each := range req.GetChildren() {
		r := appStateRequest{name: str(&each, "name"), want: str(&each, "return_snapshot") == "true"}
		if each.Tag != "collection" || !knownCollection(r.name) {
			return nil, c.bad("app-state", "unknown collection")
		}
		r.base, _ = strconv.ParseUint(str(&each, "version"), 10, 32)
		if r.want {
			r.base = 0
		}
		var patch node
		patch, r.push = child(&each, "patch")
		r.patch = payload(patch)
		list = append(list, r)
	}
	return list, nil
}

// onAppState fetches and pushes collections. A push over another version than the present one is refused with what the client lacks.
func (c *conn) onAppState(n *node) ([]node, *iqError) {
	list, fault := c.readAppState(n)
	if fault != nil {
		return nil, fault
	}
	for _, r := range list {
		if r.want && !r.push {
			c.snapshot(r.name)
		}
	}
	acct := c.dev.acct
	var answer, changed []node
	acct.mu.Lock()
	for _, r := range list {
		col := acct.collection(r.name)
		switch {
		case !r.push:
			answer = append(answer, col.since(r, c.s.cfg.AppStatePage))
		default:
			done, refused := col.push(r, c.s.cfg.MaxAppState)
			answer = append(answer, done)
			if !refused {
				changed = append(changed, node{Tag: "collection", Attrs: col.attrs()})
			}
		}
	}
	acct.mu.Unlock()
	if len(changed) > 0 {
		c.toOwnOthers(func() node { return c.s.notification("server_sync", types.ServerJID, changed...) })
	}
	return []node{el("sync", nil, answer...)}, nil
}

// collection is for who holds the lock.
func (a *account) collection(name string) *collection {
	if a.appState == nil {
		a.appState = make(map[string]*collection)
	}
	col := a.appState[name]
	if col == nil {
		col = &collection{name: name, records: make(map[string]*waServerSync.SyncdRecord)}
		a.appState[name] = col
	}
	return col
}

func (col *collection) attrs() attrs {
	return attrs{"name": col.name, "version": strconv.FormatUint(col.version, 10)}
}

// since is the collection after a version: the snapshot if there is one and it was asked for, and a page of the patches behind. An empty
// collection has no children.
func (col *collection) since(r appStateRequest, page int) node {
	n := node{Tag: "collection", Attrs: col.attrs()}
	var content []node
	base := r.base
	if r.want && col.shot.version > 0 && !col.opaque {
		content = append(content, leaf("snapshot", col.shot.reference))
		base = col.shot.version
	}
	patches, ok := col.after(base)
	if !ok {
		return col.refuse("404", "item-not-found") // so old that only a snapshot helps
	}
	if len(patches) > page {
		patches = patches[:page]
		n.Attrs["has_more_patches"] = "true"
	}
	if len(patches) > 0 {
		content = append(content, el("patches", nil, patches...))
	}
	if len(content) > 0 {
		n.Content = content
	}
	return n
}

// after is the patches after a version, if they are all still there.
func (col *collection) after(base uint64) (list []node, ok bool) {
	if base >= col.version {
		return nil, true
	}
	if base+1 < col.first() {
		return nil, false
	}
	for _, p := range col.patches[base+1-col.first():] {
		list = append(list, leaf("patch", p))
	}
	return list, true
}

func (col *collection) refuse(code, text string) node {
	a := col.attrs()
	a["type"] = "error"
	return el("collection", a, node{Tag: "error", Attrs: attrs{"code": code, "text": text}})
}

// push adds a patch. In a conflict the client gets all patches that it lacks at once: it applies them and tries once more.
func (col *collection) push(r appStateRequest, limit int) (answer node, refused bool) {
	if r.base != col.version {
		answer = col.refuse("409", "conflict")
		if patches, ok := col.after(r.base); ok && len(patches) > 0 {
			answer.Content = append(answer.GetChildren(), el("patches", nil, patches...))
		}
		return answer, true
	}
	var patch waServerSync.SyncdPatch
	if proto.Unmarshal(r.patch, &patch) != nil || len(patch.GetMutations()) == 0 && patch.GetExternalMutations() == nil {
		return col.refuse("400", "bad-request"), true
	}
	// clients send the patch without its version, and read it with
	patch.Version = &waServerSync.SyncdVersion{Version: new(r.base + 1)}
	stored, err := proto.Marshal(&patch)
	if err != nil {
		return col.refuse("400", "bad-request"), true
	}
	col.version++
	if col.patches = append(col.patches, stored); len(col.patches) > limit {
		col.patches = slices.Clone(col.patches[len(col.patches)-limit:])
	}
	col.apply(&patch)
	return node{Tag: "collection", Attrs: col.attrs()}, false
}

// apply keeps the records up to date.
func (col *collection) apply(patch *waServerSync.SyncdPatch) {
	col.opaque = col.opaque || patch.GetExternalMutations() != nil
	for _, m := range patch.GetMutations() {
		index := string(m.GetRecord().GetIndex().GetBlob())
		if m.GetOperation() == waServerSync.SyncdMutation_REMOVE {
			delete(col.records, index)
		} else {
			col.records[index] = m.GetRecord()
		}
	}
	col.last = &waServerSync.SyncdPatch{SnapshotMAC: patch.GetSnapshotMAC(), KeyID: patch.GetKeyID()}
}

// snapshot makes a new file of a collection if there is none, or one that is more than a page old. It is made outside the lock: patches may come
// meanwhile, and then go with it.
func (c *conn) snapshot(name string) {
	acct := c.dev.acct
	acct.mu.Lock()
	col := acct.collection(name)
	old := col.shot
	behind, complete := col.after(old.version)
	fresh := old.version > 0 && complete && len(behind) <= c.s.cfg.AppStatePage && c.s.blobs.has(old.ref)
	if col.version == 0 || col.opaque || fresh {
		acct.mu.Unlock()
		return
	}
	version := col.version
	data := &waServerSync.SyncdSnapshot{
		Version: &waServerSync.SyncdVersion{Version: &version},
		Mac:     col.last.GetSnapshotMAC(), // covers the records, the version and the name
		KeyID:   col.last.GetKeyID(),
	}
	for _, index := range slices.Sorted(maps.Keys(col.records)) {
		data.Records = append(data.Records, col.records[index])
	}
	acct.mu.Unlock()
	shot, err := c.s.storeSnapshot(data)
	if err != nil {
		c.s.log.Error("snapshot not made", "collection", name, "error", err)
		return
	}
	shot.version = version
	acct.mu.Lock()
	defer acct.mu.Unlock()
	if col.shot.version >= version && c.s.blobs.has(col.shot.ref) { // another device asked at the same time
		c.s.blobs.remove(shot.ref.key, http.StatusNotFound)
		return
	}
	col.shot = shot
}
