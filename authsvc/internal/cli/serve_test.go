package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authbus/authbus/events/eventstest"
)

// output is what a command that still runs has written.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// serving is an `authsvc serve` that runs.
type serving struct {
	url            string
	stdout, stderr output
	stop           context.CancelFunc
	status         chan int
}

// serve runs `authsvc serve` with everything from the environment.
func serve(t *testing.T, dir, natsURL string) *serving {
	t.Helper()
	address := freeAddresses(t, 1)[0]
	ctx, cancel := context.WithCancel(t.Context())
	s := &serving{url: "http://" + address, stop: cancel, status: make(chan int, 1)}
	env := []string{
		"AUTHSVC_LISTEN=" + address, "AUTHSVC_NATS_URL=" + natsURL,
		"AUTHSVC_DATABASE_URL=sqlite:" + filepath.Join(dir, "auth.db"),
		"AUTHSVC_MASTER_KEY_FILE=" + filepath.Join(dir, "master.key"),
	}
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
	s.await(t, "serving", func() bool { return strings.Contains(s.stderr.String(), `"serving"`) })
	s.end(t)
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
		{"no master key", "AUTHSVC_MASTER_KEY_FILE", "", "MasterKey", exitFailed},
		{"a variable that nobody knows", "AUTHSVC_LISTEM", "127.0.0.1:0", "AUTHSVC_LISTEM", exitUsage},
		{"an unknown algorithm", "AUTHSVC_SIGNING", "HS256", "--signing", exitUsage},
		{"a duration without a unit", "AUTHSVC_ACCESS_LIFETIME", "600", "--access-lifetime", exitUsage},
		{"a lifetime above an hour", "AUTHSVC_ACCESS_LIFETIME", "2h", "AccessLifetime", exitFailed},
		{"an unknown log level", "AUTHSVC_LOG_LEVEL", "LOUD", "--log-level", exitUsage},
		{"a proxy that is no address", "AUTHSVC_TRUSTED_PROXIES", "proxy", "TrustedProxies", exitFailed},
		{"an issuer that is no URL", "AUTHSVC_ISSUER", "auth", "Issuer", exitFailed},
		{"an unknown kind of database", "AUTHSVC_DATABASE_URL", "mysql://localhost/auth", "mysql", exitFailed},
		{"an address that is none", "AUTHSVC_LISTEN", "localhost", "listening", exitFailed},
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
			var stdout, stderr bytes.Buffer
			status := Run(ctx, []string{"serve"}, strings.NewReader(""), &stdout, &stderr, env)
			if status != tc.status || !strings.Contains(stderr.String(), tc.want) {
				t.Errorf("status %d with %q, want %d and mention of %s", status, stderr.String(), tc.status, tc.want)
			}
		})
	}
}
