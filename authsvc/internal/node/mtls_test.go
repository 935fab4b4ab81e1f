package node_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/ca"
	"github.com/authbus/authbus/authsvc/internal/natsconfig"
	"github.com/authbus/authbus/authsvc/internal/node"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier"
	"github.com/authbus/authbus/verifier/mtls"
	"github.com/authbus/authbus/verifier/token"
)

// secured is an auth service of which nobody learns anything without a certificate.
type secured struct {
	t     *testing.T
	ca    *ca.CA
	certs string // directory with everybody's
	nats  string
	node  *node.Node
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newSecured starts a broker from the configuration that nats-config writes, and a
// node on it.
func newSecured(t *testing.T) *secured {
	t.Helper()
	s := &secured{t: t, certs: filepath.Join(t.TempDir(), "certs")}
	dir := filepath.Join(t.TempDir(), "ca")
	must(t, ca.Init(dir, "example.org"))
	var err error
	s.ca, err = ca.Open(dir)
	must(t, err)
	for _, name := range []string{"authsvc", "authsvc-publisher", "authsvc-answerer", "authsvc-enforcer", "orders", "billing", "stranger", "team/orders"} {
		s.issue(ca.Request{Name: name})
	}
	s.issue(ca.Request{Name: "nats", Hosts: []string{"127.0.0.1", "localhost"}})
	s.nats = s.startBroker()
	s.node = awaitReady(t, start(t, s.config()))
	return s
}

func (s *secured) config() node.Config {
	c := beside(s.t.TempDir(), s.nats)
	c.Certs, c.ListenMTLS = s.certs, "127.0.0.1:0"
	c.Log = slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	return c
}

func (s *secured) issue(r ca.Request) {
	s.t.Helper()
	issued, err := s.ca.Issue(r)
	must(s.t, err)
	must(s.t, issued.WriteFiles(s.certs, ca.FileName(r.Name)))
}

func (s *secured) startBroker() (url string) {
	s.t.Helper()
	dir := s.t.TempDir()
	text, err := natsconfig.Generate(natsconfig.Config{
		TrustDomain: "example.org", Services: []string{"orders", "billing"}, Listen: "127.0.0.1:-1", StoreDir: filepath.Join(dir, "store"),
		CertFile: filepath.Join(s.certs, "nats.crt"), KeyFile: filepath.Join(s.certs, "nats.key"), CAFile: filepath.Join(s.certs, "ca.crt"),
	})
	must(s.t, err)
	path := filepath.Join(dir, "nats.conf")
	must(s.t, os.WriteFile(path, text, 0o600))
	opts, err := server.ProcessConfigFile(path)
	must(s.t, err)
	opts.NoSigs, opts.NoLog = true, true
	broker, err := server.NewServer(opts)
	must(s.t, err)
	broker.Start()
	s.t.Cleanup(func() { broker.Shutdown(); broker.WaitForShutdown() })
	if !broker.ReadyForConnections(20 * time.Second) {
		s.t.Fatal("the broker does not start")
	}
	return "tls://" + broker.Addr().String()
}

// open opens a service's identity.
func (s *secured) open(name string) *mtls.Source {
	s.t.Helper()
	files := mtls.Files(s.certs, name)
	files.ExpiryOnly = true
	id, err := mtls.Open(files)
	must(s.t, err)
	s.t.Cleanup(func() { must(s.t, id.Close()) })
	return id
}

// client is the HTTP client of a service.
func (s *secured) client(id *mtls.Source) *http.Client {
	s.t.Helper()
	transport, err := id.Transport(nil, "authsvc")
	must(s.t, err)
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func (s *secured) admin() *token.Claims {
	return &token.Claims{Subject: "root", Roles: []string{"admin"}, AuthTime: time.Now().Unix()}
}

// revoke does what `authsvc ca revoke` does, once the CA knows it.
func (s *secured) revoke(id *mtls.Source) {
	s.t.Helper()
	_, err := s.node.Authority().Revoke(s.t.Context(), s.admin(), authority.RevokeRequest{
		Scope: events.ScopeCert, ID: id.Stats().CertificateID, Reason: "stolen",
	})
	must(s.t, err)
}

// post sends a form and returns the status and the beginning of the answer.
func post(t *testing.T, c *http.Client, to string, form url.Values, header http.Header) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to, strings.NewReader(form.Encode()))
	must(t, err)
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.Do(req)
	must(t, err)
	defer resp.Body.Close() //nolint:errcheck // only read
	answer, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(answer)
}

