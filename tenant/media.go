package tenant

import "net/url"

// Media is a message's file, as the API shows it. How it is fetched and decrypted stands in the message's payload alone.
type Media struct {
	MimeType   string `json:"mimeType" doc:"The file's content type, as its sender gave it." example:"image/jpeg"`
	FileName   string `json:"fileName,omitempty" doc:"The file's name, as its sender gave it." example:"invoice.pdf"`
	Size       int64  `json:"size" doc:"Bytes, as the sender gave them." example:"48213"`
	SHA256     string `json:"sha256" doc:"The hash of the file's bytes, in hexadecimal." example:"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"`
	Width      int    `json:"width,omitempty" doc:"In pixels." example:"1280"`
	Height     int    `json:"height,omitempty" doc:"In pixels." example:"720"`
	DurationMs int64  `json:"durationMs,omitempty" doc:"Of audio and video, in milliseconds." example:"4000"`
	// URL and ThumbnailURL are set by the store: they are made of the message's ids.
	URL          string `json:"url" doc:"Where the file can be fetched with the API key; relative to the server." example:"/api/chats/5511999990001@c.us/messages/3EB0C767D097B7C7C8F5/media"`
	ThumbnailURL string `json:"thumbnailUrl,omitempty" doc:"Where a small picture of the file can be fetched, if its sender gave one; relative to the server."`

	// HasThumbnail says that the payload holds a small picture of the file.
	HasThumbnail bool `json:"-"`
}

// Locate sets the addresses of the message's file. It is the store's, which knows under which ids a message is found.
func (m *Message) Locate() {
	if m.Media == nil {
		return
	}
	located := *m.Media
	base := "/api/chats/" + string(m.ChatID) + "/messages/" + url.PathEscape(string(m.ID)) + "/media"
	query := ""
	if m.ChatID.IsGroup() && !m.FromMe { // members of a group may reuse each other's ids
		query = "?sender=" + url.QueryEscape(string(m.SenderID))
	}
	located.URL, located.ThumbnailURL = base+query, ""
	if located.HasThumbnail {
		located.ThumbnailURL = base + "/thumbnail" + query
	}
	m.Media = &located
}
