package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
	waLog "go.mau.fi/whatsmeow/util/log"
)

// clientLog forwards whatsmeow's errors as warnings and its warnings for debugging: what matters of them to an operator the session
// says itself, as its state and reason. whatsmeow's debug and info lines hold whole stanzas and are dropped unformatted.
type clientLog struct {
	log *slog.Logger
	// incoming sees each stanza that comes in, and must be quick: some ends of a connection are told in no event. outgoing sees each that
	// is about to leave, which waits for it. nil: nobody does.
	incoming, outgoing func(*waBinary.Node)
}

var _ waLog.Logger = clientLog{}

// maxClientLine bounds a forwarded line: some of whatsmeow's quote whole stanzas.
const maxClientLine = 300

// longNumber is what phone numbers, LIDs and group ids have in common. Shorter ones are codes, counts and versions.
var longNumber = regexp.MustCompile(`\d{5,}`)

// quoted is where whatsmeow's lines may quote content: stanzas, and values printed by panics.
var quoted = regexp.MustCompile(`(?s)<.*>|".*"`)

// Warnf implements [waLog.Logger].
func (l clientLog) Warnf(msg string, args ...any) { l.forward(slog.LevelDebug, msg, args) }

// Errorf implements [waLog.Logger].
func (l clientLog) Errorf(msg string, args ...any) {
	level := slog.LevelWarn
	if strings.HasPrefix(msg, lostSocket) {
		level = slog.LevelDebug
	}
	l.forward(level, msg, args)
}

// lostSocket begins the line about a connection that ended, which is an error to whatsmeow alone: it happens to every session, and
// behind each pairing.
const lostSocket = "Error reading from websocket"

// Infof implements [waLog.Logger].
func (l clientLog) Infof(string, ...any) {}

// Debugf implements [waLog.Logger].
func (l clientLog) Debugf(string, ...any) {}

// Sub implements [waLog.Logger].
func (l clientLog) Sub(module string) waLog.Logger {
	switch {
	case module == "Recv" && l.incoming != nil:
		return stanzaLog{l, l.incoming}
	case module == "Send" && l.outgoing != nil:
		return stanzaLog{l, l.outgoing}
	default:
		return l
	}
}

// stanzaLog is a logger to which whatsmeow shows stanzas.
type stanzaLog struct {
	clientLog

	tap func(*waBinary.Node)
}

// Debugf implements [waLog.Logger].
func (l stanzaLog) Debugf(_ string, args ...any) {
	if len(args) == 1 {
		if node, ok := args[0].(*waBinary.Node); ok {
			l.tap(node)
		}
	}
}

func (l clientLog) forward(level slog.Level, msg string, args []any) {
	if !l.log.Enabled(context.Background(), level) {
		return
	}
	for _, arg := range args {
		if err, ok := arg.(error); ok && (errors.Is(err, errAutomatic) || errors.Is(err, errKept)) {
			return // refused by us, and done by us
		}
	}
	// whatsmeow's lines are sentences with values in them: they become a member, the message stays constant.
	l.log.Log(context.Background(), level, "whatsmeow", "line", redact(fmt.Sprintf(msg, args...)))
}

// redact masks what may name a person or quote a message.
func redact(line string) string {
	line = quoted.ReplaceAllString(line, "…")
	line = longNumber.ReplaceAllStringFunc(line, func(digits string) string { return "…" + digits[len(digits)-2:] })
	if len(line) > maxClientLine {
		line = line[:maxClientLine] + "…"
	}
	return line
}

// redactJID is a JID as logs may show it.
func redactJID(jid types.JID) string { return redact(jid.String()) }