func TestServicesAreKnownByTheirCertificates(t *testing.T) {
	s := newSecured(t)
	_, secret, err := s.node.Authority().AddService(t.Context(), s.admin(), "orders", nil)
	must(t, err)
	_, _, err = s.node.Authority().AddService(t.Context(), s.admin(), "billing", nil)
	must(t, err)
	orders, stranger, below := s.client(s.open("orders")), s.client(s.open("stranger")), s.client(s.open("team/orders"))
	withSecret := http.Request{Header: http.Header{}}
	withSecret.SetBasicAuth("orders", secret.Reveal())
	basic := withSecret.Header
	for name, c := range map[string]struct {
		client *http.Client
		form   string
		header http.Header
		status int
	}{
		"a certificate":                        {orders, "", nil, http.StatusOK},
		"and the same id":                      {orders, "&client_id=orders", nil, http.StatusOK},
		"and another's id":                     {orders, "&client_id=billing", nil, http.StatusBadRequest},
		"and its id twice":                     {orders, "&client_id=orders&client_id=orders", nil, http.StatusBadRequest},
		"and a secret":                         {orders, "&client_id=orders&client_secret=" + secret.Reveal(), nil, http.StatusBadRequest},
		"and Basic":                            {orders, "", basic, http.StatusBadRequest},
		"and an assertion":                     {orders, "&client_assertion=x", nil, http.StatusBadRequest},
		"of nobody whom an admin has added":    {stranger, "", nil, http.StatusUnauthorized},
		"of nobody, with somebody's id":        {stranger, "&client_id=orders", nil, http.StatusBadRequest},
		"of nobody, with somebody's secret":    {stranger, "", basic, http.StatusBadRequest},
		"of a name that ends like a service's": {below, "", nil, http.StatusUnauthorized},
	} {
		for _, path := range []string{"/v1/introspect", "/v1/revoke"} {
			form, err := url.ParseQuery("token=x" + c.form)
			must(t, err)
			if status, body := post(t, c.client, s.node.MutualURL()+path, form, c.header); status != c.status {
				t.Errorf("%s, %s: %d %s, want %d", path, name, status, body, c.status)
			}
		}
	}
	// The public address asks for no certificate, and takes none for an answer.
	if status, _ := post(t, http.DefaultClient, s.node.URL()+"/v1/introspect", url.Values{"token": {"x"}}, nil); status != http.StatusUnauthorized {
		t.Errorf("without a certificate: %d", status)
	}
	res, err := orders.Get(s.node.MutualURL() + "/.well-known/jwks.json")
	must(t, err)
	defer res.Body.Close() //nolint:errcheck // only the status counts
	if res.StatusCode != http.StatusOK || res.ProtoMajor != 2 {
		t.Errorf("keys: %s %s", res.Proto, res.Status)
	}
	bare := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	if res, err := bare.Get(s.node.MutualURL() + "/healthz"); err == nil {
		_ = res.Body.Close()
		t.Error("whoever has no certificate is answered")
	}
}

// TestARevokedCertificateIsCutOff: over HTTP, over NATS, and for good.
func TestARevokedCertificateIsCutOff(t *testing.T) {
	s := newSecured(t)
	orders, billing := s.open("orders"), s.open("billing")
	here, there := s.connect(orders), s.connect(billing)
	conns := make(map[string]*tls.Conn)
	for name, id := range map[string]*mtls.Source{"orders": orders, "billing": billing} {
		conns[name] = s.dial(id)
	}
	s.revoke(orders)
	began := time.Now()
	must(t, conns["orders"].SetReadDeadline(began.Add(10*time.Second)))
	if _, err := conns["orders"].Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Fatalf("the connection goes on: %v", err)
	}
	t.Logf("HTTP ended after %v", time.Since(began))
	deadline := time.After(10 * time.Second)
	select {
	case <-here.lost:
		t.Logf("NATS ended after %v", time.Since(began))
	case <-deadline:
		t.Fatal("the connection to NATS goes on")
	}
	if resp, err := s.client(orders).Get(s.node.MutualURL() + "/healthz"); err == nil {
		_ = resp.Body.Close()
		t.Error("a revoked certificate is let in")
	}
	select {
	case <-there.lost:
		t.Error("the other service has lost its connection, too")
	default:
	}
	must(t, conns["billing"].SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	if _, err := conns["billing"].Read(make([]byte, 1)); !os.IsTimeout(err) {
		t.Errorf("the other service: %v", err)
	}
}

// dial opens a connection of mutual TLS to the auth service, and has it known that
// it was accepted.
func (s *secured) dial(id *mtls.Source) *tls.Conn {
	s.t.Helper()
	config, err := id.Client("authsvc")
	must(s.t, err)
	conn, err := tls.Dial("tcp", strings.TrimPrefix(s.node.MutualURL(), "https://"), config)
	must(s.t, err)
	s.t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: authsvc\r\n\r\n")
	must(s.t, err)
	must(s.t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	buffer := make([]byte, 4096)
	for answer := ""; !strings.Contains(answer, "}"); {
		n, err := conn.Read(buffer)
		must(s.t, err)
		answer += string(buffer[:n])
	}
	return conn
}

// onBus is a service's connection to NATS.
type onBus struct {
	*nats.Conn
	lost chan struct{}
}

func (s *secured) connect(id *mtls.Source) onBus {
	s.t.Helper()
	lost := make(chan struct{})
	nc, err := nats.Connect(s.nats, id.NATS(), nats.CustomInboxPrefix("_INBOX_"+id.Name()),
		nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(lost) }))
	must(s.t, err)
	s.t.Cleanup(nc.Close)
	return onBus{nc, lost}
}

