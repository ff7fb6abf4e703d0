package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/node"
	"github.com/wafleet/wafleet/session/wasim"
)

type simCmd struct {
	Listen         string     `default:"127.0.0.1:8081" placeholder:"HOST:PORT" help:"Address of the control API, on this machine."`
	WhatsAppListen string     `name:"whatsapp-listen" default:"127.0.0.1:0" placeholder:"HOST:PORT" help:"Address of the WhatsApp server itself, on this machine."`
	CAFile         string     `name:"ca-file" placeholder:"FILE" help:"Write the certificate authority there, in PEM."`
	LogLevel       slog.Level `default:"info" placeholder:"LEVEL" help:"debug, info, warn or error."`
	LogFormat      string     `default:"auto" enum:"auto,text,json" placeholder:"FORMAT" help:"text, json, or auto: text on a terminal, JSON elsewhere."`
}

// simStop bounds how long the simulator may take to end.
const simStop = 10 * time.Second

// Run simulates until the context ends.
func (s *simCmd) Run(ctx context.Context, p program) error {
	sim, err := wasim.Start(ctx, wasim.Config{
		Listen: s.Listen, WhatsAppListen: s.WhatsAppListen, Log: newLogger(p.Stderr, s.LogLevel, s.LogFormat),
	})
	if err != nil {
		flag := "--listen"
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Addr != nil && op.Addr.String() == s.WhatsAppListen {
			flag = "--whatsapp-listen"
		}
		return node.ListenError(err, flag)
	}
	if err = s.show(sim, p); err == nil {
		<-ctx.Done()
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), simStop)
	defer cancel()
	return errors.Join(err, sim.Close(stop))
}

const simShown = `A simulated WhatsApp is running. It remembers nothing once it ends; Ctrl-C ends it.

  control API   %[1]s          GET / lists the calls
  WebSocket     %[2]s
  media         %[3]s
  Noise root    %[4]s
  CA            %[5]s

Point a node at it:      wafleet serve --whatsapp %[1]s
The above as JSON:       curl -s %[1]s/info
`

func (s *simCmd) show(sim *wasim.Simulator, p program) error {
	info := sim.Info()
	ca := "in " + info.ControlURL + "/info; --ca-file FILE writes it to a file"
	if s.CAFile != "" {
		if err := os.WriteFile(s.CAFile, []byte(info.CACertificate), 0o644); err != nil { //nolint:gosec // a public certificate
			return fmt.Errorf("write the CA: %w", err)
		}
		ca = s.CAFile
	}
	_, err := fmt.Fprintf(p.Stdout, simShown, info.ControlURL, info.WebSocketURL, info.MediaURL, info.NoiseRootKey, ca)
	return err //nolint:wrapcheck // stdout is gone
}
