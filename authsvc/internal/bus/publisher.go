package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/authbus/authbus/authsvc/internal/keyring"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

// PublisherConfig configures a [Publisher]. Conn, DB and Keys are required.
type PublisherConfig struct {
	// Conn is the connection that may publish on the streams; nothing else uses it.
	Conn *nats.Conn
	DB   *store.DB
	Keys *keyring.Keyring
	// Streams are the properties of the streams. Where EventsMaxBytes is 0 and the
	// account has a limit on disk, events get three quarters of it, or in a cluster less.
	Streams events.StreamOptions
	// CheckEvery is how often the streams are looked at; 0 means 5 s.
	CheckEvery time.Duration
	// Log is where alarms go; nil means slog.Default().
	Log *slog.Logger
	// Metrics takes the counters; nil means none.
	Metrics prometheus.Registerer
}

const (
	defaultCheckEvery = 5 * time.Second
	// pace is how often the publisher looks for work that no wake-up announced:
	// that of other replicas, and what failed before.
	pace = 500 * time.Millisecond
	// ackTimeout is how long one acknowledgement of a stream may take.
	ackTimeout = 5 * time.Second
)

// ErrNotReconciled is what [Publisher.Ready] wraps until the database has been
// compared with the streams.
var ErrNotReconciled = errors.New("the database has not been compared with the bus")

// Publisher reconciles database and streams, publishes revocations as they are
// committed, and relays what waits in the database. One goroutine, which Close
// ends, does all but [Publisher.Deliver].
type Publisher struct {
	nc         *nats.Conn
	js         jetstream.JetStream
	db         *store.DB
	keys       *keyring.Keyring
	streams    events.StreamOptions
	checkEvery time.Duration
	log        *slog.Logger
	metrics    *publisherMetrics
	prints     fingerprints
	often      *rate.Sometimes // bounds the log while something fails again and again

	wake      chan struct{}
	connected chan nats.Status
	ctx       context.Context // of the work; ends when Close begins
	stop      context.CancelFunc
	closing   chan context.Context // hands Close's ctx to the goroutine
	done      chan struct{}
	closeOnce sync.Once

	// committed is the highest revision that this process knows to be committed.
	committed atomic.Uint64
	unready   atomic.Pointer[error] // nil once reconciled

	mu    sync.Mutex
	marks []uint64 // delivered, and not yet marked so in the database

	// The rest belongs to the goroutine.
	feed      feedState
	nextCheck time.Time
	lease     lease
	lastEvent eventCursor
}

// StartPublisher starts the publishing side. It does not wait for the broker:
// [Publisher.Ready] tells when the work can begin.
func StartPublisher(cfg PublisherConfig) (*Publisher, error) {
	js, err := jetstream.New(cfg.Conn,
		jetstream.WithPublishAsyncTimeout(ackTimeout), jetstream.WithPublishAsyncMaxPending(4*relayBatch))
	if err != nil {
		return nil, fmt.Errorf("starting publisher: %w", err)
	}
	metrics, err := newPublisherMetrics(cfg.Metrics)
	if err != nil {
		return nil, fmt.Errorf("starting publisher: %w", err)
	}
	if cfg.CheckEvery == 0 {
		cfg.CheckEvery = defaultCheckEvery
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	p := &Publisher{
		nc: cfg.Conn, js: js, db: cfg.DB, keys: cfg.Keys, streams: cfg.Streams, checkEvery: cfg.CheckEvery,
		log: cfg.Log, metrics: metrics, prints: fingerprints{maphash.MakeSeed()},
		often: &rate.Sometimes{First: 1, Interval: 10 * time.Second},
		wake:  make(chan struct{}, 1), connected: cfg.Conn.StatusChanged(nats.CONNECTED),
		closing: make(chan context.Context, 1), done: make(chan struct{}),
		lease: lease{holder: rand.Text()},
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.setUnready(ErrNotReconciled)
	go p.run() // Close ends it and waits
	return p, nil
}

// Ready returns nil once the database has been compared with the streams, and
// otherwise why it has not: an error that wraps [ErrNotReconciled].
func (p *Publisher) Ready() error {
	if err := p.unready.Load(); err != nil {
		return *err
	}
	return nil
}

func (p *Publisher) setUnready(err error) {
	p.unready.Store(&err)
	p.metrics.ready.Set(0)
}

func (p *Publisher) setReady() {
	p.unready.Store(nil)
	p.metrics.ready.Set(1)
}

// Wake has the outbox looked at now. The database's own commits do that as well.
func (p *Publisher) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *Publisher) run() {
	defer close(p.done)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		p.work(p.ctx)
		select {
		case <-tick.C:
		case <-p.wake:
		case <-p.db.Committed():
		case <-p.connected:
			p.nextCheck = time.Time{} // whatever happened meanwhile, look at it
		case ctx := <-p.closing:
			p.finish(ctx)
			return
		}
	}
}

// work does what there is to do now. What fails is tried again at the next turn.
func (p *Publisher) work(ctx context.Context) {
	if !p.nc.IsConnected() {
		return
	}
	if now := time.Now(); !now.Before(p.nextCheck) {
		p.check(ctx)
		p.nextCheck = now.Add(p.checkEvery)
		if p.Ready() != nil {
			p.nextCheck = now.Add(min(pace, p.checkEvery))
		}
	}
	if err := p.flushMarks(ctx); err != nil && ctx.Err() == nil {
		p.often.Do(func() { p.log.Warn("writing to the database failed; trying again", "error", err) })
	}
	if p.Ready() == nil {
		_ = p.relay(ctx) // it has reported its error
	}
}

// finish is the end of a clean shutdown: what is committed goes out, and another
// replica may take over at once.
func (p *Publisher) finish(ctx context.Context) {
	// What the end of the work has cut short may still be on its way to the
	// stream, and the first attempt then finds another last message than it expects.
	for p.nc.IsConnected() && p.Ready() == nil && ctx.Err() == nil {
		if p.relay(ctx) == nil {
			break
		}
		wait(ctx, pace/10)
	}
	if err := p.flushMarks(ctx); err != nil {
		p.log.Warn("revocations that were delivered will be published once more", "error", err)
	}
	p.releaseLease(ctx)
}

// wait waits for d, or less if ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Close publishes what is committed, as far as ctx allows, and stops. Nothing is
// lost if it cannot: the database keeps it. It does not close the connection.
func (p *Publisher) Close(ctx context.Context) {
	p.closeOnce.Do(func() {
		p.closing <- ctx
		p.stop()
		<-p.done
		p.nc.RemoveStatusListener(p.connected)
	})
	<-p.done
}
