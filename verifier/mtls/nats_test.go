package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// broker starts a nats-server that wants certificates of the CA.
func broker(t *testing.T, ca *testCA, own tls.Certificate) *server.Server {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(ca.root)
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, TLSTimeout: 5,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12},
		TLSVerify: true,
	})
	must(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the broker does not start")
	}
	return s
}

// shown is the id of the certificate that the broker's only client showed.
func shown(t *testing.T, b *server.Server) string {
	t.Helper()
	list, err := b.Connz(&server.ConnzOptions{Username: true})
	must(t, err)
	if len(list.Conns) != 1 || len(list.Conns[0].TLSPeerCerts) == 0 {
		return ""
	}
	return list.Conns[0].TLSPeerCerts[0].SubjectPKISha256
}

func TestNATSReconnectsWithTheCertificateOfTheMoment(t *testing.T) {
	ca := newCA(t)
	b := broker(t, ca, ca.pair("nats", leaf{uris: []string{}, dns: []string{"localhost"}, ip: net.IPv4(127, 0, 0, 1)}))
	config := ca.files("orders", leaf{})
	orders := open(t, config)
	again := make(chan struct{}, 8)
	nc, err := nats.Connect("tls://"+b.Addr().String(), orders.NATS(),
		nats.ReconnectWait(5*time.Millisecond), nats.ReconnectHandler(func(*nats.Conn) { again <- struct{}{} }))
	must(t, err)
	defer nc.Close()
	state, err := nc.TLSConnectionState()
	must(t, err)
	if got := shown(t, b); got != orders.Stats().CertificateID || state.Version != tls.VersionTLS13 {
		t.Fatalf("the broker was shown %q, version %x", got, state.Version)
	}
	before := orders.Stats().CertificateID
	must(t, config.write(ca.issue("orders", leaf{})))
	until(t, "the new certificate is in force", func() bool { return orders.Stats().CertificateID != before })
	must(t, nc.ForceReconnect())
	<-again
	until(t, "the broker has been shown the new one", func() bool { return shown(t, b) == orders.Stats().CertificateID })
}

func TestNATSBelievesNoOtherBroker(t *testing.T) {
	ca := newCA(t)
	orders := ca.open("orders")
	for name, own := range map[string]tls.Certificate{
		"of another CA":   newCA(t).pair("nats", leaf{uris: []string{}, ip: net.IPv4(127, 0, 0, 1)}),
		"of another host": ca.pair("nats", leaf{uris: []string{}, dns: []string{"nats.internal"}}),
		"of a service":    ca.pair("nats", leaf{}),
		"of a client":     ca.pair("nats", leaf{ip: net.IPv4(127, 0, 0, 1), usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}),
	} {
		b := broker(t, ca, own)
		if nc, err := nats.Connect("tls://"+b.Addr().String(), orders.NATS(), nats.MaxReconnects(0)); err == nil {
			nc.Close()
			t.Errorf("a broker with a certificate %s is believed", name)
		}
	}
}

func TestNATSInTheClearIsRefused(t *testing.T) {
	ca := newCA(t)
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	must(t, err)
	s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the broker does not start")
	}
	if nc, err := nats.Connect("nats://"+s.Addr().String(), ca.open("orders").NATS(), nats.MaxReconnects(0)); err == nil {
		nc.Close()
		t.Error("it talks in the clear")
	}
}
