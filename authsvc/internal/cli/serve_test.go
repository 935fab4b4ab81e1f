package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/logtest"
	"github.com/authbus/authbus/events/eventstest"
)

// serving is an `authsvc serve` that runs.
type serving struct {
	url            string
	stdout, stderr logtest.Buffer
	stop           context.CancelFunc
	status         chan int
}

// serve runs `authsvc serve` with everything from the environment.
func serve(t *testing.T, dir, natsURL string, more ...string) *serving {
	t.Helper()
	address := freeAddresses(t, 1)[0]
	ctx, cancel := context.WithCancel(t.Context())
	s := &serving{url: "http://" + address, stop: cancel, status: make(chan int, 1)}
	env := append([]string{
		"AUTHSVC_LISTEN=" + address, "AUTHSVC_NATS_URL=" + natsURL,
		"AUTHSVC_DATABASE_URL=sqlite:" + filepath.Join(dir, "auth.db"),
		"AUTHSVC_MASTER_KEY_FILE=" + filepath.Join(dir, "master.key"),
	}, more...)
	go func() { s.status <- Run(ctx, []string{"serve"}, strings.NewReader(""), &s.stdout, &s.stderr, env) }()
	return s
}

func (s *serving) await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline, tick := time.NewTimer(20*time.Second), time.NewTicker(10*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case status := <-s.status:
			t.Fatalf("ended with status %d before it was %s:\n%s", status, what, s.stderr.String())
		case <-deadline.C:
			t.Fatalf("not %s in time:\n%s", what, s.stderr.String())
		}
	}
}

// end does what SIGTERM does.
func (s *serving) end(t *testing.T) {
	t.Helper()
	s.stop()
	select {
	case status := <-s.status:
		if status != exitDone {
			t.Errorf("status %d after SIGTERM:\n%s", status, s.stderr.String())
		}
	case <-time.After(20 * time.Second):
		t.Fatal("does not end")
	}
}

func TestServeFromStartToEnd(t *testing.T) {
	broker, dir := eventstest.NewBroker(t), t.TempDir()
	s := serve(t, dir, broker.URL())
	s.await(t, "ready", func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		_ = res.Body.Close() // only the status matters
		return res.StatusCode == http.StatusOK
	})
	s.await(t, "serving", func() bool { return strings.Contains(s.stderr.String(), `"serving"`) })
	s.await(t, "offering the one-time secret", func() bool { return strings.Contains(s.stdout.String(), "b_") })
	secret := strings.TrimSpace(s.stdout.String()[strings.LastIndex(strings.TrimSpace(s.stdout.String()), "\n"):])
	s.end(t)
	if strings.Contains(s.stderr.String(), secret) {
		t.Error("the log holds the one-time secret")
	}
	for line := range strings.SplitSeq(strings.TrimSpace(s.stderr.String()), "\n") {
		if !json.Valid([]byte(line)) {
			t.Errorf("the log line %q is not JSON", line)
		}
	}
}

func TestServeEndsWhileItWaitsForTheBus(t *testing.T) {
	broker := eventstest.NewBroker(t)
	broker.Stop()
	s := serve(t, t.TempDir(), broker.URL())
	s.await(t, "listening", func() bool { return strings.Contains(s.stderr.String(), `"listening"`) })
	s.end(t)
	if strings.Contains(s.stderr.String(), `"serving"`) {
		t.Error("it says that it serves, and cannot")
	}
}

// goodSecret and otherSecret are good for nothing but these tests.
const (
	goodSecret  = "bSVuzW1FVmWUbkxcHCGUX7xYTDe6Cd8GIsGJ8iODVuQ="
	otherSecret = "kHFhP2YWv1cIfm1vGiAyOyNHQyi2sWBMYFWQu0gLbqE="
)

