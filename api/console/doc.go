// Package console is what people see of a node in their browsers: the page of a pairing link, on which a tenant's own customer links a
// WhatsApp account by QR code or by pairing code.
//
// The page is whole without JavaScript: each state is rendered by the server, from one template and one table of texts per language, and
// actions are plain forms. The script only keeps the page up to date, by the server-sent events of [Pairing] or, where a proxy swallows
// those, by asking again, and puts in what the server has rendered. It comes from this server as everything else does.
//
// The package knows no API keys and no JSON API. Whoever has a link's token may do what the link is for; opening the page does nothing, since
// messengers open links to make previews. Every request's goroutine is its own; a stream ends with its request, at the latest after
// [Pairing]'s longest time.
package console
