package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
)

// Listener makes a node answer as a problem what net/http refuses before any handler sees it: a malformed request line, a
// control character in a header, headers that are too long. net/http writes those answers itself, as plain text, straight to
// the connection; here they are recognised by their exact head, which no handler's answer has (those carry a Date).
func Listener(l net.Listener) net.Listener { return problemListener{l} }

type problemListener struct{ net.Listener }

// Accept wraps each connection.
func (l problemListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &problemConn{Conn: conn}, nil
}

type problemConn struct{ net.Conn }

// refusalHead is what follows the status line of net/http's own refusals.
const refusalHead = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"

// Write replaces a refusal and passes everything else on.
func (c *problemConn) Write(p []byte) (int, error) {
	if !bytes.HasPrefix(p, []byte("HTTP/1.1 ")) {
		return c.Conn.Write(p)
	}
	line, _, refused := bytes.Cut(p, []byte(refusalHead))
	if !refused || bytes.Contains(line, []byte("\r\n")) {
		return c.Conn.Write(p)
	}
	status, err := strconv.Atoi(string(line[len("HTTP/1.1 "):][:3]))
	if err != nil {
		return c.Conn.Write(p)
	}
	if _, err := c.Conn.Write(refusal(status)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// refusal is a whole answer.
func refusal(status int) []byte {
	problem := newProblem(codeForStatus(status))
	if problem.Status != status {
		problem.Status, problem.Title = status, http.StatusText(status)
	}
	if status < 500 { //nolint:mnd // a client's fault: the request could not be read at all
		problem.Detail = "The request cannot be read: its first line or a header is malformed, not supported or too long."
	}
	problem.RequestID = requestID("")
	body, err := json.Marshal(problem)
	if err != nil {
		body = nil
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\n%s: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, problem.Title, problemType, headerRequestID, problem.RequestID, len(body), body)
}
