package natsconfig_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/authsvc/internal/natsconfig"
	"github.com/authbus/authbus/events"
)

const domain = "example.org"

// everybody is a configuration with one identity of each kind.
func everybody() natsconfig.Config {
	return natsconfig.Config{
		TrustDomain: domain, Services: []string{"orders", "billing"}, Remote: []string{"thin"},
		Gateways: []string{"gateway"}, Subscribers: []string{"audit", "mailer"}, Operators: []string{"operator"},
	}
}

// issuer signs certificates. It is not the project's CA: some of what it issues is
// what that one refuses to.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key := newKey(t)
	return &issuer{parse(t, template, template, key, key), key}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func parse(t *testing.T, template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// certificate issues one that is good for a client and a server. change adds names.
func (i *issuer) certificate(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	change(template)
	key := newKey(t)
	cert := parse(t, template, i.cert, key, i.key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// named issues a certificate with the SPIFFE IDs of these names, in order.
func (i *issuer) named(t *testing.T, names ...string) tls.Certificate {
	t.Helper()
	return i.certificate(t, func(c *x509.Certificate) {
		for _, name := range names {
			u, err := url.Parse("spiffe://" + domain + "/" + name)
			if err != nil {
				t.Fatal(err)
			}
			c.URIs = append(c.URIs, u)
		}
	})
}

// host issues the certificate of a server on this machine.
func (i *issuer) host(t *testing.T) tls.Certificate {
	t.Helper()
	return i.certificate(t, func(c *x509.Certificate) {
		c.DNSNames, c.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	})
}

func (i *issuer) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(i.cert)
	return pool
}

// write writes certificate and key as PEM and returns their paths.
func write(t *testing.T, dir, name string, cert tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	for path, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// world is a nats-server that runs from a generated configuration.
type world struct {
	ca     *issuer
	server *server.Server
	url    string
}

// newWorld generates the configuration, fills in what differs from test to test,
// and starts a real server from the file.
func newWorld(t *testing.T, c natsconfig.Config) *world {
	t.Helper()
	w := &world{ca: newIssuer(t)}
	w.server = w.start(t, c)
	w.url = "tls://" + w.server.Addr().String()
	return w
}

func (w *world) start(t *testing.T, c natsconfig.Config) *server.Server {
	t.Helper()
	return run(t, w.options(t, c))
}

func run(t *testing.T, opts *server.Options) *server.Server {
	t.Helper()
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server is not ready")
	}
	return srv
}

// options has nats-server read the generated file.
func (w *world) options(t *testing.T, c natsconfig.Config) *server.Options {
	t.Helper()
	dir := t.TempDir()
	c = w.complete(t, dir, c)
	path := filepath.Join(dir, "nats.conf")
	generate(t, path, c)
	opts, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatalf("nats-server refuses the configuration: %v", err)
	}
	opts.NoSigs, opts.NoLog = true, true
	return opts
}

// complete adds what differs from test to test.
func (w *world) complete(t *testing.T, dir string, c natsconfig.Config) natsconfig.Config {
	t.Helper()
	c.CertFile, c.KeyFile = write(t, dir, "nats", w.ca.host(t))
	c.CAFile = filepath.Join(dir, "ca.crt")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: w.ca.cert.Raw}
	if err := os.WriteFile(c.CAFile, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Listen, c.StoreDir = "127.0.0.1:-1", filepath.Join(dir, "store")
	if c.Cluster != nil && c.Cluster.CertFile == "" {
		c.Cluster.CertFile, c.Cluster.KeyFile = c.CertFile, c.KeyFile
	}
	return c
}

func generate(t *testing.T, path string, c natsconfig.Config) {
	t.Helper()
	text, err := natsconfig.Generate(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// dial connects with a certificate and an inbox prefix of its own.
func (w *world) dial(cert tls.Certificate, inbox string, opts ...nats.Option) (*nats.Conn, error) {
	opts = append([]nats.Option{
		nats.Secure(&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, RootCAs: w.ca.pool()}),
		nats.CustomInboxPrefix(inbox), nats.NoReconnect(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}, opts...)
	return nats.Connect(w.url, opts...)
}

// as connects as an identity.
func (w *world) as(t *testing.T, name string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := w.dial(w.ca.named(t, name), natsconfig.InboxPrefix(name), opts...)
	if err != nil {
		t.Fatalf("connecting as %s: %v", name, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// streams makes the streams as the auth service does, as its own identity.
func (w *world) streams(t *testing.T, subscribers ...string) jetstream.JetStream {
	t.Helper()
	js := jet(t, w.as(t, natsconfig.Publisher))
	if err := events.EnsureStreams(t.Context(), js, events.StreamOptions{Subscribers: subscribers}); err != nil {
		t.Fatal(err)
	}
	return js
}

func jet(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// last returns the last sequence of a stream.
func last(t *testing.T, js jetstream.JetStream, stream string) uint64 {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatalf("looking at %s: %v", stream, err)
	}
	return s.CachedInfo().State.LastSeq
}

// settle waits until the server has done all that nc has asked for.
func settle(t *testing.T, nc *nats.Conn) {
	t.Helper()
	if err := nc.FlushTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
}

// mayPublish reports whether nc may publish on a subject. The server's refusal
// arrives before the answer to the ping of a flush.
func mayPublish(t *testing.T, nc *nats.Conn, subject string) bool {
	t.Helper()
	if err := nc.Publish(subject, nil); err != nil {
		t.Fatal(err)
	}
	settle(t, nc)
	return !refused(nc, `Publish to "`+subject+`"`)
}

// maySubscribe reports the same of a subscription, in a queue group if one is given.
func maySubscribe(t *testing.T, nc *nats.Conn, subject, queue string) bool {
	t.Helper()
	sub, err := nc.QueueSubscribeSync(subject, queue)
	if err != nil {
		t.Fatal(err)
	}
	settle(t, nc)
	defer func() { _ = sub.Unsubscribe() }() // a refused one is gone already
	text := `Subscription to "` + subject + `"`
	if queue != "" {
		text += ` using queue "` + queue + `"`
	}
	return !refused(nc, text)
}

func refused(nc *nats.Conn, what string) bool {
	err := nc.LastError()
	return err != nil && strings.Contains(strings.ToLower(err.Error()), strings.ToLower(what))
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline, tick := time.After(30*time.Second), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		}
	}
}
