package bus_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/bus"
	"github.com/authbus/authbus/authsvc/internal/keyring"
	"github.com/authbus/authbus/authsvc/internal/node/broker"
	"github.com/authbus/authbus/authsvc/internal/password"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

const issuer = "http://auth.test"

// world is a broker and a place for databases.
type world struct {
	broker *broker.Broker
	dir    string
	admin  *nats.Conn // may do everything
	client *nats.Conn // may do what a verifier may
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	b, err := broker.Start(broker.Config{Dir: filepath.Join(dir, "nats"), Listen: "127.0.0.1:0", Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	w := &world{broker: b, dir: dir}
	w.admin = w.connect(t, b.Options(broker.Publisher)...)
	w.client = w.connect(t)
	return w
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (w *world) connect(t *testing.T, opts ...nats.Option) *nats.Conn {
	t.Helper()
	opts = append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	nc, err := nats.Connect(w.broker.URL(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func (w *world) js(t *testing.T) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(w.admin)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// replica is one auth service, as far as the bus sees it.
type replica struct {
	t         *testing.T
	db        *store.DB
	keys      *keyring.Keyring
	authority *authority.Authority
	publisher *bus.Publisher
	responder *bus.Responder
	metrics   *prometheus.Registry
	conns     []*nats.Conn
	closed    bool
}

// replica starts an auth service on the database file of that name.
func (w *world) replica(t *testing.T, database string) *replica {
	t.Helper()
	return startReplica(t, w.dir, database, events.StreamOptions{}, func(who broker.Identity) bus.Target {
		return bus.Target{URL: w.broker.URL(), Options: w.broker.Options(who)}
	})
}

func startReplica(
	t *testing.T, dir, database string, streams events.StreamOptions, target func(broker.Identity) bus.Target,
) *replica {
	t.Helper()
	r := &replica{t: t, metrics: prometheus.NewRegistry()}
	r.open(dir, database)
	t.Cleanup(r.close)
	publishing, answering := r.connect(broker.Publisher, target), r.connect(broker.Answerer, target)
	var err error
	r.publisher, err = bus.StartPublisher(bus.PublisherConfig{
		Conn: publishing, DB: r.db, Keys: r.keys, Streams: streams,
		CheckEvery: 100 * time.Millisecond, Log: quiet(), Metrics: r.metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	hasher, err := password.NewHasher(password.HasherConfig{MemoryKiB: 64, Passes: 1})
	if err != nil {
		t.Fatal(err)
	}
	r.authority, err = authority.New(authority.Config{Issuer: issuer, Logger: quiet()}, r.db, r.keys, hasher, r.publisher)
	if err != nil {
		t.Fatal(err)
	}
	r.responder, err = bus.StartResponder(bus.ResponderConfig{
		Conn: answering, Authority: r.authority, Keys: r.keys, Issuer: issuer, Ready: r.publisher.Ready,
		Log: quiet(), Metrics: r.metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// open opens the database, a URL or the name of a SQLite file, and its keys.
func (r *replica) open(dir, database string) {
	r.t.Helper()
	if !strings.Contains(database, "://") {
		database = "sqlite:" + filepath.Join(dir, database)
	}
	var err error
	if r.db, err = store.Open(r.t.Context(), database); err != nil {
		r.t.Fatal(err)
	}
	master, err := keyring.LoadOrCreateMasterKey(filepath.Join(dir, "master.key"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.keys, err = keyring.Open(r.t.Context(), r.db, keyring.Config{Issuer: issuer, Master: master, Logger: quiet()})
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *replica) connect(who broker.Identity, target func(broker.Identity) bus.Target) *nats.Conn {
	r.t.Helper()
	nc, err := bus.Connect(string(who), target(who), quiet())
	if err != nil {
		r.t.Fatal(err)
	}
	r.conns = append(r.conns, nc)
	return nc
}

// close is a clean shutdown.
func (r *replica) close() {
	if r.closed {
		return
	}
	r.closed = true
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if r.responder != nil {
		r.responder.Close()
	}
	if r.publisher != nil {
		r.publisher.Close(ctx)
	}
	for _, nc := range r.conns {
		nc.Close()
	}
	if err := r.db.Close(); err != nil {
		r.t.Error(err)
	}
}

func (r *replica) awaitReady() *replica {
	r.t.Helper()
	eventually(r.t, "ready", func() bool { return r.publisher.Ready() == nil })
	return r
}

// revoke writes n revocations of tokens and returns them.
func (r *replica) revoke(n int) []events.Revocation {
	r.t.Helper()
	records := make([]events.Revocation, n)
	for i := range records {
		var err error
		if records[i], err = r.revokeOne(); err != nil {
			r.t.Fatal(err)
		}
	}
	return records
}

// revokeOne is for any goroutine.
func (r *replica) revokeOne() (record events.Revocation, err error) {
	err = r.db.Write(r.t.Context(), func(tx *store.Tx) (err error) {
		jti := "t_" + rand.Text()
		record, err = tx.Revoke(events.ScopeToken, jti, time.Now().Add(time.Hour), "test", "tester")
		if err != nil {
			return err
		}
		return tx.Emit(issuer, events.TokenRevoked{JTI: jti, Rev: record.Rev, Actor: "tester"})
	})
	return record, err
}

// deliver publishes records as whoever revoked them does.
func (r *replica) deliver(records []events.Revocation) {
	r.t.Helper()
	for _, record := range records {
		if d := r.publisher.Deliver(r.t.Context(), record); d != authority.Delivered {
			r.t.Fatalf("delivery of revocation %d is %s", record.Rev, d)
		}
	}
}

func (r *replica) head() store.ReadIndex {
	r.t.Helper()
	index, err := r.db.Reader(r.t.Context()).ReadIndex()
	if err != nil {
		r.t.Fatal(err)
	}
	return index
}

func (r *replica) backlog() store.Backlog {
	r.t.Helper()
	b, err := r.db.Reader(r.t.Context()).Backlog()
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

// metric adds up a counter over all of its labels.
func (r *replica) metric(name string) float64 {
	r.t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() == "authsvc_"+name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// messages returns everything that a stream holds.
func (w *world) messages(t *testing.T, stream string) []*jetstream.RawStreamMsg {
	t.Helper()
	s, err := w.js(t).Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	state := s.CachedInfo().State
	var found []*jetstream.RawStreamMsg
	for seq := max(state.FirstSeq, 1); seq <= state.LastSeq; seq++ {
		msg, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, msg)
	}
	return found
}

// onFeed returns the revisions on the feed, in the stream's order.
func (w *world) onFeed(t *testing.T) []uint64 {
	t.Helper()
	var revs []uint64
	for _, msg := range w.messages(t, events.StreamRevocations) {
		r, err := events.DecodeRevocation(msg.Data)
		if err != nil {
			t.Fatal(err)
		}
		revs = append(revs, r.Rev)
	}
	return revs
}

// wipe deletes the feed and, by hand, creates it anew and empty.
func (w *world) wipe(t *testing.T) {
	t.Helper()
	js := w.js(t)
	if err := js.DeleteStream(t.Context(), events.StreamRevocations); err != nil {
		t.Fatal(err)
	}
	if err := events.EnsureStreams(t.Context(), js, events.StreamOptions{}); err != nil {
		t.Fatal(err)
	}
}

// inject publishes bytes on the feed as nobody should be able to.
func (w *world) inject(t *testing.T, msg *nats.Msg) {
	t.Helper()
	if _, err := w.js(t).PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
}

func unsigned(t *testing.T, r events.Revocation) *nats.Msg {
	t.Helper()
	payload, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return &nats.Msg{Subject: events.RevocationSubject(r.Scope), Data: payload}
}

// backup copies a database that no process has open.
func (w *world) backup(t *testing.T, from, to string) {
	t.Helper()
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(filepath.Join(w.dir, from+suffix))
		if os.IsNotExist(err) && suffix != "" {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(w.dir, to+suffix), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// tamper changes a database behind the back of whoever has it open.
func (w *world) tamper(t *testing.T, database string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.dir, database)+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // every statement has been checked
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

// eventually waits for a condition and fails t if it does not come.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not %s in time", strings.TrimSpace(what))
		}
	}
}
