package ca_test

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/ca"
	"github.com/authbus/authbus/verifier/mtls"
)

// holds reports whether the files are a pair, of this certificate.
func holds(t *testing.T, dir, name string, want *ca.Issued) bool {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
	return err == nil && slices.Equal(pair.Certificate[0], leaf(t, want).Raw)
}

func TestFilesOfACertificate(t *testing.T) {
	authority, _ := newCA(t)
	out := filepath.Join(t.TempDir(), "out")
	first := issue(t, authority, ca.Request{Name: "prod/orders"})
	must(t, first.WriteFiles(out, "prod/orders"))
	again := issue(t, authority, ca.Request{Name: "prod/orders"})
	if err := again.WriteFiles(out, "prod/orders"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("files were overwritten (%v)", err)
	}
	if !holds(t, out, "prod.orders", first) {
		t.Error("the files hold something else")
	}
	must(t, again.ReplaceFiles(out, "prod/orders"))
	if !holds(t, out, "prod.orders", again) {
		t.Error("the files were not replaced")
	}
	entries, err := os.ReadDir(out)
	if err != nil || len(entries) != 4 { // and the lock
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}

// TestNoCertificateTakesThePlaceOfTheRoots: the files of one called "ca" would.
func TestNoCertificateTakesThePlaceOfTheRoots(t *testing.T) {
	authority, _ := newCA(t)
	issued, out := issue(t, authority, ca.Request{Name: "ca"}), t.TempDir()
	for name, err := range map[string]error{
		"CheckFiles": ca.CheckFiles(out, "ca"), "WriteFiles": issued.WriteFiles(out, "ca"),
		"ReplaceFiles": issued.ReplaceFiles(out, "ca"), "CheckReplace": authority.CheckReplace(out, "ca"),
	} {
		if err == nil || !strings.Contains(err.Error(), "ca.crt holds the roots") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if entries, err := os.ReadDir(out); err != nil || len(entries) != 0 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}

func TestWhatIsNotReplaced(t *testing.T) {
	authority, _ := newCA(t)
	stranger, _ := newCA(t)
	out := t.TempDir()
	must(t, issue(t, authority, ca.Request{Name: "team.orders"}).WriteFiles(out, "team.orders"))
	must(t, issue(t, stranger, ca.Request{Name: "billing"}).WriteFiles(out, "billing"))
	must(t, os.WriteFile(filepath.Join(out, "garbage.crt"), []byte("garbage"), 0o600))
	must(t, authority.CheckReplace(out, "team.orders"))
	for name, want := range map[string]string{
		"team/orders": "not a certificate of", // which has the same files
		"billing":     "not a certificate of",
		"garbage":     "no certificate in it",
		"nobody":      "no certificate to replace",
	} {
		if err := authority.CheckReplace(out, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to say %q", name, err, want)
		}
	}
	if err := ca.CheckFiles(out, strings.Repeat("n", 300)); err == nil {
		t.Error("a name that no file can have passes")
	}
}

// TestAReplacementThatFails leaves the old pair, or one that mtls completes.
func TestAReplacementThatFails(t *testing.T) {
	authority, _ := newCA(t)
	for name, spoil := range map[string]string{"the key cannot be written": "orders.key", "the certificate cannot be moved": "orders.crt"} {
		out := t.TempDir()
		must(t, issue(t, authority, ca.Request{Name: "orders"}).WriteFiles(out, "orders"))
		next := issue(t, authority, ca.Request{Name: "orders"})
		// A directory that is not empty is what rename cannot replace.
		path := filepath.Join(out, spoil)
		kept := path + ".kept"
		must(t, os.Rename(path, kept))
		must(t, os.MkdirAll(filepath.Join(path, "x"), 0o700))
		if err := next.ReplaceFiles(out, "orders"); err == nil {
			t.Fatalf("%s: it worked", name)
		}
		must(t, os.RemoveAll(path))
		must(t, os.Rename(kept, path))
		s, err := mtls.Open(mtls.Files(out, "orders"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		must(t, s.Close())
		if wantNew := spoil == "orders.crt"; holds(t, out, "orders", next) != wantNew {
			t.Errorf("%s: the wrong pair is in the files", name)
		}
	}
}

// TestReplacementsAtOnceLeaveAPair, of one of them.
func TestReplacementsAtOnceLeaveAPair(t *testing.T) {
	authority, _ := newCA(t)
	out := t.TempDir()
	must(t, issue(t, authority, ca.Request{Name: "orders"}).WriteFiles(out, "orders"))
	for range 20 {
		var all sync.WaitGroup
		for range 4 {
			next := issue(t, authority, ca.Request{Name: "orders"})
			all.Go(func() {
				if err := next.ReplaceFiles(out, "orders"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if _, err := tls.LoadX509KeyPair(filepath.Join(out, "orders.crt"), filepath.Join(out, "orders.key")); err != nil {
			t.Fatal(err)
		}
	}
}
