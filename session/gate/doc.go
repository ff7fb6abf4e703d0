// Package gate keeps the two writers of a Signal session apart.
//
// A device's sessions (Double Ratchets) are read, moved and written back by whoever sends and by whoever receives, and
// whatsmeow has no lock common to both. Whoever writes last wins; a message counter is then used twice, the recipient
// takes the second message for a duplicate, and it is lost in silence: neither side gets an error. [Wrap] puts one gate
// per device in front of the device's session store and event buffer; it is held
//
//   - by whoever receives: through the function of DoDecryptionTxn, until the transaction has ended;
//   - by whoever sends, inside [Gate.Send]: from GetManySessions to the end of PutManySessions (peer messages: from
//     GetSession to PutSession), and at the latest until the function of Send returns, since some exits never put.
//
// A send may fetch prekeys between its get and its put. While it waits for them nothing can be decrypted on this device,
// so a hold is taken away after [DefaultMaxHold]; the late PutManySessions then answers [ErrMoved], nothing has been
// sent, and the caller sends again with the same id.
//
// # Writes outside a hold
//
// Retry receipts and the peer messages whatsmeow sends by itself read and write one session with a context of their own.
// They wait for the gate for each step; a PutSession over another version than the one its goroutine read answers
// [ErrMoved], a context.Canceled, which whatsmeow takes for "not now": the retry receipt stays unacknowledged and the
// server brings it again. Versions are hashes of what was read, forgotten with the put, at most [maxReads] at a time; a
// put whose read is unknown is refused as well. So is a send that nobody wrapped in [Gate.Send], if its sessions moved
// meanwhile. MigratePNToLID, DeleteSession and DeleteAllSessions wait for the gate.
//
// # Which context whatsmeow passes where
//
// The hold travels in the context, so this must be looked at again with each new version. Traced in
// v0.0.0-20260921121126-35ae40906e74:
//
//   - SendMessage hands its caller's context through sendDM or sendGroup, prepareMessageNode and
//     encryptMessageForDevices to MigratePNToLID (before the get: no hold needed), WithCachedSessions (GetManySessions,
//     only if there is an address) and PutCachedSessions (PutManySessions, only if a session moved). The context that
//     WithCachedSessions derives keeps our value. In between: fetchPreKeys (network, up to 75 s and one retry after a
//     reconnect), IsTrustedIdentity, PutIdentity, and with AutoTrustIdentity DeleteIdentity and DeleteSession. A session
//     that could not be parsed is missing from the cache and read again with GetSession, but written with the others.
//     With an inline bot there are two rounds of get and put.
//   - After the put only frames go out and the acknowledgement is awaited. The acknowledgement, and the answer to
//     fetchPreKeys, are taken off the wire by the frame reader, not by the queue in which messages wait for the gate.
//   - SendMessage with Peer goes through preparePeerMessageNode to encryptMessageForDevice: HasSession, GetSession,
//     PutSession, with the caller's context. SendPeerMessage called by whatsmeow itself (placeholder requests after an
//     undecryptable message, key requests) has the context of the handler queue: no hold.
//   - handleRetryReceipt runs in a goroutine of its own with the context of the handler queue: HasSession, MigratePNToLID,
//     with a bundle GetSession, PutSession, then GetSession, PutSession. There is no network between a get and its put.
//   - bufferedDecrypt calls DoDecryptionTxn with the context of the handler queue and shadows it inside: HasSession,
//     GetSession, IsTrustedIdentity, PutIdentity, PutSession, GetPreKey, RemovePreKey, PutBufferedEvent and, with
//     AutoTrustIdentity, DeleteSession all get the transaction's context. MigratePNToLID and GetBufferedEvent come before
//     it, ClearBufferedEventPlaintext after it. Without EnableDecryptedEventBuffer there is no transaction: decryption
//     then works like a retry receipt, and loses races that a transaction would not have.
//   - An identity change calls DeleteAllSessions from the handler queue.
//
// Nothing inside the transaction's function sends or takes the send lock of whatsmeow, so there is one order of locks:
// send lock, gate, database connection. A panic of that function becomes [ErrPanic] (whatsmeow would recover it one level
// too high, with the transaction still open); the message then counts as undecryptable.
//
// Sender keys are not covered: a retry of a group message only reads our own, and those of others have one writer.
package gate
