package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/internal/bus"
	"github.com/authbus/authbus/authsvc/internal/demo"
	"github.com/authbus/authbus/authsvc/internal/gateway"
	"github.com/authbus/authbus/authsvc/internal/node"
)

// devGateway is the gateway in front of the demo services, with its connection.
type devGateway struct {
	*gateway.Gateway
	nc *nats.Conn
}

// startGateway starts the gateway with the rules of --routes, or with rules for the
// demo services, which are written anew at each start.
func (c *devCmd) startGateway(ctx context.Context, n *node.Node, services []*demo.Service, log *slog.Logger) (*devGateway, error) {
	file := c.Routes
	if file == "" {
		file = filepath.Join(c.Dir, "routes.yaml")
		if err := os.WriteFile(file, []byte(devRoutes(services)), 0o600); err != nil {
			return nil, fmt.Errorf("writing the rules of the gateway: %w", err)
		}
	}
	nc, err := bus.Connect("gateway", bus.Target{
		URL: n.Broker().URL(), Options: []nats.Option{nats.CustomInboxPrefix("_INBOX_gateway")},
	}, log)
	if err != nil {
		return nil, err
	}
	g, err := gateway.Start(ctx, gateway.Config{
		Listen: c.Gateway, Routes: file, Auth: n.URL(), Issuer: n.Issuer(), NATS: nc, Log: log,
	})
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &devGateway{g, nc}, nil
}

// Close ends the gateway, and then its connection.
func (g *devGateway) Close() error {
	defer g.nc.Close()
	return g.Gateway.Close()
}

// devRoutes is a table for the demo services, each under its own name.
func devRoutes(services []*demo.Service) string {
	var upstreams, rules strings.Builder
	for _, s := range services {
		fmt.Fprintf(&upstreams, "  %s:\n    urls: [%s]\n", s.Name(), s.URL())
		fmt.Fprintf(&rules, "  - {name: %[1]s, path: /%[1]s, methods: [GET], upstream: %[1]s, websocket: true}\n", s.Name())
	}
	return "# Written by authsvc dev at each start. For rules of your own: authsvc dev --routes FILE.\n" +
		"upstreams:\n" + upstreams.String() + "rules:\n" + rules.String()
}
