package mtls_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier"
	"github.com/authbus/authbus/verifier/mtls"
	"github.com/authbus/authbus/verifier/verifiertest"
)

// house is a CA, an auth service and a verifier that follows it.
type house struct {
	t         *testing.T
	ca        mtls.TestCA
	authority *verifiertest.Authority
	verifier  *verifier.Verifier
}

const maxStale = 2 * time.Second

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, ca: mtls.NewTestCA(t), authority: verifiertest.Start(t, "orders")}
	config := h.authority.Config()
	config.MaxStale = maxStale
	var err error
	h.verifier, err = verifier.New(t.Context(), config)
	h.must(err)
	t.Cleanup(h.verifier.Close)
	return h
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// open opens an identity; enforce says whether it knows of revocations.
func (h *house) open(name string, enforce bool) *mtls.Source {
	h.t.Helper()
	config := h.ca.Files(name)
	config.ExpiryOnly = !enforce
	s, err := mtls.Open(config)
	h.must(err)
	h.t.Cleanup(func() { h.must(s.Close()) })
	if enforce {
		s.Enforce(h.verifier)
	}
	return s
}

// serve runs a server whose answers go on until their connection ends.
func (h *house) serve(s *mtls.Source, allow ...string) (url string) {
	h.t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	h.must(err)
	listener, err := s.Listener(tcp, allow...)
	h.must(err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _ := s.Peer(*r.TLS)
		if r.Header.Get("Upgrade") != "" {
			upgrade(w)
			return
		}
		_, _ = w.Write([]byte("hello " + name + "\n"))
		_ = http.NewResponseController(w).Flush()
		if r.URL.Path == "/stream" {
			<-r.Context().Done()
		}
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	h.t.Cleanup(func() { _ = server.Close(); <-done })
	return "https://" + tcp.Addr().String()
}

// upgrade takes the connection over, as WebSockets do, and holds it until it ends.
func upgrade(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close() //nolint:errcheck // of a test
	_, _ = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n"))
	_, _ = conn.Read(make([]byte, 1))
}

// client is what one service has of another.
type client struct {
	h     *house
	url   string
	http  *http.Client
	ended chan struct{} // closed when the stream has ended
}

// stream asks for an answer that goes on, over HTTP/2 or a connection of its own.
func (h *house) stream(s *mtls.Source, url, server string, base *http.Transport) *client {
	h.t.Helper()
	transport, err := s.Transport(base, server)
	h.must(err)
	c := &client{h: h, url: url, http: &http.Client{Transport: transport}, ended: make(chan struct{})}
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, url+"/stream", nil)
	h.must(err)
	resp, err := c.http.Do(req) //nolint:bodyclose // the goroutine below closes it
	h.must(err)
	if major := resp.ProtoMajor; (major == 2) != (base == nil) {
		h.t.Errorf("it is HTTP/%d", major)
	}
	body := bufio.NewReader(resp.Body)
	line, err := body.ReadString('\n')
	if h.must(err); line != "hello "+s.Name()+"\n" {
		h.t.Fatalf("the server says %q", line)
	}
	go func() {
		defer close(c.ended)
		defer resp.Body.Close() //nolint:errcheck // of a test
		_, _ = body.ReadString('\n')
	}()
	h.t.Cleanup(transport.CloseIdleConnections)
	return c
}

// ask makes a short request.
func (c *client) ask() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (c *client) wantEnded(within time.Duration) {
	c.h.t.Helper()
	c.wantStreamEnded(within)
	if err := c.ask(); err == nil {
		c.h.t.Error("and yet another request is answered")
	}
}

func (c *client) wantStreamEnded(within time.Duration) {
	c.h.t.Helper()
	began := time.Now()
	select {
	case <-c.ended:
		c.h.t.Logf("the stream ended after %v", time.Since(began))
	case <-time.After(within):
		c.h.t.Fatal("the stream goes on")
	}
}

func (c *client) wantAlive() {
	c.h.t.Helper()
	select {
	case <-c.ended:
		c.h.t.Error("a stream has ended that should go on")
	default:
	}
	if err := c.ask(); err != nil {
		c.h.t.Error(err)
	}
}

