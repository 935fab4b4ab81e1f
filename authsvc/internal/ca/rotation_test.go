package ca_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/internal/ca"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/mtls"
)

// town is a CA that serves, a broker and two services of which one calls the other,
// all with certificates of the CA.
type town struct {
	t                   *testing.T
	ctx                 context.Context
	ca                  *ca.CA
	dir, certs          string
	own, orders, client *nats.Conn // of the CA and of the services
	server, gateway     *mtls.Source
	url                 string
	http                *http.Client
}

func newTown(t *testing.T) *town {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	c := &town{t: t, ctx: ctx, certs: t.TempDir()}
	c.ca, c.dir = newCA(t)
	for _, r := range []ca.Request{{Name: "nats", Hosts: []string{"127.0.0.1"}}, {Name: "orders"}, {Name: "gateway"}} {
		must(t, issue(t, c.ca, r).WriteFiles(c.certs, r.Name))
	}
	broker := c.broker()
	c.own = c.connect(broker, c.ca.NATS("ca"))
	startRenewer(t, c.ca, c.own, func(string) error { return nil })
	c.server, c.gateway = c.identity("orders"), c.identity("gateway")
	c.orders, c.client = c.connect(broker, c.server.NATS()), c.connect(broker, c.gateway.NATS())
	c.serve()
	transport, err := c.gateway.Transport(nil, "orders")
	must(t, err)
	t.Cleanup(transport.CloseIdleConnections)
	c.http = &http.Client{Transport: transport}
	return c
}

// broker starts a nats-server that reads its files for each connection, as others do
// when they are told to reload.
func (c *town) broker() *server.Server {
	c.t.Helper()
	files := mtls.Files(c.certs, "nats")
	config := func(*tls.ClientHelloInfo) (*tls.Config, error) {
		pair, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
		if err != nil {
			return nil, err
		}
		roots, err := os.ReadFile(files.CAFile)
		trusted := x509.NewCertPool()
		trusted.AppendCertsFromPEM(roots)
		return &tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted,
		}, err
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true, TLSVerify: true, TLSTimeout: 5,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: config},
	})
	must(c.t, err)
	s.Start()
	c.t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		c.t.Fatal("the broker does not start")
	}
	return s
}

func (c *town) connect(broker *server.Server, option nats.Option) *nats.Conn {
	c.t.Helper()
	nc, err := nats.Connect("tls://"+broker.Addr().String(), option, nats.ReconnectWait(5*time.Millisecond), nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), nats.Timeout(5*time.Second))
	must(c.t, err)
	c.t.Cleanup(nc.Close)
	return nc
}

func (c *town) identity(name string) *mtls.Source {
	c.t.Helper()
	files := mtls.Files(c.certs, name)
	files.ExpiryOnly, files.Logger = true, slog.New(slog.DiscardHandler)
	s, err := mtls.Open(files)
	must(c.t, err)
	c.t.Cleanup(func() { must(c.t, s.Close()) })
	return s
}

// serve answers the gateway, at /stream until the connection ends.
func (c *town) serve() {
	c.t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	must(c.t, err)
	listener, err := c.server.Listener(tcp, "gateway")
	must(c.t, err)
	s := &http.Server{ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "ok")
		if r.URL.Path == "/stream" {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(listener) }()
	c.t.Cleanup(func() { _ = s.Close(); <-done })
	c.url = "https://" + tcp.Addr().String()
}

// stream opens an answer that goes on.
func (c *town) stream() (ended <-chan struct{}) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.url+"/stream", nil)
	must(c.t, err)
	resp, err := c.http.Do(req) //nolint:bodyclose // the goroutine closes it
	must(c.t, err)
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}()
	return over
}

// works fails unless the gateway reaches orders, and everybody a broker anew.
func (c *town) works(when string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.ctx, http.MethodGet, c.url, nil)
	must(c.t, err)
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatalf("%s: %v", when, err)
	}
	must(c.t, resp.Body.Close())
	for name, nc := range map[string]*nats.Conn{"the CA": c.own, "orders": c.orders, "the gateway": c.client} {
		before := nc.Stats().Reconnects
		must(c.t, nc.ForceReconnect())
		c.until(fmt.Sprintf("%s: %s is connected again", when, name), func() bool {
			return nc.Stats().Reconnects > before && nc.IsConnected()
		})
		must(c.t, nc.FlushWithContext(c.ctx))
	}
}

