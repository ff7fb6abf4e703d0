package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/tenant"
)

// Errors of what is asked about people.
var (
	// ErrNoPicture says that somebody has no picture.
	ErrNoPicture = errors.New("there is no picture")
	// ErrPictureHidden says that somebody does not let the account see their picture.
	ErrPictureHidden = errors.New("the picture is hidden from this account")
	// ErrNotOnWhatsApp says that there is nobody on WhatsApp behind an id.
	ErrNotOnWhatsApp = errors.New("nobody on WhatsApp has this id")
	// ErrNoName says that the account has no name yet, without which WhatsApp takes no presence.
	ErrNoName = errors.New("the account has no name yet")
)

// Bounds of asking WhatsApp about people.
const (
	// MaxNumberChecks is the most numbers of one call.
	MaxNumberChecks = 50
)

// NumberCheck is what WhatsApp says about a phone number.
type NumberCheck struct {
	Phone      string // as it was asked
	Registered bool
	ID         tenant.ChatID // under which the person is known: the number may be another than the one asked for
	LID        tenant.ChatID // if WhatsApp tells
}

// CheckNumbers asks WhatsApp which phone numbers (digits, with or without +) are registered. The answers are in the order of the numbers.
//
// Returns *[OfflineError], *[LimitError], *[UncertainError], *[RefusedError].
func (f *Fleet) CheckNumbers(ctx context.Context, id tenant.ID, phones []string) (checks []NumberCheck, err error) {
	defer f.watch.contain("check", &err)
	c, err := f.reach(ctx, id)
	if err != nil {
		return nil, err
	}
	var asked []string
	found := make(map[string]*types.IsOnWhatsAppResponse, len(phones))
	for _, phone := range phones {
		if number := digitsOf(phone); found[number] == nil {
			found[number] = &types.IsOnWhatsAppResponse{}
			asked = append(asked, "+"+number)
		}
	}
	if err = f.governor.checks(id, len(asked), time.Now()); err != nil {
		return nil, err
	}
	// Who is who whatsmeow stores itself, in the tenant's own map.
	err = c.inquire(ctx, "check numbers", func(ctx context.Context) error {
		answers, err := c.cli.IsOnWhatsApp(ctx, asked)
		for i := range answers {
			if number := digitsOf(answers[i].Query); found[number] != nil {
				found[number] = &answers[i]
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	checks = make([]NumberCheck, 0, len(phones))
	for _, phone := range phones {
		checks = append(checks, checked(phone, found[digitsOf(phone)]))
	}
	return checks, nil
}

// checked is what an answer of WhatsApp's says about a number.
func checked(phone string, answer *types.IsOnWhatsAppResponse) NumberCheck {
	check := NumberCheck{Phone: phone}
	if !answer.IsIn {
		return check
	}
	check.Registered, check.ID = true, tenant.PersonID(digitsOf(phone))
	for _, jid := range []types.JID{answer.PhoneNumber, answer.JID} {
		switch id, ok := chatID(jid); {
		case ok && id.Phone() != "":
			check.ID = id
		case ok && id.IsHidden():
			check.LID = id
		}
	}
	return check
}

// digitsOf is a phone number without its +.
func digitsOf(phone string) string {
	if phone != "" && phone[0] == '+' {
		return phone[1:]
	}
	return phone
}

// inquire asks WhatsApp something that it answers, within the time for questions. Returns *OfflineError, *UncertainError,
// *RefusedError, and whatever of ours ask returns.
func (c *conn) inquire(ctx context.Context, doing string, ask func(context.Context) error) error {
	if !c.sends.enter() {
		return c.offline()
	}
	defer c.sends.leave()
	ctx, cancel := context.WithTimeout(ctx, c.actor.fleet.pace.LookupTimeout)
	defer cancel()
	err := ask(ctx)
	if err == nil {
		return nil
	}
	for _, ours := range []error{
		ErrNoPicture, ErrPictureHidden, ErrNotOnWhatsApp, ErrTransfer, ErrMediaDamaged, ErrNoName, tenant.ErrUnavailable,
	} {
		if errors.Is(err, ours) {
			return err
		}
	}
	c.log.WarnContext(ctx, "WhatsApp did not do what it was asked", "doing", doing, "error", redact(err.Error()))
	if iq, ok := errors.AsType[*whatsmeow.IQError](err); ok && iq.Code >= 400 && iq.Code < 500 && iq.Code != 408 && iq.Code != 429 {
		return fmt.Errorf("%s: %w", doing, &RefusedError{Code: iq.Code})
	}
	if errors.Is(err, whatsmeow.ErrNotConnected) {
		return c.offline()
	}
	return fmt.Errorf("%s: %w", doing, &UncertainError{Err: err})
}

// person is how WhatsApp names somebody by both ids: the LID is asked for if it is not known. Returns ErrNotOnWhatsApp.
func (c *conn) person(ctx context.Context, id tenant.ChatID) (lid, phone types.JID, err error) {
	if id.IsHidden() {
		return jidOf(id), types.EmptyJID, nil
	}
	phone = jidOf(id)
	if lid, err = c.address(ctx, id); err != nil || lid.Server == types.HiddenUserServer {
		return lid, phone, err
	}
	info, err := c.cli.GetUserInfo(ctx, []types.JID{phone})
	if err != nil {
		return types.EmptyJID, phone, fmt.Errorf("find the hidden id: %w", err)
	}
	lid = info[phone].LID
	l, ok := link(lid, phone)
	if !ok {
		return types.EmptyJID, phone, ErrNotOnWhatsApp
	}
	c.commit(ctx, c.unseen([]tenant.Change{l}), nil)
	return lid, phone, nil
}

// canonical is an id as the store knows it.
func (c *conn) canonical(ctx context.Context, id tenant.ChatID) (tenant.ChatID, error) {
	resolved, err := c.actor.handle.Resolve(ctx, id)
	if err != nil {
		return "", fmt.Errorf("resolve id: %w", err)
	}
	return resolved, nil
}
