package bus_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/authbus/authbus/authsvc/internal/bus"
	"github.com/authbus/authbus/authsvc/internal/ca"
)

// tlsWorld is a broker where certificates of a CA are users (verify_and_map).
type tlsWorld struct {
	ca     *ca.CA
	server *server.Server
	// enforcing is the enforcer's connection.
	enforcing *nats.Conn

	mu      sync.Mutex
	revoked []string
	failing error
}

func newTLSWorld(t *testing.T) *tlsWorld {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ca")
	if err := ca.Init(dir, "example.org"); err != nil {
		t.Fatal(err)
	}
	authority, err := ca.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	w := &tlsWorld{ca: authority}
	host := w.issue(t, ca.Request{Name: "nats", Hosts: []string{"127.0.0.1"}})
	sys, apps := server.NewAccount("SYS"), server.NewAccount("APPS")
	w.server, err = server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true,
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{host.pair},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: host.roots,
		},
		TLSVerify: true, TLSMap: true, TLSTimeout: 5,
		Accounts: []*server.Account{sys, apps}, SystemAccount: "SYS",
		Users: []*server.User{
			{Username: "spiffe://example.org/authsvc", Account: sys},
			{Username: "spiffe://example.org/orders", Account: apps},
			{Username: "spiffe://example.org/billing", Account: apps},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.server.Start()
	t.Cleanup(func() {
		w.server.Shutdown()
		w.server.WaitForShutdown()
	})
	if !w.server.ReadyForConnections(10 * time.Second) {
		t.Fatal("the broker does not start")
	}
	return w
}

// identity is a certificate, ready to connect with.
type identity struct {
	id    string
	pair  tls.Certificate
	roots *x509.CertPool
}

func (w *tlsWorld) issue(t *testing.T, r ca.Request) identity {
	t.Helper()
	issued, err := w.ca.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	i := identity{id: issued.Record.ID, roots: x509.NewCertPool()}
	i.roots.AppendCertsFromPEM(issued.Bundle)
	if i.pair, err = tls.X509KeyPair(issued.Chain, issued.Key); err != nil {
		t.Fatal(err)
	}
	return i
}

func (w *tlsWorld) connect(i identity, opts ...nats.Option) (*nats.Conn, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{i.pair}, RootCAs: i.roots}
	return nats.Connect(w.server.ClientURL(), append(opts, nats.Secure(config), nats.Timeout(5*time.Second))...)
}

// service connects as a service that does not come back when it is cut off.
func (w *tlsWorld) service(t *testing.T, i identity) (nc *nats.Conn, gone <-chan struct{}) {
	t.Helper()
	closed := make(chan struct{})
	nc, err := w.connect(i, nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, closed
}

func (w *tlsWorld) set(failing error, revoked ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failing, w.revoked = failing, revoked
}

func (w *tlsWorld) list(context.Context) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.revoked), w.failing
}

func (w *tlsWorld) enforce(t *testing.T, every time.Duration) (*bus.Enforcer, *prometheus.Registry) {
	t.Helper()
	nc, err := nats.Connect(w.server.ClientURL(), w.ca.NATS("authsvc"), nats.Timeout(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	w.enforcing = nc
	reg := prometheus.NewRegistry()
	e, err := bus.StartEnforcer(bus.EnforcerConfig{
		Conn: nc, Revoked: w.list, Every: every, Log: slog.New(slog.DiscardHandler), Metrics: reg,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Close()
		nc.Close()
	})
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return e, reg
}

func await(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s did not happen", what)
	}
}

func TestARevokedCertificateLosesItsConnections(t *testing.T) {
	w := newTLSWorld(t)
	e, reg := w.enforce(t, 5*time.Second)
	bad, good := w.issue(t, ca.Request{Name: "orders"}), w.issue(t, ca.Request{Name: "orders"})
	_, firstGone := w.service(t, bad)
	_, secondGone := w.service(t, bad)
	other, otherGone := w.service(t, good) // of the same name, with another key
	w.set(nil, bad.id)
	began := time.Now()
	e.Wake()
	await(t, "the end of the first connection", firstGone)
	await(t, "the end of the second connection", secondGone)
	t.Logf("closed %v after it was revoked", time.Since(began).Round(time.Microsecond))

	// Each new connection is cut off at once, without a look at all of them.
	var lives []time.Duration
	for range 20 {
		lives = append(lives, w.life(t, bad))
	}
	slices.Sort(lives)
	t.Logf("connections of a revoked certificate live for %v, at most %v, handshake included",
		lives[len(lives)/2].Round(time.Microsecond), lives[len(lives)-1].Round(time.Microsecond))
	if err := other.Flush(); err != nil {
		t.Errorf("a certificate that is not revoked: %v", err)
	}
	select {
	case <-otherGone:
		t.Error("a certificate that is not revoked was cut off")
	default:
	}
	awaitCount(t, reg, closedCounter, 22) // a client sees its end before the broker's answer comes
}

// life connects with a revoked certificate and returns how long that lasts. It may
// end before the client library knows that it has begun.
func (w *tlsWorld) life(t *testing.T, i identity) time.Duration {
	t.Helper()
	began := time.Now()
	gone := make(chan struct{})
	nc, err := w.connect(i, nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(gone) }))
	if err == nil {
		defer nc.Close()
		await(t, "the end of a new connection", gone)
	}
	return time.Since(began)
}

