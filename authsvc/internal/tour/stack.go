package tour

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/authbus/authbus/authsvc/internal/demo"
	"github.com/authbus/authbus/authsvc/internal/node"
	"github.com/authbus/authbus/authsvc/internal/node/broker"
)

// stack is an auth service with its broker, and two services.
type stack struct {
	dir      string
	node     *node.Node
	broker   *broker.Broker
	secret   string // makes the first admin
	services []*demo.Service
}

// startTimeout bounds the start of the whole stack.
const startTimeout = 30 * time.Second

func startStack(ctx context.Context, log *slog.Logger) (*stack, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	dir, err := os.MkdirTemp("", "authbus-tour-")
	if err != nil {
		return nil, err
	}
	s := &stack{dir: dir}
	if err := s.start(ctx, log); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *stack) start(ctx context.Context, log *slog.Logger) (err error) {
	s.node, err = node.Start(ctx, node.Config{
		Listen:        "127.0.0.1:0",
		DatabaseURL:   "sqlite:" + filepath.Join(s.dir, "auth.db"),
		MasterKeyFile: filepath.Join(s.dir, "master.key"),
		Embedded:      &node.Embedded{Dir: filepath.Join(s.dir, "nats"), Listen: "127.0.0.1:0"},
		RefreshGrace:  grace,
		Log:           log,
	})
	if err != nil {
		return err
	}
	if err := s.node.AwaitReady(ctx); err != nil {
		return err
	}
	s.broker = s.node.Broker()
	if s.secret, _, err = s.node.BootstrapSecret(ctx); err != nil {
		return err
	}
	for _, name := range []string{"orders", "billing"} {
		service, err := demo.Start(ctx, demo.Config{
			Name: name, Listen: "127.0.0.1:0", Issuer: s.node.Issuer(),
			NATSURL: s.broker.URL(), MaxStale: bound, Log: log,
		})
		if err != nil {
			return err
		}
		s.services = append(s.services, service)
	}
	return nil
}

// close ends what has been started, and removes the data.
func (s *stack) close() error {
	var errs []error
	for _, service := range s.services {
		errs = append(errs, service.Close())
	}
	if s.node != nil {
		errs = append(errs, s.node.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

func (s *stack) authURL() string { return s.node.URL() }

func (s *stack) String() string {
	return fmt.Sprintf("auth service with SQLite and an embedded broker; services orders and billing, bound %v", bound)
}
