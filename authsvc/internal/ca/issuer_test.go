package ca

import (
	"bytes"
	"crypto/x509"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/events/eventstest"
)

// chains reports whether the leaf leads to the root by way of the others.
func chains(root *x509.Certificate, leaf *x509.Certificate, others ...*x509.Certificate) error {
	options := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	options.Roots.AddCert(root)
	for _, cert := range others {
		options.Intermediates.AddCert(cert)
	}
	_, err := leaf.Verify(options)
	return err
}

// TestTheIntermediateIsBound: whoever has its key can make no CA, and no identity
// of another trust domain.
func TestTheIntermediateIsBound(t *testing.T) {
	root, err := newRoot("example.org")
	must(t, err)
	i, err := newIntermediate(root, "example.org")
	must(t, err)
	key, err := newKey()
	must(t, err)
	leafOf := func(by *issuer, id string) *x509.Certificate {
		t.Helper()
		template, err := Request{Name: "orders"}.template("example.org")
		must(t, err)
		template.URIs[0], err = url.Parse(id)
		must(t, err)
		cert, err := sign(template, by.cert, &key.PublicKey, by.key)
		must(t, err)
		return cert
	}
	must(t, chains(root.cert, leafOf(i, "spiffe://example.org/orders"), i.cert))
	for _, id := range []string{"spiffe://example.net/orders", "spiffe://example.org.net/orders", "spiffe://anexample.org/orders"} {
		if err := chains(root.cert, leafOf(i, id), i.cert); err == nil {
			t.Errorf("it issues %s", id)
		}
	}
	template, err := authorityTemplate("another CA", time.Hour)
	must(t, err)
	below, err := sign(template, i.cert, &key.PublicKey, i.key)
	must(t, err)
	if err := chains(root.cert, leafOf(&issuer{key: key, cert: below}, "spiffe://example.org/orders"), below, i.cert); err == nil {
		t.Error("it issues a CA")
	}
	if root.cert.KeyUsage != x509.KeyUsageCertSign || i.cert.KeyUsage != x509.KeyUsageCertSign || !i.cert.PermittedDNSDomainsCritical {
		t.Errorf("usage %v and %v, critical constraint: %v", root.cert.KeyUsage, i.cert.KeyUsage, i.cert.PermittedDNSDomainsCritical)
	}
	if i.cert.NotAfter.After(root.cert.NotAfter) {
		t.Error("it outlives its root")
	}
}

// TestNothingOutlivesItsIssuer: an intermediate and a cross-signed root made near the
// end of the root.
func TestNothingOutlivesItsIssuer(t *testing.T) {
	old, err := newRoot("example.org")
	must(t, err)
	old.cert.NotAfter = time.Now().Add(time.Hour)
	i, err := newIntermediate(old, "example.org")
	must(t, err)
	next, err := newRoot("example.org")
	must(t, err)
	cross, err := crossSign(next.cert, old)
	must(t, err)
	for name, cert := range map[string]*x509.Certificate{"intermediate": i.cert, "cross-signed root": cross} {
		if cert.NotAfter.After(old.cert.NotAfter) {
			t.Errorf("the %s lives until %v", name, cert.NotAfter)
		}
	}
}

// TestTheEndOfTheCAIsAnnounced by what runs for months, and by nothing before.
func TestTheEndOfTheCAIsAnnounced(t *testing.T) {
	r := newRenewing(t)
	b := eventstest.NewBroker(t)
	said := func() string {
		var log bytes.Buffer
		renewer, err := StartRenewer(RenewerConfig{
			CA: r.ca, Conn: b.Connect(t), Revoked: func(string) error { return nil }, Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		must(t, err)
		renewer.Close()
		return log.String()
	}
	const warning = "authsvc ca rotate"
	if log := said(); strings.Contains(log, warning) {
		t.Errorf("a new CA says %s", log)
	}
	i, err := loadIssuer(filepath.Join(r.dir, "issuer.pem"))
	must(t, err)
	info, err := r.ca.Info()
	must(t, err)
	root, err := r.ca.root(&state{roots: info.Roots}, "")
	must(t, err)
	template := *i.cert
	template.NotAfter = time.Now().Add(endsSoon - time.Hour)
	i.cert, err = sign(&template, root.cert, &i.key.PublicKey, root.key)
	must(t, err)
	must(t, i.save(r.dir))
	if log := said(); !strings.Contains(log, warning) {
		t.Errorf("one that ends says %q", log)
	}
}

// TestAnOwnCertificateServesToItsEnd where no next one can be had.
func TestAnOwnCertificateServesToItsEnd(t *testing.T) {
	r := newRenewing(t)
	own := &ownCertificate{ca: r.ca, name: "ca"}
	first, err := own.get()
	must(t, err)
	own.until = time.Now() // a new one is due
	own.ca = &CA{dir: t.TempDir(), records: newRecords(t.TempDir())}
	kept, err := own.get()
	if err != nil || !kept.Leaf.Equal(first.Leaf) {
		t.Errorf("%v", err)
	}
	expired := *first.Leaf
	expired.NotAfter = time.Now().Add(-time.Second)
	own.current.Leaf = &expired
	if _, err := own.get(); err == nil {
		t.Error("one that has expired is shown")
	}
	own.ca = r.ca
	next, err := own.get()
	if err != nil || events.CertificateID(next.Leaf) == events.CertificateID(first.Leaf) {
		t.Errorf("when the CA works again: %v", err)
	}
}
