package mtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authbus/authbus/events"
)

// shake connects a client to a server, and has one byte go each way: in TLS 1.3 a
// client learns late that it was refused.
func shake(t *testing.T, server, client *tls.Config) (state tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	here, there := ends(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn := tls.Server(there, server)
		if serverErr = conn.HandshakeContext(ctx); serverErr == nil {
			state = conn.ConnectionState()
			_, serverErr = conn.Write([]byte("x"))
		}
		_ = there.SetDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, there) // lets the client send what it has to say
		_ = there.Close()
	}()
	conn := tls.Client(here, client)
	if clientErr = conn.HandshakeContext(ctx); clientErr == nil {
		_, clientErr = conn.Read(make([]byte, 1))
	}
	_ = here.Close()
	<-done
	return state, serverErr, clientErr
}

// ends returns the two ends of a connection.
func ends(t *testing.T) (here, there net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close() //nolint:errcheck // of a test
	here, err = net.Dial("tcp", listener.Addr().String())
	must(t, err)
	there, err = listener.Accept()
	must(t, err)
	return here, there
}

func configs(t *testing.T, server, client *Source) (serve, dial *tls.Config) {
	t.Helper()
	serve, err := server.Server(client.Name())
	must(t, err)
	dial, err = client.Client(server.Name())
	must(t, err)
	return serve, dial
}

func TestBothSidesProveWhoTheyAre(t *testing.T) {
	ca := newCA(t)
	orders, gateway := ca.open("orders"), ca.open("gateway")
	serve, dial := configs(t, orders, gateway)
	for range 3 { // a ticket of the first would be used by the others
		state, serverErr, clientErr := shake(t, serve, dial)
		must(t, errors.Join(serverErr, clientErr))
		if name, ok := orders.Peer(state); name != "gateway" || !ok {
			t.Errorf("the peer is %q, %v", name, ok)
		}
		if state.Version != tls.VersionTLS13 || state.DidResume {
			t.Errorf("version %x, resumed: %v", state.Version, state.DidResume)
		}
	}
	if _, ok := orders.Peer(tls.ConnectionState{HandshakeComplete: true}); ok {
		t.Error("a connection without a certificate has a peer")
	}
}

// TestNoSessionIsResumed, though the client keeps tickets: a resumed session would be
// judged by what was true when it began.
func TestNoSessionIsResumed(t *testing.T) {
	ca := newCA(t)
	serve, err := ca.open("orders").Server("gateway")
	must(t, err)
	dial := &tls.Config{
		InsecureSkipVerify: true, ServerName: "orders", Certificates: []tls.Certificate{ca.pair("gateway", leaf{})},
		ClientSessionCache: tls.NewLRUClientSessionCache(4),
	}
	for range 3 {
		state, serverErr, clientErr := shake(t, serve, dial)
		must(t, errors.Join(serverErr, clientErr))
		if state.DidResume {
			t.Error("a session was resumed")
		}
	}
}

