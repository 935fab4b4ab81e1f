package dev

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/internal/bus"
	"github.com/authbus/authbus/authsvc/internal/demo"
	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/authsvc/internal/gateway"
	"github.com/authbus/authbus/authsvc/internal/node"
	"github.com/authbus/authbus/verifier"
)

// Config says where the stack listens and keeps its data. Dir is required; the zero
// value of every other field is its default.
type Config struct {
	// Dir holds the data, which are kept from run to run. One stack at a time has it.
	Dir string
	// Auth, NATS, Orders, Billing and Gateway are addresses; defaults 127.0.0.1 with
	// the ports 8080, 4222, 8081, 8082 and 8000.
	Auth, NATS, Orders, Billing, Gateway string
	// Routes is the file with the rules of the gateway; default: one that is written
	// to Dir at each start.
	Routes string
	// Mutual has every hop behind the gateway go over mutual TLS.
	Mutual bool
	// AuthMutual is where the auth service listens for it; default 127.0.0.1:8443.
	// It is refused without Mutual.
	AuthMutual string
	// MaxStale is the bound of the services and of the gateway; 0 means the verifier's
	// default.
	MaxStale time.Duration
	// Log takes what happens; nil means slog.Default().
	Log *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, field.New("Dir", "is required")
	}
	if c.AuthMutual != "" && !c.Mutual {
		return c, field.New("AuthMutual", "only goes with mutual TLS")
	}
	c.Auth = cmp.Or(c.Auth, "127.0.0.1:8080")
	c.NATS = cmp.Or(c.NATS, "127.0.0.1:4222")
	c.Orders = cmp.Or(c.Orders, "127.0.0.1:8081")
	c.Billing = cmp.Or(c.Billing, "127.0.0.1:8082")
	c.Gateway = cmp.Or(c.Gateway, "127.0.0.1:8000")
	c.AuthMutual = cmp.Or(c.AuthMutual, "127.0.0.1:8443")
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c, nil
}

// ErrInUse says that another stack runs on the same data. Two brokers would tear them.
var ErrInUse = errors.New("another dev runs in this directory")

// Stack is the running stack.
type Stack struct {
	config   Config
	mutual   *mutual // nil without mutual TLS
	node     *node.Node
	natsURL  string
	services []*demo.Service
	gateway  *gateway.Gateway

	closers []func() error // the last one first
}

// Start starts the stack. ctx bounds only the start.
func Start(ctx context.Context, c Config) (*Stack, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Stack{config: c}
	for _, step := range []func(context.Context) error{
		s.makeDir, s.startMutual, s.startNode, s.startCA, s.startServices, s.startGateway,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

func (s *Stack) closeLater(end func() error) { s.closers = append(s.closers, end) }

func (s *Stack) makeDir(context.Context) error {
	if err := os.MkdirAll(s.config.Dir, 0o700); err != nil {
		return &field.Error{Field: "Dir", Err: err}
	}
	unlock, err := lock(s.config.Dir)
	if err != nil {
		return err
	}
	s.closeLater(unlock)
	return nil
}

func (s *Stack) startNode(ctx context.Context) (err error) {
	c := node.Config{
		Listen: s.config.Auth, DatabaseURL: "sqlite:" + filepath.Join(s.config.Dir, "auth.db"),
		MasterKeyFile: filepath.Join(s.config.Dir, "master.key"),
		// So that the auth service sees the clients of the gateway.
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Log: s.config.Log,
	}
	if s.mutual == nil {
		c.Embedded = &node.Embedded{Dir: filepath.Join(s.config.Dir, "nats"), Listen: s.config.NATS}
	} else {
		c.NATSURL, c.Certs, c.ListenMTLS = s.natsURL, s.mutual.certs, s.config.AuthMutual
	}
	if s.node, err = node.Start(ctx, c); err != nil {
		return field.Rename(err, map[string]string{"Listen": "Auth", "ListenMTLS": "AuthMutual", "Embedded.Listen": "NATS"})
	}
	s.closeLater(s.node.Close)
	if s.mutual == nil {
		s.natsURL = s.node.Broker().URL()
	}
	return s.node.AwaitReady(ctx)
}

func (s *Stack) startServices(ctx context.Context) error {
	for _, at := range [...]struct{ name, field, listen string }{{orders, "Orders", s.config.Orders}, {billing, "Billing", s.config.Billing}} {
		id, err := s.identity(at.name)
		if err != nil {
			return err
		}
		service, err := demo.Start(ctx, demo.Config{
			Name: at.name, Listen: at.listen, Issuer: s.node.Issuer(), NATSURL: s.natsURL,
			Verifier: verifier.Config{MaxStale: s.config.MaxStale}, Identity: id, Log: s.config.Log,
		})
		if err != nil {
			return field.Rename(err, map[string]string{"Listen": at.field})
		}
		s.closeLater(service.Close)
		s.services = append(s.services, service)
	}
	return nil
}

func (s *Stack) startGateway(ctx context.Context) error {
	file, err := s.routes()
	if err != nil {
		return err
	}
	id, err := s.identity(gatewayName)
	if err != nil {
		return err
	}
	target, auth := bus.Target{URL: s.natsURL}, s.node.URL()
	if id != nil {
		target.Options, auth = []nats.Option{id.NATS()}, s.node.MutualURL()
	}
	nc, err := bus.Connect(gatewayName, target, s.config.Log)
	if err != nil {
		return err
	}
	s.closeLater(func() error { nc.Close(); return nil })
	if id != nil {
		id.Renew(nc)
	}
	s.gateway, err = gateway.Start(ctx, gateway.Config{
		Listen: s.config.Gateway, Routes: file, Auth: auth, Issuer: s.node.Issuer(), Identity: id, NATS: nc,
		MaxStale: s.config.MaxStale, Log: s.config.Log,
	})
	if err != nil {
		return field.Rename(err, map[string]string{"Listen": "Gateway"})
	}
	s.closeLater(s.gateway.Close)
	return nil
}

// Node is the auth service.
func (s *Stack) Node() *node.Node { return s.node }

// NATSURL is where clients of the broker connect.
func (s *Stack) NATSURL() string { return s.natsURL }

// GatewayURL is where clients connect.
func (s *Stack) GatewayURL() string { return s.gateway.URL() }

// ServiceURLs are the addresses of orders and billing.
func (s *Stack) ServiceURLs() (ofOrders, ofBilling string) {
	return s.services[0].URL(), s.services[1].URL()
}

// Close ends the stack in order and waits for it.
func (s *Stack) Close() error {
	var errs []error
	for _, end := range slices.Backward(s.closers) {
		errs = append(errs, end())
	}
	s.closers = nil
	return errors.Join(errs...)
}
