package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/authbus/authbus/events"
)

// EnforcerConfig configures an [Enforcer]. Conn and Revoked are required.
type EnforcerConfig struct {
	// Conn is a connection of the brokers' system account, for nothing else. It
	// publishes $SYS.REQ.SERVER.PING.IDZ, $SYS.REQ.SERVER.*.CONNZ and
	// $SYS.REQ.SERVER.*.KICK, and subscribes to $SYS.ACCOUNT.*.CONNECT and inboxes.
	Conn *nats.Conn
	// Revoked returns the ids (events.CertificateID) of all certificates that are
	// revoked now, such as Authority.RevokedCertificates.
	Revoked func(ctx context.Context) ([]string, error)
	// Every is how often Revoked is asked; 0 means 1 s, and 5 s is the most.
	Every time.Duration
	// MaxAge is how old a connection with a certificate may become; 0 means
	// events.MaxCertificateLifetime: the certificate has expired then.
	MaxAge time.Duration
	// Log is where closed connections and failures go; nil means slog.Default().
	Log *slog.Logger
	// Metrics takes the counters; nil means none.
	Metrics prometheus.Registerer
}

const (
	defaultEnforceEvery = time.Second
	// maxEnforceEvery keeps the whole within the verifiers' bound.
	maxEnforceEvery = 5 * time.Second
	// scanEvery is how often all connections are looked at while certificates are
	// revoked, though nothing has changed: an event may have been lost.
	scanEvery = 5 * time.Second
	// ageEvery is how often all connections are looked at otherwise, for their age.
	// It is less where MaxAge is small.
	ageEvery = time.Minute
	// maxConnects bounds the connects that wait to be looked at. Those beyond it
	// are found by a scan.
	maxConnects = 1024
	// maxBrokers bounds the answers to one look for brokers.
	maxBrokers = 256
)

// Enforcer closes the connections to NATS whose certificates are revoked.
// nats-server knows no revocation list, so a revoked certificate can connect; this
// finds it by the key that the broker has seen in the TLS handshake. It looks at all
// connections of all brokers when another certificate is revoked, and at each new
// connection while any is.
//
// Nor does nats-server end a connection with its certificate, whose end it tells
// nobody. So connections are closed that are older than any certificate becomes;
// honest clients are back at once, with the one they have now.
//
// A connection ends within Every of the revocation's commit, or at once where
// [Enforcer.Wake] is called; each broker that does not answer delays that by 3 s.
// Whoever connects again is cut off again, after a few milliseconds in which it can do
// what its permissions allow. What cannot be reached is not enforced: while the system
// account of a broker does not answer, its connections stay, and each failure is logged
// and counted. Leaf nodes and routes are no clients and are not looked at. Several
// replicas may enforce at once.
type Enforcer struct {
	brokers brokers
	revoked func(ctx context.Context) ([]string, error)
	every   time.Duration
	maxAge  time.Duration
	log     *slog.Logger
	metrics *enforcerMetrics
	often   *rate.Sometimes // bounds what failures can make us log

	subs     []*nats.Subscription
	inbox    string
	found    chan *nats.Msg // brokers that answer a scan
	status   chan nats.Status
	wake     chan struct{}
	connects chan connectEvent
	ctx      context.Context // of the work; ends with Close
	stop     context.CancelFunc
	done     chan struct{}

	// The rest belongs to the goroutine.
	ids      map[string]bool // revoked
	closings map[string]*closings
	nextScan time.Time
	nextAges time.Time
	waiting  bool // a scan has begun and no broker has answered
	reached  bool // the system account has answered on this connection
}

