package phone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
)

// KindPresence is the kind of an inbox entry that says that somebody whom the phone watches is there or not; Text is available or
// unavailable.
const KindPresence = "presence"

// maxPicture bounds a picture that a phone looks at.
const maxPicture = 4 << 20

// ProfileChange changes what others see of a phone's owner. Nil members leave what is there; an empty picture removes it.
type ProfileChange struct {
	Name    *string
	About   *string
	Picture *[]byte // a JPEG
	// PictureFor says who sees the picture: all, contacts or none.
	PictureFor *string
}

// SetProfile changes the profile. Errors as of [Phone.SendText].
func (p *Phone) SetProfile(ctx context.Context, change ProfileChange) error {
	if change.Name != nil {
		if err := p.rename(ctx, *change.Name); err != nil {
			return err
		}
	}
	if change.About != nil {
		err := p.persist(ctx, func(ctx context.Context) error {
			return p.cli.SetStatusMessage(ctx, types.SetStatusInput{Text: change.About})
		})
		if err != nil {
			return fmt.Errorf("set about: %w", err)
		}
	}
	if change.Picture != nil {
		picture := *change.Picture
		if len(picture) == 0 {
			picture = nil
		}
		err := p.persist(ctx, func(ctx context.Context) error {
			_, err := p.cli.SetGroupPhoto(ctx, types.EmptyJID, picture)
			return err
		})
		if err != nil {
			return fmt.Errorf("set picture: %w", err)
		}
	}
	if change.PictureFor != nil {
		err := p.persist(ctx, func(ctx context.Context) error {
			_, err := p.cli.SetPrivacySetting(ctx, types.PrivacySettingTypeProfile, types.PrivacySetting(*change.PictureFor))
			return err
		})
		if err != nil {
			return fmt.Errorf("set privacy: %w", err)
		}
	}
	return nil
}

// rename puts the name where companions learn it, and tells the server.
func (p *Phone) rename(ctx context.Context, name string) error {
	err := p.Rename(ctx, name)
	if err == nil {
		err = p.persist(ctx, func(ctx context.Context) error { return p.announceName(ctx, name) })
	}
	if err != nil {
		return fmt.Errorf("set name: %w", err)
	}
	p.setName(name)
	return nil
}

// announceName tells the server the name, which it writes beside messages.
func (p *Phone) announceName(ctx context.Context, name string) error {
	return p.inner().SendNode(ctx, waBinary.Node{Tag: "presence", Attrs: waBinary.Attrs{"name": name}})
}

// Name is the phone's push name.
func (p *Phone) Name() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.name
}

func (p *Phone) setName(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name = name
}

// Presence shows the phone's owner as there (available) or not (unavailable). Errors as of [Phone.SendText].
func (p *Phone) Presence(ctx context.Context, state string) error {
	return p.persist(ctx, func(ctx context.Context) error { return p.cli.SendPresence(ctx, types.Presence(state)) })
}

// WatchPresence asks to be told of somebody's presence, in entries of the inbox. Errors as of [Phone.SendText].
func (p *Phone) WatchPresence(ctx context.Context, number string) error {
	return p.about(ctx, number, p.cli.SubscribePresence)
}

// Block blocks a number, or does not block it any more. Errors as of [Phone.SendText].
func (p *Phone) Block(ctx context.Context, number string, block bool) error {
	action := events.BlocklistChangeActionUnblock
	if block {
		action = events.BlocklistChangeActionBlock
	}
	return p.about(ctx, number, func(ctx context.Context, lid types.JID) error {
		_, err := p.cli.UpdateBlocklist(ctx, lid, action)
		return err
	})
}

// Blocked answers the hidden ids that the phone's account blocks.
func (p *Phone) Blocked(ctx context.Context) ([]types.JID, error) {
	var list *types.Blocklist
	err := p.persist(ctx, func(ctx context.Context) (err error) {
		list, err = p.cli.GetBlocklist(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read block list: %w", err)
	}
	return list.JIDs, nil
}

// Profile is what a phone sees of somebody.
type Profile struct {
	About     string
	PictureID string // "" if there is none, or it is hidden
	Picture   []byte
}

// ProfileOf answers what this phone sees of a number. Errors as of [Phone.SendText].
func (p *Phone) ProfileOf(ctx context.Context, number string) (Profile, error) {
	var seen Profile
	err := p.about(ctx, number, func(ctx context.Context, lid types.JID) error {
		infos, err := p.cli.GetUserInfo(ctx, []types.JID{lid})
		if err != nil {
			return err
		}
		seen = Profile{About: infos[lid].Status}
		info, err := p.cli.GetProfilePictureInfo(ctx, lid, nil)
		if errors.Is(err, whatsmeow.ErrProfilePictureNotSet) || errors.Is(err, whatsmeow.ErrProfilePictureUnauthorized) {
			return nil
		}
		if err != nil {
			return err
		}
		seen.PictureID = info.ID
		seen.Picture, err = p.fetchPicture(ctx, info.URL)
		return err
	})
	return seen, err
}

func (p *Phone) fetchPicture(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("fetch picture: %w", err)
	}
	resp, err := p.cfg.Clients.Media.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetch picture: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch picture: status %d", resp.StatusCode)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxPicture))
}

// about does something with the hidden id of a number.
func (p *Phone) about(ctx context.Context, number string, do func(context.Context, types.JID) error) error {
	number, err := Number(number)
	if err != nil {
		return err
	}
	lid, err := p.lidOf(ctx, types.NewJID(number, types.DefaultUserServer))
	if err != nil {
		return err
	}
	return p.persist(ctx, func(ctx context.Context) error { return do(ctx, lid) })
}

func (p *Phone) handlePresence(e *events.Presence) {
	state := types.PresenceAvailable
	if e.Unavailable {
		state = types.PresenceUnavailable
	}
	entry := p.entryOf(KindPresence, types.MessageSource{Chat: e.From, Sender: e.From}, time.Now(), []string{})
	entry.Text = string(state)
	p.inbox.add(entry)
}
