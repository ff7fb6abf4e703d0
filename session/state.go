package session

import (
	"time"

	"github.com/wafleet/wafleet/tenant"
)

// State is what a session is doing.
//
//	        pair            scanned            success
//	unpaired ───▶ pairing ───────▶ connecting ───────▶ online
//	   ▲  ▲          │ timeout        ▲   │ lost          │ lost
//	   │  └──────────┘                │   ▼               ▼
//	   │                              └─ backoff ◀────────┘
//	   │ unlinked by phone, or by us
//	   └────────── logged_out ◀─────────── (any)        banned(until) · outdated · conflict · stopped
type State string

// The states. LoggedOut, Banned, Outdated, Conflict and Stopped do not end by themselves (Banned does, when its time is over).
const (
	Unpaired   State = "unpaired"
	Pairing    State = "pairing"
	Connecting State = "connecting"
	Online     State = "online"
	Backoff    State = "backoff"
	LoggedOut  State = "logged_out"
	Banned     State = "banned"
	Outdated   State = "outdated"
	Conflict   State = "conflict"
	Stopped    State = "stopped"
)

// View is a snapshot of a session.
type View struct {
	Tenant  tenant.ID
	State   State
	Reason  string // stable code of why, e.g. "stream_replaced"; empty where the state says it all
	Message string // the reason as a sentence
	Action  string // what whoever sees this should do; empty when nothing
	Since   time.Time
	Until   time.Time // end of a ban, or the next attempt in Backoff; zero otherwise
	Phone   string    // the linked account's number in digits; empty when none
	LID     tenant.ChatID
	Name    string // the name that the account gave itself
	Device  string // WhatsApp's notation of the linked device
	// Reachout is WhatsApp's reach-out time lock; the zero value when there is none.
	Reachout tenant.ReachoutLock
}

// Ready says whether the session can act on WhatsApp (client API v2 §4).
func (v *View) Ready() bool { return v.State == Online }

// Suspended says whether the session rests because its tenant is suspended.
func (v *View) Suspended() bool { return v.Reason == string(reasonSuspended) }

// PairingPhase is how far a pairing has come.
type PairingPhase string

// The phases. Succeeded and Failed are the last.
const (
	PairingStarting  PairingPhase = "starting"  // connecting to WhatsApp
	PairingWaiting   PairingPhase = "waiting"   // a QR code or pairing code can be shown
	PairingFinishing PairingPhase = "finishing" // the phone accepted; logging in
	PairingSucceeded PairingPhase = "succeeded"
	PairingFailed    PairingPhase = "failed"
)

// PairingView is a snapshot of a pairing. Nobody changes it.
type PairingView struct {
	Phase     PairingPhase
	QR        string    // text of the QR code to show now; empty when pairing by code, or not waiting
	QRExpires time.Time // when the QR code is replaced by the next
	Code      string    // pairing code XXXX-XXXX to be typed into the phone; empty when pairing by QR
	Phone     string    // whom the code is for, in digits; empty when pairing by QR
	Reason    string    // stable code of why it failed
	Message   string    // the same as a sentence
	Action    string    // what to do about it; empty when nothing
	Version   int       // grows with every change; see Fleet.PairingChanged
	// Links are the pairing links through which the pairing was begun or joined; none if it was by the operator alone.
	Links []tenant.PairingLinkID
}
