package dev_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/ca"
	"github.com/authbus/authbus/authsvc/internal/dev"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/mtls"
	"github.com/authbus/authbus/verifier/token"
)

// timeout bounds each thing that a test waits for.
const timeout = 20 * time.Second

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start starts a stack on free ports.
func start(t *testing.T, dir string, mutual bool) *dev.Stack {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := dev.Start(ctx, config(t, dir, mutual))
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// config is one with free ports.
func config(t *testing.T, dir string, mutual bool) dev.Config {
	t.Helper()
	const free = "127.0.0.1:0"
	c := dev.Config{
		Dir: dir, Auth: free, NATS: free, Orders: free, Billing: free, Gateway: free, Mutual: mutual,
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if mutual {
		c.AuthMutual = free
	}
	return c
}

// ask sends a request, as JSON if there is a body, and returns the answer.
func ask(t *testing.T, method, to, body, bearer string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, to, bytes.NewBufferString(body))
	must(t, err)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := http.DefaultClient.Do(r)
	must(t, err)
	defer res.Body.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(res.Body)
	must(t, err)
	return res.StatusCode, string(text)
}

const (
	account = `{"username":"ada","email":"ada@example.org","password":"nine quiet otters juggle"}`
	login   = `{"login":"ada","password":"nine quiet otters juggle"}`
)

// logIn returns the token that a login at the address gives.
func logIn(t *testing.T, at string) string {
	t.Helper()
	status, body := ask(t, http.MethodPost, at, login, "")
	var granted struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &granted); err != nil || status != http.StatusCreated {
		t.Fatalf("logging in: %d %s %v", status, body, err)
	}
	return granted.AccessToken
}

func wantStatus(t *testing.T, want int, at, bearer string) {
	t.Helper()
	if status, body := ask(t, http.MethodGet, at, "", bearer); status != want {
		t.Errorf("%s: %d %s, want %d", at, status, body, want)
	}
}

// TestDataAreKept from run to run, with and without mutual TLS.
func TestDataAreKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	for i, mutual := range []bool{false, true, true, false} {
		s := start(t, dir, mutual)
		if i == 0 {
			if status, body := ask(t, http.MethodPost, s.Node().URL()+"/v1/accounts", account, ""); status != http.StatusCreated {
				t.Fatal(status, body)
			}
		}
		opaque := logIn(t, s.GatewayURL()+"/login")
		wantStatus(t, http.StatusOK, s.GatewayURL()+"/orders", opaque)
		wantStatus(t, http.StatusOK, s.GatewayURL()+"/billing", opaque)
		must(t, s.Close())
		if _, err := os.Stat(filepath.Join(dir, "mtls")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the CA is still there: %v", err)
		}
	}
}

// files returns what is in the directory of the stack's certificates, with its mode.
func files(t *testing.T, dir string) map[string]fs.FileMode {
	t.Helper()
	modes := map[string]fs.FileMode{}
	must(t, filepath.WalkDir(filepath.Join(dir, "mtls"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		modes[path] = info.Mode()
		return err
	}))
	return modes
}

// TestADirectoryHasOneStack: another must not remove the CA of the one that runs.
func TestADirectoryHasOneStack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := start(t, dir, true)
	before := files(t, dir)
	for _, mutual := range []bool{true, false} {
		if second, err := dev.Start(t.Context(), config(t, dir, mutual)); !errors.Is(err, dev.ErrInUse) {
			t.Errorf("mutual %v: error %v", mutual, err)
			if err == nil {
				must(t, second.Close())
			}
		}
	}
	if after := files(t, dir); !maps.Equal(before, after) {
		t.Errorf("before %v, after %v", before, after)
	}
	must(t, s.Close())
	start(t, dir, false)
}

// TestTheCAOfARunThatWasKilledIsRemoved at the next start, whatever that is.
func TestTheCAOfARunThatWasKilledIsRemoved(t *testing.T) {
	for _, mutual := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "data")
		old := filepath.Join(dir, "mtls", "ca", "issuer.pem")
		must(t, os.MkdirAll(filepath.Dir(old), 0o700))
		must(t, os.WriteFile(old, []byte("half a key"), 0o600))
		start(t, dir, mutual)
		if text, err := os.ReadFile(old); err == nil && string(text) == "half a key" {
			t.Errorf("mutual %v: it is still there", mutual)
		}
	}
}

// TestNobodyElseReadsAKey, and the directory keeps others out as well.
func TestNobodyElseReadsAKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	start(t, dir, true)
	keys := 0
	for path, mode := range files(t, dir) {
		if !mode.IsRegular() {
			continue
		}
		text, err := os.ReadFile(path)
		must(t, err)
		if bytes.Contains(text, []byte("PRIVATE KEY")) {
			keys++
			if mode.Perm() != 0o600 {
				t.Errorf("%s: %v", path, mode)
			}
		}
	}
	if keys != 11 { // root, intermediate and nine leaves
		t.Errorf("%d keys", keys)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v %v", info.Mode(), err)
	}
}

