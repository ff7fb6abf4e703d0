package probe_test

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/jpeg"
	"image/png"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/probe"
)

func page(granule uint64, content string) []byte {
	out := append([]byte("OggS\x00\x00"), binary.LittleEndian.AppendUint64(nil, granule)...)
	return append(append(out, make([]byte, 14)...), content...)
}

func voice(seconds int) []byte {
	head := "OpusHead\x01\x01" + string(binary.LittleEndian.AppendUint16(nil, 312)) + "\x80\xbb\x00\x00\x00\x00\x00"
	out := append(page(0, head), bytes.Repeat([]byte{7}, 100_000)...)
	return append(out, page(uint64(seconds*48_000+312), "tail")...)
}

func samples(tb testing.TB) map[string][]byte {
	tb.Helper()
	var j, p bytes.Buffer
	require.NoError(tb, jpeg.Encode(&j, image.NewGray(image.Rect(0, 0, 320, 200)), nil))
	require.NoError(tb, png.Encode(&p, image.NewGray(image.Rect(0, 0, 33, 44))))
	return map[string][]byte{
		"jpeg": j.Bytes(), "png": p.Bytes(), "voice": voice(3),
		"webp": []byte("RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00\xff\x01\x00\xff\x00\x00 rest"),
	}
}

func TestFilesSayWhatTheyAre(t *testing.T) {
	t.Parallel()
	files := samples(t)
	for name, want := range map[string]probe.Info{
		"jpeg": {Width: 320, Height: 200}, "png": {Width: 33, Height: 44}, "webp": {Width: 512, Height: 256},
		"voice": {Duration: 3 * time.Second},
	} {
		require.Equal(t, want, probe.Look(bytes.NewReader(files[name]), int64(len(files[name]))), name)
	}
	for _, other := range []string{"", "x", "RIFF", "OggS", "\xff\xd8", "\x89PNG\r\n\x1a\n", "%PDF-1.7"} {
		require.Zero(t, probe.Look(bytes.NewReader([]byte(other)), int64(len(other))), "%q", other)
	}
}

// FuzzLook reads whatever a client sends as a file.
func FuzzLook(f *testing.F) {
	for _, data := range samples(f) {
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		info := probe.Look(bytes.NewReader(data), int64(len(data)))
		require.GreaterOrEqual(t, info.Width, 0)
		require.GreaterOrEqual(t, info.Height, 0)
		require.GreaterOrEqual(t, info.Duration, time.Duration(0))
	})
}
