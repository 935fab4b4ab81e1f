package bus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/authbus/authbus/authsvc/internal/bus"
)

// systemAccount answers like the system account of brokers that are slow, silent or
// full, which real ones are too seldom to be tested with.
type systemAccount struct {
	url string
	nc  *nats.Conn

	mu      sync.Mutex
	slow    time.Duration               // before each list of connections
	silent  map[string]bool             // brokers that answer who they are and nothing else
	frozen  bool                        // until the enforcer connects again, nobody answers
	clients map[string][]map[string]any // of each broker
	kicked  []float64
	scans   int // looks for brokers
	ignored int // requests without an answer
	lines   int // of the enforcer's log
}

// Write takes a line of the log.
func (a *systemAccount) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lines++
	return len(p), nil
}

const revokedID = "bad"

func newSystemAccount(t *testing.T) *systemAccount {
	t.Helper()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the broker does not start")
	}
	a := &systemAccount{url: srv.ClientURL(), silent: map[string]bool{}, clients: map[string][]map[string]any{}}
	a.nc = a.connect(t)
	for subject, answer := range map[string]nats.MsgHandler{
		"$SYS.REQ.SERVER.PING.IDZ": a.identify, "$SYS.REQ.SERVER.*.CONNZ": a.list, "$SYS.REQ.SERVER.*.KICK": a.kick,
	} {
		if _, err := a.nc.Subscribe(subject, answer); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return a
}

// enforce starts an enforcer that knows one certificate to be revoked.
func (a *systemAccount) enforce(t *testing.T) {
	t.Helper()
	nc := a.connect(t, nats.ReconnectHandler(func(*nats.Conn) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.frozen = false
	}))
	e, err := bus.StartEnforcer(bus.EnforcerConfig{
		Conn: nc, Log: slog.New(slog.NewTextHandler(a, nil)), Metrics: prometheus.NewRegistry(),
		Revoked: func(context.Context) ([]string, error) { return []string{revokedID}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

func (a *systemAccount) connect(t *testing.T, options ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(a.url, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// fill gives a broker n clients, of which those from first on are revoked.
func (a *systemAccount) fill(t *testing.T, broker string, n, first int) {
	t.Helper()
	a.mu.Lock()
	for cid := 1; cid <= n; cid++ {
		id := "good"
		if cid >= first {
			id = revokedID
		}
		a.clients[broker] = append(a.clients[broker],
			map[string]any{"cid": float64(cid), "tls_peer_certs": []map[string]any{{"spki_sha256": id}}})
	}
	a.mu.Unlock()
}

// connected tells of a new client.
func (a *systemAccount) connected(t *testing.T, broker string, cid int) {
	t.Helper()
	event := fmt.Appendf(nil, `{"server":{"id":%q},"client":{"id":%d}}`, broker, cid)
	if err := a.nc.Publish("$SYS.ACCOUNT.APPS.CONNECT", event); err != nil {
		t.Fatal(err)
	}
}

func (a *systemAccount) identify(m *nats.Msg) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.scans++
	if a.frozen {
		return
	}
	for broker := range a.clients {
		_ = m.Respond(fmt.Appendf(nil, `{"id":%q}`, broker)) // a client that has gone needs no answer
	}
}

func (a *systemAccount) list(m *nats.Msg) {
	a.mu.Lock()
	defer a.mu.Unlock()
	broker := strings.Split(m.Subject, ".")[3]
	if a.silent[broker] {
		a.ignored++
		return
	}
	var asked struct {
		CID           float64
		Offset, Limit int
	}
	if json.Unmarshal(m.Data, &asked) != nil {
		return
	}
	clients := a.clients[broker]
	if asked.CID != 0 {
		clients = slices.DeleteFunc(slices.Clone(clients), func(c map[string]any) bool { return c["cid"] != asked.CID })
		asked.Limit = 1
	} else {
		time.Sleep(a.slow) // the broker is slow: that is what is tested
	}
	clients = clients[min(asked.Offset, len(clients)):]
	clients = clients[:min(asked.Limit, len(clients))]
	answer, err := json.Marshal(map[string]any{"server": map[string]any{"id": broker}, "data": map[string]any{"connections": clients}})
	if err == nil {
		_ = m.Respond(answer)
	}
}

func (a *systemAccount) kick(m *nats.Msg) {
	a.mu.Lock()
	defer a.mu.Unlock()
	broker := strings.Split(m.Subject, ".")[3]
	var asked struct{ CID float64 }
	if a.silent[broker] || json.Unmarshal(m.Data, &asked) != nil {
		return
	}
	a.clients[broker] = slices.DeleteFunc(a.clients[broker], func(c map[string]any) bool { return c["cid"] == asked.CID })
	a.kicked = append(a.kicked, asked.CID)
	_ = m.Respond([]byte("{}"))
}

func (a *systemAccount) count(what func() int) func() int {
	return func() int {
		a.mu.Lock()
		defer a.mu.Unlock()
		return what()
	}
}

// awaitClosed waits until n connections are closed.
func (a *systemAccount) awaitClosed(t *testing.T, n int) {
	t.Helper()
	closed := a.count(func() int { return len(a.kicked) })
	awaitNumber(t, "the number of closed connections", closed, func(have int) bool { return have >= n })
}

// A list that takes longer than an answer may is read to its end: else the last
// connections would never be looked at.
func TestALongListIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	a := newSystemAccount(t)
	a.mu.Lock()
	a.slow = 100 * time.Millisecond
	a.mu.Unlock()
	a.fill(t, "A", 5000, 5000)
	a.enforce(t)
	a.awaitClosed(t, 1)
}

// What is closed makes the list shorter, and must not hide what stands behind it.
func TestManyConnectionsOfOneCertificateEndInOneScan(t *testing.T) {
	t.Parallel()
	a := newSystemAccount(t)
	a.fill(t, "A", 2000, 1)
	a.enforce(t)
	a.awaitClosed(t, 2000)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.scans > 2 { // one more may have begun since
		t.Errorf("it took %d scans", a.scans)
	}
	if a.lines < 1 || a.lines > 3 {
		t.Errorf("it logs %d lines", a.lines)
	}
}

// A broker that does not answer must not keep the others waiting, whatever it has
// told of.
// TestTheEnforcerLeavesABrokerThatIsFrozen, long before its connection is given up.
func TestTheEnforcerLeavesABrokerThatIsFrozen(t *testing.T) {
	t.Parallel()
	a := newSystemAccount(t)
	a.fill(t, "A", 1, 1)
	a.mu.Lock()
	a.frozen = true
	a.mu.Unlock()
	a.enforce(t)
	a.awaitClosed(t, 1)
}

func TestASilentBrokerHoldsUpNobody(t *testing.T) {
	t.Parallel()
	a := newSystemAccount(t)
	a.mu.Lock()
	a.silent["silent"] = true
	a.mu.Unlock()
	a.enforce(t)
	for cid := range 20 {
		a.connected(t, "silent", cid+1)
	}
	awaitNumber(t, "the number of requests without an answer", a.count(func() int { return a.ignored }), func(n int) bool { return n > 0 })
	a.fill(t, "A", 1, 1)
	a.connected(t, "A", 1)
	a.awaitClosed(t, 1)
}