// TestImpossibleStacksAreRefused, and leave nothing behind.
func TestImpossibleStacksAreRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close() //nolint:errcheck // a listener without connections
	for name, tc := range map[string]struct {
		change func(*dev.Config)
		want   string
	}{
		"no directory":                  {func(c *dev.Config) { c.Dir = "" }, "Dir: is required"},
		"an address for no purpose":     {func(c *dev.Config) { c.Mutual = false }, "AuthMutual: only goes with"},
		"a port in use":                 {func(c *dev.Config) { c.AuthMutual = taken.Addr().String() }, "in use"},
		"the port of the broker in use": {func(c *dev.Config) { c.NATS = taken.Addr().String() }, "in use"},
		"the port of orders in use":     {func(c *dev.Config) { c.Orders = taken.Addr().String() }, "in use"},
	} {
		c := config(t, filepath.Join(t.TempDir(), "data"), true)
		tc.change(&c)
		s, err := dev.Start(t.Context(), c)
		if err == nil {
			must(t, s.Close())
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, tc.want)
		}
		if _, err := os.Stat(filepath.Join(c.Dir, "mtls")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the CA is still there: %v", name, err)
		}
	}
}

// mutualStack is a stack with mutual TLS, with identities for whoever tries it.
type mutualStack struct {
	*dev.Stack
	t  *testing.T
	ca *ca.CA
	// stolen is a second certificate of orders, for whoever has stolen its key.
	stolen, operator *mtls.Source
	jwt, opaque      string
}

func startMutual(t *testing.T) *mutualStack {
	t.Helper()
	s := &mutualStack{t: t, Stack: start(t, filepath.Join(t.TempDir(), "data"), true)}
	var err error
	s.ca, err = ca.Open(s.Mutual().CADir)
	must(t, err)
	issued, err := s.ca.Issue(ca.Request{Name: "orders"})
	must(t, err)
	certs := t.TempDir()
	must(t, issued.WriteFiles(certs, "orders"))
	s.stolen, s.operator = s.open(mtls.Files(certs, "orders")), s.open(s.Mutual().Operator)
	if status, body := ask(t, http.MethodPost, s.Node().URL()+"/v1/accounts", account, ""); status != http.StatusCreated {
		t.Fatal(status, body)
	}
	s.jwt, s.opaque = logIn(t, s.Node().URL()+"/v1/sessions"), logIn(t, s.GatewayURL()+"/login")
	return s
}

func (s *mutualStack) open(files mtls.Config) *mtls.Source {
	s.t.Helper()
	files.ExpiryOnly = true
	id, err := mtls.Open(files)
	must(s.t, err)
	s.t.Cleanup(func() { must(s.t, id.Close()) })
	return id
}

// connect connects to the broker. What it refuses is told to refused.
func (s *mutualStack) connect(id *mtls.Source) (nc *nats.Conn, refused, closed chan struct{}) {
	s.t.Helper()
	refused, closed = make(chan struct{}, 1), make(chan struct{})
	nc, err := nats.Connect(s.NATSURL(), id.NATS(), nats.CustomInboxPrefix("_INBOX_"+id.Name()), nats.NoReconnect(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				refused <- struct{}{}
			}
		}),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	must(s.t, err)
	s.t.Cleanup(nc.Close)
	return nc, refused, closed
}

func (s *mutualStack) await(what string, c <-chan struct{}) {
	s.t.Helper()
	select {
	case <-c:
	case <-time.After(timeout):
		s.t.Fatalf("%s: not within %v", what, timeout)
	}
}

// introspect asks the auth service about the JWT, by certificate.
func (s *mutualStack) introspect(id *mtls.Source) (status int, body string) {
	s.t.Helper()
	transport, err := id.Transport(nil, "authsvc")
	must(s.t, err)
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport, Timeout: timeout}).PostForm(s.Node().MutualURL()+"/v1/introspect", url.Values{"token": {s.jwt}})
	must(s.t, err)
	defer res.Body.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(res.Body)
	must(s.t, err)
	return res.StatusCode, string(text)
}

func (s *mutualStack) admin() *token.Claims {
	return &token.Claims{Subject: "root", Roles: []string{"admin"}, AuthTime: time.Now().Unix()}
}

