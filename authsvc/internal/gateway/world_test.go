package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/authsvctest"
	"github.com/authbus/authbus/authsvc/internal/gateway"
)

// timeout bounds each thing that a test waits for.
const timeout = 20 * time.Second

// world is an auth service, a service that tells what it was sent, and a gateway.
type world struct {
	*gateway.Gateway
	auth   *authsvctest.Server
	ada    authsvctest.User
	config gateway.Config

	mu   sync.Mutex
	seen []*http.Request // what the service was sent; guarded by mu
}

const table = `
upstreams:
  orders: {urls: [URL]}
  payroll: {urls: [URL], audience: payroll}
rules:
  - {name: orders, path: /orders, methods: [GET, POST], upstream: orders, websocket: true}
  - {name: feed, path: /feed, methods: [GET], upstream: orders, stream: true}
  - {name: admin, path: /admin, methods: [GET], roles: [admin], upstream: orders}
  - {name: payroll, path: /payroll, methods: [GET], upstream: payroll}
  - {name: shop, path: /shop, methods: [GET], public: true, upstream: orders}
`

// start starts the world.
func start(t testing.TB, c authsvctest.Config) *world {
	t.Helper()
	w := &world{auth: authsvctest.Start(t, c)}
	w.ada = w.auth.Register(t, "ada")
	service := httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(service.Close)
	file := filepath.Join(t.TempDir(), "routes.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(table, "URL", service.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	w.config = gateway.Config{
		Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", Routes: file, Auth: w.auth.URL(), Issuer: w.auth.Issuer(),
		MaxStale: 3 * time.Second, Log: slog.New(slog.DiscardHandler),
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	}
	w.Gateway = w.replica(t)
	return w
}

// replica starts one more gateway, with a connection of its own.
func (w *world) replica(t testing.TB) *gateway.Gateway {
	t.Helper()
	c := w.config
	c.NATS = w.auth.Connect(t, nats.CustomInboxPrefix("_INBOX_gateway"))
	g, err := gateway.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Errorf("closing the gateway: %v", err)
		}
	})
	return g
}

// serve is the service: it says back WebSocket messages, streams at /feed until it is
// stopped, and remembers requests.
func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.seen = append(w.seen, r.Clone(r.Context()))
	w.mu.Unlock()
	if r.URL.Path == "/feed" {
		stream(rw, r)
		return
	}
	if r.Header.Get("Upgrade") == "" {
		_, _ = rw.Write([]byte("hello"))
		return
	}
	conn, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer conn.CloseNow() //nolint:errcheck // closed by the other side
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		_ = conn.Write(r.Context(), kind, message)
	}
}

// stream says something every now and then.
func stream(rw http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for r.Context().Err() == nil {
		_, _ = rw.Write([]byte("news\n"))
		_ = http.NewResponseController(rw).Flush()
		<-tick.C
	}
}

// last is the last request that the service was sent.
func (w *world) last(t testing.TB) *http.Request {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.seen) == 0 {
		t.Fatal("the service has been asked nothing")
	}
	return w.seen[len(w.seen)-1]
}

func (w *world) asked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen)
}

// reply is an answer, read to its end.
type reply struct {
	*http.Response
	body string
}

// do sends a request to a gateway with the headers, given as name and value in turn.
// No answer of a gateway may ever show what is behind an opaque token.
func do(t testing.TB, method, url, body string, headers ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if shown := fmt.Sprint(res.Header, res.Trailer, string(text)); isInside(shown) {
		t.Errorf("%s %s shows what is inside: %s", method, url, shown)
	}
	return reply{res, string(text)}
}

// inside is the beginning of a JWT, or a refresh token.
var inside = regexp.MustCompile(`eyJ[\w-]+\.eyJ|\br_[\w-]{43}`)

// isInside reports whether a text holds what no client may see.
func isInside(text string) bool { return inside.MatchString(text) }

// granted is what a login answers.
type granted struct {
	TokenType   string `json:"token_type"`
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"`
	Sub, SID    string
}

func (w *world) credentials(more string) string {
	return `{"login":"` + w.ada.Username + `","password":"` + w.ada.Password + `"` + more + `}`
}

// login logs ada in at the gateway and returns the opaque token.
func (w *world) login(t testing.TB) granted {
	t.Helper()
	r := do(t, http.MethodPost, w.URL()+"/login", w.credentials(""))
	var g granted
	if err := json.Unmarshal([]byte(r.body), &g); err != nil || r.StatusCode != http.StatusCreated || g.AccessToken == "" {
		t.Fatalf("logging in: %s %s (%v)", r.Status, r.body, err)
	}
	return g
}

// browser logs ada in as a browser does, and returns the Cookie header.
func (w *world) browser(t testing.TB) string {
	t.Helper()
	r := do(t, http.MethodPost, w.URL()+"/login", w.credentials(`,"cookie":true`))
	if r.StatusCode != http.StatusCreated || len(r.Cookies()) != 1 {
		t.Fatalf("logging in: %s %s %v", r.Status, r.body, r.Cookies())
	}
	return r.Cookies()[0].Name + "=" + r.Cookies()[0].Value
}

// await calls until the answer has the status, and fails the test at other
// answers than it and before.
func await(t testing.TB, status, before int, call func() reply) reply {
	t.Helper()
	for began := time.Now(); ; {
		r := call()
		switch {
		case r.StatusCode == status:
			return r
		case r.StatusCode != before || time.Since(began) > timeout:
			t.Fatalf("%s %s after %v, want %d", r.Status, r.body, time.Since(began), status)
		}
	}
}
