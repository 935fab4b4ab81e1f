package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/authsvc/internal/gateway/proxy"
	"github.com/authbus/authbus/authsvc/internal/gateway/routes"
	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
	"github.com/authbus/authbus/verifier"
	"github.com/authbus/authbus/verifier/metrics"
)

// Gateway is a running gateway.
type Gateway struct {
	config   Config
	registry *prometheus.Registry
	counters *counters
	verifier *verifier.Verifier
	auth     *client.Client
	way      transport // to the auth service
	keeper   *keeper
	ready    readiness
	sweeper  *sweeper
	bound    *bound
	proxy    *proxy.Proxy
	routes   *routes.File
	unknown  *proxy.Limiter
	quiet    rate.Sometimes // for log lines that a client can cause

	shown                   *certificate // to clients; nil without TLS
	listener, adminListener net.Listener
	server, admin           *http.Server
	serving                 sync.WaitGroup // the two servers

	stop    context.CancelFunc // ends the lookups under way
	closing sync.Once
	closed  error
}

// Start starts a gateway. It returns once its verifier is fresh and it serves. ctx
// bounds only Start.
func Start(ctx context.Context, c Config) (*Gateway, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("starting the gateway: %w", err)
	}
	g := &Gateway{config: c, registry: prometheus.NewRegistry(), unknown: proxy.NewLimiter(1 << 16), quiet: rate.Sometimes{First: 1, Interval: time.Second}}
	g.counters = newCounters(g.registry)
	for _, step := range []func(context.Context) error{
		g.checkRoutes, g.openCertificate, g.checkAddresses, g.startVerifier, g.openRoutes, g.openVault, g.listen, g.serve,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("starting the gateway: %w", err), g.Close())
		}
	}
	return g, nil
}

// checkRoutes comes first, because that is where people make mistakes.
func (g *Gateway) checkRoutes(context.Context) error {
	file, err := routes.Open(g.config.Routes, g.config.Log, g.check)
	if err != nil {
		return &field.Error{Field: "Routes", Err: err}
	}
	return file.Close()
}

// openRoutes begins to connect to services, which can be judged from now on.
func (g *Gateway) openRoutes(context.Context) (err error) {
	g.proxy, err = proxy.New(proxy.Config{
		Identity: g.config.Identity, Cookie: cookieName, HoldsSecret: vault.HoldsToken, TrustedProxies: g.config.TrustedProxies,
		Logger: g.config.Log, Registry: g.registry,
	})
	if err != nil {
		return err
	}
	g.routes, err = routes.Open(g.config.Routes, g.config.Log, func(table *routes.Table) error {
		if err := g.check(table); err != nil {
			return err
		}
		return g.proxy.Use(table)
	})
	if err != nil {
		return err
	}
	return g.registry.Register(g.routes)
}

// check refuses tables that the gateway cannot serve.
func (g *Gateway) check(table *routes.Table) error {
	var wrong []error
	local := localAddresses()
	for _, u := range table.Upstreams() {
		for i, text := range u.URLs {
			if at, err := url.Parse(text); err == nil && reaches(at.Host, g.config.Listen, local) {
				wrong = append(wrong, u.Mistake(fmt.Sprintf("urls[%d]", i), "is the gateway's own address"))
			}
		}
		if u.SPIFFE != "" && g.config.Identity == nil {
			wrong = append(wrong, u.Mistake("spiffe", "the gateway has no certificate to connect with"))
		}
	}
	for _, rule := range table.Rules() {
		switch rule.Path {
		case pathLogin, pathRefresh, pathLogout:
			wrong = append(wrong, rule.Mistake("path", rule.Path+" is the gateway's own"))
		}
	}
	return errors.Join(wrong...)
}

// openCertificate reads what clients are shown, nil without TLS.
func (g *Gateway) openCertificate(context.Context) (err error) {
	if g.config.CertFile != "" {
		g.shown, err = openCertificate(g.config.CertFile, g.config.KeyFile, g.config.Log)
	}
	return err
}

// checkAddresses fails at once where the gateway could not listen. It does not listen
// yet: whoever connected would wait for as long as the start takes.
func (g *Gateway) checkAddresses(ctx context.Context) error {
	err := g.listen(ctx)
	for _, listener := range []net.Listener{g.listener, g.adminListener} {
		if listener != nil {
			err = errors.Join(err, listener.Close())
		}
	}
	g.listener, g.adminListener = nil, nil
	return err
}

func (g *Gateway) listen(ctx context.Context) (err error) {
	var lc net.ListenConfig
	if g.listener, err = lc.Listen(ctx, "tcp", g.config.Listen); err != nil {
		return &field.Error{Field: "Listen", Err: err}
	}
	if g.config.AdminListen == "" {
		return nil
	}
	if g.adminListener, err = lc.Listen(ctx, "tcp", g.config.AdminListen); err != nil {
		return &field.Error{Field: "AdminListen", Err: err}
	}
	return nil
}

func (g *Gateway) startVerifier(ctx context.Context) (err error) {
	g.verifier, err = verifier.New(ctx, verifier.Config{
		Issuer: g.config.Issuer, Audience: g.config.Audience, Name: g.config.Name, NATS: g.config.NATS,
		SharedSecret: g.config.SharedSecret, PreviousSharedSecret: g.config.PreviousSharedSecret,
		MaxStale: g.config.MaxStale, Leeway: g.config.Leeway, Logger: g.config.Log,
	})
	if err != nil {
		return err
	}
	g.registry.MustRegister(metrics.NewCollector(g.verifier))
	if g.config.Identity != nil {
		g.config.Identity.Enforce(g.verifier)
	}
	return nil
}

