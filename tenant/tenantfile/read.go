package tenantfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"

	"github.com/wafleet/wafleet/tenant"
)

// Reader reads one tenant. It reads nothing beyond the tenant's end, where another may begin.
type Reader struct {
	r      io.Reader
	dec    cbor.DecMode
	check  [sha256.Size]byte
	header Header
	end    End
	ended  bool
	buffer bytes.Buffer
}

// NewReader begins to read. Returns io.EOF when there is nothing to read, ErrNotAFile, ErrNewer, ErrDamaged, or what r says.
func NewReader(r io.Reader) (*Reader, error) {
	_, dec, err := modes()
	if err != nil {
		return nil, err
	}
	in := &Reader{r: r, dec: dec, check: sha256.Sum256([]byte(magic))}
	begin := make([]byte, len(magic))
	n, err := io.ReadFull(r, begin)
	switch {
	case n == 0 && errors.Is(err, io.EOF):
		return nil, io.EOF
	case err != nil && !short(err):
		return nil, fmt.Errorf("read file: %w", err)
	case string(begin[:n]) == magic[:n] && n < len(magic):
		return nil, ErrDamaged
	case string(begin) == magic:
	case bytes.HasPrefix(begin, []byte(magic[:len(magic)-2])):
		return nil, ErrNewer
	default:
		return nil, ErrNotAFile
	}
	kind, content, err := in.chunk()
	if err == nil && kind != kindHeader {
		err = fmt.Errorf("%w: no header", ErrDamaged)
	}
	if err == nil {
		err = in.decode(content, &in.header)
	}
	if err != nil {
		return nil, err
	}
	if _, err = tenant.ParseID(string(in.header.Tenant)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return in, nil
}

// Header tells whose stream it is.
func (r *Reader) Header() Header { return r.header }

// End counts what there was; it is known once Next has returned io.EOF.
func (r *Reader) End() End { return r.end }

// Next is the next rows. They stay as they are when more are read. Returns io.EOF behind the last ones: only then was the stream whole.
// Returns ErrDamaged, or what the reader below says.
func (r *Reader) Next() (tenant.Rows, error) {
	if r.ended {
		return tenant.Rows{}, io.EOF
	}
	kind, content, err := r.chunk()
	if err != nil {
		return tenant.Rows{}, err
	}
	switch kind {
	case kindRows:
		var some rows
		if err = r.decode(content, &some); err != nil {
			return tenant.Rows{}, err
		}
		r.end.Rows += len(some.Values)
		return tenant.Rows(some), nil
	case kindEnd:
		var end End
		if err = r.decode(content, &end); err != nil {
			return tenant.Rows{}, err
		}
		if end != r.end {
			return tenant.Rows{}, fmt.Errorf("%w: it counts otherwise than its end says", ErrDamaged)
		}
		r.ended = true
		return tenant.Rows{}, io.EOF
	case kindHeader:
	}
	return tenant.Rows{}, fmt.Errorf("%w: a chunk of an unknown kind", ErrDamaged)
}

// chunk reads a chunk and verifies it. Its content is valid until the next one is read. Memory grows with what has come, not with
// what a length says.
func (r *Reader) chunk() (kind, []byte, error) {
	var head [headLength]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return 0, nil, broken(err)
	}
	length := int64(binary.BigEndian.Uint32(head[1:]))
	if length > MaxChunk {
		return 0, nil, fmt.Errorf("%w: a chunk is too long", ErrDamaged)
	}
	r.buffer.Reset()
	if _, err := io.CopyN(&r.buffer, r.r, length); err != nil {
		return 0, nil, broken(err)
	}
	var check [sha256.Size]byte
	if _, err := io.ReadFull(r.r, check[:]); err != nil {
		return 0, nil, broken(err)
	}
	if r.check = next(r.check, head[:], r.buffer.Bytes()); r.check != check {
		return 0, nil, fmt.Errorf("%w: a check does not fit", ErrDamaged)
	}
	return kind(head[0]), r.buffer.Bytes(), nil
}

func (r *Reader) decode(content []byte, into any) error {
	if err := r.dec.Unmarshal(content, into); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

func short(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// broken tells a stream that ends early from one that could not be read.
func broken(err error) error {
	if short(err) {
		return fmt.Errorf("%w: it ends early", ErrDamaged)
	}
	return fmt.Errorf("read file: %w", err)
}

// Copy copies one tenant, verifying it on the way. What was copied before an error is not whole, which its readers see, too. Returns
// io.EOF when there is none, and what [NewReader] and [Reader.Next] return.
func Copy(to io.Writer, from io.Reader) (Header, End, error) {
	in, err := NewReader(io.TeeReader(from, to))
	if err != nil {
		return Header{}, End{}, err
	}
	for {
		switch _, err = in.Next(); {
		case err == io.EOF: //nolint:errorlint // as it is, it means the end
			return in.header, in.end, nil
		case err != nil:
			return in.header, End{}, err
		}
	}
}
