package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/dev"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
	"github.com/authbus/authbus/authsvc/internal/node"
)

// devCmd is `authsvc dev`: everything that a developer needs, in one process.
type devCmd struct {
	Dir     string     `default:".authsvc" help:"Directory of the data, kept from run to run."`
	Listen  string     `field:"Auth" default:"127.0.0.1:8080" help:"Address of the auth service."`
	NATS    string     `name:"nats" default:"127.0.0.1:4222" help:"Address of the broker."`
	Orders  string     `default:"127.0.0.1:8081" help:"Address of the demo service orders."`
	Billing string     `default:"127.0.0.1:8082" help:"Address of the demo service billing."`
	Gateway string     `default:"127.0.0.1:8000" help:"Address of the gateway in front of them."`
	Routes  string     `placeholder:"FILE" help:"Rules of the gateway. Default: those for the demo services."`
	MTLS    bool       `name:"mtls" help:"Everything behind the gateway over mutual TLS, with a throw-away CA."`
	Mutual  string     `name:"listen-mtls" field:"AuthMutual" placeholder:"ADDR" help:"Address of the auth service for services, with --mtls. Default: 127.0.0.1:8443."`
	Level   slog.Level `name:"log-level" default:"WARN" help:"DEBUG, INFO, WARN or ERROR."`
}

// devStartTimeout bounds the start.
const devStartTimeout = 30 * time.Second

// Run runs the stack until ctx ends.
func (c *devCmd) Run(ctx context.Context, t *terminal) (err error) {
	log := slog.New(slog.NewJSONHandler(t.err, &slog.HandlerOptions{Level: c.Level}))
	starting, cancel := context.WithTimeout(ctx, devStartTimeout)
	defer cancel()
	s, err := dev.Start(starting, dev.Config{
		Dir: c.Dir, Auth: c.Listen, NATS: c.NATS, Orders: c.Orders, Billing: c.Billing, Gateway: c.Gateway,
		Routes: c.Routes, Mutual: c.MTLS, AuthMutual: c.Mutual, Log: log,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := c.firstAdmin(starting, t, s.Node()); err != nil {
		return err
	}
	if err := c.hints(t, s); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// firstAdmin makes the first admin and prints the password, this once.
func (c *devCmd) firstAdmin(ctx context.Context, t *terminal, n *node.Node) error {
	secret, needed, err := n.BootstrapSecret(ctx)
	if err != nil || !needed {
		return err
	}
	anyone, err := client.New(client.Config{Server: n.URL()})
	if err != nil {
		return err
	}
	password := rand.Text()
	_, err = anyone.Bootstrap(ctx, wire.BootstrapRequest{
		Secret: wire.Secret(secret), Username: "admin", Email: "admin@example.org", Password: wire.Secret(password),
	})
	if err != nil {
		return fmt.Errorf("creating the first admin: %w", err)
	}
	_, err = fmt.Fprintf(t.out, "First admin, shown only now: user name admin, password %s\n\n", password)
	return err
}
