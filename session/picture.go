package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/tenant"
)

// maxPicture bounds a profile picture that is fetched. WhatsApp's have some hundred KB at most.
const maxPicture = 4 << 20

// PictureQuery asks for a profile picture.
type PictureQuery struct {
	Of      tenant.ChatID // empty: the account's own
	Preview bool          // the small one
	Known   string        // id of the picture that the caller has: no bytes if it is still that one
}

// Picture is a profile picture, a JPEG.
type Picture struct {
	ID   string
	Data []byte // nil if the caller has it
}

// Picture fetches somebody's profile picture from WhatsApp.
//
// Returns *[OfflineError], ErrNoPicture, ErrPictureHidden, ErrTransfer, ErrMediaDamaged, *[UncertainError], *[RefusedError].
func (f *Fleet) Picture(ctx context.Context, id tenant.ID, q PictureQuery) (picture Picture, err error) {
	defer f.watch.contain("picture", &err)
	c, err := f.reach(ctx, id)
	if err != nil {
		return Picture{}, err
	}
	if q.Of == "" {
		q.Of = c.me.id
	} else if q.Of, err = c.canonical(ctx, q.Of); err != nil {
		return Picture{}, err
	}
	err = c.inquire(ctx, "fetch a picture", func(ctx context.Context) error {
		jid := jidOf(q.Of)
		if !c.me.isMe(q.Of) {
			if jid, err = c.address(ctx, q.Of); err != nil {
				return err
			}
		}
		picture, err = c.picture(ctx, jid, &q)
		return err
	})
	return picture, err
}

func (c *conn) picture(ctx context.Context, jid types.JID, q *PictureQuery) (Picture, error) {
	info, err := c.cli.GetProfilePictureInfo(ctx, jid, &whatsmeow.GetProfilePictureParams{Preview: q.Preview, ExistingID: q.Known})
	switch {
	case errors.Is(err, whatsmeow.ErrProfilePictureUnauthorized):
		return Picture{}, ErrPictureHidden
	case errors.Is(err, whatsmeow.ErrProfilePictureNotSet):
		return Picture{}, ErrNoPicture
	case err != nil:
		return Picture{}, err
	case info == nil:
		return Picture{ID: q.Known}, nil
	}
	data, err := c.fetchPicture(ctx, info.URL)
	if err != nil {
		return Picture{}, err
	}
	return Picture{ID: info.ID, Data: data}, nil
}

// fetchPicture fetches a picture, which is not encrypted. Returns ErrTransfer, ErrMediaDamaged.
func (c *conn) fetchPicture(ctx context.Context, at string) ([]byte, error) {
	where, err := url.Parse(at)
	if err != nil || where.Scheme != "https" {
		return nil, fmt.Errorf("%w: WhatsApp names no address", ErrTransfer)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTransfer, err)
	}
	resp, err := c.actor.fleet.cfg.Clients.Media.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: %w", ErrTransfer, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: status %d", ErrTransfer, resp.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxPicture+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrTransfer, err)
	case len(data) > maxPicture, !bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		return nil, ErrMediaDamaged
	}
	return data, nil
}

// SetPicture makes a picture (JPEG or PNG) the account's own, cropped and scaled as WhatsApp wants it, and returns its id.
//
// Returns [avatar.ErrFormat], [avatar.ErrDimensions], *[OfflineError], *[UncertainError], *[RefusedError].
func (f *Fleet) SetPicture(ctx context.Context, id tenant.ID, file []byte) (pictureID string, err error) {
	defer f.watch.contain("picture", &err)
	made, err := f.avatars.Make(ctx, file)
	if err != nil {
		return "", fmt.Errorf("make the picture: %w", err)
	}
	return f.changePicture(ctx, id, made)
}

// RemovePicture takes the account's own picture away. Errors as of [Fleet.SetPicture].
func (f *Fleet) RemovePicture(ctx context.Context, id tenant.ID) (err error) {
	defer f.watch.contain("picture", &err)
	_, err = f.changePicture(ctx, id, nil)
	return err
}

func (f *Fleet) changePicture(ctx context.Context, id tenant.ID, jpeg []byte) (pictureID string, err error) {
	c, err := f.reach(ctx, id)
	if err != nil {
		return "", err
	}
	err = c.inquire(ctx, "change the picture", func(ctx context.Context) error {
		pictureID, err = c.cli.SetGroupPhoto(ctx, types.EmptyJID, jpeg) // of no group: the account's own
		return err
	})
	return pictureID, err
}
