package natsconfig_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestWhoIsLetIn(t *testing.T) {
	w := newWorld(t, everybody())
	foreign := newIssuer(t)
	other := func(change func(*x509.Certificate)) tls.Certificate { return w.ca.certificate(t, change) }
	for name, tc := range map[string]struct {
		cert tls.Certificate
		want string // part of the error; empty: is let in
	}{
		"a known identity":            {w.ca.named(t, "orders"), ""},
		"one that is not listed":      {w.ca.named(t, "stranger"), "authorization violation"},
		"a name below a known one":    {w.ca.named(t, "orders/admin"), "authorization violation"},
		"a known one in another case": {w.ca.named(t, "Orders"), "authorization violation"},
		"one of another CA":           {foreign.named(t, "orders"), "tls"},
		"none":                        {tls.Certificate{}, "tls"},
		"one without a name":          {other(func(*x509.Certificate) {}), "authorization violation"},
		"that of the server":          {w.ca.host(t), "authorization violation"},
		"one of another trust domain": {other(func(c *x509.Certificate) { c.URIs = uri(t, "spiffe://example.com/orders") }), "authorization violation"},
		"the name as its subject":     {other(func(c *x509.Certificate) { c.Subject.CommonName = "spiffe://example.org/orders" }), "authorization violation"},
		"the name as an organization": {other(func(c *x509.Certificate) {
			c.Subject = pkix.Name{Organization: []string{"spiffe://example.org/orders"}}
		}), "authorization violation"},
		"one that is good for a server": {other(func(c *x509.Certificate) {
			c.URIs, c.ExtKeyUsage = uri(t, "spiffe://example.org/orders"), c.ExtKeyUsage[1:]
		}), "tls"},
		"one that has expired": {other(func(c *x509.Certificate) {
			c.URIs, c.NotAfter = uri(t, "spiffe://example.org/orders"), time.Now().Add(-time.Second)
		}), "tls"},
		"one that is not valid yet": {other(func(c *x509.Certificate) {
			c.URIs, c.NotBefore = uri(t, "spiffe://example.org/orders"), time.Now().Add(time.Minute)
		}), "tls"},
		"one whose only known name is it": {w.ca.named(t, "stranger", "orders"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			nc, err := w.dial(tc.cert, "_INBOX_orders")
			if err == nil {
				err = nc.FlushTimeout(10 * time.Second) // TLS 1.3 tells a client late that it is refused
				defer nc.Close()
			}
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(strings.ToLower(err.Error()), tc.want)):
				t.Errorf("error %v, want one of %q", err, tc.want)
			}
		})
	}
}

// A certificate with two names that are both known is the first of them. It never has
// the rights of both; the CA issues none.
func TestTwoNamesAreNotTheRightsOfBoth(t *testing.T) {
	w := newWorld(t, everybody())
	nc, err := w.dial(w.ca.named(t, "orders", "authsvc-publisher"), "_INBOX_orders")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if mayPublish(t, nc, "auth.revocations.token") {
		t.Error("the second name counts")
	}
	if !mayPublish(t, nc, "auth.fresh") {
		t.Error("the first name does not count")
	}
}

func TestNothingButACertificateCounts(t *testing.T) {
	w := newWorld(t, everybody())
	for name, opts := range map[string][]nats.Option{
		"no TLS":          {nats.NoReconnect()},
		"a user's name":   {nats.UserInfo("spiffe://example.org/orders", ""), nats.Secure(&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: w.ca.pool()})},
		"a token":         {nats.Token("t"), nats.Secure(&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: w.ca.pool()})},
		"too old a TLS":   {nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, RootCAs: w.ca.pool(), Certificates: []tls.Certificate{w.ca.named(t, "orders")}})},
		"the name beside": {nats.UserInfo("spiffe://example.org/authsvc-publisher", ""), nats.Secure(&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: w.ca.pool(), Certificates: []tls.Certificate{w.ca.named(t, "stranger")}})},
	} {
		url := strings.Replace(w.url, "tls://", "nats://", 1)
		nc, err := nats.Connect(url, opts...)
		if err == nil {
			err = nc.FlushTimeout(10 * time.Second)
			nc.Close()
		}
		if err == nil {
			t.Errorf("with %s: let in", name)
		}
	}
	nc := w.as(t, "orders", nats.UserInfo("spiffe://example.org/authsvc-publisher", ""))
	if mayPublish(t, nc, "auth.revocations.token") {
		t.Error("a name in the protocol wins over the certificate")
	}
}

// N06: the client port is the only one there is.
func TestNoOtherPortIsOpen(t *testing.T) {
	w := newWorld(t, everybody())
	ports := w.server.PortsInfo(10 * time.Second)
	if ports == nil || len(ports.Nats) != 1 || len(ports.Monitoring)+len(ports.Cluster)+len(ports.WebSocket)+len(ports.Profile) != 0 {
		t.Errorf("ports %+v", ports)
	}
	if w.server.MonitorAddr() != nil || w.server.ClusterAddr() != nil {
		t.Error("a port for monitoring or a cluster is open")
	}
	c := everybody()
	c.Monitor = "127.0.0.1:-1"
	monitored := w.start(t, c)
	if addr := monitored.MonitorAddr(); addr == nil || !addr.IP.IsLoopback() {
		t.Errorf("the monitoring page is on %v", addr)
	}
	// $G has nobody in it, and cannot be reached by anybody.
	for _, name := range []string{"$G", "AUTH", "APPS", "GATEWAY", "SYS"} {
		account, err := w.server.LookupAccount(name)
		if err != nil {
			t.Fatal(err)
		}
		if js := account.JetStreamEnabled(); js != (name == "AUTH" || name == "GATEWAY") {
			t.Errorf("account %s: JetStream %v", name, js)
		}
	}
}

func uri(t *testing.T, id string) []*url.URL {
	t.Helper()
	u, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	return []*url.URL{u}
}
