// Package devicestore keeps the keys and ratchets of linked devices behind whatsmeow's store interfaces, in the database of
// package tenantsql and encrypted. It implements [session.Devices].
//
// # What is written when
//
// What a device writes is kept in memory first, where all its reads see it (see [device] and its overlay), and goes with the next
// commit of its tenant ([tenant.DeviceRider]). whatsmeow's handler commits the record that a message became, and what its decryption
// moved is part of the same transaction. An event that is decrypted is kept with its plaintext until its record is committed
// ([tenant.SettleEvent]), since it cannot be decrypted a second time; if its ratchet has to be written before, the plaintext is
// written with it.
//
// Whatever a frame to WhatsApp follows waits until it is durable: PutManySessions, PutSession outside of a decryption, PutSenderKey of
// our own, new prekeys. A ratchet that was used on the wire is never used again, whatever happens to the process.
//
// Traced in v0.0.0-20260921121126-35ae40906e74: DoDecryptionTxn's function decrypts, clears an untrusted identity and writes the event
// buffer; PutMessageSecret and PutSenderKey (of others) follow outside of it, then our handler, then ClearBufferedEventPlaintext, which
// waits if nothing was committed, then the receipt. A decryption that fails is followed by a retry receipt and an acknowledgement of the
// whole stanza: what earlier parts of it moved is written before the error is returned. What decrypts and is malformed is given up without a
// call to the store: there it is the session that flushes, before the frame leaves.
//
// # What is not kept
//
// Names of contacts and settings of chats: whatsmeow writes them and reads them for nothing that we use; the tenant's own store has
// them. LIDs lie in the tenant's own store (see [lids]), where they are needed for more.
//
// # Encryption
//
// Each device has a key of its own, by which credentials and rows are encrypted (XChaCha20-Poly1305, with tenant, kind and key of the row
// authenticated, so that no row can be put in another's place). That key is encrypted by a master key that lies outside of the database
// ([Keyring]). Deleting a device deletes its key first. What is not encrypted is how many rows of which kind there are, their keys
// (addresses, group and message ids) and their age.
//
// # Errors
//
// A device's store stops at the first storage error ([session.FailStop]), and panics become errors.
package devicestore
