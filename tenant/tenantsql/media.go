package tenantsql

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/wafleet/wafleet/tenant"
)

// updatePayload leaves messages alone that hold no file: one that was deleted meanwhile must not get its content back.
const updatePayload = `
	UPDATE message SET payload=$5
	WHERE tenant_id=$1 AND chat_id=$2 AND message_id=$3 AND sender_id=$4 AND media <> '' AND deleted_at = 0`

// mediaColumn is the column of a message's file, as JSON. What is derived is not stored.
type mediaColumn struct {
	MimeType   string `json:"mimeType"`
	FileName   string `json:"fileName,omitempty"`
	Size       int64  `json:"size"`
	SHA256     string `json:"sha256"`
	Width      int    `json:"width,omitempty"`
	Height     int    `json:"height,omitempty"`
	DurationMs int64  `json:"durationMs,omitempty"`
	Thumbnail  bool   `json:"thumbnail,omitempty"`
}

func encodeMedia(m *tenant.Media) (string, error) {
	if m == nil {
		return "", nil
	}
	encoded, err := json.Marshal(mediaColumn{
		MimeType: m.MimeType, FileName: m.FileName, Size: m.Size, SHA256: m.SHA256,
		Width: m.Width, Height: m.Height, DurationMs: m.DurationMs, Thumbnail: m.HasThumbnail,
	})
	return string(encoded), err
}

func decodeMedia(column string) (*tenant.Media, error) {
	if column == "" {
		return nil, nil //nolint:nilnil // most messages have no file
	}
	var c mediaColumn
	if err := json.Unmarshal([]byte(column), &c); err != nil {
		return nil, fmt.Errorf("decode media: %w", err)
	}
	return &tenant.Media{
		MimeType: c.MimeType, FileName: c.FileName, Size: c.Size, SHA256: c.SHA256,
		Width: c.Width, Height: c.Height, DurationMs: c.DurationMs, HasThumbnail: c.Thumbnail,
	}, nil
}

// cleanMedia makes what a stranger says of a file storable.
func cleanMedia(m *tenant.Media) *tenant.Media {
	if m == nil {
		return nil
	}
	clean := *m
	clean.MimeType, clean.FileName = tenant.CleanText(m.MimeType), tenant.CleanText(m.FileName)
	clean.SHA256 = tenant.CleanText(m.SHA256)
	return &clean
}

func (b *batch) setPayload(ctx context.Context, id tenant.ID, s tenant.SetPayload) error {
	chatID, err := b.resolve(ctx, id, cleanID(s.ChatID))
	if err != nil {
		return err
	}
	sender, err := b.resolve(ctx, id, cleanID(s.SenderID))
	if err != nil {
		return err
	}
	_, err = b.exec(ctx, id, updatePayload, string(chatID), tenant.CleanText(string(s.MessageID)), string(sender), s.Payload)
	return err
}
