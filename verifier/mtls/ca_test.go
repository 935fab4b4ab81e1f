package mtls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/authbus/authbus/events"
)

// testCA is a throw-away root with an intermediate.
type testCA struct {
	t           testing.TB
	root, inter *x509.Certificate
	interKey    *ecdsa.PrivateKey
}

// leaf says what a certificate is to be; the zero value of each field is what
// services have.
type leaf struct {
	uris     []string // default: spiffe://example.org/<name>
	dns      []string
	ip       net.IP
	from, to time.Duration // from now; default −1 min, 1 h
	usages   []x509.ExtKeyUsage
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newCA(t testing.TB) *testCA {
	t.Helper()
	ca := &testCA{t: t, interKey: newKey(t)}
	rootKey := newKey(t)
	authority := func(name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		}
	}
	ca.root = sign(t, authority("root"), nil, rootKey, rootKey)
	ca.inter = sign(t, authority("intermediate"), ca.root, ca.interKey, rootKey)
	return ca
}

// sign issues template for key; without an issuer it signs itself.
func sign(t testing.TB, template, issuer *x509.Certificate, key, issuerKey *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	if issuer == nil {
		issuer = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, issuerKey)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return cert
}

// issue makes the files of an identity.
func (ca *testCA) issue(name string, l leaf) material {
	ca.t.Helper()
	key := newKey(ca.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, DNSNames: l.dns,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if l.uris == nil {
		l.uris = []string{"spiffe://example.org/" + name}
	}
	for _, text := range l.uris {
		u, err := url.Parse(text)
		must(ca.t, err)
		template.URIs = append(template.URIs, u)
	}
	if l.ip != nil {
		template.IPAddresses = []net.IP{l.ip}
	}
	if l.from != 0 {
		template.NotBefore = time.Now().Add(l.from)
	}
	if l.to != 0 {
		template.NotAfter = time.Now().Add(l.to)
	}
	if l.usages != nil {
		template.ExtKeyUsage = l.usages
	}
	cert := sign(ca.t, template, ca.inter, key, ca.interKey)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(ca.t, err)
	return material{
		cert: events.EncodeCertificates(cert, ca.inter), ca: events.EncodeCertificates(ca.root),
		key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	}
}

// pair is an issued certificate for crypto/tls.
func (ca *testCA) pair(name string, l leaf) tls.Certificate {
	ca.t.Helper()
	m := ca.issue(name, l)
	pair, err := tls.X509KeyPair(m.cert, m.key)
	must(ca.t, err)
	return pair
}

// files writes an identity into a folder of its own.
func (ca *testCA) files(name string, l leaf) Config {
	ca.t.Helper()
	config := Files(ca.t.TempDir(), name)
	config.Logger = slog.New(slog.NewTextHandler(ca.t.Output(), nil))
	must(ca.t, config.write(ca.issue(name, l)))
	return config
}

// open opens a new identity that relies on expiry.
func (ca *testCA) open(name string) *Source {
	ca.t.Helper()
	config := ca.files(name, leaf{})
	config.ExpiryOnly = true
	return open(ca.t, config)
}

func open(t testing.TB, config Config) *Source {
	t.Helper()
	s, err := Open(config)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// until waits for a condition.
func until(t testing.TB, what string, met func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !met(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// put writes a file in place, as careless programs do.
func put(t testing.TB, path string, content []byte, mode os.FileMode) {
	t.Helper()
	must(t, os.WriteFile(path, content, mode))
	must(t, os.Chmod(path, mode))
}

func link(t testing.TB, target, path string) {
	t.Helper()
	temporary := filepath.Join(filepath.Dir(path), "next")
	must(t, os.Symlink(target, temporary))
	must(t, os.Rename(temporary, path))
}
