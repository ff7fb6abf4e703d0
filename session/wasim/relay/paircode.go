package relay

import (
	"crypto/rand"
	"regexp"
	"time"

	"go.mau.fi/whatsmeow/types"
)

// displayName is what a phone shows of a companion: "Browser (OS)".
var displayName = regexp.MustCompile(`^(Chrome|Firefox|Edge|Safari|Opera|IE|Internet Explorer|Chromium|Android|Desktop) \([\w .-]+\)$`)

const linkTag = "link_code_companion_reg"

// linkLifetime is how long a pairing code may be typed.
const linkLifetime = 3 * time.Minute

// onLinkCodeCompanion relays the companion's side of the pairing code: its hello to the phone, and after the phone's its finish. The
// relay sees only what is encrypted with the code.
func (c *conn) onLinkCodeCompanion(n *node) {
	req, _ := child(n, linkTag)
	var answer []node
	var fault *iqError
	switch str(&req, "stage") {
	case "companion_hello":
		answer, fault = c.companionHello(&req)
	case "companion_finish":
		fault = c.companionFinish(&req)
	default:
		fault = errBadRequest
	}
	if fault != nil {
		c.send(failed(n, fault))
		return
	}
	c.send(result(n, answer...))
}

func (c *conn) companionHello(req *node) ([]node, *iqError) {
	j, _ := jidOf(req, "jid")
	acct := c.s.lookup(j)
	if acct == nil {
		return nil, errNotFound
	}
	wrapped, _ := child(req, "link_code_pairing_wrapped_companion_ephemeral_pub")
	key, _ := child(req, "companion_server_auth_key_pub")
	display, _ := child(req, "companion_platform_display")
	if len(payload(wrapped)) != 80 || string(payload(key)) != string(c.static[:]) || !displayName.Match(payload(display)) {
		return nil, errBadRequest
	}
	ref := "3@" + rand.Text()
	c.s.mu.Lock()
	if old := c.pair.link; old != "" {
		delete(c.s.refs, old)
		delete(c.pair.expiry, old)
	}
	c.pair.link, c.pair.linkFor = ref, acct
	c.pair.expiry[ref] = time.Now().Add(linkLifetime)
	c.s.refs[ref] = c.pair
	c.s.mu.Unlock()
	c.toPrimary(acct, "companion_hello", req, ref)
	return []node{el(linkTag, attrs{"stage": "companion_hello"}, leaf("link_code_pairing_ref", []byte(ref)))}, nil
}

func (c *conn) companionFinish(req *node) *iqError {
	refNode, _ := child(req, "link_code_pairing_ref")
	ref := string(payload(refNode))
	c.s.mu.Lock()
	acct, ok := c.pair.linkFor, ref != "" && c.pair.link == ref
	c.s.mu.Unlock()
	if !ok {
		return errNotFound
	}
	c.toPrimary(acct, "companion_finish", req, ref)
	return nil
}

// toPrimary notifies the phone of a stage, with the ref beside the companion's elements.
func (c *conn) toPrimary(acct *account, stage string, req *node, ref string) {
	a := attrs{"stage": stage, "jid": acct.pn(0)}
	if push := str(req, "should_show_push_notification"); push != "" {
		a["should_show_push_notification"] = push
	}
	children := []node{leaf("link_code_pairing_ref", []byte(ref))}
	for _, each := range req.GetChildren() {
		if each.Tag == "link_code_pairing_ref" {
			continue
		}
		children = append(children, leaf(each.Tag, payload(each)))
	}
	n := c.s.notification(linkTag, types.ServerJID, el(linkTag, a, children...))
	c.s.deliver(acct.device(0), n, acct.phone)
}

// onLinkCodePrimary relays the phone's hello to the companion.
func (c *conn) onLinkCodePrimary(n *node) ([]node, *iqError) {
	req, _ := child(n, linkTag)
	if c.dev.id != 0 {
		return nil, errForbidden
	}
	refNode, _ := child(&req, "link_code_pairing_ref")
	wrapped, _ := child(&req, "link_code_pairing_wrapped_primary_ephemeral_pub")
	identityNode, _ := child(&req, "primary_identity_pub")
	if str(&req, "stage") != "primary_hello" || len(payload(wrapped)) != 80 || string(payload(identityNode)) != string(c.dev.keys.identity[:]) {
		return nil, errBadRequest
	}
	ref := string(payload(refNode))
	c.s.mu.Lock()
	p := c.s.refs[ref]
	ok := p != nil && p.link == ref && p.linkFor == c.dev.acct && time.Now().Before(p.expiry[ref])
	c.s.mu.Unlock()
	if !ok {
		return nil, errNotFound
	}
	p.c.send(c.s.notification(linkTag, types.ServerJID, el(linkTag, attrs{"stage": "primary_hello"},
		leaf("link_code_pairing_wrapped_primary_ephemeral_pub", payload(wrapped)),
		leaf("primary_identity_pub", payload(identityNode)),
		leaf("link_code_pairing_ref", []byte(ref)),
	)))
	return nil, nil
}
