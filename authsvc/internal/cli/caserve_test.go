package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/authsvctest"
	"github.com/authbus/authbus/authsvc/internal/ca"
	"github.com/authbus/authbus/authsvc/internal/logtest"
	"github.com/authbus/authbus/events"
)

// TestCAServe renews a certificate by the command, until an admin revokes it.
func TestCAServe(t *testing.T) {
	s := authsvctest.Start(t, authsvctest.Config{})
	dir := filepath.Join(t.TempDir(), "ca")
	if err := ca.Init(dir, "example.org"); err != nil {
		t.Fatal(err)
	}
	authority, err := ca.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := authority.Issue(ca.Request{Name: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(issued.Chain, issued.Key)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var out, log logtest.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- Run(ctx, []string{
			"ca", "serve", "--dir", dir, "--nats-url", s.NATSURL(), "--issuer", s.Issuer(), "--lifetime", "2h",
		}, strings.NewReader(""), &out, &log, nil)
	}()
	next := renewed(t, s, pair)
	if id, err := events.CertificateSPIFFEID(next.Certificate.Leaf); err != nil || id != "spiffe://example.org/orders" {
		t.Errorf("%q, %v", id, err)
	}
	if life := time.Until(next.Certificate.Leaf.NotAfter); life > 2*time.Hour || life < time.Hour {
		t.Errorf("it lives for %v, want 2 h", life)
	}
	s.Revoke(t, events.ScopeCert, events.CertificateID(next.Certificate.Leaf))
	awaitRefusal(t, s, next.Certificate)
	stop()
	if code := <-ended; code != exitDone {
		t.Errorf("exit status %d", code)
	}
	if !strings.Contains(log.String(), `"certificate renewed"`) {
		t.Errorf("the log says\n%s", log.String())
	}
}

func TestACertificateIsRevokedForADayAtLeast(t *testing.T) {
	at := time.Now()
	for _, tc := range []struct{ left, later, want time.Duration }{
		{-5 * day, 0, 2 * day},
		{time.Hour, 0, 2 * day},
		{time.Hour, day - time.Second, 2 * day}, // repeated: the same
		{time.Hour, day, 3 * day},               // one day more, for what could not be told before
		{6 * day, 0, 6 * day},
		{6 * day, 3 * day, 6 * day},
	} {
		if got := revokedUntil(ca.Record{NotAfter: at.Add(tc.left), RevokedAt: at}, at.Add(tc.later)).Sub(at); got != tc.want {
			t.Errorf("with %v left, %v later: for %v, want %v", tc.left, tc.later, got, tc.want)
		}
	}
}

// renewed renews as soon as the command answers.
func renewed(t *testing.T, s *authsvctest.Server, pair tls.Certificate) *events.RenewedCertificate {
	t.Helper()
	nc := s.Connect(t)
	for deadline := time.Now().Add(20 * time.Second); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		next, err := events.RenewCertificate(ctx, nc, pair)
		cancel()
		if err == nil {
			return next
		}
		if !errors.Is(err, events.ErrNoCA) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// awaitRefusal asks until the command has heard of the revocation.
func awaitRefusal(t *testing.T, s *authsvctest.Server, pair tls.Certificate) {
	t.Helper()
	nc := s.Connect(t)
	for deadline := time.Now().Add(20 * time.Second); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := events.RenewCertificate(ctx, nc, pair)
		cancel()
		if refused, ok := errors.AsType[*events.RequestError](err); ok && refused.Code == events.CodeForbidden {
			return
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("a revoked certificate: %v", err)
		}
	}
}
