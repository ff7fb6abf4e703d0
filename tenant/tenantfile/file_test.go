package tenantfile_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenantfile"
)

func header() tenantfile.Header {
	return tenantfile.Header{
		Tenant: "k7q2m4x5a3bc", Schema: 13, Version: "v1.2.3", At: time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC), Kept: true,
	}
}

func sample() tenant.Rows {
	return tenant.Rows{Table: "message", Columns: []string{"a", "b", "c"}, Values: [][]any{
		{nil, int64(math.MaxInt64), "ünï\U0001F600"}, {int64(math.MinInt64), true, []byte{0, 0xff}}, {"", []byte{}, 1.5}, {false, int64(0), "x"},
	}}
}

func file(tb testing.TB) []byte {
	tb.Helper()
	var out bytes.Buffer
	w, err := tenantfile.NewWriter(&out, header())
	require.NoError(tb, err)
	require.NoError(tb, w.Rows(sample()))
	require.NoError(tb, w.Rows(sample()))
	end, err := w.Close()
	require.NoError(tb, err)
	require.Equal(tb, tenantfile.End{Rows: 8}, end)
	return out.Bytes()
}

// read reads a tenant to its end.
func read(r io.Reader) (h tenantfile.Header, chunks []tenant.Rows, err error) {
	in, err := tenantfile.NewReader(r)
	if err != nil {
		return h, nil, err
	}
	for {
		chunk, err := in.Next()
		if err == io.EOF { //nolint:errorlint // as it is
			return in.Header(), chunks, nil
		}
		if err != nil {
			return in.Header(), chunks, err
		}
		chunks = append(chunks, chunk)
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	stream := bytes.NewReader(append(file(t), file(t)...))
	for range 2 { // one behind the other
		h, chunks, err := read(iotest.OneByteReader(stream))
		require.NoError(t, err)
		require.Equal(t, header(), h)
		require.Equal(t, []tenant.Rows{sample(), sample()}, chunks)
	}
	_, _, err := read(stream)
	require.Equal(t, io.EOF, err)
}

// TestWhatIsNotWholeIsRefused cuts a file at every byte, and changes every byte of it.
func TestWhatIsNotWholeIsRefused(t *testing.T) {
	t.Parallel()
	whole := file(t)
	for n := 1; n < len(whole); n++ {
		_, _, err := read(bytes.NewReader(whole[:n]))
		require.ErrorIs(t, err, tenantfile.ErrDamaged, "cut at %d", n)
	}
	for n := range whole {
		wrong := bytes.Clone(whole)
		wrong[n] ^= 1
		_, _, err := read(bytes.NewReader(wrong))
		require.Error(t, err, "changed at %d", n)
		refused := errors.Is(err, tenantfile.ErrDamaged) || errors.Is(err, tenantfile.ErrNotAFile) || errors.Is(err, tenantfile.ErrNewer)
		require.True(t, refused, "changed at %d: %v", n, err)
	}
}

func named(text string) tenant.Rows {
	return tenant.Rows{Table: "chat", Columns: []string{"name"}, Values: [][]any{{text}}}
}

func TestEmptyIsNotAbsent(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w, err := tenantfile.NewWriter(&out, header())
	require.NoError(t, err)
	require.NoError(t, w.Rows(tenant.Rows{Table: "a", Columns: []string{"a", "b", "c"}, Values: [][]any{{[]byte(nil), []byte{}, nil}}}))
	_, err = w.Close()
	require.NoError(t, err)
	_, all, err := read(&out)
	require.NoError(t, err)
	require.Equal(t, [][]any{{[]byte{}, []byte{}, nil}}, all[0].Values)
}

func TestChunksAreInTheirPlace(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w, err := tenantfile.NewWriter(&out, header())
	require.NoError(t, err)
	begin := out.Len()
	require.NoError(t, w.Rows(named("one")))
	one := out.Len() - begin
	require.NoError(t, w.Rows(named("two")))
	_, err = w.Close()
	require.NoError(t, err)
	whole := out.Bytes()
	first, second := whole[begin:begin+one], whole[begin+one:begin+2*one]
	for name, wrong := range map[string][]byte{
		"exchanged": bytes.Join([][]byte{whole[:begin], second, first, whole[begin+2*one:]}, nil),
		"left out":  bytes.Join([][]byte{whole[:begin], second, whole[begin+2*one:]}, nil),
		"twice":     bytes.Join([][]byte{whole[:begin], first, first, second, whole[begin+2*one:]}, nil),
	} {
		_, _, err = read(bytes.NewReader(wrong))
		require.ErrorIs(t, err, tenantfile.ErrDamaged, name)
	}
}

func TestOthersAreToldFromDamage(t *testing.T) {
	t.Parallel()
	_, _, err := read(bytes.NewReader([]byte("age-encryption.org/v1\n-> scrypt")))
	require.ErrorIs(t, err, tenantfile.ErrNotAFile)
	_, _, err = read(bytes.NewReader([]byte("wafleet tenant 2\nwhatever")))
	require.ErrorIs(t, err, tenantfile.ErrNewer)
	_, _, err = read(iotest.ErrReader(errors.New("line is dead")))
	require.ErrorContains(t, err, "line is dead")
	require.NotErrorIs(t, err, tenantfile.ErrDamaged)
}

func TestCopyStopsBehindTheTenant(t *testing.T) {
	t.Parallel()
	whole := file(t)
	stream := bytes.NewReader(append(bytes.Clone(whole), "and more"...))
	var copied bytes.Buffer
	h, end, err := tenantfile.Copy(&copied, stream)
	require.NoError(t, err)
	require.Equal(t, header(), h)
	require.Equal(t, 8, end.Rows)
	require.Equal(t, whole, copied.Bytes())
	require.Equal(t, len("and more"), stream.Len())

	copied.Reset()
	_, _, err = tenantfile.Copy(&copied, bytes.NewReader(whole[:len(whole)-1]))
	require.ErrorIs(t, err, tenantfile.ErrDamaged)
}

// FuzzReader: whatever comes, it ends, and takes no more memory than it has bytes, but for a constant.
func FuzzReader(f *testing.F) {
	f.Add(file(f))
	f.Add([]byte("wafleet tenant 1\nH\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _, err := read(bytes.NewReader(data))
		if err == nil {
			var again bytes.Buffer
			_, _, err = tenantfile.Copy(&again, bytes.NewReader(data))
			require.NoError(t, err)
		}
	})
}
