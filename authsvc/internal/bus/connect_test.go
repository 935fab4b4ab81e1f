package bus

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/authbus/authbus/authsvc/internal/logtest"
	"github.com/authbus/authbus/events/eventstest"
)

func TestCheckURL(t *testing.T) {
	for _, good := range []string{
		"nats://127.0.0.1:4222", "127.0.0.1", "tls://a.example.org,tls://b.example.org:4223", "nats://[::1]:4222", "wss://ada:secret@bus.example.org, nats://b",
	} {
		if err := CheckURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", ",", "nats://a,", "nats://", "http://127.0.0.1:4222", "nats://a,https://secret@b", "nats://a:70000", "nats://a:x", "nats://ada:secret@a:1:2", "a:1:2", "nats://%zz", "a b",
	} {
		if err := CheckURL(bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestCheckCredentials(t *testing.T) {
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good", "-----BEGIN USER NKEY SEED-----\n"+string(seed)+"\n------END USER NKEY SEED------\n")
	for path, want := range map[string]string{
		"": "", good: "", filepath.Join(dir, "absent"): "no such file", file("other", "password"): "no credentials file",
	} {
		if err := CheckCredentials(path); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", path, err, want)
		}
	}
}

// TestARefusalIsLogged, because trying on may be in vain.
func TestARefusalIsLogged(t *testing.T) {
	b := eventstest.NewBroker(t) // without TLS
	var log logtest.Buffer
	nc, err := Connect("ca", Target{URL: b.URL(), Options: []nats.Option{nats.Secure(&tls.Config{MinVersion: tls.VersionTLS13})}},
		slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	tick, deadline := time.NewTicker(10*time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	for !strings.Contains(log.String(), nats.ErrSecureConnWanted.Error()) {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the log says %q", log.String())
		}
	}
}

func TestServerVersions(t *testing.T) {
	for _, tc := range []struct {
		version string
		old     bool
	}{
		{"2.12.6", false},
		{"2.12.10", false},
		{"2.13.0", false},
		{"2.15.2", false},
		{"3.0.0", false},
		{"2.15.0-RC.1", false},
		{"v2.14.1", false},
		{"2.12.5", true},
		{"2.9.10", true},
		{"2.12", true},
		{"1.99.99", true},
		{"", true},
		{"nightly", true},
	} {
		if err := checkVersion(tc.version); errors.Is(err, ErrOldServer) != tc.old {
			t.Errorf("version %q: %v, want it refused: %v", tc.version, err, tc.old)
		}
	}
}
