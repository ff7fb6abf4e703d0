package gate

import (
	"bytes"

	"go.mau.fi/libsignal/state/record"
	"go.mau.fi/whatsmeow/store"
)

// restore undoes what libsignal does to the states of a session it has merely tried.
//
// A session record has a current state and earlier ones, and when both sides began a session at once both are in use. A
// message is tried against one after the other. libsignal's Go version tries on the states themselves, not on copies: a
// state that did not fit has taken a ratchet step with a foreign key by then, is stored with the rest, and can never
// decrypt again. What was not used must stay as it was read; a decryption uses one state, which is then the current one.
// It also leaves the used state among the earlier ones, so that records grow with each change.
//
// before is what was read, after what is to be written. Records that cannot be parsed are left alone.
func restore(before, after []byte) []byte {
	if bytes.Contains(after, []byte(`"PreviousStates":[]`)) { // nearly always, and parsing costs more than decrypting
		return after
	}
	serializer := store.SignalProtobufSerializer.Session
	written, err := serializer.Deserialize(after)
	if err != nil || len(written.PreviousStates) == 0 {
		return after
	}
	read, err := serializer.Deserialize(before)
	if err != nil {
		return after
	}
	known := make(map[string]*record.StateStructure, 1+len(read.PreviousStates))
	for _, state := range append([]*record.StateStructure{read.SessionState}, read.PreviousStates...) {
		// The base key of whoever began a session is its name. Of doubles the first is the one that was used last.
		if name := nameOf(state); name != "" && known[name] == nil {
			known[name] = state
		}
	}
	seen := map[string]bool{nameOf(written.SessionState): true}
	earlier := make([]*record.StateStructure, 0, len(written.PreviousStates))
	for _, state := range written.PreviousStates {
		name := nameOf(state)
		if name == "" || seen[name] {
			continue // a fresh record's empty state, or a double
		}
		seen[name] = true
		if untouched := known[name]; untouched != nil {
			state = untouched
		}
		earlier = append(earlier, state)
	}
	written.PreviousStates = earlier
	return serializer.Serialize(written)
}

func nameOf(state *record.StateStructure) string {
	if state == nil {
		return ""
	}
	return string(state.SenderBaseKey)
}