func TestRevokedCertificatesLoseTheirConnections(t *testing.T) {
	h := newHouse(t)
	orders := h.open("orders", true)
	url := h.serve(orders, "gateway", "billing")
	// The clients know nothing, so that it is the server who ends.
	gateway, billing := h.open("gateway", false), h.open("billing", false)
	revoked := h.stream(gateway, url, "orders", nil)
	older := h.stream(gateway, url, "orders", &http.Transport{})
	other := h.stream(billing, url, "orders", nil)
	h.authority.Server().Revoke(t, events.ScopeCert, gateway.Stats().CertificateID)
	revoked.wantEnded(maxStale)
	older.wantEnded(maxStale)
	other.wantAlive()
	if n := orders.Stats(); n.Ended != 2 || n.RefusedPeers == 0 {
		t.Errorf("%+v", n)
	}

	// The server is revoked, and does not care; the client does.
	careless := h.open("warehouse", false)
	url = h.serve(careless, "*")
	careful := h.open("reports", true)
	asking := h.stream(careful, url, "warehouse", nil)
	trusting := h.stream(billing, url, "warehouse", nil)
	h.authority.Server().Revoke(t, events.ScopeCert, careless.Stats().CertificateID)
	asking.wantEnded(maxStale)
	trusting.wantAlive()
	if n := careful.Stats(); n.Ended != 1 || n.RefusedPeers == 0 || n.Connections != 0 {
		t.Errorf("%+v", n)
	}
}

// TestAConnectionThatWasTakenOverEndsAsWell: it is net/http's no longer.
func TestAConnectionThatWasTakenOverEndsAsWell(t *testing.T) {
	h := newHouse(t)
	orders, gateway := h.open("orders", true), h.open("gateway", false)
	transport, err := gateway.Transport(nil, "orders")
	h.must(err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.serve(orders, "gateway"), nil)
	h.must(err)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "test")
	resp, err := transport.RoundTrip(req) //nolint:bodyclose // deferred below
	h.must(err)
	defer resp.Body.Close() //nolint:errcheck // of a test
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the answer is %s", resp.Status)
	}
	h.authority.Server().Revoke(t, events.ScopeCert, gateway.Stats().CertificateID)
	ended := make(chan struct{})
	go func() { defer close(ended); _, _ = resp.Body.Read(make([]byte, 1)) }()
	select {
	case <-ended:
	case <-time.After(maxStale):
		t.Error("it goes on")
	}
}

// TestAClientLearnsWhyItsConnectionEnded, and why it gets no other: a server of which
// nothing is known has not failed.
func TestAClientLearnsWhyItsConnectionEnded(t *testing.T) {
	for _, tt := range []struct {
		name    string
		base    *http.Transport
		happens func(h *house, id string)
		want    error
	}{
		{"HTTP/2, revoked", nil, revoke, verifier.ErrRevoked},
		{"HTTP/1, revoked", &http.Transport{}, revoke, verifier.ErrRevoked},
		{"HTTP/2, undecided", nil, partition, verifier.ErrUnavailable},
		{"HTTP/1, undecided", &http.Transport{}, partition, verifier.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t)
			orders, gateway := h.open("orders", false), h.open("gateway", true)
			transport, err := gateway.Transport(tt.base, "orders")
			h.must(err)
			resp := h.begin(transport, h.serve(orders, "gateway")+"/stream")
			tt.happens(h, orders.Stats().CertificateID)
			for err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if !errors.Is(err, tt.want) {
					t.Fatalf("the connection ended with %v", err)
				}
				// Until the bound is reached there may be another one.
				resp, err = transport.RoundTrip(resp.Request)
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("there is no other connection because of %v", err)
			}
			h.authority.Heal()
		})
	}
}

func revoke(h *house, id string) { h.authority.Server().Revoke(h.t, events.ScopeCert, id) }

func partition(h *house, _ string) { h.authority.Partition() }

// begin sends a request and returns the answer, which has begun.
func (h *house) begin(transport http.RoundTripper, url string) *http.Response {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, url, nil)
	h.must(err)
	resp, err := transport.RoundTrip(req)
	h.must(err)
	return resp
}

func TestWhenNobodyCanTellConnectionsEnd(t *testing.T) {
	h := newHouse(t)
	orders := h.open("orders", true)
	url := h.serve(orders, "gateway")
	gateway := h.open("gateway", false)
	c := h.stream(gateway, url, "orders", nil)
	h.authority.Partition()
	h.authority.Server().Revoke(t, events.ScopeCert, gateway.Stats().CertificateID)
	// What is open ends a moment before the bound, and new connections are refused from
	// it on. A second is for a busy machine.
	deadline := time.Now().Add(maxStale + time.Second)
	c.wantStreamEnded(time.Until(deadline))
	for c.ask() == nil {
		if time.Now().After(deadline) {
			t.Fatal("requests are answered beyond the bound")
		}
	}
	h.authority.Heal()
}

// TestEnforceCountsForOpenConnections: whoever calls it late has missed nothing.
func TestEnforceCountsForOpenConnections(t *testing.T) {
	h := newHouse(t)
	orders := h.open("orders", false)
	url := h.serve(orders, "gateway")
	gateway := h.open("gateway", false)
	c := h.stream(gateway, url, "orders", nil)
	h.authority.Server().Revoke(t, events.ScopeCert, gateway.Stats().CertificateID)
	c.wantAlive()
	orders.Enforce(h.verifier)
	c.wantEnded(maxStale)
}
