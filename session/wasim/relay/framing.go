package relay

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A frame is three bytes of length and so many bytes. A client's first one is preceded by a header: optionally a routing block
// ("ED", 0, 1, three bytes of length, data) and always "WA", the protocol's version and the dictionary's.
const (
	frameLengthSize = 3
	headerSize      = 4
	maxRouting      = 4096
	maxFrameLength  = 1<<24 - 1
)

var (
	errBadHeader     = errors.New("unknown protocol header")
	errFrameTooLarge = errors.New("frame too large")
)

// deframer cuts the byte stream of one client into frames, wherever its messages end.
type deframer struct {
	limit  int
	header []byte // the four bytes, which are the Noise prologue; nil until they came
	rest   []byte
}

// push takes the next message and returns the frames complete by now. They are valid until the next push.
func (d *deframer) push(msg []byte) ([][]byte, error) {
	buf := msg
	if len(d.rest) > 0 {
		buf = append(d.rest, msg...)
		d.rest = nil
	}
	if d.header == nil {
		var err error
		if buf, err = d.takeHeader(buf); err != nil {
			return nil, err
		}
	}
	var frames [][]byte
	for d.header != nil && len(buf) >= frameLengthSize {
		n := int(buf[0])<<16 | int(buf[1])<<8 | int(buf[2])
		if n > d.limit {
			return nil, fmt.Errorf("%w: %d bytes", errFrameTooLarge, n)
		}
		if len(buf) < frameLengthSize+n {
			break
		}
		frames = append(frames, buf[frameLengthSize:frameLengthSize+n])
		buf = buf[frameLengthSize+n:]
	}
	if len(buf) > 0 {
		d.rest = append([]byte(nil), buf...)
	}
	return frames, nil
}

func (d *deframer) takeHeader(buf []byte) ([]byte, error) {
	if len(buf) >= 2 && buf[0] == 'E' && buf[1] == 'D' {
		if len(buf) < 7 {
			return buf, nil
		}
		n := int(binary.BigEndian.Uint32(append([]byte{0}, buf[4:7]...)))
		if n > maxRouting {
			return nil, fmt.Errorf("%w: routing block of %d bytes", errBadHeader, n)
		}
		if len(buf) < 7+n+headerSize {
			return buf, nil
		}
		buf = buf[7+n:]
	}
	if len(buf) < headerSize {
		return buf, nil
	}
	if buf[0] != 'W' || buf[1] != 'A' || buf[2] != 6 {
		return nil, fmt.Errorf("%w: % x", errBadHeader, buf[:headerSize])
	}
	d.header = append([]byte(nil), buf[:headerSize]...)
	return buf[headerSize:], nil
}

// putLength writes the length of a frame's body into its first three bytes.
func putLength(frame []byte) error {
	n := len(frame) - frameLengthSize
	if n > maxFrameLength {
		return fmt.Errorf("%w: %d bytes", errFrameTooLarge, n)
	}
	frame[0], frame[1], frame[2] = byte(n>>16&0xff), byte(n>>8&0xff), byte(n&0xff)
	return nil
}
