package session

import (
	"context"

	"go.mau.fi/whatsmeow/appstate"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/tenant"
)

// Profile is what others see of the account.
type Profile struct {
	ID        tenant.ChatID
	LID       tenant.ChatID
	Name      string
	About     string
	PictureID string // empty: there is no picture
}

// ProfileChange changes the account's profile. Nil members leave what is there.
type ProfileChange struct {
	Name  *string // not empty
	About *string
}

// Profile asks WhatsApp what it shows of the account. Returns *[OfflineError], *[UncertainError], *[RefusedError].
func (f *Fleet) Profile(ctx context.Context, id tenant.ID) (p Profile, err error) {
	defer f.watch.contain("profile", &err)
	c, err := f.reach(ctx, id)
	if err != nil {
		return Profile{}, err
	}
	return c.profile(ctx)
}

func (c *conn) profile(ctx context.Context) (Profile, error) {
	view := c.actor.view.Load()
	p := Profile{ID: c.me.id, LID: view.LID, Name: view.Name}
	err := c.inquire(ctx, "read the profile", func(ctx context.Context) error {
		me := jidOf(c.me.id)
		infos, err := c.cli.GetUserInfo(ctx, []types.JID{me})
		if err != nil {
			return err
		}
		p.About, p.PictureID = tenant.CleanText(infos[me].Status), tenant.CleanText(infos[me].PictureID)
		return nil
	})
	return p, err
}

// SetProfile changes the account's profile, first the name, then the text about the user, and returns what it is now. When it
// fails, doing all of it again does no harm.
//
// Returns *[OfflineError], *[UncertainError], *[RefusedError], [tenant.ErrUnavailable] while the phone has not shared the key to the
// account's settings, and *[PartlyError] around one of them if the name was changed and the text was not.
func (f *Fleet) SetProfile(ctx context.Context, id tenant.ID, change ProfileChange) (p Profile, err error) {
	defer f.watch.contain("profile", &err)
	c, err := f.reach(ctx, id)
	if err != nil {
		return Profile{}, err
	}
	if change.Name != nil {
		if err = c.setName(ctx, *change.Name); err != nil {
			return Profile{}, err
		}
	}
	if change.About != nil {
		err = c.inquire(ctx, "set the about text", func(ctx context.Context) error {
			return c.cli.SetStatusMessage(ctx, types.SetStatusInput{Text: change.About})
		})
		if err != nil {
			if change.Name != nil {
				err = &PartlyError{Done: []string{"name"}, Left: []string{"about"}, Err: err}
			}
			return Profile{}, err
		}
	}
	p, err = c.profile(ctx)
	if change.Name != nil {
		p.Name = *change.Name // the job may not have run yet
	}
	return p, err
}

// setName changes the account's name: in the app state, from which its other devices learn it, and at the server, which writes it
// beside our messages.
func (c *conn) setName(ctx context.Context, name string) error {
	if !c.sends.enter() {
		return c.offline()
	}
	defer c.sends.leave()
	ctx, cancel := context.WithTimeout(ctx, c.actor.fleet.pace.SendTimeout)
	defer cancel()
	err := c.sendState(ctx, appstate.BuildSettingPushName(name), func() error {
		// Without a type: whether we are there does not change.
		return c.cli.DangerousInternals().SendNode(ctx, waBinary.Node{Tag: "presence", Attrs: waBinary.Attrs{"name": name}}) //nolint:staticcheck // the only way
	})
	if err != nil {
		c.log.WarnContext(ctx, "name not changed", "error", redact(err.Error()))
		return c.stateError(err)
	}
	c.actor.post(func() { c.actor.rename(c, name) })
	return nil
}
