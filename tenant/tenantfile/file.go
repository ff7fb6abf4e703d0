package tenantfile

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/wafleet/wafleet/tenant"
)

// magic is how a stream begins. Its number is the version of the form, which old readers refuse.
const magic = "wafleet tenant 1\n"

// ContentType is that of a stream.
const ContentType = "application/vnd.wafleet.tenant"

// MaxChunk bounds a chunk, in bytes: the largest row that any store has, with room.
const MaxChunk = 32 << 20

// Errors of reading.
var (
	// ErrDamaged says that a stream is not what was written: it ends early, or a chunk of it is wrong.
	ErrDamaged = errors.New("the file is damaged or not whole")
	// ErrNotAFile says that a stream does not begin as one.
	ErrNotAFile = errors.New("this is no exported tenant")
	// ErrNewer says that a newer wafleet has written the stream.
	ErrNewer = errors.New("a newer wafleet has written the file")
)

// Header tells whose stream it is.
type Header struct {
	Tenant tenant.ID `cbor:"tenant"`
	// Schema is the version of the rows, see [tenant.Mover].
	Schema  int       `cbor:"schema"`
	Version string    `cbor:"version"` // of the wafleet that wrote it, for people
	At      time.Time `cbor:"at"`
	// Kept says that the tenant went on where it was: its device may be in use there, and has moved on since.
	Kept bool `cbor:"kept"`
}

// End closes a stream, and counts what it held.
type End struct {
	Rows int `cbor:"rows"`
}

// kind is what a chunk holds.
type kind byte

const (
	kindHeader kind = 'H'
	kindRows   kind = 'R'
	kindEnd    kind = 'E'
)

const (
	headLength = 5 // kind and length
	// maxColumns and maxRows bound what is allocated before a chunk is known to be right.
	maxColumns = 1024
	maxRows    = 1 << 20
)

// rows is [tenant.Rows] in a stream.
type rows struct {
	Table   string   `cbor:"table"`
	Columns []string `cbor:"columns"`
	Values  [][]any  `cbor:"values"`
}

// modes are how CBOR is written and read: times as text, numbers as int64, nothing nested or longer than need be.
func modes() (cbor.EncMode, cbor.DecMode, error) {
	enc, err := cbor.EncOptions{Time: cbor.TimeRFC3339Nano, Sort: cbor.SortBytewiseLexical, NilContainers: cbor.NilContainerAsEmpty}.EncMode()
	if err != nil {
		return nil, nil, fmt.Errorf("cbor: %w", err)
	}
	dec, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IntDec: cbor.IntDecConvertSigned, MaxNestedLevels: 8, MaxArrayElements: maxRows,
		MaxMapPairs: maxColumns, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
	}.DecMode()
	if err != nil {
		return nil, nil, fmt.Errorf("cbor: %w", err)
	}
	return enc, dec, nil
}

// Writer writes one tenant. Close it.
type Writer struct {
	w     io.Writer
	enc   cbor.EncMode
	check [sha256.Size]byte
	end   End
}

// NewWriter begins a stream.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	enc, _, err := modes()
	if err != nil {
		return nil, err
	}
	out := &Writer{w: w, enc: enc, check: sha256.Sum256([]byte(magic))}
	if _, err = io.WriteString(w, magic); err != nil {
		return nil, fmt.Errorf("write file: %w", err)
	}
	return out, out.chunk(kindHeader, h)
}

// Rows writes rows of a table.
func (w *Writer) Rows(r tenant.Rows) error {
	w.end.Rows += len(r.Values)
	return w.chunk(kindRows, rows(r))
}

// Close writes the end, without which nobody takes the stream. It does not close the writer below.
func (w *Writer) Close() (End, error) { return w.end, w.chunk(kindEnd, w.end) }

func (w *Writer) chunk(k kind, content any) error {
	encoded, err := w.enc.Marshal(content)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	if len(encoded) > MaxChunk {
		return fmt.Errorf("a chunk of %d bytes is larger than %d", len(encoded), MaxChunk)
	}
	head := binary.BigEndian.AppendUint32([]byte{byte(k)}, uint32(len(encoded))) //nolint:gosec // bounded above
	w.check = next(w.check, head, encoded)
	for _, part := range [][]byte{head, encoded, w.check[:]} {
		if _, err = w.w.Write(part); err != nil {
			return fmt.Errorf("write file: %w", err)
		}
	}
	return nil
}

// next is the check of the chunk that comes after the one of that check.
func next(check [sha256.Size]byte, head, content []byte) [sha256.Size]byte {
	sum := sha256.New()
	for _, part := range [][]byte{check[:], head, content} {
		_, _ = sum.Write(part) // never fails
	}
	return [sha256.Size]byte(sum.Sum(nil))
}
