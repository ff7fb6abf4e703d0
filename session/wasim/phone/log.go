package phone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/socket"
	waLog "go.mau.fi/whatsmeow/util/log"
)

// clientLog hands whatsmeow's warnings to slog, at debug level and without numbers. Its "Recv" child is also how a phone
// sees the stanzas for which whatsmeow, made for companions, has no event.
type clientLog struct {
	log *slog.Logger
	tap func(*waBinary.Node) // nil but for "Recv"
	top func(*waBinary.Node)
}

var _ waLog.Logger = clientLog{}

func newClientLog(log *slog.Logger, tap func(*waBinary.Node)) clientLog {
	return clientLog{log: log, top: tap}
}

// Sub implements [waLog.Logger].
func (l clientLog) Sub(module string) waLog.Logger {
	sub := clientLog{log: l.log.With("module", module), top: l.top}
	if module == "Recv" {
		sub.tap = l.top
	}
	return sub
}

// Debugf implements [waLog.Logger]. It is called for each stanza before it is handled.
func (l clientLog) Debugf(_ string, args ...any) {
	if l.tap == nil || len(args) != 1 {
		return
	}
	if n, ok := args[0].(*waBinary.Node); ok {
		l.tap(n)
	}
}

// Infof implements [waLog.Logger].
func (l clientLog) Infof(string, ...any) {}

// Warnf implements [waLog.Logger].
func (l clientLog) Warnf(msg string, args ...any) { l.write("client warning", msg, args) }

// Errorf implements [waLog.Logger].
func (l clientLog) Errorf(msg string, args ...any) { l.write("client error", msg, args) }

func (l clientLog) write(kind, msg string, args []any) {
	ctx := context.Background() // whatsmeow's loggers have none
	if !l.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	l.log.DebugContext(ctx, "whatsmeow", "kind", kind, "text", redactText(fmt.Sprintf(msg, args...)))
}

// redactText blanks what looks like a phone number or a LID, but for its end.
func redactText(s string) string {
	var out strings.Builder
	for len(s) > 0 {
		start := strings.IndexAny(s, "0123456789")
		if start < 0 {
			break
		}
		out.WriteString(s[:start])
		s = s[start:]
		run := len(s) - len(strings.TrimLeft(s, "0123456789"))
		if run >= 7 {
			out.WriteString(redact(s[:run]))
		} else {
			out.WriteString(s[:run])
		}
		s = s[run:]
	}
	out.WriteString(s)
	return out.String()
}

// isSocketError tells whether err comes from a connection that ended while it was written to.
func isSocketError(err error) bool {
	var netErr net.Error
	return errors.Is(err, socket.ErrSocketClosed) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) ||
		errors.As(err, &netErr) || strings.Contains(err.Error(), "failed to write")
}