func (c *town) until(what string, met func() bool) {
	c.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !met(); <-tick.C {
		if time.Now().After(deadline) {
			c.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// renew does what Source.Renew does when two thirds of the lifetime are over.
func (c *town) renew(name string, s *mtls.Source, nc *nats.Conn) {
	c.t.Helper()
	files := mtls.Files(c.certs, name)
	pair, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	must(c.t, err)
	next, err := events.RenewCertificate(c.ctx, nc, pair)
	must(c.t, err)
	must(c.t, (&ca.Issued{Chain: next.ChainPEM, Key: next.KeyPEM, Bundle: next.BundlePEM}).ReplaceFiles(c.certs, name))
	id := events.CertificateID(next.Certificate.Leaf)
	c.until(name+" uses its new certificate", func() bool { return s.Stats().CertificateID == id })
}

// renewBroker is `authsvc ca renew nats`.
func (c *town) renewBroker() {
	c.t.Helper()
	must(c.t, c.ca.CheckReplace(c.certs, "nats"))
	next, err := c.ca.Renew("nats", 0)
	must(c.t, err)
	must(c.t, next.ReplaceFiles(c.certs, "nats"))
}

// expire has the records say that all certificates of now have expired.
func (c *town) expire() {
	c.t.Helper()
	path := filepath.Join(c.dir, "records.jsonl")
	text, err := os.ReadFile(path)
	must(c.t, err)
	text = regexp.MustCompile(`"not_after":"[^"]{20}"`).ReplaceAll(text, []byte(`"not_after":"2006-01-02T15:04:05Z"`))
	must(c.t, os.WriteFile(path, text, 0o600))
}

func (c *town) goesOn(ended <-chan struct{}, which string) {
	c.t.Helper()
	select {
	case <-ended:
		c.t.Errorf("a connection was lost that was %s", which)
	default:
	}
}

// TestARootIsReplacedWhileEverythingRuns is the whole of the documented procedure,
// with a day's wait left out. No connection is lost by it, and nobody is restarted.
func TestARootIsReplacedWhileEverythingRuns(t *testing.T) {
	c := newTown(t)
	ended := c.stream()
	old := keyPair(t, issue(t, c.ca, ca.Request{Name: "gateway"}))
	c.works("before")

	must(t, c.ca.RotateRoot(""))
	c.works("with a new root")
	c.renew("orders", c.server, c.orders)
	c.works("when the server has renewed")
	c.renewBroker()
	c.works("when the broker has been renewed")
	if err := open(t, c.dir).DropOldRoots(); !errors.Is(err, ca.ErrTooEarly) {
		t.Errorf("the old root was dropped while the gateway needs it: %v", err)
	}
	c.renew("gateway", c.gateway, c.client)
	c.works("when all have renewed")
	c.goesOn(ended, "made before the rotation, during the overlap")
	ended = c.stream()

	c.expire()
	must(t, open(t, c.dir).DropOldRoots())
	c.works("with the old root dropped")
	c.renew("gateway", c.gateway, c.client)
	c.works("when the client has renewed again")
	c.renewBroker()
	c.works("when the broker has been renewed again")
	c.renew("orders", c.server, c.orders)
	c.works("with nothing but the new root")

	roots, err := os.ReadFile(filepath.Join(c.certs, "ca.crt"))
	if list, parseErr := events.ParseCertificates(roots); errors.Join(err, parseErr) != nil || len(list) != 1 {
		t.Errorf("services trust %d roots (%v, %v)", len(list), err, parseErr)
	}
	c.goesOn(ended, "made during the overlap")
	conn, err := tls.Dial("tcp", strings.TrimPrefix(c.url, "https://"), &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{old}})
	if err == nil {
		_, err = conn.Read(make([]byte, 1)) // in TLS 1.3 a client learns late that it was refused
		_ = conn.Close()
	}
	if err == nil || errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "tls:") {
		t.Errorf("a certificate of the old root came to %v", err)
	}
}
