package tenant

import (
	"fmt"
	"slices"
	"strings"
)

// Scope is a part of the tenants' API that a key may use.
type Scope string

// The scopes.
const (
	ScopeRead   Scope = "read"   // what changes nothing: chats, messages, events, the session's state
	ScopeSend   Scope = "send"   // conversing: messages and what belongs to them, number checks
	ScopeManage Scope = "manage" // the account, its groups and the state of its chats
)

// AllScopes are the scopes of a key that was made without.
func AllScopes() Scopes { return Scopes{ScopeRead, ScopeSend, ScopeManage} }

// Scopes are what a key may do. None at all is nothing.
type Scopes []Scope

// Has says whether a key with these scopes may do what needs that one.
func (s Scopes) Has(scope Scope) bool { return slices.Contains(s, scope) }

// String is the stored form: in a fixed order, separated by commas.
func (s Scopes) String() string {
	var words []string
	for _, scope := range AllScopes() {
		if s.Has(scope) {
			words = append(words, string(scope))
		}
	}
	return strings.Join(words, ",")
}

// ParseScopes reads what String wrote; an empty text is all scopes.
func ParseScopes(text string) (Scopes, error) {
	if text == "" {
		return AllScopes(), nil
	}
	var scopes Scopes
	for word := range strings.SplitSeq(text, ",") {
		if !AllScopes().Has(Scope(word)) {
			return nil, fmt.Errorf("%q is no scope", word)
		}
		scopes = append(scopes, Scope(word))
	}
	return scopes, nil
}
