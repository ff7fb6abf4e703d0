// Package tenantfile is the form in which a tenant travels: a stream of chunks, written and read a chunk at a time. It knows neither
// stores nor networks, and holds one chunk in memory.
//
//	"wafleet tenant 1\n"
//	chunk: kind (1 byte) · length (4 bytes, big endian) · content (CBOR) · check (32 bytes)
//
// The first chunk is the [Header], the last one the [End]; between them are rows of tables. A check is
// the SHA-256 of the check before it and of its own chunk, so that it tells a chunk that is damaged, out of place, or of another file;
// [End] tells one that is missing at the end. It is no signature, and nothing is encrypted: a stream holds the keys of a WhatsApp device,
// and whoever stores one encrypts it (package main does, with age).
//
// CBOR, because rows hold bytes and 64-bit numbers, neither of which JSON has.
package tenantfile
