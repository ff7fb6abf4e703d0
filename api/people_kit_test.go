package api_test

import (
	"context"
	"sync"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/avatar"
	"github.com/wafleet/wafleet/tenant"
)

// people is what the test's fleet knows of people; sendErr fails it as it does sends.
type people struct {
	mu       sync.Mutex
	profile  session.Profile
	picture  session.Picture
	file     []byte // the last picture that was set
	asked    session.PictureQuery
	phones   []string
	presence []string
	makes    *avatar.Maker
}

func newPeople() *people {
	return &people{
		profile: session.Profile{ID: "5511988880000@c.us", LID: "104857600000009@lid", Name: "Shop"},
		makes:   avatar.New(),
	}
}

// with is run under the lock, unless the fleet fails.
func (f *fleet) with(do func(*people) error) error {
	f.mu.Lock()
	fail := f.sendErr
	f.mu.Unlock()
	if fail != nil {
		return fail
	}
	f.people.mu.Lock()
	defer f.people.mu.Unlock()
	return do(f.people)
}

func (f *fleet) CheckNumbers(_ context.Context, _ tenant.ID, phones []string) (checks []session.NumberCheck, err error) {
	err = f.with(func(p *people) error {
		p.phones = phones
		for i, phone := range phones {
			check := session.NumberCheck{Phone: phone}
			if i == 0 {
				check.Registered, check.ID, check.LID = true, ana, "104857600000001@lid"
			}
			checks = append(checks, check)
		}
		return nil
	})
	return checks, err
}

func (f *fleet) Blocklist(ctx context.Context, id tenant.ID) (ids []tenant.ChatID, err error) {
	err = f.with(func(*people) error {
		ids, err = f.store.Tenant(id).Blocked(ctx)
		return err
	})
	return ids, err
}

func (f *fleet) Block(ctx context.Context, id tenant.ID, who tenant.ChatID, block bool) error {
	return f.with(func(*people) error {
		_, err := f.store.Tenant(id).Commit(ctx, tenant.SetBlocked{ID: who, Blocked: block})
		return err
	})
}

func (f *fleet) Profile(context.Context, tenant.ID) (profile session.Profile, err error) {
	err = f.with(func(p *people) error {
		profile = p.profile
		return nil
	})
	return profile, err
}

func (f *fleet) SetProfile(_ context.Context, _ tenant.ID, change session.ProfileChange) (profile session.Profile, err error) {
	err = f.with(func(p *people) error {
		if change.Name != nil {
			p.profile.Name = *change.Name
		}
		if change.About != nil {
			p.profile.About = *change.About
		}
		profile = p.profile
		return nil
	})
	return profile, err
}

func (f *fleet) Picture(_ context.Context, _ tenant.ID, q session.PictureQuery) (picture session.Picture, err error) {
	err = f.with(func(p *people) error {
		p.asked, picture = q, p.picture
		switch picture.ID {
		case "":
			return session.ErrNoPicture
		case q.Known:
			picture.Data = nil
		}
		return nil
	})
	return picture, err
}

func (f *fleet) SetPicture(ctx context.Context, _ tenant.ID, file []byte) (id string, err error) {
	made, err := f.people.makes.Make(ctx, file)
	if err != nil {
		return "", err
	}
	err = f.with(func(p *people) error {
		p.file = file
		p.picture = session.Picture{ID: "1", Data: made}
		return nil
	})
	return "1", err
}

func (f *fleet) RemovePicture(context.Context, tenant.ID) error {
	return f.with(func(p *people) error {
		p.picture = session.Picture{}
		return nil
	})
}

func (f *fleet) noted(what string) error {
	return f.with(func(p *people) error {
		p.presence = append(p.presence, what)
		return nil
	})
}

func (f *fleet) ShowPresence(_ context.Context, _ tenant.ID, available bool) error {
	if available {
		return f.noted("there")
	}
	return f.noted("away")
}

func (f *fleet) WatchPresence(_ context.Context, _ tenant.ID, who tenant.ChatID) error {
	return f.noted("watch " + string(who))
}

func (f *fleet) UnwatchPresence(_ context.Context, _ tenant.ID, who tenant.ChatID) error {
	return f.noted("leave " + string(who))
}
