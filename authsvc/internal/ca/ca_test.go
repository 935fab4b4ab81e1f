package ca_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/ca"
	"github.com/authbus/authbus/events"
)

const domain = "example.org"

// newCA makes a CA in a directory of its own.
func newCA(t *testing.T) (authority *ca.CA, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "ca")
	if err := ca.Init(dir, domain); err != nil {
		t.Fatal(err)
	}
	return open(t, dir), dir
}

func open(t *testing.T, dir string) *ca.CA {
	t.Helper()
	authority, err := ca.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func issue(t *testing.T, authority *ca.CA, r ca.Request) *ca.Issued {
	t.Helper()
	issued, err := authority.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

// keyPair is the certificate as TLS wants it.
func keyPair(t *testing.T, i *ca.Issued) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(i.Chain, i.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func pool(t *testing.T, bundle []byte) *x509.CertPool {
	t.Helper()
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(bundle) {
		t.Fatalf("no certificate in %q", bundle)
	}
	return p
}

func bundle(t *testing.T, authority *ca.CA) []byte {
	t.Helper()
	b, err := authority.Bundle()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// handshake is what server and client say of each other, each with a bundle of
// its own. The server's host name is checked where one is given.
func handshake(t *testing.T, server, client *ca.Issued, serverTrusts, clientTrusts []byte, host string) error {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{keyPair(t, server)},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool(t, serverTrusts),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // the test is over
	accepted := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			err = errors.Join(conn.(*tls.Conn).HandshakeContext(t.Context()), conn.Close())
		}
		accepted <- err
	}()
	trusted := pool(t, clientTrusts)
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{keyPair(t, client)}, RootCAs: trusted, ServerName: host,
	}
	if host == "" {
		config.InsecureSkipVerify = true // a SPIFFE ID is no host name: the chain is verified here
		config.VerifyConnection = func(state tls.ConnectionState) error {
			options := x509.VerifyOptions{Roots: trusted, Intermediates: x509.NewCertPool()}
			for _, cert := range state.PeerCertificates[1:] {
				options.Intermediates.AddCert(cert)
			}
			_, err := state.PeerCertificates[0].Verify(options)
			return err
		}
	}
	conn, err := tls.Dial("tcp", listener.Addr().String(), config)
	if err != nil {
		_ = listener.Close()
		return errors.Join(err, <-accepted)
	}
	err = <-accepted
	return errors.Join(err, ignoreClosed(conn.Close()))
}

func ignoreClosed(err error) error {
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return nil
	}
	return err
}

func leaf(t *testing.T, i *ca.Issued) *x509.Certificate {
	t.Helper()
	certs, err := events.ParseCertificates(i.Chain)
	if err != nil {
		t.Fatal(err)
	}
	return certs[0]
}

func TestACertificateSaysWhoItIsAndNothingElse(t *testing.T) {
	authority, _ := newCA(t)
	issued := issue(t, authority, ca.Request{Name: "prod/orders"})
	cert := leaf(t, issued)
	id, err := events.CertificateSPIFFEID(cert)
	if err != nil || id != "spiffe://example.org/prod/orders" {
		t.Errorf("%q, %v", id, err)
	}
	if life := time.Until(cert.NotAfter); life > 24*time.Hour || life < 24*time.Hour-time.Minute {
		t.Errorf("it lives for %v", life)
	}
	if !slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}) ||
		cert.KeyUsage != x509.KeyUsageDigitalSignature || cert.IsCA || cert.Subject.String() != "" {
		t.Errorf("usage %v %v, CA %v, subject %q", cert.ExtKeyUsage, cert.KeyUsage, cert.IsCA, cert.Subject)
	}
	if r := issued.Record; r.ID != events.CertificateID(cert) || r.Serial != cert.SerialNumber.Text(16) || cert.SerialNumber.BitLen() < 100 {
		t.Errorf("record %+v of serial %x", r, cert.SerialNumber)
	}
	other := issue(t, authority, ca.Request{Name: "billing"})
	if err := handshake(t, issued, other, issued.Bundle, other.Bundle, ""); err != nil {
		t.Error(err)
	}
	stranger, _ := newCA(t)
	if err := handshake(t, issued, issue(t, stranger, ca.Request{Name: "billing"}), issued.Bundle, other.Bundle, ""); err == nil {
		t.Error("a certificate of another CA was accepted")
	}
}

func TestACertificateForHostsIsNoClient(t *testing.T) {
	authority, _ := newCA(t)
	client := issue(t, authority, ca.Request{Name: "orders"})
	server := issue(t, authority, ca.Request{Name: "nats", Hosts: []string{"nats.example", "127.0.0.1", "::1"}})
	for host, ok := range map[string]bool{"nats.example": true, "127.0.0.1": true, "::1": true, "other.example": false} {
		if err := handshake(t, server, client, server.Bundle, client.Bundle, host); (err == nil) != ok {
			t.Errorf("%s: %v", host, err)
		}
	}
	if err := handshake(t, client, server, server.Bundle, client.Bundle, ""); err == nil {
		t.Error("the certificate of a server was accepted of a client")
	}
	if _, err := events.CertificateSPIFFEID(leaf(t, server)); err == nil {
		t.Error("it has a SPIFFE ID")
	}
}

// TestAPeerIsBothSidesOfARoute, and no service for all that.
func TestAPeerIsBothSidesOfARoute(t *testing.T) {
	authority, _ := newCA(t)
	one := issue(t, authority, ca.Request{Name: "nats-1", Hosts: []string{"nats-1.example"}, Peer: true})
	two := issue(t, authority, ca.Request{Name: "nats-2", Hosts: []string{"nats-2.example"}, Peer: true})
	if err := handshake(t, one, two, one.Bundle, two.Bundle, "nats-1.example"); err != nil {
		t.Error(err)
	}
	if id, err := events.CertificateSPIFFEID(leaf(t, one)); err == nil {
		t.Errorf("it is %s as well", id)
	}
}

