// Package probe reads what a file says of itself: how large a picture is, how long a recording lasts. It reads a few kilobytes
// and decodes no pixels; what it does not understand it leaves out.
package probe

import (
	"bytes"
	"encoding/binary"
	"image"
	_ "image/jpeg" // formats that DecodeConfig knows
	_ "image/png"
	"io"
	"time"
)

// Info is what is known of a file. Zero: unknown.
type Info struct {
	Width, Height int // pixels
	Duration      time.Duration
}

const (
	// maxHeader bounds how much of a picture is read to find its size: a JPEG's may come after a preview.
	maxHeader = 1 << 20
	// maxTail is where the last page of an Ogg file is looked for: a page has at most 65,307 bytes.
	maxTail = 66 << 10
	// maxSide and maxDuration bound what is believed.
	maxSide     = 1 << 20
	maxDuration = 1000 * time.Hour
)

// Look reads what a file of that many bytes says of itself.
func Look(file io.ReaderAt, size int64) Info {
	head := make([]byte, min(size, 64))
	if _, err := file.ReadAt(head, 0); err != nil && err != io.EOF {
		return Info{}
	}
	var info Info
	switch {
	case bytes.HasPrefix(head, []byte("RIFF")) && len(head) >= 30 && string(head[8:12]) == "WEBP":
		info.Width, info.Height = webp(head)
	case bytes.HasPrefix(head, []byte("OggS")):
		info.Duration = opus(file, size, head)
	case bytes.HasPrefix(head, []byte("\xff\xd8")), bytes.HasPrefix(head, []byte("\x89PNG")):
		cfg, _, err := image.DecodeConfig(io.NewSectionReader(file, 0, min(size, maxHeader)))
		if err == nil {
			info.Width, info.Height = cfg.Width, cfg.Height
		}
	}
	if info.Width < 0 || info.Width > maxSide || info.Height < 0 || info.Height > maxSide {
		info.Width, info.Height = 0, 0
	}
	if info.Duration < 0 || info.Duration > maxDuration {
		info.Duration = 0
	}
	return info
}

// webp reads the size of a WebP picture from its first chunk (RFC 9649 §2).
func webp(head []byte) (width, height int) {
	const bits14 = 1<<14 - 1
	switch string(head[12:16]) {
	case "VP8X":
		u24 := func(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }
		return u24(head[24:27]) + 1, u24(head[27:30]) + 1
	case "VP8L":
		packed := binary.LittleEndian.Uint32(head[21:25])
		return int(packed&bits14) + 1, int(packed>>14&bits14) + 1
	case "VP8 ":
		return int(binary.LittleEndian.Uint16(head[26:28]) & bits14), int(binary.LittleEndian.Uint16(head[28:30]) & bits14)
	}
	return 0, 0
}

// opus reads the length of an Opus recording: the samples before its end, at 48 kHz whatever was recorded, without those that the
// header says to skip (RFC 7845 §4).
func opus(file io.ReaderAt, size int64, head []byte) time.Duration {
	const (
		header    = 28 // of the first page, with a table of one segment
		rate      = 48_000
		granuleAt = 6
		granule   = 14 // where its end is
	)
	if len(head) < header+12 || string(head[header:header+8]) != "OpusHead" {
		return 0
	}
	skipped := int64(binary.LittleEndian.Uint16(head[header+10:]))
	tail := make([]byte, min(size, maxTail))
	if _, err := file.ReadAt(tail, size-int64(len(tail))); err != nil && err != io.EOF {
		return 0
	}
	for end := len(tail); ; {
		at := bytes.LastIndex(tail[:end], []byte("OggS"))
		if at < 0 {
			return 0
		}
		if at+granule <= len(tail) {
			samples := int64(binary.LittleEndian.Uint64(tail[at+granuleAt:])) //nolint:gosec // -1: no packet ends on the page
			if samples >= skipped && samples < int64(maxDuration/time.Second)*rate {
				return time.Duration(samples-skipped) * time.Second / rate
			}
		}
		end = at
	}
}
