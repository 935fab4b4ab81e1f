package events_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/authbus/authbus/events"
)

func TestCertificateIDNamesTheKey(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(serial int64, key *ecdsa.PrivateKey) *x509.Certificate {
		template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	first := issue(1, key)
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(spki)
	id := events.CertificateID(first)
	if id != hex.EncodeToString(sum[:]) || !events.IsCertificateID(id) {
		t.Errorf("the id is %s", id)
	}
	if again := events.CertificateID(issue(2, key)); again != id {
		t.Errorf("another certificate of the same key is %s, want %s", again, id)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if events.CertificateID(issue(1, other)) == id {
		t.Error("another key has the same id")
	}
	for _, bad := range []string{"", id[1:], id + "0", strings.ToUpper("ab" + id[2:]), "g" + id[1:], id[:63] + "\n"} {
		if events.IsCertificateID(bad) {
			t.Errorf("%q passes for an id", bad)
		}
	}
}

func TestRevocationTTLFollowsTheRecord(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	for left, want := range map[time.Duration]time.Duration{
		time.Hour:            time.Hour + 10*time.Minute,
		6 * 24 * time.Hour:   6*24*time.Hour + 10*time.Minute,
		-time.Minute:         10 * time.Minute,
		365 * 24 * time.Hour: events.FeedMaxAge + 10*time.Minute,
	} {
		r := events.Revocation{ExpiresAt: now.Add(left).Unix()}
		if got := events.RevocationTTL(r, now); got != want {
			t.Errorf("with %v left: %v, want %v", left, got, want)
		}
	}
	if events.FeedMaxAge <= events.MaxCertificateLifetime {
		t.Error("a certificate's record would age out of the feed")
	}
}
