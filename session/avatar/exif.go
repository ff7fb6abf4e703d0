package avatar

import (
	"bytes"
	"encoding/binary"
)

// orientation reads how a JPEG's camera was held (Exif 2.3, tag 0x0112): 1 to 8, or 0 if it does not say.
func orientation(file []byte) int {
	const soi, app1, sos = 0xd8, 0xe1, 0xda
	if len(file) < 4 || file[0] != 0xff || file[1] != soi {
		return 0
	}
	for rest := file[2:]; len(rest) >= 4 && rest[0] == 0xff && rest[1] != sos; {
		size := int(binary.BigEndian.Uint16(rest[2:]))
		if size < 2 || len(rest) < 2+size {
			return 0
		}
		if tiff, found := bytes.CutPrefix(rest[4:2+size], []byte("Exif\x00\x00")); found && rest[1] == app1 {
			return tiffOrientation(tiff)
		}
		rest = rest[2+size:]
	}
	return 0
}

// tiffOrientation looks through the first directory of a TIFF header.
func tiffOrientation(tiff []byte) int {
	const header, entry, tag = 8, 12, 0x0112
	if len(tiff) < header {
		return 0
	}
	var order binary.ByteOrder
	switch string(tiff[:2]) {
	case "II":
		order = binary.LittleEndian
	case "MM":
		order = binary.BigEndian
	default:
		return 0
	}
	at := int64(order.Uint32(tiff[4:]))
	if at+2 > int64(len(tiff)) {
		return 0
	}
	entries := tiff[at+2:]
	for range order.Uint16(tiff[at:]) {
		if len(entries) < entry {
			return 0
		}
		if order.Uint16(entries) == tag {
			return int(order.Uint16(entries[8:]))
		}
		entries = entries[entry:]
	}
	return 0
}