func TestWhatCannotBeIssued(t *testing.T) {
	authority, _ := newCA(t)
	for name, r := range map[string]ca.Request{
		"no name":             {},
		"a climbing name":     {Name: "../orders"},
		"a star":              {Name: "orders*"},
		"a space":             {Name: "or ders"},
		"too long a life":     {Name: "orders", Lifetime: events.MaxCertificateLifetime + time.Second},
		"hardly any life":     {Name: "orders", Lifetime: time.Second},
		"an empty host":       {Name: "orders", Hosts: []string{""}},
		"a URL for a host":    {Name: "orders", Hosts: []string{"https://nats.example"}},
		"a peer without host": {Name: "orders", Peer: true},
		"a host with a port":  {Name: "orders", Hosts: []string{"nats.example:4222"}},
	} {
		if issued, err := authority.Issue(r); err == nil {
			t.Errorf("%s: issued %+v", name, issued.Record)
		}
	}
	if list, err := authority.Records(); err != nil || len(list) != 0 {
		t.Errorf("the records hold %v, %v", list, err)
	}
}

func TestTheDirectory(t *testing.T) {
	_, dir := newCA(t)
	authority := open(t, dir)
	issue(t, authority, ca.Request{Name: "orders"})
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; err == nil && info.Mode().Perm() != want {
			t.Errorf("%s has mode %04o, want %04o", path, info.Mode().Perm(), want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.Init(dir, domain); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a CA was overwritten (%v)", err)
	}
	for _, bad := range []string{"", "Example.org", "example.org/x", "spiffe://example.org", "exa mple"} {
		if err := ca.Init(filepath.Join(t.TempDir(), "x"), bad); err == nil {
			t.Errorf("%q was taken for a trust domain", bad)
		}
	}
	if _, err := ca.Open(t.TempDir()); !errors.Is(err, ca.ErrNoCA) {
		t.Errorf("an empty directory: %v", err)
	}
	if err := os.Chmod(filepath.Join(dir, "issuer.pem"), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Open(dir); err == nil || !strings.Contains(err.Error(), "0640") {
		t.Errorf("a key that others can read was used (%v)", err)
	}
}

// TestManyIssueAtOnce: several processes are several handles on one directory.
func TestManyIssueAtOnce(t *testing.T) {
	const handles, each = 8, 8
	_, dir := newCA(t)
	var group sync.WaitGroup
	begin := make(chan struct{})
	for range handles {
		authority := open(t, dir)
		group.Go(func() {
			<-begin
			for range each {
				if _, err := authority.Issue(ca.Request{Name: "orders"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	close(begin)
	group.Wait()
	list, err := open(t, dir).Records()
	seen := map[string]bool{}
	for _, r := range list {
		seen[r.Serial] = true
	}
	if err != nil || len(list) != handles*each || len(seen) != len(list) {
		t.Errorf("%d records with %d serial numbers, want %d (%v)", len(list), len(seen), handles*each, err)
	}
}

// TestAnUnfinishedRecordIsDropped: power was lost while it was written, so its
// certificate was never handed out.
func TestAnUnfinishedRecordIsDropped(t *testing.T) {
	authority, dir := newCA(t)
	issue(t, authority, ca.Request{Name: "orders"})
	path := filepath.Join(dir, "records.jsonl")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	torn := append(slices.Clone(whole), whole[:len(whole)/2]...)
	if err := os.WriteFile(path, torn, 0o600); err != nil {
		t.Fatal(err)
	}
	authority = open(t, dir)
	issue(t, authority, ca.Request{Name: "billing"})
	list, err := open(t, dir).Records()
	if err != nil || len(list) != 2 || list[0].Name != "orders" || list[1].Name != "billing" {
		t.Errorf("the records hold %+v, %v", list, err)
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil { // somebody restores a backup
		t.Fatal(err)
	}
	if _, err := authority.Issue(ca.Request{Name: "reports"}); err == nil || !strings.Contains(err.Error(), "shorter than it was") {
		t.Errorf("records were written behind a hole (%v)", err)
	}
	issue(t, open(t, dir), ca.Request{Name: "reports"})
	if err := os.WriteFile(path, append([]byte("{}\n"), whole...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Open(dir); err == nil || !strings.Contains(err.Error(), "at byte 0") {
		t.Errorf("records that make no sense were taken (%v)", err)
	}
}

// TestOpenSSLAgrees: other software builds and checks the same chains.
func TestOpenSSLAgrees(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("AUTHBUS_TEST_REQUIRE") == "all" {
			t.Fatal("openssl is not installed")
		}
		t.Skip("openssl is not installed")
	}
	authority, _ := newCA(t)
	old := bundle(t, authority)
	if err := authority.RotateRoot(""); err != nil {
		t.Fatal(err)
	}
	issued := issue(t, authority, ca.Request{Name: "orders"})
	dir := t.TempDir()
	certs, err := events.ParseCertificates(issued.Chain)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"leaf": events.EncodeCertificates(certs[0]), "rest": events.EncodeCertificates(certs[1:]...), "old": old, "new": issued.Bundle,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, trusted := range []string{"old", "new"} {
		cmd := exec.CommandContext(t.Context(), openssl, "verify", "-x509_strict", "-purpose", "sslclient",
			"-CAfile", trusted, "-untrusted", "rest", "leaf")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("with the %s bundle: %v\n%s", trusted, err, out)
		}
	}
}
