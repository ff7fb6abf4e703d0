package session

// mayBecome lists each state's successors. What is not listed is a bug of ours: it is refused, logged and counted.
//
// Every state of a linked device may become LoggedOut (the phone unlinks it whenever it likes), and each in which the session
// rests may become Connecting, when somebody asks for it or when its time is over.
func (s State) mayBecome(next State) bool {
	switch s {
	case Unpaired:
		return next == Pairing
	case Pairing:
		return next == Connecting || next == Unpaired
	case Connecting:
		return next == Online || next == Backoff || next.ends()
	case Online:
		return next == Backoff || next.ends()
	case Backoff:
		return next == Connecting || next.ends()
	case LoggedOut:
		return next == Pairing
	case Banned, Outdated, Conflict, Stopped:
		return next == Connecting || next == Stopped || next == LoggedOut
	}
	return false
}

// ends says whether the state ends the session's own efforts: it is stored at once and survives a restart.
func (s State) ends() bool {
	switch s {
	case LoggedOut, Banned, Outdated, Conflict, Stopped:
		return true
	case Unpaired, Pairing, Connecting, Online, Backoff:
		return false
	}
	return false
}

// passing says whether the state is but a step to another: it is journalled only if it lasts.
func (s State) passing() bool {
	switch s {
	case Pairing, Connecting, Backoff:
		return true
	case Unpaired, Online, LoggedOut, Banned, Outdated, Conflict, Stopped:
		return false
	}
	return false
}

// known says whether s is one of the states.
func (s State) known() bool {
	switch s {
	case Unpaired, Pairing, Connecting, Online, Backoff, LoggedOut, Banned, Outdated, Conflict, Stopped:
		return true
	}
	return false
}
