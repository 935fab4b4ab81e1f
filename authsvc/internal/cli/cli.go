// Package cli is the command line of authsvc.
//
//	func main() {
//		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//		code := cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ())
//		stop()
//		os.Exit(code)
//	}
//
// Every flag has an environment variable, AUTHSVC_ and its name, which --help
// shows; a flag on the command line wins. A variable means the same to every command
// that has it. Secrets come from files, or from their variables and never from the
// command line. Commands print tables for people and, with --json, JSON for programs.
// What a user or a client may have chosen is printed so that it can do nothing to the
// terminal.
//
// Exit status: 0 done, 1 failed or refused, 2 the command line or a setting was wrong.
package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/alecthomas/kong"
)

// The exit statuses of [Run].
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// root is the whole command line.
type root struct {
	Tour    tourCmd    `cmd:"" group:"run" help:"Show the main job on a stack of its own."`
	Dev     devCmd     `cmd:"" group:"run" help:"Run auth service, broker, two demo services and a gateway for development."`
	Serve   serveCmd   `cmd:"" group:"run" help:"Run the auth service on a given database and NATS."`
	Gateway gatewayCmd `cmd:"" group:"run" help:"Run a gateway: opaque tokens outside, JWT inside, services hidden behind it."`

	NATSConfig natsConfigCmd `cmd:"" name:"nats-config" group:"run" help:"Write the configuration of a nats-server in which certificates are the users."`

	Login       loginCmd       `cmd:"" group:"admin" help:"Log in; the tokens are kept in your configuration directory."`
	Logout      logoutCmd      `cmd:"" group:"admin" help:"Log out, and forget the tokens."`
	Bootstrap   bootstrapCmd   `cmd:"" group:"admin" help:"Create the first admin with the one-time secret."`
	Accounts    accountsCmd    `cmd:"" group:"admin" help:"List, show, disable and enable accounts."`
	Sessions    sessionsCmd    `cmd:"" group:"admin" help:"List and end sessions."`
	Revoke      revokeCmd      `cmd:"" group:"admin" help:"Revoke a token, a session, a user, everyone, a key or a certificate."`
	Revocations revocationsCmd `cmd:"" group:"admin" help:"List what has been revoked."`
	Keys        keysCmd        `cmd:"" group:"admin" help:"List, rotate and kill signing keys."`
	CA          caCmd          `cmd:"" name:"ca" group:"admin" help:"Run the internal CA: certificates of services, for mutual TLS."`
	Services    servicesCmd    `cmd:"" group:"admin" help:"List, add and remove the services that may introspect and revoke."`
}

// Run runs one command line and returns the exit status. args holds no program
// name, env is like os.Environ().
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env []string) int {
	t := &terminal{in: stdin, out: stdout, err: stderr, env: environment(env)}
	var commands root
	left := false // --help has printed all there is to say
	parser, err := kong.New(&commands,
		kong.Name("authsvc"),
		kong.Description("Log in once, be verified locally everywhere, be logged out everywhere within milliseconds."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.ExplicitGroups([]kong.Group{{Key: "run", Title: "Running it:"}, {Key: "admin", Title: "Administration:"}}),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { left = true }),
		kong.ValueFormatter(helpWithVariable),
		kong.Resolvers(t.env),
		kong.NamedMapper("path", kong.MapperFunc(givenPath)),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(t),
	)
	if err != nil {
		return t.fail(fmt.Errorf("building the command line: %w", err), false)
	}
	var parsed *kong.Context
	if err = refuseSecrets(parser.Model, args); err == nil {
		parsed, err = parser.Parse(args)
	}
	if err == nil && !left {
		err = refuseNothing(parsed)
	}
	switch {
	case left:
		return exitDone
	case err != nil:
		t.fail(err, false)
		t.note("Run authsvc --help, or --help behind a command.")
		return exitUsage
	}
	err = parsed.Run()
	if wrong := asFlags(err, parsed.Selected()); wrong != nil {
		t.fail(wrong, t.json)
		return exitUsage
	}
	if err != nil {
		return t.fail(err, t.json)
	}
	return exitDone
}
