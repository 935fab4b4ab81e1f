package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/internal/node"
	"github.com/authbus/authbus/authsvc/internal/node/broker"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events/eventstest"
)

// embedded is a configuration that needs nothing but a directory.
func embedded(dir string) node.Config {
	return node.Config{
		Listen: "127.0.0.1:0", DatabaseURL: "sqlite:" + filepath.Join(dir, "auth.db"),
		MasterKeyFile: filepath.Join(dir, "master.key"),
		Embedded:      &node.Embedded{Dir: filepath.Join(dir, "nats"), Listen: "127.0.0.1:0"},
		Log:           slog.New(slog.DiscardHandler),
	}
}

// beside is one that uses a broker of its own.
func beside(dir, natsURL string) node.Config {
	c := embedded(dir)
	c.Embedded, c.NATSURL = nil, natsURL
	return c
}

func start(t *testing.T, c node.Config) *node.Node {
	t.Helper()
	n, err := node.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func awaitReady(t *testing.T, n *node.Node) *node.Node {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := n.AwaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return n
}

// call returns the status and body of an answer.
func call(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(answer)
}

const (
	account = `{"username":"ada","email":"ada@example.org","password":"seven pink walruses waltz"}`
	login   = `{"login":"ada","password":"seven pink walruses waltz"}`
)

func register(t *testing.T, n *node.Node) {
	t.Helper()
	if status, body := call(t, http.MethodPost, n.URL()+"/v1/accounts", account); status != http.StatusCreated {
		t.Fatalf("registering: %d %s", status, body)
	}
}

func TestNodeAnswersNothingBeforeTheComparison(t *testing.T) {
	broker := eventstest.NewBroker(t)
	broker.Stop()
	n := start(t, beside(t.TempDir(), broker.URL()))
	for _, tc := range []struct {
		method, path string
		want         int
	}{
		{http.MethodGet, "/healthz", http.StatusOK},
		{http.MethodGet, "/readyz", http.StatusServiceUnavailable},
		{http.MethodGet, "/metrics", http.StatusOK},
		{http.MethodGet, "/.well-known/jwks.json", http.StatusOK},
		{http.MethodPost, "/v1/accounts", http.StatusServiceUnavailable},
		{http.MethodPost, "/v1/sessions", http.StatusServiceUnavailable},
		{http.MethodPost, "/v1/introspect", http.StatusServiceUnavailable},
		{http.MethodGet, "/v1/verify", http.StatusServiceUnavailable},
		{http.MethodGet, "/v1/../v1/verify", http.StatusServiceUnavailable},
	} {
		if status, body := call(t, tc.method, n.URL()+tc.path, "{}"); status != tc.want {
			t.Errorf("%s %s without a bus: %d %s, want %d", tc.method, tc.path, status, body, tc.want)
		}
	}
	broker.Start()
	awaitReady(t, n)
	if status, body := call(t, http.MethodGet, n.URL()+"/readyz", ""); status != http.StatusOK {
		t.Errorf("readyz with a bus: %d %s", status, body)
	}
	register(t, n)
}

func TestOutageOfTheBusStopsNothing(t *testing.T) {
	broker := eventstest.NewBroker(t)
	n := awaitReady(t, start(t, beside(t.TempDir(), broker.URL())))
	register(t, n)
	broker.Stop()
	status, body := call(t, http.MethodPost, n.URL()+"/v1/sessions", login)
	if status != http.StatusCreated {
		t.Fatalf("logging in without a bus: %d %s", status, body)
	}
	if status, _ := call(t, http.MethodGet, n.URL()+"/readyz", ""); status != http.StatusOK {
		t.Errorf("readyz during an outage: %d, want it to stay ready", status)
	}
	var tokens struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &tokens); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, n.URL()+"/v1/sessions/current", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+tokens.AccessToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	ack, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(ack), `"pending"`) {
		t.Errorf("logging out without a bus: %d %s (%v), want it acknowledged as pending", res.StatusCode, ack, err)
	}
}

