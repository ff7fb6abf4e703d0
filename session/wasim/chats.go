package wasim

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/wafleet/wafleet/session/wasim/phone"
)

// postChat has the phone's owner archive, pin, mute, read, clear or delete a chat.
func (s *Simulator) postChat(r *http.Request) (int, any, error) {
	p, err := s.phoneOf(r)
	if err != nil {
		return 0, nil, err
	}
	var in struct {
		Chat       string          `json:"chat"`
		Archived   *bool           `json:"archived"`
		Pinned     *bool           `json:"pinned"`
		MutedUntil json.RawMessage `json:"mutedUntil"`
		Read       *bool           `json:"read"`
		Clear      bool            `json:"clear"`
		Delete     bool            `json:"delete"`
		Via        string          `json:"via"`
	}
	if err = decode(r, &in); err != nil {
		return 0, nil, err
	}
	if in.Via != "" && in.Via != "lid" && in.Via != "pn" {
		return 0, nil, badRequest(`via is neither "lid" nor "pn"`)
	}
	patch := phone.ChatPatch{
		Archived: in.Archived, Pinned: in.Pinned, Read: in.Read, Clear: in.Clear, Delete: in.Delete, ViaLID: in.Via == "lid",
	}
	if patch.Muted, err = readMute(in.MutedUntil); err != nil {
		return 0, nil, err
	}
	if patch == (phone.ChatPatch{ViaLID: patch.ViaLID}) {
		return 0, nil, badRequest("nothing is to change")
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	if err = p.ChangeChat(ctx, in.Chat, patch); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, nil
}

// readMute reads a time, "forever", or null for no mute. Nil if it is absent.
func readMute(raw json.RawMessage) (*phone.Mute, error) {
	switch string(raw) {
	case "":
		return nil, nil //nolint:nilnil // nothing is to change
	case "null":
		return &phone.Mute{}, nil
	case `"forever"`:
		return &phone.Mute{Forever: true}, nil
	}
	var until time.Time
	if err := json.Unmarshal(raw, &until); err != nil {
		return nil, badRequest(`mutedUntil is neither a time (RFC 3339) nor "forever" nor null`)
	}
	return &phone.Mute{Until: until}, nil
}

func (s *Simulator) getChats(r *http.Request) (int, any, error) {
	p, err := s.phoneOf(r)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string][]phone.ChatState{"chats": append([]phone.ChatState{}, p.Chats()...)}, nil
}

// postContact puts somebody into the phone's address book.
func (s *Simulator) postContact(r *http.Request) (int, any, error) {
	p, err := s.phoneOf(r)
	if err != nil {
		return 0, nil, err
	}
	var in struct {
		Phone string `json:"phone"`
		Name  string `json:"name"`
	}
	if err = decode(r, &in); err != nil {
		return 0, nil, err
	}
	if in.Name == "" || len(in.Name) > 1000 {
		return 0, nil, badRequest("name is missing, or longer than 1000 bytes")
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	return http.StatusNoContent, nil, p.NameContact(ctx, in.Phone, in.Name)
}
