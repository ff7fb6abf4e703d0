package relay

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

type (
	node  = waBinary.Node
	attrs = waBinary.Attrs
)

var (
	errEmptyFrame = errors.New("empty frame")
	errMalformed  = errors.New("malformed stanza")
)

// el is an element with children (none: no content at all).
func el(tag string, a attrs, children ...node) node {
	n := node{Tag: tag, Attrs: a}
	if len(children) > 0 {
		n.Content = children
	}
	return n
}

// leaf is an element with bytes as content: a Go string would be packed and come out as another type.
func leaf(tag string, content []byte) node { return node{Tag: tag, Content: content} }

// str is an attribute that should be a string; "" when it is missing.
func str(n *node, key string) string {
	switch v := n.Attrs[key].(type) {
	case string:
		return v
	case types.JID:
		return v.String()
	default:
		return ""
	}
}

// jidOf is an attribute that must be a JID.
func jidOf(n *node, key string) (types.JID, bool) {
	j, ok := n.Attrs[key].(types.JID)
	return j, ok
}

// groupIn is the id of the group a stanza comes from, "" if it does not.
func groupIn(n *node) string {
	if j, _ := jidOf(n, "from"); j.Server == types.GroupServer {
		return j.User
	}
	return ""
}

// payload is the content of an element that holds bytes. Clients send some of them as strings.
func payload(n node) []byte {
	switch v := n.Content.(type) {
	case []byte:
		return v
	case string:
		return []byte(v)
	default:
		return nil
	}
}

// child is the first child with that tag, and whether there is one.
func child(n *node, tag string) (node, bool) { return n.GetOptionalChildByTag(tag) }

func has(n *node, tag string) bool {
	_, ok := child(n, tag)
	return ok
}

func unix(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

// unpack decodes what a client sent. The decoder of the library panics on some malformed input and inflates without a bound; both end here.
func unpack(frame []byte, limit int) (n *node, err error) {
	defer func() {
		if r := recover(); r != nil {
			n, err = nil, fmt.Errorf("%w: %v", errMalformed, r)
		}
	}()
	if len(frame) == 0 {
		return nil, errEmptyFrame
	}
	body := frame[1:]
	if frame[0]&2 != 0 {
		z, err := zlib.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, fmt.Errorf("inflate stanza: %w", err)
		}
		if body, err = io.ReadAll(io.LimitReader(z, int64(limit)+1)); err != nil {
			return nil, fmt.Errorf("inflate stanza: %w", err)
		}
		if len(body) > limit {
			return nil, fmt.Errorf("%w: inflates to more than %d bytes", errMalformed, limit)
		}
	}
	n, err = waBinary.Unmarshal(body)
	if err != nil {
		return nil, fmt.Errorf("decode stanza: %w", err)
	}
	return n, nil
}

// marshal encodes a stanza. The encoder panics on types it does not know; that would be our mistake, but must not end the process.
func marshal(n node) (out []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			out, err = nil, fmt.Errorf("%w: encode %s: %v", errMalformed, n.Tag, r)
		}
	}()
	out, err = waBinary.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", n.Tag, err)
	}
	return out, nil
}
