package phone

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// Kinds of files.
const (
	FileImage    = "image"
	FileVideo    = "video"
	FileAudio    = "audio"
	FileVoice    = "voice"
	FileDocument = "document"
	FileSticker  = "sticker"
)

// Errors about files.
var (
	ErrBadKind = errors.New("no such kind of file")
	ErrNoFile  = errors.New("no such file")
)

// File is a file that a phone sends.
type File struct {
	Kind      string
	Data      []byte
	MimeType  string // what is usual for the kind if empty
	Name      string // of documents
	Caption   string
	Thumbnail []byte // a small JPEG (PNG for stickers); optional
	Width     uint32
	Height    uint32
	Seconds   uint32
}

// FileInfo is a file that a phone got, as its sender announced it; [Phone.Fetch] fetches and verifies it.
type FileInfo struct {
	Kind      string `json:"kind"`
	MimeType  string `json:"mimeType"`
	Name      string `json:"fileName,omitempty"`
	Size      uint64 `json:"size"`
	SHA256    string `json:"sha256"`
	Thumbnail bool   `json:"thumbnail,omitempty"`
	Seconds   uint32 `json:"seconds,omitempty"`
	Width     uint32 `json:"width,omitempty"`
	Height    uint32 `json:"height,omitempty"`
}

// SendFile uploads a file and sends it to a phone number or a group. Errors: ErrBadKind, and as of [Phone.SendText].
func (p *Phone) SendFile(ctx context.Context, to string, f File, opts SendOptions) (string, error) {
	upload, mimeType := whatsmeow.MediaDocument, "application/octet-stream"
	switch f.Kind {
	case FileImage:
		upload, mimeType = whatsmeow.MediaImage, "image/jpeg"
	case FileSticker:
		upload, mimeType = whatsmeow.MediaImage, "image/webp"
	case FileVideo:
		upload, mimeType = whatsmeow.MediaVideo, "video/mp4"
	case FileAudio:
		upload, mimeType = whatsmeow.MediaAudio, "audio/mpeg"
	case FileVoice:
		upload, mimeType = whatsmeow.MediaAudio, "audio/ogg; codecs=opus"
	case FileDocument:
	default:
		return "", ErrBadKind
	}
	if f.MimeType == "" {
		f.MimeType = mimeType
	}
	jid, err := p.recipient(ctx, to, opts)
	if err != nil {
		return "", err
	}
	var up whatsmeow.UploadResponse
	err = p.persist(ctx, func(ctx context.Context) (err error) {
		up, err = p.cli.UploadReader(ctx, bytes.NewReader(f.Data), nil, upload) // Upload would append to the caller's bytes
		return err
	})
	if err != nil {
		return "", fmt.Errorf("upload: %w", err)
	}
	return p.send(ctx, jid, outgoing{part: f.message(&up), SendOptions: opts})
}

// message is the file as WhatsApp writes it.
func (f *File) message(up *whatsmeow.UploadResponse) *waE2E.Message {
	caption := &f.Caption
	if f.Caption == "" {
		caption = nil
	}
	switch f.Kind {
	case FileImage:
		return &waE2E.Message{ImageMessage: &waE2E.ImageMessage{
			DirectPath: &up.DirectPath, MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256, FileSHA256: up.FileSHA256,
			FileLength: &up.FileLength, Mimetype: &f.MimeType, Caption: caption, JPEGThumbnail: f.Thumbnail,
			Width: &f.Width, Height: &f.Height,
		}}
	case FileVideo:
		return &waE2E.Message{VideoMessage: &waE2E.VideoMessage{
			DirectPath: &up.DirectPath, MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256, FileSHA256: up.FileSHA256,
			FileLength: &up.FileLength, Mimetype: &f.MimeType, Caption: caption, JPEGThumbnail: f.Thumbnail,
			Width: &f.Width, Height: &f.Height, Seconds: &f.Seconds,
		}}
	case FileAudio, FileVoice:
		return &waE2E.Message{AudioMessage: &waE2E.AudioMessage{
			DirectPath: &up.DirectPath, MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256, FileSHA256: up.FileSHA256,
			FileLength: &up.FileLength, Mimetype: &f.MimeType, Seconds: &f.Seconds, PTT: new(f.Kind == FileVoice),
		}}
	case FileSticker:
		return &waE2E.Message{StickerMessage: &waE2E.StickerMessage{
			DirectPath: &up.DirectPath, MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256, FileSHA256: up.FileSHA256,
			FileLength: &up.FileLength, Mimetype: &f.MimeType, PngThumbnail: f.Thumbnail, Width: &f.Width, Height: &f.Height,
		}}
	}
	document := &waE2E.Message{DocumentMessage: &waE2E.DocumentMessage{
		DirectPath: &up.DirectPath, MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256, FileSHA256: up.FileSHA256,
		FileLength: &up.FileLength, Mimetype: &f.MimeType, Caption: caption, JPEGThumbnail: f.Thumbnail,
		FileName: &f.Name, Title: &f.Name,
	}}
	if caption == nil {
		return document
	}
	return &waE2E.Message{DocumentWithCaptionMessage: &waE2E.FutureProofMessage{Message: document}}
}

