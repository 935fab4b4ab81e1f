// Package demo is a small service that embeds a verifier, as any service would.
// `authsvc dev` and the tour run two of them, orders and billing.
//
//	s, err := demo.Start(ctx, demo.Config{Name: "orders", Listen: "127.0.0.1:8081", Issuer: issuer, NATSURL: url})
//	defer s.Close()
//
// It answers GET / and GET /orders, its own name, with "token validated" and the
// user's id to whoever brings a good token, and as the verifier's middleware does to
// everybody else. /orders/live is a WebSocket that says everything back, for as long
// as the token lives. GET /stats is open and shows the verifier's statistics. With
// Config.Identity it talks to the gateway only.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/verifier"
	"github.com/authbus/authbus/verifier/mtls"
)

// Config says which service this is. Name, Listen, Issuer and NATSURL are required.
type Config struct {
	// Name is the service's name, and the audience of the tokens it accepts.
	Name string
	// Listen is host:port; port 0 takes a free one.
	Listen string
	// Issuer is the auth service's issuer.
	Issuer string
	// NATSURL is the broker's address. The service has a connection of its own.
	NATSURL string
	// Verifier says how to verify; the zero value is local verification with the
	// verifier's defaults. Issuer, Audience, NATS and Logger are filled in.
	Verifier verifier.Config
	// Identity is the service's certificate, for mutual TLS with NATS and with the
	// gateway, who alone may then ask. The service has it renewed and enforce
	// revocations, and does not close it; nil does without.
	Identity *mtls.Source
	// Log takes what happens; nil means slog.Default().
	Log *slog.Logger
}

// caller is who may ask a service with an Identity.
const caller = "gateway"

// Service is a running demo service.
type Service struct {
	name     string
	scheme   string
	nc       *nats.Conn
	verifier *verifier.Verifier
	listener net.Listener
	server   *http.Server
	served   chan struct{} // closed when the server has ended
}

// Start starts the service and returns once its verifier is fresh.
func Start(ctx context.Context, c Config) (*Service, error) {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	nc, err := connect(c)
	if err != nil {
		return nil, fmt.Errorf("starting %s: connecting to the bus: %w", c.Name, err)
	}
	how := c.Verifier
	how.Issuer, how.Audience, how.Logger = c.Issuer, c.Name, c.Log
	if how.IntrospectionURL == "" {
		how.NATS = nc
	}
	v, err := verifier.New(ctx, how)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("starting %s: %w", c.Name, err)
	}
	s := &Service{name: c.Name, scheme: "http", nc: nc, verifier: v, served: make(chan struct{})}
	if err := s.listen(ctx, c); err != nil {
		v.Close()
		nc.Close()
		return nil, fmt.Errorf("starting %s: %w", c.Name, err)
	}
	s.server = &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second,
		ErrorLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}
	go s.serve(c.Log) // ends with Close
	return s, nil
}

func (s *Service) listen(ctx context.Context, c Config) error {
	var lc net.ListenConfig
	tcp, err := lc.Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return &field.Error{Field: "Listen", Err: err}
	}
	if c.Identity == nil {
		s.listener = tcp
		return nil
	}
	c.Identity.Enforce(s.verifier)
	c.Identity.Renew(s.nc)
	s.scheme = "https"
	if s.listener, err = c.Identity.Listener(tcp, caller); err != nil {
		return errors.Join(err, tcp.Close())
	}
	return nil
}

// connect opens the service's own connection, with an inbox that no other
// service may read.
func connect(c Config) (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name(c.Name), nats.CustomInboxPrefix("_INBOX_" + c.Name),
		nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.PingInterval(10 * time.Second), nats.RetryOnFailedConnect(true),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			c.Log.Warn("demo service on the bus", "service", c.Name, "error", err)
		}),
	}
	if c.Identity != nil {
		options = append(options, c.Identity.NATS())
	}
	return nats.Connect(c.NATSURL, options...)
}

func (s *Service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", s.verifier.Middleware(http.HandlerFunc(s.hello)))
	mux.Handle("GET /"+s.name, s.verifier.Middleware(http.HandlerFunc(s.hello)))
	mux.Handle("GET /"+s.name+"/live", s.verifier.Middleware(http.HandlerFunc(s.live)))
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.verifier.Stats()) })
	return mux
}

func (s *Service) hello(w http.ResponseWriter, r *http.Request) {
	claims, _ := verifier.FromContext(r.Context())
	reply(w, map[string]string{"message": "token validated", "service": s.name, "sub": claims.Subject})
}

func reply(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // a client that has gone away is no concern
}

func (s *Service) serve(log *slog.Logger) {
	defer close(s.served)
	if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		log.Error("demo service ended", "service", s.name, "error", err)
	}
}

// Name is the service's name.
func (s *Service) Name() string { return s.name }

// URL is the service's address.
func (s *Service) URL() string { return s.scheme + "://" + s.listener.Addr().String() }

// Stats are the verifier's statistics.
func (s *Service) Stats() verifier.Stats { return s.verifier.Stats() }

// Close ends the service and waits for the requests under way, for at most 5 s.
func (s *Service) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := s.server.Shutdown(ctx)
	<-s.served
	s.verifier.Close()
	s.nc.Close()
	return err
}