// StartEnforcer starts enforcing. It does not wait for the broker.
func StartEnforcer(cfg EnforcerConfig) (*Enforcer, error) {
	if cfg.Conn == nil || cfg.Revoked == nil {
		return nil, errors.New("starting the enforcer: Conn and Revoked are required")
	}
	if cfg.Every < 0 || cfg.Every > maxEnforceEvery {
		return nil, fmt.Errorf("starting the enforcer: Every must be at most %v", maxEnforceEvery)
	}
	if cfg.MaxAge < 0 {
		return nil, errors.New("starting the enforcer: MaxAge must not be negative")
	}
	cfg.Every, cfg.MaxAge = cmp.Or(cfg.Every, defaultEnforceEvery), cmp.Or(cfg.MaxAge, events.MaxCertificateLifetime)
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	metrics, err := newEnforcerMetrics(cfg.Metrics)
	if err != nil {
		return nil, fmt.Errorf("starting the enforcer: %w", err)
	}
	e := &Enforcer{
		brokers: brokers{cfg.Conn}, revoked: cfg.Revoked, every: cfg.Every, maxAge: cfg.MaxAge, log: cfg.Log, metrics: metrics,
		often: &rate.Sometimes{First: 1, Interval: 10 * time.Second},
		wake:  make(chan struct{}, 1), connects: make(chan connectEvent, maxConnects),
		closings: make(map[string]*closings), inbox: cfg.Conn.NewInbox(), found: make(chan *nats.Msg, maxBrokers),
		done: make(chan struct{}), status: cfg.Conn.StatusChanged(nats.CONNECTED),
	}
	e.ctx, e.stop = context.WithCancel(context.Background())
	if err := e.listen(); err != nil {
		close(e.done)
		e.Close()
		return nil, fmt.Errorf("starting the enforcer: %w", err)
	}
	go e.run() // Close ends it and waits
	return e, nil
}

func (e *Enforcer) listen() error {
	connects, err := e.brokers.nc.Subscribe(connectSubject, e.connected)
	if err != nil {
		return err
	}
	e.subs = append(e.subs, connects)
	answers, err := e.brokers.nc.ChanSubscribe(e.inbox, e.found)
	if err != nil {
		return err
	}
	e.subs = append(e.subs, answers)
	return nil
}

// Wake has the revocations looked at now: for whoever has just written one.
func (e *Enforcer) Wake() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// connected hears of a connection to some broker.
func (e *Enforcer) connected(msg *nats.Msg) {
	event, err := readConnect(msg.Data)
	if err != nil {
		e.failed("reading a connect event", err)
		return
	}
	select {
	case e.connects <- event:
	default: // the next scan finds it
	}
}

func (e *Enforcer) run() {
	defer close(e.done)
	tick := time.NewTicker(e.every)
	defer tick.Stop()
	e.enforce()
	for {
		select {
		case <-tick.C:
			e.enforce()
		case <-e.wake:
			e.enforce()
		case <-e.status:
			e.nextScan, e.reached = time.Time{}, false // whatever connected meanwhile was not heard
			e.enforce()
		case event := <-e.connects:
			e.checkNew(event)
		case msg := <-e.found:
			e.checkBroker(msg)
		case <-e.ctx.Done():
			return
		}
	}
}

// checkNew looks at a new connection and at those that have come meanwhile, before a
// long list. Of a broker that does not answer it asks once; a scan finds the others.
func (e *Enforcer) checkNew(event connectEvent) {
	silent := make(map[string]bool)
	for range maxConnects {
		if !silent[event.Server.ID] {
			silent[event.Server.ID] = !e.checkOne(event)
		}
		select {
		case event = <-e.connects:
		default:
			return
		}
	}
}

// enforce looks at the revocations, and begins to look at all connections where
// that may find any.
func (e *Enforcer) enforce() {
	ctx, cancel := context.WithTimeout(e.ctx, answerTimeout)
	defer cancel()
	list, err := e.revoked(ctx)
	if err != nil {
		e.failed("reading the revoked certificates", err) // those known go on counting
	} else if ids := setOf(list); !maps.Equal(ids, e.ids) {
		e.ids, e.nextScan = ids, time.Time{}
		maps.DeleteFunc(e.closings, func(id string, _ *closings) bool { return !ids[id] })
	}
	now := time.Now()
	if now.Before(e.nextScan) || len(e.ids) == 0 && e.reached && now.Before(e.nextAges) {
		return
	}
	if e.waiting && !e.nextScan.IsZero() {
		e.failed("looking for the brokers", errors.New("none has answered"))
		// The broker at the other end may be frozen, which the pings of the connection
		// take longer to notice than the bound allows. Another one may answer.
		if err := e.brokers.nc.ForceReconnect(); err != nil {
			e.failed("connecting to another broker", err)
		}
	}
	e.nextScan, e.nextAges, e.waiting = now.Add(scanEvery), now.Add(min(ageEvery, e.maxAge/2)), true
	if err := e.brokers.find(e.inbox); err != nil {
		e.failed("looking for the brokers", err)
	}
}