// filePart is the part of a message that is a file.
type filePart interface {
	whatsmeow.DownloadableMessage
	GetMimetype() string
	GetFileLength() uint64
	GetContextInfo() *waE2E.ContextInfo
}

// fileOf answers a message's file, its caption and what is shown of it; nil if it is none.
func fileOf(m *waE2E.Message) (part filePart, caption string, info *FileInfo) {
	if inner := m.GetDocumentWithCaptionMessage().GetMessage(); inner != nil {
		m = inner
	}
	info = new(FileInfo)
	switch {
	case m.GetImageMessage() != nil:
		x := m.GetImageMessage()
		part, caption, info.Kind = x, x.GetCaption(), FileImage
		info.Thumbnail, info.Width, info.Height = len(x.GetJPEGThumbnail()) > 0, x.GetWidth(), x.GetHeight()
	case m.GetVideoMessage() != nil:
		x := m.GetVideoMessage()
		part, caption, info.Kind = x, x.GetCaption(), FileVideo
		info.Thumbnail, info.Width, info.Height = len(x.GetJPEGThumbnail()) > 0, x.GetWidth(), x.GetHeight()
		info.Seconds = x.GetSeconds()
	case m.GetAudioMessage() != nil:
		x := m.GetAudioMessage()
		part, info.Kind, info.Seconds = x, FileAudio, x.GetSeconds()
		if x.GetPTT() {
			info.Kind = FileVoice
		}
	case m.GetDocumentMessage() != nil:
		x := m.GetDocumentMessage()
		part, caption, info.Kind, info.Name = x, x.GetCaption(), FileDocument, x.GetFileName()
		info.Thumbnail = len(x.GetJPEGThumbnail()) > 0
	case m.GetStickerMessage() != nil:
		x := m.GetStickerMessage()
		part, info.Kind, info.Width, info.Height = x, FileSticker, x.GetWidth(), x.GetHeight()
	default:
		return nil, "", nil
	}
	info.MimeType, info.Size, info.SHA256 = part.GetMimetype(), part.GetFileLength(), hex.EncodeToString(part.GetFileSHA256())
	return part, caption, info
}

// Fetch fetches, decrypts and verifies the file of a message into a file. Errors: ErrNoFile if the phone does not remember such
// a message, or it has no file, whatsmeow's own, and as of [Phone.WaitOnline].
func (p *Phone) Fetch(ctx context.Context, id string, into whatsmeow.File) error {
	known, ok := p.sent.get(id)
	if !ok {
		return ErrNoFile
	}
	part, _, _ := fileOf(known.msg)
	if part == nil {
		return ErrNoFile
	}
	ctx, cancel := p.own(ctx)
	defer cancel()
	if err := p.WaitOnline(ctx); err != nil {
		return err
	}
	if err := p.cli.DownloadToFile(ctx, part, into); err != nil {
		return fmt.Errorf("download: %w", err)
	}
	return nil
}

// withContext puts the context into what is no text.
func withContext(m *waE2E.Message, info *waE2E.ContextInfo) *waE2E.Message {
	inner := m
	if wrapped := m.GetDocumentWithCaptionMessage().GetMessage(); wrapped != nil {
		inner = wrapped
	}
	switch {
	case inner.ImageMessage != nil:
		inner.ImageMessage.ContextInfo = info
	case inner.VideoMessage != nil:
		inner.VideoMessage.ContextInfo = info
	case inner.AudioMessage != nil:
		inner.AudioMessage.ContextInfo = info
	case inner.DocumentMessage != nil:
		inner.DocumentMessage.ContextInfo = info
	case inner.StickerMessage != nil:
		inner.StickerMessage.ContextInfo = info
	case inner.LocationMessage != nil:
		inner.LocationMessage.ContextInfo = info
	case inner.ContactMessage != nil:
		inner.ContactMessage.ContextInfo = info
	}
	return m
}

// chat reads a phone number or the id of a group. Error: ErrBadNumber.
func (p *Phone) chat(s string) (types.JID, error) {
	if jid, ok := groupID(s); ok {
		return jid, nil
	}
	number, err := Number(s)
	if err != nil {
		return types.EmptyJID, err
	}
	return types.NewJID(number, types.DefaultUserServer), nil
}

// recipient is whom whatsmeow is given for a phone number or a group.
func (p *Phone) recipient(ctx context.Context, to string, opts SendOptions) (types.JID, error) {
	jid, err := p.chat(to)
	if err != nil || jid.Server == types.GroupServer {
		return jid, err
	}
	lid, err := p.lidOf(ctx, jid) // whatsmeow's own error for an unknown user has no name
	if err != nil {
		return types.EmptyJID, err
	}
	if opts.ViaLID {
		return lid, nil
	}
	return jid, nil
}

// lidOfNumber answers the LID of a number. Errors: ErrBadNumber, ErrUnknownUser.
func (p *Phone) lidOfNumber(ctx context.Context, s string) (types.JID, error) {
	number, err := Number(s)
	if err != nil {
		return types.EmptyJID, err
	}
	if number == p.cfg.Phone {
		return p.lid, nil
	}
	return p.lidOf(ctx, types.NewJID(number, types.DefaultUserServer))
}
