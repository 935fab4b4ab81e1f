package proxy_test

import (
	"net"
	"net/http"
	"path/filepath"
	"strings"
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

// mutualService is an upstream that talks to the gateway only.
func mutualService(t *testing.T, id *mtls.Source, h http.HandlerFunc) (url string) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := id.Listener(tcp, "gateway")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close(); <-served })
	return "https://" + tcp.Addr().String()
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
	if got := g.ask(t, http.MethodGet, "/wrong"); got.status != http.StatusBadGateway || !strings.Contains(got.body, "upstream_unreachable") {
		t.Errorf("a service that is another one: %+v", got)
	}
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
