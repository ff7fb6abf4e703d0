// Package gate keeps apart those who write in whatsmeow what others are using: a Signal session has two writers, a group's list of
// members a reader beside its writer, and the channel of an answer is closed by one while another sends on it.
//
// # Sessions
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
// # Members of groups
//
// A send to a group and a notification of who joined or left it have no common lock either. whatsmeow keeps the members of each
// group in an entry behind a pointer. A send takes the pointer under a lock and reads the list without; the handler of the
// notification changes list and length in place. The send then encrypts for somebody twice, or for somebody not at all.
// [NewClient] makes a client whose entries never change: the stanza gets another id for the group before it is handled, so that
// whatsmeow finds no entry to change; the first event handler puts the id right and replaces the entry by another. Nobody waits.
// It needs no gate, and a client behind a gate must be made by it. What another does between the two steps of a replacement is
// undone (an entry that is fetched, the removal of one that the server's hash of members proved wrong): the next send finds out, by
// that hash.
//
// # Answers
//
// Whoever asks the server waits at a channel, and closes it when it gives up: at a deadline, or when the frame could not be sent. The
// reader of frames takes the channel under a lock, but sends on it without: an answer that comes as its asker gives up is sent on a
// closed channel, in a goroutine that nothing recovers, and ends the whole process. [NewClient] hands answers over itself, and contains that.
//
// # What whatsmeow does where
//
// The hold travels in the context, and ids of groups through a notification, so this must be looked at again with each new
// version. Traced in v0.0.0-20260921121126-35ae40906e74:
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
//   - handleFrame shows each stanza to the logger's Sub("Recv") before it queues the same pointer; nobody else has it by then. Then it tries
//     receiveResponse, for which an "ack" without an id is no answer, and which nothing else handles either.
//   - cancelResponse closes the channel under the lock of the waiters; receiveResponse takes it out of the map under that lock and sends
//     after it. All channels of waitResponse have room for one.
//   - Only updateGroupParticipantCache changes an entry of the cache of groups, found by the JID of parseGroupChange: the attribute
//     "from", as it is. cacheGroupInfo, for fetched groups and those one is added to, stores new entries; a hash that differs
//     deletes one. SendMessage reads the entry before it waits for the send lock, and its list until GetUserDevices has copied it.
//   - Of a JID's integrator only ids of the interop server have any on the wire; the acknowledgement, which is sent to "from" as
//     well, goes to the group. Event handlers are called one after another, in the order in which they were added.
//   - getCachedGroupData asks the server for an entry that is not there, but SendFrame sends nothing for a context that has ended.
//
// Nothing inside the transaction's function sends or takes the send lock of whatsmeow, so there is one order of locks:
// send lock, gate, database connection. A panic of that function becomes [ErrPanic] (whatsmeow would recover it one level
// too high, with the transaction still open); the message then counts as undecryptable.
//
// Sender keys are not covered: a retry of a group message only reads our own, and those of others have one writer.
package gate