func (g *Gateway) openVault(ctx context.Context) error {
	js, err := jetstream.New(g.config.NATS)
	if err != nil {
		return err
	}
	v, err := vault.Open(ctx, js, vault.Config{Lifetime: g.config.SessionIdle, Replicas: g.config.Replicas, Log: g.config.Log})
	if err != nil {
		return fmt.Errorf("%w (Config.Replicas: %d, Config.SessionIdle: %v)", err, g.config.Replicas, g.config.SessionIdle)
	}
	if g.auth, err = g.authService(); err != nil {
		return err
	}
	lifetime, stop := context.WithCancel(context.Background())
	g.stop = stop
	g.bound = startBound(lifetime, g.verifier, g.config.MaxStale)
	g.ready.vault = v
	if g.keeper, err = newKeeper(lifetime, v, g.auth, g.config, g.counters); err != nil {
		return err
	}
	g.sweeper, err = startSweeper(g.config.NATS, g.keeper, g.verifier)
	return err
}

// transport keeps connections.
type transport interface {
	http.RoundTripper
	CloseIdleConnections()
}

// How the auth service is asked.
const (
	authName    = "authsvc" // in its certificate
	authTimeout = 30 * time.Second
	// authConns bounds the connections to it without mutual TLS; requests wait for one.
	authConns = 128
)

// authService returns the client that asks the auth service.
func (g *Gateway) authService() (*client.Client, error) {
	if g.config.Identity != nil {
		mutual, err := g.config.Identity.Transport(nil, authName)
		if err != nil {
			return nil, err
		}
		g.way = mutual
	} else {
		plain := http.DefaultTransport.(*http.Transport).Clone()
		plain.MaxConnsPerHost, plain.MaxIdleConnsPerHost = authConns, authConns
		g.way = plain
	}
	return client.New(client.Config{Server: g.config.Auth, HTTP: &http.Client{
		Timeout: authTimeout, Transport: onBehalf{g.way},
		// A token goes where it was sent and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}})
}

// Limits of connections, whatever the rules say.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	answerTimeout = time.Minute // of what a rule says nothing about
	maxHeader     = 1 << 20     // a rule's own limit is below
)

func (g *Gateway) serve(context.Context) error {
	g.server = &http.Server{
		Handler: g, ReadHeaderTimeout: headerTimeout, WriteTimeout: answerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(g.config.Log.Handler(), slog.LevelDebug),
	}
	serve := func() error { return g.server.Serve(g.listener) }
	if g.shown != nil {
		g.server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: g.shown.get}
		serve = func() error { return g.server.ServeTLS(g.listener, "", "") }
	}
	g.run("clients", serve)
	if g.adminListener != nil {
		g.admin = &http.Server{Handler: g.adminHandler(), ReadHeaderTimeout: headerTimeout}
		g.run("operators", func() error { return g.admin.Serve(g.adminListener) })
	}
	return nil
}

// run serves until Close.
func (g *Gateway) run(whom string, serve func() error) {
	g.serving.Go(func() {
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			g.config.Log.Error("the gateway no longer serves", "whom", whom, "error", err)
		}
	})
}

// URL is where clients connect.
func (g *Gateway) URL() string { return g.scheme() + "://" + g.listener.Addr().String() }

// AdminURL is where operators look, "" if nowhere.
func (g *Gateway) AdminURL() string {
	if g.adminListener == nil {
		return ""
	}
	return "http://" + g.adminListener.Addr().String()
}

func (g *Gateway) scheme() string {
	if g.config.CertFile != "" {
		return "https"
	}
	return "http"
}

// closeTimeout is how long requests under way may go on when the gateway closes.
const closeTimeout = 5 * time.Second

// Close lets requests under way finish, for at most 5 s, cuts streams and
// WebSockets off, and waits. The gateway is not ready meanwhile.
func (g *Gateway) Close() error {
	g.closing.Do(func() { g.closed = g.shutdown() })
	return g.closed
}

func (g *Gateway) shutdown() error {
	g.ready.closing.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var errs []error
	switch {
	case g.server != nil:
		if err := g.server.Shutdown(ctx); err != nil { // streams do not finish by themselves
			g.config.Log.Info("requests are cut off", "error", err)
		}
	case g.listener != nil:
		errs = append(errs, g.listener.Close())
	}
	if g.proxy != nil {
		errs = append(errs, g.proxy.Close())
	}
	if g.server != nil {
		errs = append(errs, g.server.Close())
	}
	switch {
	case g.admin != nil:
		errs = append(errs, g.admin.Close())
	case g.adminListener != nil:
		errs = append(errs, g.adminListener.Close())
	}
	g.serving.Wait()
	if g.routes != nil {
		errs = append(errs, g.routes.Close())
	}
	if g.stop != nil {
		g.stop()
	}
	if g.bound != nil {
		g.bound.close()
	}
	if g.sweeper != nil {
		g.sweeper.close()
	}
	if g.keeper != nil {
		g.keeper.close()
	}
	if g.way != nil {
		g.way.CloseIdleConnections()
	}
	if g.verifier != nil {
		g.verifier.Close()
	}
	return errors.Join(errs...)
}