// checkBroker looks at all connections of a broker that has answered, and ends those
// that must not be there once it has seen all: the list counts from its beginning.
func (e *Enforcer) checkBroker(msg *nats.Msg) {
	e.waiting = false
	broker, err := readBroker(msg)
	over := make(map[uint64]connection)
	if err == nil {
		err = e.brokers.pages(e.ctx, broker, func(c connection) {
			if e.isRevoked(c) || e.hasExpired(c) {
				over[c.CID] = c
			}
		})
	}
	err = errors.Join(err, e.end(over))
	if e.reached = err == nil; err != nil {
		e.failed("looking at the connections", err)
	}
	if err != nil || len(over) > 0 { // look again: what others end makes the list shorter, too
		e.nextScan = time.Now()
	}
}

func setOf(list []string) map[string]bool {
	set := make(map[string]bool, len(list))
	for _, id := range list {
		set[id] = true
	}
	return set
}

// checkOne looks at a connection that is new. It returns false if its broker does not
// answer.
func (e *Enforcer) checkOne(event connectEvent) bool {
	if len(e.ids) == 0 {
		return true
	}
	revoked := make(map[uint64]connection)
	err := e.brokers.one(e.ctx, event.Server.ID, event.Client.ID, func(c connection) {
		if e.isRevoked(c) {
			revoked[c.CID] = c
		}
	})
	if err = errors.Join(err, e.end(revoked)); err != nil {
		e.nextScan = time.Time{}
		e.failed("looking at a new connection", err)
	}
	return err == nil
}

func (e *Enforcer) isRevoked(c connection) bool { return len(c.Peers) > 0 && e.ids[c.Peers[0].ID] }

// hasExpired reports whether the certificate of the connection certainly has.
func (e *Enforcer) hasExpired(c connection) bool {
	return len(c.Peers) > 0 && !c.Start.IsZero() && time.Since(c.Start) > e.maxAge
}

// end closes connections of one broker, as long as it answers.
func (e *Enforcer) end(over map[uint64]connection) error {
	for _, c := range over {
		if err := e.brokers.kick(e.ctx, c); err != nil {
			return err
		}
		e.metrics.closed.Inc()
		e.note(c)
	}
	return nil
}

// closings are what was closed of one certificate.
type closings struct {
	n     int
	often rate.Sometimes
}

// note logs that a connection was closed, but not each: whoever is cut off can come
// back a hundred times a second.
func (e *Enforcer) note(c connection) {
	id := c.Peers[0].ID
	if !e.isRevoked(c) {
		e.log.Info("connection to NATS closed: its certificate has expired meanwhile",
			"id", id, "user", c.User, "account", c.Account, "address", c.Address, "server", c.server)
		return
	}
	of := e.closings[id]
	if of == nil {
		of = &closings{often: rate.Sometimes{First: 3, Interval: 10 * time.Second}}
		e.closings[id] = of
	}
	of.n++
	of.often.Do(func() {
		e.log.Warn("connection to NATS closed: its certificate is revoked",
			"id", id, "user", c.User, "account", c.Account, "address", c.Address, "server", c.server, "closed", of.n)
	})
}

func (e *Enforcer) failed(what string, err error) {
	if e.ctx.Err() != nil {
		return
	}
	e.metrics.failures.Inc()
	e.often.Do(func() { e.log.Warn("revoked certificates are not enforced on NATS", "while", what, "error", err) })
}

// Close stops enforcing and waits. It does not close the connection.
func (e *Enforcer) Close() {
	e.stop()
	for _, sub := range e.subs {
		_ = sub.Unsubscribe() // fails where the connection is closed
	}
	<-e.done
	e.brokers.nc.RemoveStatusListener(e.status) // which closes it, so not before
}

// enforcerMetrics count what is enforced.
type enforcerMetrics struct{ closed, failures prometheus.Counter }

func newEnforcerMetrics(reg prometheus.Registerer) (*enforcerMetrics, error) {
	m := &enforcerMetrics{
		closed:   counter("bus_connections_closed_total", "Connections to NATS closed because their certificate is revoked or has expired."),
		failures: counter("bus_enforcement_failures_total", "Times that revoked certificates could not be looked for on NATS."),
	}
	return m, register(reg, m.closed, m.failures)
}
