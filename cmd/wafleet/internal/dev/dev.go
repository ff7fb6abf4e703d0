// Package dev is the thing to try first: a simulated WhatsApp and a node on an embedded database in one process, a tenant that
// is paired with a phone, two contacts that answer, and a group with both. Everything is done through the public APIs, as a user would do it.
package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/wafleet/wafleet/api"
	"github.com/wafleet/wafleet/cmd/wafleet/internal/adminapi"
	"github.com/wafleet/wafleet/cmd/wafleet/internal/config"
	"github.com/wafleet/wafleet/cmd/wafleet/internal/node"
	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/session/wasim"
)

// Options are what dev can be told.
type Options struct {
	Data              string // folder of the database and of dev.env
	Listen, SimListen string
	Log               *slog.Logger
	Out               io.Writer // gets what to try
	Version, Revision string
}

const (
	folderMode = 0o700 // dev.env and the database hold keys
	simStop    = 10 * time.Second
	// setUp bounds all that happens before there is something to try.
	setUp = 90 * time.Second
	drain = 10 * time.Second
)

// Run plays until ctx ends.
func Run(ctx context.Context, o Options) error {
	if err := os.MkdirAll(o.Data, folderMode); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	known, err := readEnv(filepath.Join(o.Data, envFile))
	if err != nil {
		return err
	}
	sim, err := wasim.Start(ctx, wasim.Config{Listen: o.SimListen, Log: o.Log})
	if err != nil {
		return node.ListenError(err, "--sim-listen")
	}
	err = play(ctx, o, sim, known)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), simStop)
	defer cancel()
	if err = errors.Join(err, sim.Close(stop)); err == nil {
		_, _ = fmt.Fprintf(o.Out, "stopped; what was stored is in %s\n", o.Data) // whoever does not read it any more does not miss it
	}
	return err
}

// play runs the node, makes the cast, and shows what to try.
func play(ctx context.Context, o Options, sim *wasim.Simulator, known env) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The simulator has forgotten everything: phones come back with the same numbers and hidden ids, but with new keys.
	if err := addPhones(ctx, sim); err != nil {
		return err
	}
	if known.AdminKey == "" {
		known.AdminKey = newAdminKey()
	}
	settings := config.Default()
	settings.Listen, settings.Data, settings.AdminKey = o.Listen, o.Data, config.Secret(known.AdminKey)
	settings.WhatsApp, settings.Drain = sim.ControlURL(), drain
	serving, ended := make(chan string, 1), make(chan error, 1)
	go func() { // received below
		ended <- node.Run(ctx, node.Options{
			Config: settings, Log: o.Log, Version: o.Version, Revision: o.Revision, Serving: func(address string) { serving <- address },
		})
	}()
	select {
	case err := <-ended:
		return err
	case address := <-serving:
		known.URL, known.SimURL = "http://"+address, sim.ControlURL()
	}
	err := stage(ctx, o, sim, &known)
	if ctx.Err() != nil {
		err = nil // it was interrupted: that is no fault
	}
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-ended:
			return err
		}
	}
	cancel()
	return errors.Join(err, <-ended)
}

// stage makes the tenant, pairs it, and shows what to try.
func stage(ctx context.Context, o Options, sim *wasim.Simulator, known *env) error {
	bounded, cancel := context.WithTimeout(ctx, setUp)
	defer cancel()
	admin, err := adminapi.New(known.URL, known.AdminKey)
	if err != nil {
		return err
	}
	defer admin.Close()
	t, err := admin.CreateTenant(bounded, api.NewTenant{Name: shop.name, ExternalID: "dev"})
	if err != nil {
		return fmt.Errorf("create the tenant: %w", err)
	}
	known.Tenant = string(t.ID)
	if err = keepKey(bounded, admin, known); err != nil {
		return err
	}
	if err = pair(bounded, admin, sim, known.Tenant); err != nil {
		return fmt.Errorf("pair the tenant: %w", err)
	}
	if known.Group, err = gather(bounded, sim); err != nil {
		return err
	}
	if err = settled(bounded, known); err != nil {
		return err
	}
	path := filepath.Join(o.Data, envFile)
	if err = known.write(path); err != nil {
		return err
	}
	return show(o.Out, known, path)
}

// keepKey goes on with the API key of the last time if it is still good, so that programs written against it go on, too.
func keepKey(ctx context.Context, admin *adminapi.Client, known *env) error {
	if known.APIKey != "" {
		status, err := known.get(ctx, "/api/status", nil)
		if err != nil {
			return err
		}
		if status == http.StatusOK {
			return nil
		}
	}
	key, err := admin.CreateKey(ctx, known.Tenant, api.NewKey{Label: "dev"})
	if err != nil {
		return fmt.Errorf("create the API key: %w", err)
	}
	known.APIKey = key.APIKey
	return nil
}

// pair links the tenant with its phone, instead of the device of the last time, which the simulator does not know any more.
func pair(ctx context.Context, admin *adminapi.Client, sim *wasim.Simulator, id string) error {
	_, err := admin.ChangeSession(ctx, id, "logout")
	if problem, ok := errors.AsType[*adminapi.RefusalError](err); ok && problem.Status == http.StatusConflict {
		err = nil // there was none
	}
	if err != nil {
		return err
	}
	phone, ok := sim.Phone(shop.number)
	if !ok {
		return fmt.Errorf("no phone %s", shop.number)
	}
	shown, err := admin.StartPairing(ctx, id, "")
	if err != nil {
		return err
	}
	if _, err = phone.Scan(ctx, shown.QR); err != nil {
		return fmt.Errorf("scan the QR code: %w", err)
	}
	last, err := admin.FollowPairing(ctx, id, func(api.PairingInfo) {})
	if err != nil {
		return err
	}
	if last.Phase != session.PairingSucceeded {
		return fmt.Errorf("%s: %s", last.Reason, last.Message)
	}
	return nil
}

// settled waits until the tenant is online and has the phone's history and the group.
func settled(ctx context.Context, known *env) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var status api.ServerStatus
		var chats api.ChatList
		var group api.MessageList
		if _, err := known.get(ctx, "/api/status", &status); err != nil {
			return err
		}
		if _, err := known.get(ctx, "/api/chats", &chats); err != nil {
			return err
		}
		if _, err := known.get(ctx, "/api/chats/"+known.Group+"/messages", &group); err != nil {
			return err
		}
		if status.Ready && len(chats.Chats) > len(contacts()) && len(group.Messages) > 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the history: %w", context.Cause(ctx))
		}
	}
}