// strangers are the certificates that must not get in, whatever side shows them.
func strangers(t *testing.T, ca *testCA) map[string]tls.Certificate {
	t.Helper()
	own := newKey(t)
	alone := sign(t, &x509.Certificate{
		SerialNumber: ca.root.SerialNumber, Subject: ca.root.Subject, URIs: []*url.URL{{Scheme: "spiffe", Host: "example.org", Path: "/friend"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, nil, own, own)
	missing := ca.pair("friend", leaf{})
	missing.Certificate = missing.Certificate[:1]
	return map[string]tls.Certificate{
		"of another CA":                  newCA(t).pair("friend", leaf{}),
		"that signed itself":             {Certificate: [][]byte{alone.Raw}, PrivateKey: own},
		"without its intermediate":       missing,
		"that has expired":               ca.pair("friend", leaf{to: -time.Second}),
		"that is not valid yet":          ca.pair("friend", leaf{from: time.Minute}),
		"of another name":                ca.pair("stranger", leaf{}),
		"of a longer name":               ca.pair("friend2", leaf{}),
		"of a name below":                ca.pair("", leaf{uris: []string{"spiffe://example.org/friend/x"}}),
		"of another spelling":            ca.pair("", leaf{uris: []string{"spiffe://example.org/Friend"}}),
		"of an escaped spelling":         ca.pair("", leaf{uris: []string{"spiffe://example.org/f%72iend"}}),
		"of another trust domain":        ca.pair("", leaf{uris: []string{"spiffe://example.net/friend"}}),
		"of two names":                   ca.pair("", leaf{uris: []string{"spiffe://example.org/friend", "spiffe://example.org/admin"}}),
		"of two names, the other first":  ca.pair("", leaf{uris: []string{"spiffe://example.org/admin", "spiffe://example.org/friend"}}),
		"of a name and a host":           ca.pair("friend", leaf{dns: []string{"friend"}}),
		"of a name and an address":       ca.pair("friend", leaf{ip: net.IPv4(127, 0, 0, 1)}),
		"of a host only":                 ca.pair("", leaf{uris: []string{}, dns: []string{"friend"}}),
		"that names nobody":              ca.pair("friend", leaf{uris: []string{}}),
		"with the name as a web address": ca.pair("", leaf{uris: []string{"https://example.org/friend"}}),
	}
}

func TestServersRefuse(t *testing.T) {
	ca := newCA(t)
	orders := ca.open("orders")
	serve, err := orders.Server("friend")
	must(t, err)
	dial := func(certs ...tls.Certificate) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, Certificates: certs, MinVersion: tls.VersionTLS12}
	}
	friend := ca.pair("friend", leaf{})
	if _, serverErr, clientErr := shake(t, serve, dial(friend)); serverErr != nil || clientErr != nil {
		t.Fatalf("a friend: %v, %v", serverErr, clientErr)
	}
	old := dial(friend)
	old.MaxVersion = tls.VersionTLS12
	refused := map[string]*tls.Config{
		"nobody": dial(), "a friend with TLS 1.2": old,
		"one that is for servers only": dial(ca.pair("friend", leaf{usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})),
	}
	for name, cert := range strangers(t, ca) {
		// A client that shows what it has, whatever the server asks for.
		c := dial()
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
		refused["one "+name] = c
	}
	for name, client := range refused {
		if _, serverErr, clientErr := shake(t, serve, client); serverErr == nil || clientErr == nil {
			t.Errorf("%s got in: %v, %v", name, serverErr, clientErr)
		}
	}
}

func TestClientsRefuse(t *testing.T) {
	ca := newCA(t)
	gateway := ca.open("gateway")
	dial, err := gateway.Client("friend")
	must(t, err)
	serve := func(cert tls.Certificate) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	}
	friend := ca.pair("friend", leaf{})
	if _, serverErr, clientErr := shake(t, serve(friend), dial); serverErr != nil || clientErr != nil {
		t.Fatalf("a friend: %v, %v", serverErr, clientErr)
	}
	old := serve(friend)
	old.MaxVersion = tls.VersionTLS12
	refused := map[string]*tls.Config{
		"a friend with TLS 1.2":        old,
		"one that is for clients only": serve(ca.pair("friend", leaf{usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})),
	}
	for name, cert := range strangers(t, ca) {
		refused["one "+name] = serve(cert)
	}
	for name, server := range refused {
		if _, _, clientErr := shake(t, server, dial); clientErr == nil {
			t.Errorf("%s was believed", name)
		}
	}
}

// TestTheSystemsRootsCountForNothing: what the world trusts is a stranger here.
func TestTheSystemsRootsCountForNothing(t *testing.T) {
	ca, world := newCA(t), newCA(t)
	bundle := filepath.Join(t.TempDir(), "roots.pem")
	put(t, bundle, events.EncodeCertificates(world.root), 0o644)
	t.Setenv("SSL_CERT_FILE", bundle)
	t.Setenv("SSL_CERT_DIR", t.TempDir())
	stranger := world.pair("friend", leaf{})
	parsed, err := x509.ParseCertificate(stranger.Certificate[0])
	must(t, err)
	intermediates := x509.NewCertPool()
	intermediates.AddCert(world.inter)
	if _, err := parsed.Verify(x509.VerifyOptions{Intermediates: intermediates}); err != nil {
		t.Skipf("the system's roots cannot be replaced in this process any more: %v", err)
	}
	orders := ca.open("orders")
	serve, err := orders.Server("friend")
	must(t, err)
	dial, err := orders.Client("friend")
	must(t, err)
	if _, serverErr, _ := shake(t, serve, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{stranger}}); serverErr == nil {
		t.Error("a client of the world got in")
	}
	if _, _, clientErr := shake(t, &tls.Config{Certificates: []tls.Certificate{stranger}}, dial); clientErr == nil {
		t.Error("a server of the world was believed")
	}
}