func TestCleanShutdownLosesNothingAndLeavesNothing(t *testing.T) {
	http.DefaultClient.CloseIdleConnections()
	before := len(goroutines())
	dir := t.TempDir()
	n, err := node.Start(t.Context(), embedded(dir))
	if err != nil {
		t.Fatal(err)
	}
	awaitReady(t, n)
	register(t, n)
	for range 20 {
		if status, body := call(t, http.MethodPost, n.URL()+"/v1/sessions", login); status != http.StatusCreated {
			t.Fatalf("logging in: %d %s", status, body)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	var closing sync.WaitGroup
	for range 3 { // from several sides at once, as a signal handler and a defer may
		closing.Go(func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	closing.Wait()
	settled(t, before)

	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(dir, "auth.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // only read
	backlog, err := db.Reader(t.Context()).Backlog()
	if err != nil || backlog.Events != 0 {
		t.Errorf("%d events were left in the outbox (%v)", backlog.Events, err)
	}
}

// settled fails t unless no more goroutines run than before, after those that
// end have been given time to.
func settled(t *testing.T, before int) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		stacks := goroutines()
		if len(stacks) <= before {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%d goroutines, %d before:\n%s", len(stacks), before, strings.Join(stacks, "\n\n"))
		}
	}
}

// goroutines returns the stacks of all goroutines but those of nats-server, which
// leaves some behind when it is stopped while it makes a stream.
func goroutines() []string {
	buf := make([]byte, 4<<20)
	all := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
	return slices.DeleteFunc(all, func(stack string) bool { return strings.Contains(stack, "/nats-server/v2/") })
}

func TestRestartKeepsAccountsAndKeys(t *testing.T) {
	dir := t.TempDir()
	c := embedded(dir)
	first := awaitReady(t, start(t, c))
	register(t, first)
	_, keys := call(t, http.MethodGet, first.URL()+"/.well-known/jwks.json", "")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	c.Issuer = first.Issuer()
	second := awaitReady(t, start(t, c))
	if status, body := call(t, http.MethodPost, second.URL()+"/v1/sessions", login); status != http.StatusCreated {
		t.Errorf("logging in after the restart: %d %s", status, body)
	}
	if _, again := call(t, http.MethodGet, second.URL()+"/.well-known/jwks.json", ""); again != keys {
		t.Errorf("the keys changed from %s to %s", keys, again)
	}
}

func TestABrokerOfOthersOutlivesTheNode(t *testing.T) {
	dir := t.TempDir()
	b, err := broker.Start(broker.Config{Dir: filepath.Join(dir, "bus"), Listen: "127.0.0.1:0", SyncInterval: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c := embedded(dir)
	c.Embedded, c.Broker = nil, b
	for range 2 { // nodes one after the other, on the same database
		n := awaitReady(t, start(t, c))
		c.Issuer = n.Issuer()
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		nc, err := nats.Connect(b.URL())
		if err != nil {
			t.Fatalf("the broker has ended with the node: %v", err)
		}
		nc.Close()
	}
}

func TestBootstrapSecretIsOfferedUntilThereIsAnAdmin(t *testing.T) {
	n := awaitReady(t, start(t, embedded(t.TempDir())))
	secret, needed, err := n.BootstrapSecret(t.Context())
	if err != nil || !needed {
		t.Fatalf("no secret on the first start: %v", err)
	}
	body := fmt.Sprintf(`{"secret":%q,"username":"root","email":"root@example.org","password":"nine quiet otters juggle"}`, secret)
	if status, answer := call(t, http.MethodPost, n.URL()+"/v1/admin/bootstrap", body); status != http.StatusCreated {
		t.Fatalf("bootstrap: %d %s", status, answer)
	}
	if _, needed, err := n.BootstrapSecret(t.Context()); err != nil || needed {
		t.Errorf("a second secret is offered (%v)", err)
	}
}
