package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"
	"golang.org/x/sync/errgroup"

	"github.com/wafleet/wafleet/session/transport"
)

const (
	// dials is how many sessions log in at a time, in each variant.
	dials        = 32
	loginTimeout = 90 * time.Second
)

// source is where bare clients have their devices from.
type source interface {
	prepare(ctx context.Context, say func(string)) error
	start(ctx context.Context) error
	devices(ctx context.Context) ([]*store.Device, error)
	close() error
}

// bareVariant is one whatsmeow client per device with an event handler that counts, and nothing around it. The options that let
// it lose nothing are on, as they are in the fleet.
type bareVariant struct {
	plan   plan
	source source
	log    *slog.Logger

	clients *transport.Clients
	online  []*whatsmeow.Client
	life    context.Context //nolint:containedctx // of the connections, which no request owns
	end     context.CancelFunc

	mu       sync.Mutex
	messages int
	distinct map[messageKey]struct{}
	lost     int
}

func (b *bareVariant) prepare(ctx context.Context, say func(string)) error {
	return b.source.prepare(ctx, say)
}

func (b *bareVariant) start(ctx context.Context) (err error) {
	b.distinct = make(map[messageKey]struct{})
	b.life, b.end = context.WithCancel(context.WithoutCancel(ctx))
	if b.clients, err = reach(ctx, b.plan.Control); err != nil {
		return err
	}
	return b.source.start(ctx)
}

func (b *bareVariant) connect(ctx context.Context) error {
	devices, err := b.source.devices(ctx)
	if err != nil {
		return err
	}
	if len(devices) != b.plan.Sessions {
		return fmt.Errorf("%d devices in the store, %d were put there", len(devices), b.plan.Sessions)
	}
	var mu sync.Mutex
	logins, ctx := errgroup.WithContext(ctx)
	logins.SetLimit(dials)
	for _, dev := range devices {
		logins.Go(func() error {
			cli, err := b.login(ctx, dev)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			b.online = append(b.online, cli)
			return nil
		})
	}
	return logins.Wait()
}

func (b *bareVariant) login(ctx context.Context, dev *store.Device) (*whatsmeow.Client, error) {
	cli := whatsmeow.NewClient(dev, waLog.Noop)
	b.clients.Apply(cli)
	cli.SynchronousAck = true
	cli.EnableDecryptedEventBuffer = true
	cli.BackgroundEventCtx = b.life
	connected := make(chan struct{})
	once := sync.OnceFunc(func() { close(connected) })
	own := dev.ID.User
	cli.AddEventHandler(func(evt any) {
		switch e := evt.(type) {
		case *events.Connected:
			once()
		case *events.Message:
			if e.Message.GetConversation() != "" || e.Message.GetExtendedTextMessage() != nil { // else it is keys alone
				b.got(messageKey{own, e.Info.ID})
			}
		case *events.UndecryptableMessage:
			b.mu.Lock()
			b.lost++
			b.mu.Unlock()
		}
	})
	if err := cli.ConnectContext(b.life); err != nil { //nolint:contextcheck // lives as long as the connection, not as the login
		return nil, fmt.Errorf("connect: %w", err)
	}
	timer := time.NewTimer(loginTimeout)
	defer timer.Stop()
	select {
	case <-connected:
		return cli, nil
	case <-timer.C:
		cli.Disconnect()
		return nil, errors.New("login: no answer")
	case <-ctx.Done():
		cli.Disconnect()
		return nil, context.Cause(ctx)
	}
}

func (b *bareVariant) got(key messageKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages++
	b.distinct[key] = struct{}{}
}

func (b *bareVariant) counts(context.Context) (counts, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return counts{Messages: b.messages, Distinct: len(b.distinct), Undecrypted: b.lost}, nil
}

func (b *bareVariant) close() error {
	for _, cli := range b.online {
		cli.Disconnect()
	}
	if b.end != nil {
		b.end()
	}
	if b.clients != nil {
		b.clients.Close()
	}
	return b.source.close()
}
