package session

import (
	"context"
	"errors"
	"fmt"

	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/tenant"
)

// blocks is how far a connection has followed the account's block list, which changes on other devices, too. Guarded by the
// connection's mutex.
type blocks struct {
	current bool // what is stored is what WhatsApp has
	stale   bool // it changed while it was being read
	reading bool
	changes int // how often it has changed, or may have
}

// followBlocklist reads the block list beside everything else, after the login and when WhatsApp says that it changed.
func (c *conn) followBlocklist() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blocks.current = false
	c.blocks.changes++
	if c.blocks.reading {
		c.blocks.stale = true
		return
	}
	c.blocks.reading = c.work.run("block_list", func() {
		for again := true; again; {
			err := c.readBlocklist(c.ctx)
			c.mu.Lock()
			again = c.blocks.stale && err == nil && c.ctx.Err() == nil
			c.blocks.stale = false
			c.blocks.reading = again
			c.blocks.current = err == nil && !again
			c.mu.Unlock()
		}
	})
}

// readBlocklist asks for the list and stores it. whatsmeow leaves the phone numbers out that WhatsApp tells beside the LIDs.
func (c *conn) readBlocklist(ctx context.Context) (err error) {
	defer c.actor.watch.contain("block_list", &err)
	var changes []tenant.Change
	err = c.inquire(ctx, "read the block list", func(ctx context.Context) error {
		answer, err := c.cli.DangerousInternals().SendIQ(ctx, whatsmeow.DangerousInfoQuery{ //nolint:staticcheck // the only way to send a query
			Namespace: "blocklist", Type: "get", To: types.ServerJID,
		})
		if err != nil {
			return err
		}
		list, ok := answer.GetOptionalChildByTag("list")
		if !ok {
			return &whatsmeow.ElementMissingError{Tag: "list", In: "response to blocklist query"}
		}
		changes = blocked(&list)
		return nil
	})
	if err != nil {
		return err
	}
	if !c.commit(ctx, changes, nil) {
		return fmt.Errorf("store the block list: %w", tenant.ErrUnavailable)
	}
	return nil
}

// blocked translates WhatsApp's list.
func blocked(list *waBinary.Node) []tenant.Change {
	var changes []tenant.Change
	var whom tenant.SetBlocklist
	for _, item := range list.GetChildren() {
		attrs := item.AttrGetter()
		jid, number := attrs.OptionalJIDOrEmpty("jid"), attrs.OptionalJIDOrEmpty("pn_jid")
		id, ok := chatID(jid)
		if !ok || id.IsGroup() {
			continue
		}
		if l, known := link(jid, number); known {
			changes = append(changes, l)
		}
		whom.IDs = append(whom.IDs, id)
	}
	return append(changes, whom)
}

// Blocklist returns whom the account blocks: the stored list, which follows WhatsApp's while the session is online. If it was not
// read on this connection yet, WhatsApp is asked first; errors then are *[UncertainError], *[RefusedError].
func (f *Fleet) Blocklist(ctx context.Context, id tenant.ID) (ids []tenant.ChatID, err error) {
	defer f.watch.contain("block_list", &err)
	if a := f.running(id); a != nil {
		if c := a.online.Load(); c != nil {
			err = c.knowBlocklist(ctx)
			if _, gone := errors.AsType[*OfflineError](err); err != nil && !gone {
				return nil, err
			}
		}
	}
	ids, err = f.cfg.Store.Tenant(id).Blocked(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the stored block list: %w", err)
	}
	return ids, nil
}

// knowBlocklist reads the block list if that was not done since the login, or since it changed.
func (c *conn) knowBlocklist(ctx context.Context) error {
	known, changes := c.blocklistCurrent()
	if known {
		return nil
	}
	if err := c.readBlocklist(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blocks.changes == changes {
		c.blocks.current = true
	}
	return nil
}

func (c *conn) blocklistCurrent() (known bool, changes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blocks.current, c.blocks.changes
}

// Block blocks a person, or does not block them any more, at WhatsApp and then here. Returns *[OfflineError], ErrNotOnWhatsApp,
// *[UncertainError], *[RefusedError].
func (f *Fleet) Block(ctx context.Context, id tenant.ID, who tenant.ChatID, block bool) (err error) {
	defer f.watch.contain("block", &err)
	c, err := f.reach(ctx, id)
	if err != nil {
		return err
	}
	if who, err = c.canonical(ctx, who); err != nil {
		return err
	}
	err = c.inquire(ctx, "change the block list", func(ctx context.Context) error {
		lid, phone, err := c.person(ctx, who)
		if err != nil {
			return err
		}
		action := events.BlocklistChangeActionUnblock
		if block {
			action = events.BlocklistChangeActionBlock
		}
		jid := lid
		if !phone.IsEmpty() {
			jid = phone // whatsmeow adds the LID, which it has learned by now
		}
		_, err = c.cli.UpdateBlocklist(ctx, jid, action)
		if _, done := errors.AsType[*whatsmeow.ElementMissingError](err); done {
			return nil // without the new list, which nobody needs
		}
		return err
	})
	if err != nil {
		return err
	}
	// WhatsApp has it, so it is stored even if the caller has left; but nobody waits for a store that is away for long.
	storing, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.pace.LookupTimeout)
	defer cancel()
	if !c.commit(storing, []tenant.Change{tenant.SetBlocked{ID: who, Blocked: block}}, nil) {
		c.followBlocklist() // which stores it when the store is back
		return fmt.Errorf("store the block list: %w", tenant.ErrUnavailable)
	}
	return nil
}
