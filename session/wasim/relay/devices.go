package relay

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"go.mau.fi/whatsmeow/types"
)

// participantHash is the hash both sides compare device lists by.
func participantHash(list []types.JID) string {
	names := make([]string, len(list))
	for i, j := range list {
		names[i] = j.ADString()
	}
	slices.Sort(names)
	sum := sha256.Sum256([]byte(strings.Join(names, "")))
	return "2:" + base64.RawStdEncoding.EncodeToString(sum[:6])
}

// addresses is the device list in both namespaces.
func (a *account) addresses() (pn, lid []types.JID) {
	for _, d := range a.all() {
		pn, lid = append(pn, a.pn(d.id)), append(lid, a.lid(d.id))
	}
	return pn, lid
}

// announceDevices tells everybody who was told this account's devices that d came or went (what is add or remove), and the account's
// other devices. Two forms: a client that holds only the list of the LID does not understand the one by phone number, so the other goes first.
// The account's own devices get account_sync behind them: the other way round they would count the device twice.
func (s *Server) announceDevices(acct *account, what string, d *device) {
	pn, lid := acct.addresses()
	pnHash, lidHash := participantHash(pn), participantHash(lid)
	change := func(a, deviceAttrs attrs) node {
		if what == "add" {
			deviceAttrs["key-index"] = d.keyIndex
		}
		return el(what, a, node{Tag: "device", Attrs: deviceAttrs})
	}
	byLID := func() node {
		return s.notification("devices", acct.lid(0), change(attrs{"device_hash": lidHash}, attrs{"jid": acct.lid(d.id)}))
	}
	byPN := func() node {
		n := s.notification("devices", acct.pn(0),
			change(attrs{"device_hash": pnHash, "device_lid_hash": lidHash}, attrs{"jid": acct.pn(d.id), "lid": acct.lid(d.id)}))
		n.Attrs["lid"] = acct.lid(0)
		return n
	}
	acct.mu.Lock()
	watchers := make([]string, 0, len(acct.watchers))
	for phone := range acct.watchers {
		watchers = append(watchers, phone)
	}
	acct.mu.Unlock()
	slices.Sort(watchers)
	for _, phone := range watchers {
		other := s.account(phone)
		if other == nil || other == acct {
			continue
		}
		for _, each := range other.all() {
			s.deliver(each, byLID(), acct.phone)
			s.deliver(each, byPN(), acct.phone)
		}
	}
	own := make([]node, len(pn))
	for i, j := range pn {
		own[i] = node{Tag: "device", Attrs: attrs{"jid": j}}
	}
	for _, each := range acct.all() {
		if each == d {
			continue
		}
		s.deliver(each, byLID(), acct.phone)
		s.deliver(each, byPN(), acct.phone)
		s.deliver(each, s.notification("account_sync", acct.pn(0), el("devices", attrs{"dhash": pnHash}, own...)), acct.phone)
	}
}

// watch remembers that phone was told this account's devices.
func (a *account) watch(phone string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.watchers[phone] = struct{}{}
}

// deviceList is the usync form.
func (a *account) deviceList() node {
	var list []node
	for _, d := range a.all() {
		at := attrs{"id": strconv.Itoa(int(d.id))}
		if d.id != 0 {
			at["key-index"] = d.keyIndex
		}
		list = append(list, node{Tag: "device", Attrs: at})
	}
	return el("devices", nil, el("device-list", nil, list...))
}
