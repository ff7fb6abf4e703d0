package session

import (
	"bytes"
	"mime"
	"net/http"
	"strings"

	"github.com/wafleet/wafleet/tenant"
)

// SniffLength is how much of a file's beginning [Classify] looks at, in bytes.
const SniffLength = 512

const (
	typeBinary = "application/octet-stream"
	typeVoice  = "audio/ogg; codecs=opus"
)

// Classify says what a file is and how WhatsApp shows it. declared is the content type that its sender gave; when it says nothing
// ("" or application/octet-stream) the file's beginning tells. What WhatsApp's clients do not show as a picture, film or sound goes
// as a document.
func Classify(declared string, head []byte) (mimeType string, kind tenant.MessageType) {
	media, params, err := mime.ParseMediaType(declared)
	if err != nil || media == typeBinary || !strings.Contains(media, "/") {
		media, params, err = mime.ParseMediaType(http.DetectContentType(head))
	}
	if err != nil || len(media) > maxMimeType {
		return typeBinary, tenant.TypeDocument
	}
	switch media {
	case "image/jpg", "image/pjpeg":
		media = "image/jpeg"
	case "application/ogg", "audio/opus", "audio/ogg":
		if strings.Contains(strings.ToLower(params["codecs"]), "opus") || isOpus(head) {
			return typeVoice, tenant.TypeVoice
		}
		if media == "application/ogg" && !bytes.Contains(head, []byte("vorbis")) {
			return media, tenant.TypeDocument // film, perhaps
		}
		return "audio/ogg", tenant.TypeAudio
	case "audio/mp3", "audio/x-mp3":
		media = "audio/mpeg"
	case "audio/x-m4a", "audio/m4a":
		media = "audio/mp4"
	}
	switch media {
	case "image/jpeg", "image/png":
		return media, tenant.TypeImage
	case "image/webp":
		return media, tenant.TypeSticker
	case "video/mp4", "video/3gpp", "video/quicktime":
		return media, tenant.TypeVideo
	}
	if strings.HasPrefix(media, "audio/") {
		return media, tenant.TypeAudio
	}
	if formatted := mime.FormatMediaType(media, params); formatted != "" && len(formatted) <= maxMimeType {
		media = formatted
	}
	return media, tenant.TypeDocument
}

// isOpus says whether a file begins as Ogg with an Opus header (RFC 7845 §3).
func isOpus(head []byte) bool {
	return bytes.HasPrefix(head, []byte("OggS")) && bytes.Contains(head[:min(len(head), 64)], []byte("OpusHead"))
}

// Captioned says whether WhatsApp shows a text with files of that kind.
func Captioned(kind tenant.MessageType) bool {
	return kind == tenant.TypeImage || kind == tenant.TypeVideo || kind == tenant.TypeDocument
}
