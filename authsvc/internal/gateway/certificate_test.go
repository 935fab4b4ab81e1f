package gateway_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/authsvctest"
	"github.com/authbus/authbus/authsvc/internal/ca"
)

// TestTheCertificateIsReadAgain when it has been renewed, and not when the new one
// is no good.
func TestTheCertificateIsReadAgain(t *testing.T) {
	w := start(t, authsvctest.Config{})
	dir, certs := filepath.Join(t.TempDir(), "ca"), t.TempDir()
	if err := ca.Init(dir, "example.org"); err != nil {
		t.Fatal(err)
	}
	authority, err := ca.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	renew := func() (serial string) {
		t.Helper()
		issued, err := authority.Issue(ca.Request{Name: "public", Hosts: []string{"127.0.0.1"}})
		if err == nil {
			err = issued.ReplaceFiles(certs, "public")
		}
		if err != nil {
			t.Fatal(err)
		}
		return issued.Record.Serial
	}
	first := renew()
	w.config.CertFile, w.config.KeyFile = filepath.Join(certs, "public.crt"), filepath.Join(certs, "public.key")
	g := w.replica(t)
	shown := func() string {
		t.Helper()
		conn, err := tls.Dial("tcp", g.URL()[len("https://"):], &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // only looked at
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Text(16)
	}
	if got := shown(); got != first {
		t.Errorf("it shows %s, want %s", got, first)
	}
	second := renew()
	for began := time.Now(); shown() != second; {
		if time.Since(began) > timeout {
			t.Fatal("the new certificate is never shown")
		}
	}
	if err := os.WriteFile(w.config.CertFile, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < 1500*time.Millisecond; {
		if got := shown(); got != second {
			t.Fatalf("it shows %s, want %s still", got, second)
		}
	}
}
