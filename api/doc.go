// Package api is the HTTP side of a node: the tenants' API (client API v2), the operator's admin API, the WebSocket of events, the
// two OpenAPI documents with their pages, probes and metrics. It speaks to a [tenant.Store] and to the fleet through [Sessions];
// it knows neither SQL nor WhatsApp.
//
// Three rules hold everywhere:
//
//   - A handler of the tenants' API gets a [tenant.Handle], never the store, so that it cannot reach another tenant.
//   - Whatever goes wrong is answered as a [Problem] (RFC 9457), with the words of client API v2 §8 in "error". The table in
//     problem.go is the only place that turns errors into statuses.
//   - A resource is a file, and [operation] says all there is to say about an endpoint: id, summary, deadline, problems, example.
//
// Goroutines: each WebSocket has two beside its handler, who waits for them. [Server.Run] waits for every stream.
package api