// TestServeRefusesSecrets by their strength; the reasons are the token package's.
func TestServeRefusesSecrets(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tc := range []struct {
		name string
		env  []string
		want string
	}{
		{"short", []string{"AUTHSVC_SECRET=c2hvcnQgYW5kIHdlYWs="}, "$AUTHSVC_SECRET: shared secret is 14 bytes long: at least 32"},
		{"a default", []string{"AUTHSVC_SECRET=changemechangemechangemechangeme"}, "$AUTHSVC_SECRET: shared secret is a known default"},
		{"one byte", []string{"AUTHSVC_SECRET=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}, "$AUTHSVC_SECRET: shared secret is one byte repeated"},
		{"low entropy", []string{"AUTHSVC_SECRET=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}, "$AUTHSVC_SECRET: shared secret has low entropy"},
		{"two at once", []string{"AUTHSVC_SECRET=" + goodSecret, "AUTHSVC_SECRET_FILE=" + file("both", goodSecret, 0o600)}, "--secret-file: cannot go with the secret as text"},
		{"a file that others may read", []string{"AUTHSVC_SECRET_FILE=" + file("open", goodSecret, 0o644)}, "--secret-file: shared secret file "},
		{"no file", []string{"AUTHSVC_SECRET_FILE=" + filepath.Join(dir, "absent")}, "--secret-file: opening"},
		{"a weak previous one", []string{"AUTHSVC_SECRET=" + goodSecret, "AUTHSVC_PREVIOUS_SECRET=secret"}, "$AUTHSVC_PREVIOUS_SECRET: shared secret is a known default"},
		{"the same twice", []string{"AUTHSVC_SECRET=" + goodSecret, "AUTHSVC_PREVIOUS_SECRET_FILE=" + file("same", goodSecret+"\n", 0o600)}, "$AUTHSVC_PREVIOUS_SECRET: must differ"},
		{"two previous ones", []string{
			"AUTHSVC_SECRET=" + goodSecret, "AUTHSVC_PREVIOUS_SECRET=" + otherSecret, "AUTHSVC_PREVIOUS_SECRET_FILE=" + file("other", otherSecret, 0o600),
		}, "--previous-secret-file: cannot go"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			env := append([]string{
				"AUTHSVC_SIGNING=shared-secret", "AUTHSVC_LISTEN=127.0.0.1:0", "AUTHSVC_NATS_URL=nats://127.0.0.1:1",
				"AUTHSVC_DATABASE_URL=sqlite:" + filepath.Join(dir, "auth.db"), "AUTHSVC_MASTER_KEY_FILE=" + filepath.Join(dir, "master.key"),
			}, tc.env...)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var stdout, stderr logtest.Buffer
			status := Run(ctx, []string{"serve"}, strings.NewReader(""), &stdout, &stderr, env)
			if text := stderr.String(); status != exitUsage || !strings.Contains(text, tc.want) || strings.Contains(text, goodSecret[:20]) {
				t.Errorf("status %d with %q, want %d and mention of %q, and no secret", status, text, exitUsage, tc.want)
			}
		})
	}
}

// TestServeWarnsOfASharedSecret, and does not show it.
func TestServeWarnsOfASharedSecret(t *testing.T) {
	broker := eventstest.NewBroker(t)
	broker.Stop()
	s := serve(t, t.TempDir(), broker.URL(), "AUTHSVC_SIGNING=shared-secret", "AUTHSVC_SECRET="+goodSecret, "AUTHSVC_PREVIOUS_SECRET="+otherSecret)
	s.await(t, "listening", func() bool { return strings.Contains(s.stderr.String(), `"listening"`) })
	s.end(t)
	text := s.stderr.String()
	if !strings.Contains(text, "can mint tokens for everyone") || !strings.Contains(text, `"kid":"hs_`) {
		t.Errorf("no warning in %s", text)
	}
	for _, secret := range []string{goodSecret, otherSecret} {
		if strings.Contains(text, secret[:10]) {
			t.Errorf("the log holds the secret: %s", text)
		}
	}
}

func TestServeRefuses(t *testing.T) {
	dir := t.TempDir()
	good := map[string]string{
		"AUTHSVC_LISTEN": "127.0.0.1:0", "AUTHSVC_NATS_URL": "nats://127.0.0.1:1",
		"AUTHSVC_DATABASE_URL":    "sqlite:" + filepath.Join(dir, "auth.db"),
		"AUTHSVC_MASTER_KEY_FILE": filepath.Join(dir, "master.key"),
	}
	for _, tc := range []struct {
		name, variable, value, want string
		status                      int
	}{
		{"no database", "AUTHSVC_DATABASE_URL", "", "--database-url", exitUsage},
		{"no bus", "AUTHSVC_NATS_URL", "", "--nats-url", exitUsage},
		{"no master key", "AUTHSVC_MASTER_KEY_FILE", "", "--master-key-file: a file with the key", exitUsage},
		{"a variable that nobody knows", "AUTHSVC_LISTEM", "127.0.0.1:0", "AUTHSVC_LISTEM", exitUsage},
		{"an unknown algorithm", "AUTHSVC_SIGNING", "HS256", "--signing", exitUsage},
		{"a shared secret that is not given", "AUTHSVC_SIGNING", "shared-secret", "--secret-file: with shared-secret", exitUsage},
		{"a shared secret that is not asked for", "AUTHSVC_SECRET", goodSecret, "$AUTHSVC_SECRET: only goes with", exitUsage},
		{"a file of a shared secret that is not asked for", "AUTHSVC_SECRET_FILE", "secret", "--secret-file: only goes with", exitUsage},
		{"a previous secret that is not asked for", "AUTHSVC_PREVIOUS_SECRET", goodSecret, "$AUTHSVC_PREVIOUS_SECRET: only goes with", exitUsage},
		{"a duration without a unit", "AUTHSVC_ACCESS_LIFETIME", "600", "--access-lifetime", exitUsage},
		{"a lifetime above an hour", "AUTHSVC_ACCESS_LIFETIME", "2h", "--access-lifetime: 2h0m0s is not within", exitUsage},
		{"no lifetime at all", "AUTHSVC_ACCESS_LIFETIME", "0s", "--access-lifetime: must not be 0", exitUsage},
		{"no replicas", "AUTHSVC_STREAM_REPLICAS", "0", "--stream-replicas: must not be 0", exitUsage},
		{"too many replicas", "AUTHSVC_STREAM_REPLICAS", "7", "--stream-replicas: must be 1 to 5", exitUsage},
		{"a rotation within the overlap", "AUTHSVC_KEY_ROTATION", "1m", "--key-rotation: 1m0s is shorter than", exitUsage},
		{"a bus that is none", "AUTHSVC_NATS_URL", "http://127.0.0.1:1", "--nats-url: must be nats:// or tls://", exitUsage},
		{"no audience between two", "AUTHSVC_AUDIENCES", "orders,,billing", "--audiences: must not be empty", exitUsage},
		{"a negative number of sessions", "AUTHSVC_MAX_SESSIONS", "-1", "--max-sessions: must be at least 1", exitUsage},
		{"a key that is none", "AUTHSVC_MASTER_KEY", "x", "--master-key-file: a file with the key or the key as text is required, and not both", exitUsage},
		{"credentials that are not there", "AUTHSVC_ANSWERER_CREDENTIALS", "nowhere.creds", "--answerer-credentials: open nowhere.creds", exitUsage},
		{"certificates that are not there", "AUTHSVC_CERTS", "nowhere", "--certs: the identity authsvc-publisher: ", exitUsage},
		{"an unknown log level", "AUTHSVC_LOG_LEVEL", "LOUD", "--log-level", exitUsage},
		{"a proxy that is no address", "AUTHSVC_TRUSTED_PROXIES", "proxy", "--trusted-proxies: ", exitUsage},
		{"an issuer that is no URL", "AUTHSVC_ISSUER", "auth", "--issuer: ", exitUsage},
		{"an unknown kind of database", "AUTHSVC_DATABASE_URL", "mysql://localhost/auth", "--database-url: unknown scheme", exitUsage},
		{"an address that is none", "AUTHSVC_LISTEN", "localhost", "--listen: ", exitUsage},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var env []string
			for name, value := range good {
				if name != tc.variable {
					env = append(env, name+"="+value)
				}
			}
			if tc.value != "" {
				env = append(env, tc.variable+"="+tc.value)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var stdout, stderr logtest.Buffer
			status := Run(ctx, []string{"serve"}, strings.NewReader(""), &stdout, &stderr, env)
			if status != tc.status || !strings.Contains(stderr.String(), tc.want) {
				t.Errorf("status %d with %q, want %d and mention of %s", status, stderr.String(), tc.status, tc.want)
			}
		})
	}
}
