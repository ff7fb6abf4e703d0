package session

import "github.com/wafleet/wafleet/tenant"

// reason is the stable code of why a session is in its state, or of why a pairing failed.
type reason string

// The reasons.
const (
	reasonNone reason = ""

	// Backoff.
	lostConnection     reason = "connection_lost"
	lostDial           reason = "connect_failed"
	lostLogin          reason = "login_timeout"
	lostPing           reason = "keepalive_timeout"
	lostServer         reason = "server_unavailable"
	lostStream         reason = "stream_error"
	lostRefused        reason = "connect_refused"
	lostStore          reason = "store_unavailable"
	lostFault          reason = "internal_fault"
	reasonBrokenDevice reason = "device_unreadable"

	// LoggedOut.
	outByPhone    reason = "unlinked_by_phone"
	outMainGone   reason = "primary_device_gone"
	outUnknown    reason = "logged_out_by_whatsapp"
	outByOperator reason = "logged_out_by_operator"
	outLocally    reason = "logged_out_locally"
	outNoDevice   reason = "device_missing"

	// The others.
	reasonBanned   reason = "temporary_ban"
	reasonOutdated reason = "client_outdated"
	reasonReplaced reason = "stream_replaced"
	reasonStopped  reason = "disconnected_by_operator"
	// reasonSuspended stands with Wanted: the session comes back when the tenant is resumed.
	reasonSuspended reason = "tenant_suspended"
	reasonExported  reason = "exported"
	reasonImported  reason = "imported"

	// Pairing.
	pairTimeout   reason = "pairing_timeout"
	pairCancelled reason = "pairing_cancelled"
	pairConnect   reason = "pairing_connect_failed"
	pairRefused   reason = "pairing_refused"
	pairLimited   reason = "pairing_rate_limited"
	pairPhone     reason = "phone_not_accepted"
	pairPasskey   reason = "passkey_required"
	pairStopped   reason = "node_stopping"
	pairOldPhone  reason = "multidevice_disabled"
)

// text is what a reason says to people.
type text struct {
	message string // what happened
	action  string // what whoever reads it should do; empty when nothing
}

const (
	tryAgain  = "There is nothing to do: the session connects again by itself."
	pairAgain = "Pair the device again."
)

// texts is the one table of sentences.
var texts = map[reason]text{ //nolint:gochecknoglobals // a constant table, never written
	lostConnection:     {"The connection to WhatsApp was lost.", tryAgain},
	lostDial:           {"WhatsApp could not be reached.", tryAgain},
	lostLogin:          {"WhatsApp did not complete the login in time.", tryAgain},
	lostPing:           {"WhatsApp stopped answering on an open connection.", tryAgain},
	lostServer:         {"WhatsApp's server is unavailable for now.", tryAgain},
	lostStream:         {"WhatsApp ended the connection with an error.", tryAgain},
	lostRefused:        {"WhatsApp refused the connection for a reason that is not known.", tryAgain},
	lostStore:          {"The node's database is unavailable.", "Check the node's database; the session connects again by itself."},
	lostFault:          {"The session met an internal fault.", "Report the fault with the node's log; the session connects again by itself."},
	reasonBrokenDevice: {"The device's credentials cannot be read.", "Check the node's log; if they are damaged, log out and pair again."},
	outByPhone:         {"The device was unlinked on the phone.", pairAgain},
	outMainGone:        {"The account was locked, or moved to another phone.", "Open WhatsApp on the phone, then pair the device again."},
	outUnknown:         {"WhatsApp logged the device out; the account may be banned.", "Open WhatsApp on the phone to see why, then pair the device again."},
	outByOperator:      {"The device was logged out on request.", pairAgain},
	outLocally: {
		"The device was logged out here while WhatsApp could not be told.",
		"Remove the device on the phone too (Linked devices), then pair again.",
	},
	outNoDevice:    {"The device's credentials are not there.", pairAgain},
	reasonBanned:   {"WhatsApp banned the account for a time.", "Wait until the ban ends and send less to people who do not know the account."},
	reasonOutdated: {"WhatsApp no longer takes this version of the client.", "Update wafleet."},
	reasonReplaced: {
		"Another client connected with the same device.",
		"Make sure that the device runs in one place only, then connect the session.",
	},
	reasonSuspended: {"The tenant is suspended.", "Resume the tenant: the session connects by itself then."},
	reasonStopped:   {"The session was disconnected on request.", "Connect the session."},
	reasonExported: {
		"The account is being moved to another node.",
		"Delete the tenant here once it runs there; or, if it was imported nowhere, take the export back.",
	},
	reasonImported: {
		"The account has come from another node, and was not connected yet.",
		"Make sure that it does not run on the other node, then connect the session.",
	},
	pairTimeout:   {"The pairing was not confirmed on the phone in time.", "Start the pairing again."},
	pairCancelled: {"The pairing was cancelled.", ""},
	pairConnect:   {"The connection to WhatsApp was lost while pairing.", "Start the pairing again."},
	pairRefused:   {"The pairing could not be completed.", "Start the pairing again; if it fails again, see the node's log."},
	pairLimited:   {"WhatsApp takes no more pairing codes for this number for now.", "Wait a while, or pair by QR code."},
	pairPhone:     {"WhatsApp does not take this phone number.", "Give the number in international form, digits only."},
	pairPasskey: {
		"WhatsApp asks for this account's passkey before it links a device. Passkeys answer WhatsApp's own pages and apps alone.",
		"Try once in the other way: QR code instead of pairing code, or the reverse. If WhatsApp asks again, this account cannot be linked " +
			"while WhatsApp wants its passkey; removing the passkey on the phone helps some accounts, others are asked to make a new one.",
	},
	pairStopped:  {"The node is stopping.", "Start the pairing again in a moment."},
	pairOldPhone: {"The phone's WhatsApp does not have linked devices enabled.", "Enable linked devices on the phone and scan again."},
}

// words are the reason's sentences; empty for none.
func (r reason) words() text { return texts[r] }

// status is how a state is stored and journalled.
func status(s State, r reason) tenant.SessionStatus {
	words := r.words()
	return tenant.SessionStatus{
		State: string(s), Ready: s == Online, Reason: string(r), Message: words.message, Action: words.action,
	}
}
