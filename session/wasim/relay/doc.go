// Package relay is the WhatsApp server of the simulator: it speaks the real protocol (TLS, WebSocket, Noise, binary
// stanzas) to unmodified clients and moves their encrypted payloads.
//
// It promises what a client may expect of WhatsApp: a device is known by its Noise key alone, a message is acknowledged once and only
// after it lies in the queue of every device it was encrypted for, a queue keeps its order, and what a device did not
// acknowledge is delivered again at its next login. It refuses to know anything else: it holds public keys only, never a Signal key, so a
// plaintext cannot reach it, and it imports none of this project's packages, so it cannot be kind to them.
//
//	client ──ws──▶ conn.read ──▶ stanza by tag ──▶ iq table ─────────────────▶ answer ──▶ conn.out ──┐
//	                                │                                                              ├─▶ writer ──ws──▶ client
//	                                ├─▶ message ─▶ ack                                             │
//	                                │      └────▶ device.queue (each device, bounded, ordered) ────┘
//	                                └─▶ receipt, ack ─▶ off the queue; routed on as a receipt of its own
//
// A connection is one reading goroutine, and a writing one while there is something to write. Time (dead connections, closing
// streams, expired pairing refs) is watched by a single sweeper. Serve owns all of them and returns when the last has ended.
//
// Locks are short, but for one: group.turn is held while one change or message goes into the queues of all members, so that all see the same
// order; no method of Server takes it. Then Server.mu guards the indexes, group.mu what is known of a group, account.mu what belongs to a user,
// device.mu the queue and the prekeys, conn.mu what waits to be written, and the tables of faults and counters and the files have one of their
// own each. Where two are held, they were taken in this order. But for turn, none is held while encrypting, writing to a socket or calling an
// observer.
//
// Groups are addressed by LID. Files are found by the hash of their bytes, large ones lie on disk. The app state is kept as the clients'
// opaque patches, and as the last record of each index, of which snapshots are made.
package relay