const (
	closedCounter   = "authsvc_bus_connections_closed_total"
	failuresCounter = "authsvc_bus_enforcement_failures_total"
)

func gathered(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// TestManyConnectionsAreSearchedInPages, and nobody has to wake the enforcer.
func TestManyConnectionsAreSearchedInPages(t *testing.T) {
	w := newTLSWorld(t)
	_, _ = w.enforce(t, 100*time.Millisecond)
	good, bad := w.issue(t, ca.Request{Name: "billing"}), w.issue(t, ca.Request{Name: "orders"})
	var revoked []<-chan struct{}
	for n := range 320 {
		if n%2 == 0 {
			w.service(t, good)
			continue
		}
		_, gone := w.service(t, bad)
		revoked = append(revoked, gone)
	}
	w.set(nil, bad.id)
	for n, gone := range revoked {
		await(t, fmt.Sprintf("the end of connection %d", n), gone)
	}
	const left = 161 // with the enforcer's; the broker forgets a client after that sees its end
	awaitNumber(t, "the number of connections", w.server.NumClients, func(n int) bool { return n <= left })
	if n := w.server.NumClients(); n != left {
		t.Errorf("%d connections are left, want %d", n, left)
	}
}

func TestWhatIsKnownIsEnforcedWhileTheDatabaseIsDown(t *testing.T) {
	w := newTLSWorld(t)
	bad := w.issue(t, ca.Request{Name: "orders"})
	w.set(nil, bad.id)
	e, reg := w.enforce(t, time.Second)
	w.life(t, bad)
	w.set(errors.New("database down"))
	e.Wake()
	awaitCount(t, reg, failuresCounter, 1)
	w.life(t, bad)
}

// TestWhoConnectsWhileTheEnforcerIsAwayIsFound when it is back.
func TestWhoConnectsWhileTheEnforcerIsAwayIsFound(t *testing.T) {
	w := newTLSWorld(t)
	bad := w.issue(t, ca.Request{Name: "orders"})
	w.set(nil, bad.id)
	_, _ = w.enforce(t, time.Second)
	w.life(t, bad)
	id, err := w.enforcing.GetClientID()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.server.DisconnectClientByID(id); err != nil {
		t.Fatal(err)
	}
	awaitNumber(t, "the status of the connection", w.enforcing.Status, func(s nats.Status) bool { return s != nats.CONNECTED })
	_, gone := w.service(t, bad)
	if w.enforcing.IsConnected() {
		t.Fatal("the enforcer was back too soon to try anything")
	}
	await(t, "the end of the connection", gone)
}

// TestAnEnforcerWithoutTheSystemAccountSaysSo: a configuration in which nothing
// would be enforced must not look well.
func TestAnEnforcerWithoutTheSystemAccountSaysSo(t *testing.T) {
	w := newTLSWorld(t)
	nc, _ := w.service(t, w.issue(t, ca.Request{Name: "billing"}))
	reg := prometheus.NewRegistry()
	e, err := bus.StartEnforcer(bus.EnforcerConfig{
		Conn: nc, Revoked: w.list, Every: 50 * time.Millisecond, Log: slog.New(slog.DiscardHandler), Metrics: reg,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	awaitCount(t, reg, failuresCounter, 2)
}

func awaitCount(t *testing.T, reg *prometheus.Registry, name string, want float64) {
	t.Helper()
	awaitNumber(t, name, func() float64 { return gathered(t, reg, name) }, func(n float64) bool { return n >= want })
}

// awaitNumber waits until the number is good.
func awaitNumber[N any](t *testing.T, what string, number func() N, good func(N) bool) {
	t.Helper()
	deadline, tick := time.NewTimer(10*time.Second), time.NewTicker(time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for n := number(); !good(n); n = number() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s stays at %v", what, n)
		}
	}
}

// TestAConnectionDoesNotOutliveEveryCertificate: the broker would keep it for ever.
func TestAConnectionDoesNotOutliveEveryCertificate(t *testing.T) {
	w := newTLSWorld(t)
	nc, err := nats.Connect(w.server.ClientURL(), w.ca.NATS("authsvc"), nats.Timeout(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	e, err := bus.StartEnforcer(bus.EnforcerConfig{
		Conn: nc, Revoked: w.list, Every: 50 * time.Millisecond, MaxAge: 2 * time.Second, Log: slog.New(slog.DiscardHandler), Metrics: reg,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Close()
		nc.Close()
	})
	began := time.Now()
	_, gone := w.service(t, w.issue(t, ca.Request{Name: "orders"}))
	await(t, "the end of the connection", gone)
	if lived := time.Since(began); lived < 1900*time.Millisecond {
		t.Errorf("it lived for %v", lived)
	}
}

func TestImpossibleEnforcersAreRefused(t *testing.T) {
	w := newTLSWorld(t)
	for name, cfg := range map[string]bus.EnforcerConfig{
		"no connection":  {Revoked: w.list},
		"no revocations": {Conn: &nats.Conn{}},
		"too seldom":     {Conn: &nats.Conn{}, Revoked: w.list, Every: time.Minute},
		"no age":         {Conn: &nats.Conn{}, Revoked: w.list, MaxAge: -time.Second},
	} {
		if _, err := bus.StartEnforcer(cfg); err == nil {
			t.Errorf("%s: it started", name)
		}
	}
}
