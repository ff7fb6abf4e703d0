package tenanttest

import (
	"encoding/json"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
)

func picture() *tenant.Media {
	return &tenant.Media{
		MimeType: "image/jpeg", FileName: "a\x00.jpg", Size: 1 << 40, SHA256: "ab12", Width: 640, Height: 480, DurationMs: 1500,
		HasThumbnail: true,
	}
}

func mediaChecks() []check {
	return []check{
		{"KeepTheirFiles", keepsFiles},
		{"GetTheirFilesWhereAPlaceholderStood", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			placeholder := received("A", ana, "", 1)
			placeholder.Type = tenant.TypeUnsupported
			commit(t, h, live(placeholder))
			m := received("A", ana, "see", 1)
			m.Type, m.Media, m.Payload = tenant.TypeImage, picture(), []byte("keys")
			commit(t, h, live(m))
			found, err := h.Message(t.Context(), ana, "A", "")
			require.NoError(t, err)
			require.Equal(t, int64(1<<40), found.Media.Size)
			require.Equal(t, "keys", string(found.Payload))
		}},
		{"AreToldWhereTheirFilesHaveMoved", func(t tester, s tenant.Store) {
			h := NewTenant(t, s)
			m := received("A", ana, "see", 1)
			m.Media, m.Payload = picture(), []byte("old")
			text := received("B", ana, "a text", 2)
			text.Payload = []byte("text")
			head := commit(t, h, live(m), live(text)).Head
			for _, id := range []tenant.MessageID{"A", "B", "NONE"} {
				moved := commit(t, h, tenant.SetPayload{ChatID: ana, SenderID: ana, MessageID: id, Payload: []byte("new")})
				require.Equal(t, head, moved.Head, "it is no event")
			}
			found, err := h.Message(t.Context(), ana, "A", "")
			require.NoError(t, err)
			require.Equal(t, "new", string(found.Payload))
			found, err = h.Message(t.Context(), ana, "B", "")
			require.NoError(t, err)
			require.Equal(t, "text", string(found.Payload), "a text has no file to move")
		}},
	}
}

func keepsFiles(t tester, s tenant.Store) {
	h := NewTenant(t, s)
	mine, theirs := own("A", family, "see", 1), receivedIn(family, "B", ana, "look", 2)
	mine.Media, theirs.Media = picture(), picture()
	theirs.Media.HasThumbnail = false
	stored := commit(t, h, live(mine), live(theirs)).Messages
	base := "/api/chats/" + string(family) + "/messages/"
	want := *picture()
	want.FileName = "a\uFFFD.jpg"
	want.URL, want.ThumbnailURL = base+"A/media", base+"A/media/thumbnail"
	require.Equal(t, want, *stored[0].Media)
	require.Equal(t, base+"B/media?sender=5511999990001%40c.us", stored[1].Media.URL, "members of a group may share an id")
	require.Empty(t, stored[1].Media.ThumbnailURL)

	found, err := h.Message(t.Context(), family, "A", "")
	require.NoError(t, err)
	require.Equal(t, want, *found.Media)
	page, err := h.Messages(t.Context(), family, tenant.MessageQuery{Limit: 2})
	require.NoError(t, err)
	require.Equal(t, want, *page.Messages[1].Media)
	require.Equal(t, "B", string(getChat(t, h, family).LastMessage.ID))
	require.Equal(t, stored[1].Media, getChat(t, h, family).LastMessage.Media)
	var told tenant.Message
	require.NoError(t, json.Unmarshal(events(t, h)[0].Data, &told))
	require.Equal(t, want.URL, told.Media.URL)
	require.Equal(t, want.ThumbnailURL, told.Media.ThumbnailURL)
}
