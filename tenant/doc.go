// Package tenant is the domain: what a tenant is and what it owns — API keys, chats, messages, the journal of events — and the
// interfaces to store them. It knows neither WhatsApp's wire format nor HTTP nor SQL; package tenantsql stores it on SQLite and
// PostgreSQL, package session fills it from WhatsApp, package api shows it.
//
// Two rules hold everywhere:
//
//   - One tenant never sees another. Whoever serves a tenant holds a [Handle], made by [Store.Tenant]; a handle names its
//     tenant in every query, and no method of it takes another tenant's id.
//   - What a tenant owns changes only through [Handle.Commit], which makes the changes and the journal's events about them
//     durable together. Whoever saw Commit return nil may tell the outside world.
//
// The shapes with JSON tags ([Chat], [Message], [Event]) are the public ones: REST bodies, WebSocket frames and the journal
// all carry them, so that a consumer needs one decoder.
package tenant
