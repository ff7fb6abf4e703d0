package session

import "github.com/wafleet/wafleet/tenant"

// TextMessage is what sending a text takes.
type TextMessage struct {
	Text     string
	ReplyTo  tenant.MessageID // optional: a stored message of the same chat
	Mentions []tenant.ChatID  // optional
	// Forwarded marks it as forwarded.
	Forwarded bool
}
