// Command wafleet is the whole product in one binary: the node (serve), the thing to try first (dev), a simulated WhatsApp
// (sim), and the operator's tools (migrate, admin). This package reads flags, environment and config file, introduces the
// packages to each other, and turns errors into exit codes; what they do is theirs.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal stops gently, a second one ends the process at once
	code := run(ctx, program{Args: os.Args[1:], Getenv: os.Getenv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
	os.Exit(code)
}
