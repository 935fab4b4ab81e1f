package proxy_test

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/authbus/authbus/authsvc/internal/ca"
	"github.com/authbus/authbus/authsvc/internal/gateway/proxy"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier"
	"github.com/authbus/authbus/verifier/mtls"
	"github.com/authbus/authbus/verifier/verifiertest"
)

// identities gives out identities of one trust domain.
func identities(t *testing.T) func(name string) *mtls.Source {
	t.Helper()
	dir, certs := filepath.Join(t.TempDir(), "ca"), t.TempDir()
	if err := ca.Init(dir, "example.org"); err != nil {
		t.Fatal(err)
	}
	authority, err := ca.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return func(name string) *mtls.Source {
		t.Helper()
		issued, err := authority.Issue(ca.Request{Name: name})
		if err == nil {
			err = issued.WriteFiles(certs, name)
		}
		if err != nil {
			t.Fatal(err)
		}
		id, err := mtls.Open(mtls.Files(certs, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := id.Close(); err != nil {
				t.Error(err)
			}
		})
		return id
	}
}

// revocations says the same of every certificate.
type revocations struct {
	err   error
	asked atomic.Int64
}

func (r *revocations) CheckCertificate(string) error {
	r.asked.Add(1)
	return r.err
}

func (*revocations) WatchCertificate(ctx context.Context, _ string) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}

// mutualService is an upstream that talks to the gateway only.
func mutualService(t *testing.T, id *mtls.Source, h http.HandlerFunc) (url string) {
	t.Helper()
	return mutualServiceAt(t, listen(t), id, h)
}

func mutualServiceAt(t *testing.T, tcp net.Listener, id *mtls.Source, h http.HandlerFunc) (url string) {
	t.Helper()
	listener, err := id.Listener(tcp, "gateway")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close(); <-served })
	return "https://" + tcp.Addr().String()
}

// counted counts the connections that come.
type counted struct {
	net.Listener
	accepted atomic.Int64
}

func listen(t *testing.T) *counted {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &counted{Listener: tcp}
}

func (c *counted) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.accepted.Add(1)
	}
	return conn, err
}

// TestAServiceThatIsAnotherOneIsNotHealthy, however well it can be connected to,
// and does not become so from one check to the next.
func TestAServiceThatIsAnotherOneIsNotHealthy(t *testing.T) {
	identity := identities(t)
	gateway, billing, tcp := identity("gateway"), identity("billing"), listen(t)
	for _, id := range []*mtls.Source{gateway, billing} {
		id.Enforce(&revocations{})
	}
	spiffe := mutualServiceAt(t, tcp, billing, func(http.ResponseWriter, *http.Request) {})
	strange := httptest.NewUnstartedServer(http.NotFoundHandler())
	plain := &counted{Listener: strange.Listener}
	strange.Listener, strange.Config.ErrorLog = plain, log.New(io.Discard, "", 0)
	strange.StartTLS() // with a certificate of nobody's
	t.Cleanup(strange.Close)
	for _, c := range []struct {
		name, upstream string
		checks         *atomic.Int64
	}{
		{"by SPIFFE id", `urls: ["` + spiffe + `"], spiffe: "spiffe://example.org/orders"`, &tcp.accepted},
		{"by host name", `urls: ["` + strange.URL + `"]`, &plain.accepted},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := start(t, proxy.Config{Identity: gateway}, parse(t, `
upstreams: {s: {`+c.upstream+`, health: {interval: 10ms}}}
rules: [{name: all, path: /, methods: [GET], upstream: s}]`))
			eventually(t, "503", func() bool { return g.ask(t, http.MethodGet, "/").status == http.StatusServiceUnavailable })
			for last := c.checks.Load() + 5; c.checks.Load() < last; {
				if got := g.ask(t, http.MethodGet, "/"); got.problem(t).Code != "upstream_unavailable" {
					t.Fatalf("got %+v", got)
				}
			}
		})
	}
}

