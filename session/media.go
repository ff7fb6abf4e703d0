package session

import (
	"encoding/hex"
	"math"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/tenant"
)

// MaxFile is the largest file that is sent or fetched (client API v2 §6: 100 MB).
const MaxFile = 100 << 20

// Bounds of what a stranger can make us store with one file.
const (
	maxMimeType   = 255
	maxFileName   = 1024
	maxThumbnail  = 64 << 10
	maxPixels     = 1 << 20 // of one side
	maxMediaHours = 1000
)

// filePart is the part of a message that is a file.
type filePart interface {
	whatsmeow.DownloadableMessage
	proto.Message
	GetMimetype() string
	GetFileLength() uint64
	GetContextInfo() *waE2E.ContextInfo
}

// filePartOf returns a message's file, or nil.
func filePartOf(msg *waE2E.Message) filePart {
	if inner := msg.GetDocumentWithCaptionMessage().GetMessage(); inner != nil {
		msg = inner
	}
	switch {
	case msg == nil:
		return nil
	case msg.ImageMessage != nil:
		return msg.ImageMessage
	case msg.VideoMessage != nil:
		return msg.VideoMessage
	case msg.PtvMessage != nil:
		return msg.PtvMessage
	case msg.AudioMessage != nil:
		return msg.AudioMessage
	case msg.DocumentMessage != nil:
		return msg.DocumentMessage
	case msg.StickerMessage != nil:
		return msg.StickerMessage
	}
	return nil
}

// describeFile is a file as the API shows it.
func describeFile(part filePart) *tenant.Media {
	m := &tenant.Media{
		MimeType: cut(part.GetMimetype(), maxMimeType),
		Size:     int64(min(part.GetFileLength(), math.MaxInt64)),
	}
	if sum := part.GetFileSHA256(); len(sum) == 32 {
		m.SHA256 = hex.EncodeToString(sum)
	}
	seconds, width, height := uint32(0), uint32(0), uint32(0)
	switch p := part.(type) {
	case *waE2E.ImageMessage:
		width, height = p.GetWidth(), p.GetHeight()
	case *waE2E.VideoMessage:
		width, height, seconds = p.GetWidth(), p.GetHeight(), p.GetSeconds()
	case *waE2E.StickerMessage:
		width, height = p.GetWidth(), p.GetHeight()
	case *waE2E.AudioMessage:
		seconds = p.GetSeconds()
	case *waE2E.DocumentMessage:
		m.FileName = cut(p.GetFileName(), maxFileName)
		if m.FileName == "" {
			m.FileName = cut(p.GetTitle(), maxFileName)
		}
	}
	if width <= maxPixels && height <= maxPixels {
		m.Width, m.Height = int(width), int(height)
	}
	if seconds <= maxMediaHours*3600 {
		m.DurationMs = int64(seconds) * 1000
	}
	picture, _ := thumbnailOf(part)
	m.HasThumbnail = len(picture) > 0
	return m
}

// thumbnailOf is the small picture that the sender gave with a file.
func thumbnailOf(part filePart) (picture []byte, mimeType string) {
	mimeType = "image/jpeg"
	switch p := part.(type) {
	case *waE2E.ImageMessage:
		picture = p.GetJPEGThumbnail()
	case *waE2E.VideoMessage:
		picture = p.GetJPEGThumbnail()
	case *waE2E.DocumentMessage:
		picture = p.GetJPEGThumbnail()
	case *waE2E.StickerMessage:
		picture, mimeType = p.GetPngThumbnail(), "image/png"
	}
	if len(picture) > maxThumbnail {
		return nil, ""
	}
	return picture, mimeType
}

// filePayload is what is kept of a received file: all that is needed to fetch it and to quote it, without what it quotes itself.
func filePayload(msg *waE2E.Message) []byte {
	kept := proto.CloneOf(msg)
	kept.MessageContextInfo = nil
	switch p := filePartOf(kept).(type) {
	case *waE2E.ImageMessage:
		p.ContextInfo = nil
	case *waE2E.VideoMessage:
		p.ContextInfo = nil
	case *waE2E.AudioMessage:
		p.ContextInfo = nil
	case *waE2E.DocumentMessage:
		p.ContextInfo = nil
	case *waE2E.StickerMessage:
		p.ContextInfo = nil
	}
	return encode(kept)
}

// storedFile is the file of a stored message. Returns [tenant.ErrNoMedia].
func storedFile(m *tenant.Message) (*waE2E.Message, filePart, error) {
	if m.Media == nil || len(m.Payload) == 0 || m.DeletedAt != nil {
		return nil, nil, tenant.ErrNoMedia
	}
	msg := new(waE2E.Message)
	if proto.Unmarshal(m.Payload, msg) != nil {
		return nil, nil, tenant.ErrNoMedia
	}
	part := filePartOf(msg)
	if part == nil {
		return nil, nil, tenant.ErrNoMedia
	}
	return msg, part, nil
}

// Thumbnail is the small picture that came with a message's file; the message's payload must be loaded. Returns
// [tenant.ErrNoMedia].
func Thumbnail(m *tenant.Message) (picture []byte, mimeType string, err error) {
	_, part, err := storedFile(m)
	if err != nil {
		return nil, "", err
	}
	if picture, mimeType = thumbnailOf(part); len(picture) == 0 {
		return nil, "", tenant.ErrNoMedia
	}
	return picture, mimeType, nil
}

// cut shortens a text from outside to so many bytes and makes it storable.
func cut(s string, most int) string {
	if len(s) > most {
		s = s[:most]
	}
	return tenant.CleanText(s)
}

// moveFile notes where WhatsApp keeps a file now.
func moveFile(part filePart, directPath string) {
	switch p := part.(type) {
	case *waE2E.ImageMessage:
		p.DirectPath, p.URL = &directPath, nil
	case *waE2E.VideoMessage:
		p.DirectPath, p.URL = &directPath, nil
	case *waE2E.AudioMessage:
		p.DirectPath, p.URL = &directPath, nil
	case *waE2E.DocumentMessage:
		p.DirectPath, p.URL = &directPath, nil
	case *waE2E.StickerMessage:
		p.DirectPath, p.URL = &directPath, nil
	}
}

// isFile says whether messages of that kind are files.
func isFile(kind tenant.MessageType) bool {
	switch kind { //nolint:exhaustive // the others are none
	case tenant.TypeImage, tenant.TypeVideo, tenant.TypeAudio, tenant.TypeVoice, tenant.TypeDocument, tenant.TypeSticker:
		return true
	default:
		return false
	}
}