// TestTheAuthServiceHasItsCertificatesRenewed by a CA that comes later. All are asked
// for over the one connection that may ask.
func TestTheAuthServiceHasItsCertificatesRenewed(t *testing.T) {
	t.Parallel() // it takes two thirds of the shortest lifetime
	s := newSecured(t)
	must(t, s.node.Close())
	watching, before := map[string]*mtls.Source{}, map[string]string{}
	s.certs = filepath.Join(t.TempDir(), "certs")
	for _, name := range []string{"authsvc", "authsvc-publisher", "authsvc-answerer", "authsvc-enforcer"} {
		s.issue(ca.Request{Name: name, Lifetime: time.Minute})
		watching[name] = s.open(name)
		before[name] = watching[name].Stats().CertificateID
	}
	s.node = awaitReady(t, start(t, s.config()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	service, err := ca.StartService(ctx, ca.ServiceConfig{CA: s.ca, NATSURL: s.nats, Name: "ca", Issuer: s.node.Issuer()})
	must(t, err)
	defer service.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for name, old := range before {
		for watching[name].Stats().CertificateID == old {
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("%s is not renewed", name)
			}
		}
	}
}

// TestAServiceOfCertificatesOnly: verified locally, judged by certificate.
func TestAServiceOfCertificatesOnly(t *testing.T) {
	s := newSecured(t)
	nc := s.connect(s.open("orders"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	v, err := verifier.New(ctx, verifier.Config{Issuer: s.node.Issuer(), Audience: "orders", NATS: nc.Conn})
	must(t, err)
	defer v.Close()
	if err := v.CheckCertificate(s.open("billing").Stats().CertificateID); err != nil {
		t.Error(err)
	}
}

func TestCertificatesAreCheckedAtStart(t *testing.T) {
	s := newSecured(t)
	for name, c := range map[string]struct {
		change func(c *node.Config)
		want   string
	}{
		"no directory":     {func(c *node.Config) { c.Certs = t.TempDir() }, "Certs: the identity authsvc: mtls: Config.CertFile: open"},
		"no certificates":  {func(c *node.Config) { c.Certs = "" }, "ListenMTLS: needs the directory"},
		"credentials, too": {func(c *node.Config) { c.PublisherCredentials = "x" }, "Certs: cannot go with credentials"},
		"nothing to prove": {
			func(c *node.Config) { c.NATSURL, c.ListenMTLS, c.Embedded = "", "", &node.Embedded{Dir: t.TempDir()} }, "Certs: is for NATS and for mutual TLS",
		},
		"another's certificate": {
			func(c *node.Config) { // the one that answers could publish
				own := s.certs
				s.certs = t.TempDir()
				s.issue(ca.Request{Name: "authsvc"})
				s.issue(ca.Request{Name: "authsvc-publisher"})
				issued, err := s.ca.Issue(ca.Request{Name: "authsvc-publisher"})
				must(t, err)
				must(t, issued.WriteFiles(s.certs, "authsvc-answerer"))
				c.Certs, s.certs = s.certs, own
			}, "Certs: the identity authsvc-answerer: the certificate is that of authsvc-publisher",
		},
		"a bad address": {func(c *node.Config) { c.ListenMTLS = "127.0.0.1:x" }, "ListenMTLS: listen tcp"},
	} {
		config := s.config()
		c.change(&config)
		n, err := node.Start(t.Context(), config)
		if err == nil {
			_ = n.Close()
			t.Errorf("%s: it starts", name)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestAnAbsentEnforcerIsWarnedOf: a configuration in which nothing would be enforced
// on NATS must not look well.
func TestAnAbsentEnforcerIsWarnedOf(t *testing.T) {
	s := newSecured(t)
	must(t, s.node.Close())
	const warning = "revoked certificates keep their connections to NATS"
	for _, absent := range []bool{false, true} {
		if absent {
			must(t, os.Remove(filepath.Join(s.certs, "authsvc-enforcer.crt")))
		}
		var log bytes.Buffer // read when the node has ended
		c := s.config()
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
		must(t, start(t, c).Close())
		if got := strings.Contains(log.String(), warning); got != absent {
			t.Errorf("absent %v, warned %v:\n%s", absent, got, log.String())
		}
	}
}