// TestAServiceThatIsTheRightOneIsHealthy as soon as it is there.
func TestAServiceThatIsTheRightOneIsHealthy(t *testing.T) {
	identity := identities(t)
	tcp := listen(t)
	at := "https://" + tcp.Addr().String()
	if err := tcp.Close(); err != nil {
		t.Fatal(err)
	}
	gateway, orders := identity("gateway"), identity("orders")
	for _, id := range []*mtls.Source{gateway, orders} {
		id.Enforce(&revocations{})
	}
	g := start(t, proxy.Config{Identity: gateway}, parse(t, `
upstreams: {s: {urls: ["`+at+`"], spiffe: "spiffe://example.org/orders", health: {interval: 10ms}}}
rules: [{name: all, path: /, methods: [GET], upstream: s}]`))
	eventually(t, "503", func() bool { return g.ask(t, http.MethodGet, "/").status == http.StatusServiceUnavailable })
	again, err := net.Listen("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	mutualServiceAt(t, again, orders, func(http.ResponseWriter, *http.Request) {})
	eventually(t, "200", func() bool { return g.ask(t, http.MethodGet, "/").status == http.StatusOK })
}

// TestWhatCannotBeDecidedIsNoFaultOfTheService, for checks either.
func TestWhatCannotBeDecidedIsNoFaultOfTheService(t *testing.T) {
	identity, nothing := identities(t), &revocations{err: verifier.ErrUnavailable}
	gateway := identity("gateway")
	gateway.Enforce(nothing)
	at := mutualService(t, identity("orders"), func(http.ResponseWriter, *http.Request) {})
	g := start(t, proxy.Config{Identity: gateway}, parse(t, `
upstreams: {s: {urls: ["`+at+`"], spiffe: "spiffe://example.org/orders", health: {interval: 10ms}}}
rules: [{name: all, path: /, methods: [GET], upstream: s, retries: 0}]`))
	requests := int64(0)
	eventually(t, "five checks", func() bool {
		if got := g.ask(t, http.MethodGet, "/"); got.problem(t).Code != "upstream_undecided" {
			t.Fatalf("got %+v", got)
		}
		requests++
		return nothing.asked.Load() >= requests+5
	})
}

func TestUpstreamsProveWhoTheyAre(t *testing.T) {
	authority := verifiertest.Start(t, "orders")
	v, err := verifier.New(t.Context(), authority.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	identity := identities(t)
	gateway, orders, billing := identity("gateway"), identity("orders"), identity("billing")
	for _, id := range []*mtls.Source{gateway, orders, billing} {
		id.Enforce(v)
	}
	url := mutualService(t, orders, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			echo(w, r)
			return
		}
		peer, _ := orders.Peer(*r.TLS)
		_, _ = w.Write([]byte(r.Proto + " " + peer))
	})
	// Behind the rule of orders, somebody else.
	wrong := mutualService(t, billing, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("mine")) })
	const rules = `
upstreams:
  s: {urls: [URL], spiffe: "spiffe://example.org/orders", health: {interval: 1h}}
  w: {urls: [WRONG], spiffe: "spiffe://example.org/orders", health: {interval: 1h}}
rules:
  - {name: s, path: /, methods: [GET], upstream: s, websocket: true}
  - {name: w, path: /wrong, methods: [GET], upstream: w}`
	g := start(t, proxy.Config{Identity: gateway}, parse(t, strings.NewReplacer("URL", url, "WRONG", wrong).Replace(rules)))

	if got := g.ask(t, http.MethodGet, "/"); got.body != "HTTP/2.0 gateway" {
		t.Errorf("got %+v", got)
	}
	eventually(t, "503 for a service that is another one", func() bool {
		got := g.ask(t, http.MethodGet, "/wrong")
		if got.status < http.StatusInternalServerError {
			t.Fatalf("got %+v", got)
		}
		return got.status == http.StatusServiceUnavailable
	})
	conn, _, err := websocket.Dial(t.Context(), g.URL+"/live", nil) //nolint:bodyclose // the library has closed it
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow() //nolint:errcheck // it has ended
	if err := conn.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, got, err := conn.Read(t.Context()); err != nil || string(got) != "hello" {
		t.Fatalf("got %q, %v", got, err)
	}

	began := time.Now()
	authority.Server().Revoke(t, events.ScopeCert, orders.Stats().CertificateID)
	if _, _, err := conn.Read(t.Context()); err == nil {
		t.Error("the WebSocket goes on to a service whose certificate is revoked")
	}
	t.Logf("the WebSocket ended after %v", time.Since(began))
	// The service may have heard of it before the gateway, and closed its side.
	eventually(t, "502", func() bool { return g.ask(t, http.MethodGet, "/").status == http.StatusBadGateway })
	if got := g.ask(t, http.MethodGet, "/"); got.status == http.StatusOK {
		t.Errorf("a service whose certificate is revoked: %+v", got)
	}
}