func TestNobodyIsHeardWithoutACertificate(t *testing.T) {
	s := startMutual(t)
	orders, _ := s.ServiceURLs()
	anonymous := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for _, at := range []string{orders, s.Node().MutualURL() + "/healthz"} {
		if res, err := anonymous.Get(at); err == nil {
			_ = res.Body.Close()
			t.Errorf("%s answers %s", at, res.Status)
		}
		if res, err := http.Get(strings.Replace(at, "https://", "http://", 1)); err == nil && res.StatusCode != http.StatusBadRequest {
			_ = res.Body.Close()
			t.Errorf("%s answers %s in clear", at, res.Status)
		}
	}
	if nc, err := nats.Connect(s.NATSURL(), nats.Secure(&tls.Config{InsecureSkipVerify: true})); err == nil {
		nc.Close()
		t.Error("the broker takes a connection without a certificate")
	}
	// Another service's certificate opens orders for nobody but the gateway.
	transport, err := s.stolen.Transport(nil, "orders")
	must(t, err)
	defer transport.CloseIdleConnections()
	if res, err := (&http.Client{Transport: transport}).Get(orders); err == nil {
		_ = res.Body.Close()
		t.Errorf("orders lets in another than the gateway: %s", res.Status)
	}
}

func TestEveryHopWorks(t *testing.T) {
	s := startMutual(t)
	watching, refused, _ := s.connect(s.operator)
	sub, err := watching.SubscribeSync("auth.events.>")
	must(t, err)
	must(t, watching.Flush())

	conn, _, err := websocket.Dial(t.Context(), s.GatewayURL()+"/orders/live", &websocket.DialOptions{ //nolint:bodyclose // the library has closed it
		HTTPHeader: http.Header{"Authorization": {"Bearer " + s.opaque}},
	})
	must(t, err)
	defer conn.CloseNow() //nolint:errcheck // closed by the other side
	must(t, conn.Write(t.Context(), websocket.MessageText, []byte("hello")))
	if _, text, err := conn.Read(t.Context()); err != nil || string(text) != "hello" {
		t.Fatalf("%q %v", text, err)
	}

	if status, body := s.introspect(s.stolen); status != http.StatusUnauthorized {
		t.Errorf("introspection by a service that no admin has added: %d %s", status, body)
	}
	_, _, err = s.Node().Authority().AddService(t.Context(), s.admin(), "orders", nil)
	must(t, err)
	if status, body := s.introspect(s.stolen); status != http.StatusOK || !strings.Contains(body, `"active":true`) {
		t.Errorf("introspection by certificate: %d %s", status, body)
	}

	must(t, watching.Publish("auth.revocations.user", []byte("{}")))
	s.await("an operator is refused to publish", refused)

	status, body := ask(t, http.MethodPost, s.GatewayURL()+"/logout", "", s.opaque)
	if status/100 != 2 {
		t.Fatalf("logging out: %d %s", status, body)
	}
	if _, _, err := conn.Read(t.Context()); err == nil {
		t.Error("the WebSocket goes on after the logout")
	}
	wantStatus(t, http.StatusUnauthorized, s.GatewayURL()+"/orders", s.opaque)
	if _, err := sub.NextMsg(timeout); err != nil {
		t.Errorf("the operator sees no event: %v", err)
	}
}

func TestCertificatesAreRenewedAndRevoked(t *testing.T) {
	s := startMutual(t)
	nc, _, closed := s.connect(s.stolen)
	pair, err := tls.LoadX509KeyPair(s.Mutual().Operator.CertFile, s.Mutual().Operator.KeyFile)
	must(t, err)
	operating, _, _ := s.connect(s.operator)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	next, err := events.RenewCertificate(ctx, operating, pair)
	must(t, err)
	if id, err := events.CertificateSPIFFEID(next.Certificate.Leaf); err != nil || id != s.operator.ID() {
		t.Errorf("renewed as %q, %v", id, err)
	}

	wantStatus(t, http.StatusOK, s.GatewayURL()+"/orders", s.opaque)
	records, err := s.ca.Revoke("orders", "stolen")
	must(t, err)
	if len(records) != 2 { // the service's own and the stolen one
		t.Fatalf("revoked %+v", records)
	}
	for _, r := range records {
		_, err := s.Node().Authority().Revoke(t.Context(), s.admin(), authority.RevokeRequest{
			Scope: events.ScopeCert, ID: r.ID, Reason: "stolen",
		})
		must(t, err)
	}
	began := time.Now()
	s.await("a revoked certificate loses NATS", closed)
	t.Logf("NATS ended after %v", time.Since(began))
	if nc.IsConnected() {
		t.Error("still connected")
	}
	// The gateway talks to orders no more, and to billing still.
	if status, body := ask(t, http.MethodGet, s.GatewayURL()+"/orders", "", s.opaque); status != http.StatusBadGateway && status != http.StatusServiceUnavailable {
		t.Errorf("orders with a revoked certificate: %d %s", status, body)
	}
	wantStatus(t, http.StatusOK, s.GatewayURL()+"/billing", s.opaque)
}
