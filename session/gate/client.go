package gate

import (
	"context"

	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/store"
	waLog "go.mau.fi/whatsmeow/util/log"
)

// NewClient is [whatsmeow.NewClient], but for two things: who joins or leaves a group does not change the list of members that a
// send is just reading, see "Members of groups" in the package comment; and an answer that comes as whoever asked gives up does no harm,
// see "Answers". log may be nil.
func NewClient(dev *store.Device, log waLog.Logger) *whatsmeow.Client {
	if log == nil {
		log = waLog.Noop
	}
	seen := &stanzaLog{}
	cli := whatsmeow.NewClient(dev, clientLog{log, seen})
	seen.cli = cli
	m := &members{cli: cli}
	cli.AddEventHandler(m.handle) // the first handler, so that others see the group's own id
	return cli
}

// clientLog lets us at each stanza, which whatsmeow shows to its logger before it does anything else.
type clientLog struct {
	waLog.Logger

	stanzas *stanzaLog
}

// Sub implements [waLog.Logger].
func (l clientLog) Sub(module string) waLog.Logger {
	sub := l.Logger.Sub(module)
	if module == "Recv" {
		l.stanzas.Logger = sub
		return l.stanzas
	}
	return sub
}

// stanzaLog is the logger of received stanzas.
type stanzaLog struct {
	waLog.Logger

	cli *whatsmeow.Client
}

// Debugf implements [waLog.Logger]. The logger behind it sees the stanza as it came.
func (l *stanzaLog) Debugf(msg string, args ...any) {
	l.Logger.Debugf(msg, args...)
	if len(args) != 1 {
		return
	}
	if node, ok := args[0].(*waBinary.Node); ok {
		divert(node)
		l.answer(node)
	}
}

// answer hands an answer over to whoever waits for it, and leaves an acknowledgement of nothing in its place.
func (l *stanzaLog) answer(node *waBinary.Node) {
	if node.Tag != "iq" && node.Tag != "ack" {
		return
	}
	answer := *node
	if l.handOver(&answer) {
		*node = waBinary.Node{Tag: "ack"}
	}
}

func (l *stanzaLog) handOver(answer *waBinary.Node) (taken bool) {
	inner := l.cli.DangerousInternals() //nolint:staticcheck // deprecated as a warning, not to be replaced
	defer func() {
		if recover() != nil { // sent on a channel that was closed: nobody waits any more
			taken = true
		}
	}()
	if !inner.ReceiveResponse(context.Background(), answer) { // a channel with room: this does not wait
		return false
	}
	inner.CancelResponse("", make(chan *waBinary.Node)) // for its lock: who gives up from now on does so after this
	return true
}
