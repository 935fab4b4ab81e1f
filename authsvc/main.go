// Command authsvc is the auth service of authbus, its embedded stack for
// developers, and its admin command line. See authsvc --help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/authbus/authbus/authsvc/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)   // a second signal ends it at once
	signal.Ignore(syscall.SIGPIPE) // a reader that has gone away is an error of writing: what runs ends in order
	code := cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ())
	stop()
	os.Exit(code)
}
