package ca

import (
	"crypto/x509"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/authbus/authbus/events"
)

// TestEveryTrustDomainThatIsTakenWorks: what Init accepts must not turn out to be
// useless when the first service connects.
func TestEveryTrustDomainThatIsTakenWorks(t *testing.T) {
	dirs := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		domain := rapid.OneOf(
			rapid.StringMatching(`[a-z0-9._-]{1,12}`),
			rapid.SampledFrom([]string{".", "..", "-", "a.", ".a", "a..b", "1", "127.0.0.1", "1.2.3", "x_y.example"}),
		).Draw(rt, "domain")
		n++
		dir := filepath.Join(dirs, "ca", string(rune('a'+n%26)), domain+"x", events.NewNonce())
		if err := Init(dir, domain); err != nil {
			return // refused at once: nothing is lost
		}
		authority, err := Open(dir)
		if err != nil {
			rt.Fatalf("%q: %v", domain, err)
		}
		issued, err := authority.Issue(Request{Name: "orders"})
		if err != nil {
			rt.Fatalf("%q: %v", domain, err)
		}
		certs, err := events.ParseCertificates(issued.Chain)
		if err != nil {
			rt.Fatalf("%q: %v", domain, err)
		}
		options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
		options.Roots.AppendCertsFromPEM(issued.Bundle)
		options.Intermediates.AddCert(certs[1])
		if _, err := certs[0].Verify(options); err != nil {
			rt.Fatalf("%q: %v", domain, err)
		}
	})
}
