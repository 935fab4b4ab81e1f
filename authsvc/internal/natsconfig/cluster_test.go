package natsconfig_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/internal/bus"
	"github.com/authbus/authbus/authsvc/internal/freeport"
	"github.com/authbus/authbus/authsvc/internal/natsconfig"
	"github.com/authbus/authbus/events"
)

// node starts one server of a cluster with the certificate of a route.
func (w *world) node(t *testing.T, name string, ports []string, own int, cert tls.Certificate) *server.Server {
	t.Helper()
	c := everybody()
	c.ServerName = name
	c.Cluster = &natsconfig.Cluster{Name: "authbus", Listen: "127.0.0.1:" + ports[own]}
	for i, port := range ports {
		if i != own {
			c.Cluster.Routes = append(c.Cluster.Routes, "nats-route://localhost:"+port)
		}
	}
	c.Cluster.CertFile, c.Cluster.KeyFile = write(t, t.TempDir(), "route", cert)
	return w.start(t, c)
}

func freePorts(t *testing.T, n int) []string {
	t.Helper()
	ports := make([]string, n)
	for i := range ports {
		_, ports[i], _ = strings.Cut(freeport.Address(t), ":")
	}
	return ports
}

func TestAClusterOfThreeKeepsThreeCopies(t *testing.T) {
	w, ports := &world{ca: newIssuer(t)}, freePorts(t, 3)
	for i, name := range []string{"nats-1", "nats-2", "nats-3"} {
		w.server = w.node(t, name, ports, i, w.ca.host(t))
	}
	w.url = "tls://" + w.server.Addr().String()
	js := jet(t, w.as(t, natsconfig.Publisher))
	eventually(t, "three copies", func() bool {
		return events.EnsureStreams(t.Context(), js, events.StreamOptions{Replicas: 3}) == nil
	})
	s, err := js.Stream(t.Context(), events.StreamRevocations)
	if err != nil || s.CachedInfo().Cluster == nil || len(s.CachedInfo().Cluster.Replicas) != 2 {
		t.Fatalf("the feed: %v", err)
	}
	if _, err := js.Publish(t.Context(), "auth.revocations.token", []byte("a record")); err != nil {
		t.Error(err)
	}
	// The auth service bounds the events by a part of this, which every server can hold.
	account, err := js.AccountInfo(t.Context())
	if err != nil || account.Limits.MaxStore != 3*10<<30 {
		t.Fatalf("the account has %+v, %v", account, err)
	}
	for _, replicas := range []int{3, 1} {
		o := events.StreamOptions{Replicas: replicas, EventsMaxBytes: account.Limits.MaxStore / 5 / 4 * 3}
		if err := events.EnsureStreams(t.Context(), js, o); err != nil {
			t.Errorf("with %d copies: %v", replicas, err)
		}
	}
}

// The enforcer is connected to one server, and whose certificate is revoked to another.
func TestRevokedCertificatesLoseTheWholeCluster(t *testing.T) {
	w, ports := &world{ca: newIssuer(t)}, freePorts(t, 2)
	var urls []string
	for i, name := range []string{"nats-1", "nats-2"} {
		w.server = w.node(t, name, ports, i, w.ca.host(t))
		urls = append(urls, "tls://"+w.server.Addr().String())
	}
	eventually(t, "a cluster", func() bool { return w.server.NumRoutes() > 0 })
	w.url = urls[0]
	var revoked atomic.Pointer[[]string]
	revoked.Store(&[]string{})
	enforcer, err := bus.StartEnforcer(bus.EnforcerConfig{
		Conn: w.connect(t, natsconfig.Enforcer), Log: slog.New(slog.DiscardHandler),
		Revoked: func(context.Context) ([]string, error) { return *revoked.Load(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer enforcer.Close()
	w.url = urls[1]
	cert, closed := w.ca.named(t, "orders"), make(chan struct{}, 4)
	open := func() (*nats.Conn, error) {
		return w.dial(cert, "_INBOX_orders", nats.ClosedHandler(func(*nats.Conn) { closed <- struct{}{} }))
	}
	ended := func(what string) {
		t.Helper()
		select {
		case <-closed:
		case <-time.After(20 * time.Second):
			t.Fatal("lives on: " + what)
		}
	}
	nc, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	other := w.as(t, "orders") // the same identity by another certificate
	revoked.Store(&[]string{events.CertificateID(cert.Leaf)})
	enforcer.Wake()
	ended("the connection")
	if again, err := open(); err == nil { // it may end before the client knows that it has begun
		defer again.Close()
		ended("the next one")
	}
	settle(t, other)
}

// Every service has a certificate of the CA. With one, it must not become a server.
func TestAServiceCannotJoinTheCluster(t *testing.T) {
	w, ports := &world{ca: newIssuer(t)}, freePorts(t, 2)
	first := w.node(t, "nats-1", ports, 0, w.ca.host(t))
	// The service runs a server of its own, which would trust anybody.
	conf := everybody()
	conf.Cluster = &natsconfig.Cluster{Name: "authbus", Listen: "127.0.0.1:" + ports[1], Routes: []string{"nats-route://localhost:" + ports[0]}}
	conf.ServerName = "nats-2"
	conf.Cluster.CertFile, conf.Cluster.KeyFile = write(t, t.TempDir(), "orders", w.ca.named(t, "orders"))
	opts := w.options(t, conf)
	opts.Cluster.TLSConfig.InsecureSkipVerify = true // the attacker decides
	opts.NoLog = false
	intruder, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	log := &errorLog{lines: make(chan string, 64)}
	intruder.SetLoggerV2(log, false, false, false)
	intruder.Start()
	t.Cleanup(func() { intruder.Shutdown(); intruder.WaitForShutdown() })
	deadline := time.After(20 * time.Second)
	for refused := false; !refused; {
		select {
		case line := <-log.lines:
			refused = strings.Contains(line, "Authorization Violation")
		case <-deadline:
			t.Fatal("nobody refused the service")
		}
	}
	if n := first.NumRoutes(); n != 0 {
		t.Errorf("the server has %d routes", n)
	}
}

// errorLog hands on what a server reports.
type errorLog struct{ lines chan string }

func (l *errorLog) Errorf(format string, v ...any) { l.note(format, v...) }
func (l *errorLog) Warnf(format string, v ...any)  { l.note(format, v...) }
func (l *errorLog) Noticef(string, ...any)         {}
func (l *errorLog) Fatalf(string, ...any)          {}
func (l *errorLog) Debugf(string, ...any)          {}
func (l *errorLog) Tracef(string, ...any)          {}

func (l *errorLog) note(format string, v ...any) {
	select {
	case l.lines <- fmt.Sprintf(format, v...):
	default: // the test has what it waits for
	}
}
