package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/demo"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
	"github.com/authbus/authbus/authsvc/internal/node"
)

// devCmd is `authsvc dev`: everything that a developer needs, in one process.
type devCmd struct {
	Dir     string     `default:".authsvc" help:"Directory of the data, kept from run to run."`
	Listen  string     `default:"127.0.0.1:8080" help:"Address of the auth service."`
	NATS    string     `name:"nats" default:"127.0.0.1:4222" help:"Address of the broker."`
	Orders  string     `default:"127.0.0.1:8081" help:"Address of the demo service orders."`
	Billing string     `default:"127.0.0.1:8082" help:"Address of the demo service billing."`
	Gateway string     `default:"127.0.0.1:8000" help:"Address of the gateway in front of them."`
	Routes  string     `placeholder:"FILE" help:"Rules of the gateway. Default: those for the demo services."`
	Level   slog.Level `name:"log-level" default:"WARN" help:"DEBUG, INFO, WARN or ERROR."`
}

// devStartTimeout bounds the start.
const devStartTimeout = 30 * time.Second

// Run runs the stack until ctx ends.
func (c *devCmd) Run(ctx context.Context, t *terminal) (err error) {
	log := slog.New(slog.NewJSONHandler(t.err, &slog.HandlerOptions{Level: c.Level}))
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("making the directory of the data: %w", err)
	}
	starting, cancel := context.WithTimeout(ctx, devStartTimeout)
	defer cancel()
	n, err := node.Start(starting, node.Config{
		Listen: c.Listen, DatabaseURL: "sqlite:" + filepath.Join(c.Dir, "auth.db"),
		MasterKeyFile: filepath.Join(c.Dir, "master.key"),
		Embedded:      &node.Embedded{Dir: filepath.Join(c.Dir, "nats"), Listen: c.NATS},
		// So that the auth service sees the clients of the gateway.
		TrustedProxies: []string{"127.0.0.1"}, Log: log,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := n.AwaitReady(starting); err != nil {
		return err
	}
	var services []*demo.Service
	for _, at := range [...]struct{ name, listen string }{{"orders", c.Orders}, {"billing", c.Billing}} {
		s, err := demo.Start(starting, demo.Config{
			Name: at.name, Listen: at.listen, Issuer: n.Issuer(), NATSURL: n.Broker().URL(), Log: log,
		})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		services = append(services, s)
	}
	g, err := c.startGateway(starting, n, services, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	if err := c.firstAdmin(starting, t, n); err != nil {
		return err
	}
	if err := c.hints(t, n); err != nil {
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

// hints prints lines to copy.
func (c *devCmd) hints(t *terminal, n *node.Node) error {
	_, err := fmt.Fprintf(t.out, `auth service  %[1]s
broker        %[2]s
orders        http://%[3]s
billing       http://%[4]s
gateway       http://%[6]s, in front of both as /orders and /billing

Register, log in, call a service:

  curl -sS -H 'Content-Type: application/json' -d '{"username":"ada","email":"ada@example.org","password":"nine quiet otters juggle"}' %[1]s/v1/accounts
  curl -sS -H 'Content-Type: application/json' -d '{"login":"ada","password":"nine quiet otters juggle"}' %[1]s/v1/sessions
  curl -sS -H "Authorization: Bearer $TOKEN" http://%[3]s/
  curl -sS -H "Authorization: Bearer $TOKEN" -X DELETE %[1]s/v1/sessions/current

The same through the gateway, with a token that says nothing and opens nothing else:

  curl -sS -H 'Content-Type: application/json' -d '{"login":"ada","password":"nine quiet otters juggle"}' http://%[6]s/login
  curl -sS -H "Authorization: Bearer $TOKEN" http://%[6]s/orders
  curl -sS -H "Authorization: Bearer $TOKEN" -X POST http://%[6]s/logout

Watch, and administer:

  nats -s %[2]s sub 'auth.events.>'
  nats -s %[2]s stream view AUTH_REVOCATIONS
  go run ./authsvc login --server %[1]s admin
  go run ./authsvc revoke user SUB --reason 'laptop stolen'

Ctrl-C stops it. The data stay in %[5]s.
`, n.URL(), n.Broker().URL(), c.Orders, c.Billing, c.Dir, c.Gateway)
	return err
}
