// Package devicestore keeps the keys and ratchets of linked devices, on whatsmeow's sqlstore in the database of package
// tenantsql. It implements [session.Devices].
//
// What it adds to sqlstore:
//
//   - A device belongs to a tenant. sqlstore knows devices by JID alone, and WhatsApp gives a JID of an unlinked device out
//     again: whoever loads or deletes a device must own it, and a device that is stored for the first time replaces whatever
//     lies under its JID.
//   - LIDs are looked up for one tenant, in the tenant's own store (see [lids]); sqlstore's table has no owner, and would tell
//     one tenant another's phone numbers.
//   - It stops at the first storage error ([session.FailStop]), and panics become errors.
//   - Prekeys are made in one transaction instead of 812.
//
// No method commits to the tenant's store from inside DoDecryptionTxn: on SQLite that transaction holds the only write lock,
// and the commit would wait for it for ever. Traced in v0.0.0-20260921121126-35ae40906e74: the transaction's function decrypts,
// clears an untrusted identity, and writes the event buffer; whatsmeow stores LIDs before it (handleEncryptedMessage) and
// dispatches events after it, or in another goroutine. [lids] refuses to commit there, so that a change in whatsmeow shows
// as an error.
package devicestore
