package tour

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/authbus/authbus/authsvc/internal/demo"
	"github.com/authbus/authbus/authsvc/internal/node"
	"github.com/authbus/authbus/authsvc/internal/node/broker"
	"github.com/authbus/authbus/verifier"
)

// stack is a broker, an auth service and two services.
type stack struct {
	dir      string
	log      *slog.Logger
	broker   *broker.Broker
	config   node.Config // of the auth service, which keeps its address over restarts
	node     *node.Node
	secret   string // makes the first admin
	services []*demo.Service
	others   []*demo.Service // what else the comparison of the answers puts up
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
	s := &stack{dir: dir, log: log}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *stack) start(ctx context.Context) (err error) {
	s.broker, err = broker.Start(broker.Config{Dir: filepath.Join(s.dir, "nats"), Listen: "127.0.0.1:0", Log: s.log})
	if err != nil {
		return err
	}
	s.config = node.Config{
		Listen:        "127.0.0.1:0",
		DatabaseURL:   "sqlite:" + filepath.Join(s.dir, "auth.db"),
		MasterKeyFile: filepath.Join(s.dir, "master.key"),
		Broker:        s.broker,
		RefreshGrace:  grace,
		Log:           s.log,
	}
	if err := s.startAuth(ctx); err != nil {
		return err
	}
	if s.secret, _, err = s.node.BootstrapSecret(ctx); err != nil {
		return err
	}
	for _, name := range []string{"orders", "billing"} {
		service, err := s.startService(ctx, name, verifier.Config{})
		if err != nil {
			return err
		}
		s.services = append(s.services, service)
	}
	return nil
}

// startAuth starts the auth service, with the data and the address that it had.
func (s *stack) startAuth(ctx context.Context) (err error) {
	if s.node, err = node.Start(ctx, s.config); err != nil {
		return err
	}
	s.config.Listen, s.config.Issuer = strings.TrimPrefix(s.node.URL(), "http://"), s.node.Issuer()
	return s.node.AwaitReady(ctx)
}

// startService starts a service that verifies as told.
func (s *stack) startService(ctx context.Context, name string, how verifier.Config) (*demo.Service, error) {
	how.MaxStale = bound
	return demo.Start(ctx, demo.Config{
		Name: name, Listen: "127.0.0.1:0", Issuer: s.node.Issuer(), NATSURL: s.broker.URL(), Verifier: how, Log: s.log,
	})
}

// close ends what has been started, and removes the data.
func (s *stack) close() error {
	errs := []error{s.stopServices()}
	if s.node != nil {
		errs = append(errs, s.node.Close())
	}
	if s.broker != nil {
		s.broker.Close()
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

func (s *stack) stopServices() error {
	var errs []error
	for _, service := range slices.Concat(s.services, s.others) {
		errs = append(errs, service.Close())
	}
	s.services, s.others = nil, nil
	return errors.Join(errs...)
}

func (s *stack) authURL() string { return s.node.URL() }

func (s *stack) String() string {
	return fmt.Sprintf("auth service with SQLite and a broker of its own; services orders and billing, bound %v", bound)
}
