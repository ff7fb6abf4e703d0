package relay

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"strconv"
)

// maxWritten bounds whom an account is known to have written to.
const maxWritten = 10_000

// refuses says whether a fault refuses a message to one user, and with what code.
func (c *conn) refuses(n *node, target *account) (code string, refused bool) {
	if code, refused = c.s.faults.nack(c, n); refused {
		return code, true
	}
	self := c.dev.acct
	if target == self || !c.s.faults.expects(self.phone, c.dev.id, FaultFirstContact) || c.welcome(n, target) {
		return "", false
	}
	f, refused := c.s.faults.take(self.phone, c.dev.id, FaultFirstContact)
	return strconv.Itoa(f.Code), refused
}

// welcome says whether a message is no first contact, or bears what makes one welcome: a token that the target issued, or the hash that stands
// for one, which only the target's own devices could check.
func (c *conn) welcome(n *node, target *account) bool {
	self := c.dev.acct
	if target.hasWritten(self) || has(n, "cstoken") {
		return true
	}
	token, ok := child(n, "tctoken")
	return ok && target.trusts(self) && bytes.Equal(payload(token), c.s.token(target, self))
}

// token is what an account's trust in another is proved by.
func (s *Server) token(issuer, contact *account) []byte {
	mac := hmac.New(sha256.New, s.id.root[:])
	mac.Write([]byte(issuer.phone + "\n" + contact.phone))
	return mac.Sum(nil)[:16]
}

// trusts says whether an account has issued a token to another. That is as much as the server knows of contacts.
func (a *account) trusts(other *account) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.seenPN[other.phone]
	return ok
}

// remember that the account wrote to another.
func (a *account) remember(other *account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.wrote == nil {
		a.wrote = make(map[string]struct{})
	}
	if len(a.wrote) < maxWritten {
		a.wrote[other.phone] = struct{}{}
	}
}

func (a *account) hasWritten(other *account) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.wrote[other.phone]
	return ok
}