func TestAllowLists(t *testing.T) {
	ca := newCA(t)
	orders := ca.open("orders")
	for name, list := range map[string][]string{
		"nobody": {}, "an empty name": {""}, "a space": {"a b"}, "another scheme": {"https://example.org/x"},
		"a trust domain alone": {"spiffe://example.org"}, "a climb": {"../x"}, "one bad among good": {"good", "b%61d"},
	} {
		if _, err := orders.Server(list...); err == nil {
			t.Errorf("a server takes %s", name)
		}
		if _, err := orders.Client(list...); err == nil {
			t.Errorf("a client takes %s", name)
		}
		if _, err := orders.Transport(nil, list...); err == nil {
			t.Errorf("a transport takes %s", name)
		}
		if _, err := orders.Listener(nil, list...); err == nil {
			t.Errorf("a listener takes %s", name)
		}
	}
	for _, c := range []struct {
		allow, peer string
		good        bool
	}{
		{Anyone, "spiffe://example.org/anything", true},
		{Anyone, "spiffe://example.net/anything", false},
		{"spiffe://example.net/partner", "spiffe://example.net/partner", true},
		{"spiffe://example.net/partner", "spiffe://example.org/partner", false},
		{"team/orders", "spiffe://example.org/team/orders", true},
		{"team/orders", "spiffe://example.org/orders", false},
	} {
		serve, err := orders.Server(c.allow)
		must(t, err)
		peer := ca.pair("", leaf{uris: []string{c.peer}})
		state, serverErr, _ := shake(t, serve, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{peer}})
		if (serverErr == nil) != c.good {
			t.Errorf("%s allowed, %s came: %v", c.allow, c.peer, serverErr)
		}
		if name, _ := orders.Peer(state); c.good && !strings.HasSuffix(c.peer, name) {
			t.Errorf("%s is called %s", c.peer, name)
		}
	}
}

func TestHosts(t *testing.T) {
	ca := newCA(t)
	orders := ca.open("orders")
	server := ca.pair("", leaf{uris: []string{"spiffe://example.org/nats"}, dns: []string{"nats.internal"}, ip: net.IPv4(127, 0, 0, 1)})
	for host, good := range map[string]bool{"nats.internal": true, "127.0.0.1": true, "127.0.0.2": false, "nats": false, "example.org": false} {
		dial, err := orders.ClientHost(host)
		must(t, err)
		_, _, err = shake(t, &tls.Config{Certificates: []tls.Certificate{server}}, dial)
		if (err == nil) != good {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := orders.ClientHost(""); err == nil {
		t.Error("no host is a host")
	}
}

// TestNobodyIsJudgedBeforeEnforce where revocations are to count.
func TestNobodyIsJudgedBeforeEnforce(t *testing.T) {
	ca := newCA(t)
	orders, gateway := open(t, ca.files("orders", leaf{})), ca.open("gateway")
	serve, dial := configs(t, orders, gateway)
	if _, serverErr, _ := shake(t, serve, dial); !errors.Is(serverErr, errNotEnforced) {
		t.Errorf("a client came to %v", serverErr)
	}
	serve, dial = configs(t, gateway, orders)
	if _, _, clientErr := shake(t, serve, dial); !errors.Is(clientErr, errNotEnforced) {
		t.Errorf("a server came to %v", clientErr)
	}
}

// TestRootsOfTheMomentCount: also for configurations that were made before.
func TestRootsOfTheMomentCount(t *testing.T) {
	ca, next := newCA(t), newCA(t)
	config := ca.files("orders", leaf{})
	config.ExpiryOnly = true
	orders := open(t, config)
	gateway := ca.open("gateway")
	serve, dial := configs(t, orders, gateway)
	_, serverErr, clientErr := shake(t, serve, dial)
	must(t, errors.Join(serverErr, clientErr))

	overlap, over := ca.issue("orders", leaf{}), next.issue("orders", leaf{})
	overlap.ca = append(overlap.ca, over.ca...)
	must(t, config.write(overlap))
	orders.reload(time.Now())
	_, serverErr, clientErr = shake(t, serve, dial)
	must(t, errors.Join(serverErr, clientErr))

	must(t, config.write(over))
	orders.reload(time.Now())
	if _, serverErr, _ := shake(t, serve, dial); serverErr == nil {
		t.Error("a client of the old CA got in")
	}
	_, dial = configs(t, gateway, orders)
	old := &tls.Config{Certificates: []tls.Certificate{ca.pair("gateway", leaf{})}}
	if _, _, clientErr := shake(t, old, dial); clientErr == nil {
		t.Error("a server of the old CA was believed")
	}
}
