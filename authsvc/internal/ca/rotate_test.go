package ca_test

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authbus/authbus/authsvc/internal/ca"
	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/events"
)

func TestANewIntermediateChangesNothingForAnybody(t *testing.T) {
	authority, dir := newCA(t)
	before := issue(t, authority, ca.Request{Name: "orders"})
	if err := authority.RotateIntermediate(""); err != nil {
		t.Fatal(err)
	}
	after := issue(t, authority, ca.Request{Name: "billing"})
	if string(before.Bundle) != string(after.Bundle) {
		t.Error("the bundle has changed")
	}
	if leaf(t, before).CheckSignatureFrom(leafIssuer(t, after)) == nil {
		t.Error("the intermediate is the same")
	}
	if err := handshake(t, before, after, before.Bundle, after.Bundle, ""); err != nil {
		t.Error(err)
	}
	if kept, err := filepath.Glob(filepath.Join(dir, "previous", "*.pem")); err != nil || len(kept) != 1 {
		t.Errorf("former intermediates: %v, %v", kept, err)
	}
}

func leafIssuer(t *testing.T, i *ca.Issued) (issuer *x509.Certificate) {
	t.Helper()
	certs, err := events.ParseCertificates(i.Chain)
	if err != nil || len(certs) < 2 {
		t.Fatalf("%d certificates, %v", len(certs), err)
	}
	return certs[1]
}

// TestANewRootComesInWithOverlap: whoever has the old bundle and whoever has the
// new one accept each other, whichever root issued what they show.
func TestANewRootComesInWithOverlap(t *testing.T) {
	authority, _ := newCA(t)
	stay := issue(t, authority, ca.Request{Name: "orders"})
	for range 2 { // a second rotation before the first is over
		if err := authority.RotateRoot(""); err != nil {
			t.Fatal(err)
		}
	}
	if err := authority.RotateIntermediate(""); err != nil { // and another issuer below the new root
		t.Fatal(err)
	}
	next := issue(t, authority, ca.Request{Name: "billing"})
	roots, err := events.ParseCertificates(next.Bundle)
	if err != nil || len(roots) != 3 {
		t.Fatalf("%d roots, %v", len(roots), err)
	}
	if err := handshake(t, stay, next, stay.Bundle, next.Bundle, ""); err != nil {
		t.Errorf("old server, new client: %v", err)
	}
	if err := handshake(t, next, stay, next.Bundle, stay.Bundle, ""); err != nil {
		t.Errorf("new server, old client: %v", err)
	}
	onlyNew := events.EncodeCertificates(roots[0])
	if err := handshake(t, next, next, onlyNew, onlyNew, ""); err != nil {
		t.Errorf("with nothing but the new root: %v", err)
	}
	if err := handshake(t, next, stay, onlyNew, next.Bundle, ""); err == nil {
		t.Error("without the old root, its certificate was accepted")
	}
	if err := authority.DropOldRoots(); !errors.Is(err, ca.ErrTooEarly) || !strings.Contains(err.Error(), "orders") {
		t.Errorf("the old root was dropped while it was needed: %v", err)
	}
}

func TestTheOldRootIsDroppedWhenNothingNeedsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		authority, _ := newCA(t)
		issue(t, authority, ca.Request{Name: "orders"})
		time.Sleep(time.Hour)
		if err := authority.RotateRoot(""); err != nil {
			t.Fatal(err)
		}
		issue(t, authority, ca.Request{Name: "nats", Lifetime: 100 * time.Hour}) // in the same second
		time.Sleep(22 * time.Hour)
		issue(t, authority, ca.Request{Name: "orders"})
		if err := authority.DropOldRoots(); !errors.Is(err, ca.ErrTooEarly) {
			t.Errorf("an hour too early: %v", err)
		}
		time.Sleep(2 * time.Hour)
		if err := authority.DropOldRoots(); err != nil {
			t.Fatal(err)
		}
		if err := authority.DropOldRoots(); !errors.Is(err, ca.ErrNoOldRoot) {
			t.Errorf("with nothing to drop: %v", err)
		}
		last := issue(t, authority, ca.Request{Name: "billing"})
		chain, err := events.ParseCertificates(last.Chain)
		if err != nil || len(chain) != 2 {
			t.Errorf("the chain has %d certificates, %v", len(chain), err)
		}
		if roots, err := events.ParseCertificates(last.Bundle); err != nil || len(roots) != 1 {
			t.Errorf("the bundle has %d certificates, %v", len(roots), err)
		}
	})
}

// TestTheRootsKeyIsElsewhere: all but rotation works without it.
func TestTheRootsKeyIsElsewhere(t *testing.T) {
	authority, dir := newCA(t)
	keys, err := filepath.Glob(filepath.Join(dir, "root-*.key"))
	if err != nil || len(keys) != 1 {
		t.Fatalf("%v, %v", keys, err)
	}
	away := filepath.Join(t.TempDir(), "offline.key")
	if err := os.Rename(keys[0], away); err != nil {
		t.Fatal(err)
	}
	issue(t, authority, ca.Request{Name: "orders"})
	if err := authority.RotateIntermediate(""); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "--root-key") {
		t.Errorf("rotated without the key: %v", err)
	}
	if err := authority.RotateIntermediate(away); err != nil {
		t.Error(err)
	}
	_, other := newCA(t)
	foreign, err := filepath.Glob(filepath.Join(other, "root-*.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := authority.RotateRoot(foreign[0]); err == nil || !strings.Contains(err.Error(), "not the key of the current root") {
		t.Errorf("rotated with another root's key: %v", err)
	}
}

func TestAnExpiredIntermediateIssuesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		authority, _ := newCA(t)
		time.Sleep(365*24*time.Hour - time.Hour)
		_, err := authority.Issue(ca.Request{Name: "orders", Lifetime: 2 * time.Hour})
		if wrong, ok := errors.AsType[*field.Error](err); !ok || wrong.Field != "Lifetime" || !strings.Contains(err.Error(), "ca rotate") {
			t.Errorf("a lifetime that was asked for was cut: %v", err)
		}
		if end := leaf(t, issue(t, authority, ca.Request{Name: "orders"})).NotAfter; time.Until(end) > time.Hour {
			t.Errorf("a certificate outlives its issuer, until %v", end)
		}
		if _, err := authority.Renew("orders", 2*time.Hour); !errors.As(err, new(*field.Error)) {
			t.Errorf("renewed for less than was asked for: %v", err)
		}
		if _, err := authority.Renew("orders", 0); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Hour)
		if _, err := authority.Issue(ca.Request{Name: "orders"}); err == nil || !strings.Contains(err.Error(), "ca rotate") {
			t.Errorf("issued by what has expired: %v", err)
		}
		if err := authority.RotateIntermediate(""); err != nil {
			t.Fatal(err)
		}
		issue(t, authority, ca.Request{Name: "orders"})
	})
}
