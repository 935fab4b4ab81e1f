package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/singleflight"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/bus"
	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/authsvc/internal/keyring"
	"github.com/authbus/authbus/authsvc/internal/node/broker"
	"github.com/authbus/authbus/authsvc/internal/password"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

const (
	// closeTimeout bounds each phase of Close.
	closeTimeout = 10 * time.Second
	sweepEvery   = time.Minute
)

// Node is a running auth service.
type Node struct {
	config    Config
	registry  *prometheus.Registry
	listener  net.Listener
	mutual    net.Listener   // nil without mutual TLS
	broker    *broker.Broker // nil unless it runs in this process
	db        *store.DB
	keys      *keyring.Keyring
	publisher *bus.Publisher
	authority *authority.Authority
	responder *bus.Responder
	server    *http.Server
	readiness singleflight.Group

	publishing, answering *nats.Conn

	// What proves the auth service and judges others by certificate; nil without.
	identities identities
	enforcing  *nats.Conn
	enforcer   *bus.Enforcer
	revoked    *revoked

	stop    context.CancelFunc // ends the loops
	loops   sync.WaitGroup     // schedule of keys, housekeeping, HTTP
	closing sync.Once
	closed  error
}

// Start starts a node. ctx bounds only Start. The error of a configuration that
// cannot be right names the field.
func Start(ctx context.Context, c Config) (*Node, error) {
	if err := c.normalize(); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	n := &Node{config: c, registry: prometheus.NewRegistry()}
	n.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, step := range []func(context.Context) error{
		n.openIdentities, n.listen, n.listenMTLS, n.openDatabase, n.openKeys, n.makeAuthority, n.connect, n.startBus,
		n.startEnforcing, n.serve,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	return n, nil
}

// listen comes first because the issuer may follow from the port.
func (n *Node) listen(ctx context.Context) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", n.config.Listen)
	if err != nil {
		return &field.Error{Field: "Listen", Err: err}
	}
	n.listener = listener
	if n.config.Issuer == "" {
		n.config.Issuer = "http://" + listener.Addr().String()
	}
	return nil
}

func (n *Node) openDatabase(ctx context.Context) (err error) {
	n.db, err = store.Open(ctx, n.config.DatabaseURL)
	if err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	return nil
}

func (n *Node) openKeys(ctx context.Context) error {
	read, from, name := keyring.ParseMasterKey, n.config.MasterKey, "MasterKey"
	if n.config.MasterKeyFile != "" {
		read, from, name = keyring.LoadOrCreateMasterKey, n.config.MasterKeyFile, "MasterKeyFile"
	}
	master, err := read(from)
	if err != nil {
		return &field.Error{Field: name, Err: err}
	}
	n.keys, err = keyring.Open(ctx, n.db, n.config.keyring(master))
	if errors.Is(err, keyring.ErrWrongMasterKey) {
		return &field.Error{Field: name, Err: err}
	}
	if err != nil {
		return fmt.Errorf("opening the signing keys: %w", err)
	}
	return nil
}

// makeAuthority comes before the bus, so that no configuration that is refused
// reaches it.
func (n *Node) makeAuthority(context.Context) error {
	hasher, err := password.NewHasher(password.HasherConfig{})
	if err != nil {
		return err
	}
	c := n.config
	n.authority, err = authority.New(authority.Config{
		Issuer: c.Issuer, Audiences: c.Audiences, AccessLifetime: c.AccessLifetime, RefreshGrace: c.RefreshGrace,
		SessionIdle: c.SessionIdle, SessionAbsolute: c.SessionAbsolute, MaxSessionsPerUser: c.MaxSessions,
		AdminMaxAge: c.AdminMaxAge, Logger: c.Log,
	}, n.db, n.keys, hasher, feed{n})
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	return nil
}

// feed is the publisher, which is started after the authority is made and before
// anything is asked of it.
type feed struct{ n *Node }

// Deliver implements authority.Feed.
func (f feed) Deliver(ctx context.Context, record events.Revocation) authority.Delivery {
	if record.Scope == events.ScopeCert {
		f.n.certificateRevoked()
	}
	return f.n.publisher.Deliver(ctx, record)
}

// connect opens the two connections: whoever asks chooses where an answer goes,
// so the one that answers is not the one that may publish.
func (n *Node) connect(context.Context) (err error) {
	publisher := n.target(n.identities.publisher, n.config.PublisherCredentials)
	answerer := n.target(n.identities.answerer, n.config.AnswererCredentials)
	n.broker = n.config.Broker
	if e := n.config.Embedded; e != nil {
		n.broker, err = broker.Start(broker.Config{Dir: e.Dir, Listen: e.Listen, SyncInterval: e.SyncInterval, Log: n.config.Log})
		err = field.Rename(err, map[string]string{"Listen": "Embedded.Listen"})
		if err != nil {
			return err
		}
	}
	if n.broker != nil {
		publisher = bus.Target{URL: n.broker.URL(), Options: n.broker.Options(broker.Publisher)}
		answerer = bus.Target{URL: n.broker.URL(), Options: n.broker.Options(broker.Answerer)}
	}
	if n.publishing, err = bus.Connect(identityPublisher, publisher, n.config.Log); err != nil {
		return err
	}
	n.answering, err = bus.Connect(identityAnswerer, answerer, n.config.Log)
	return err
}

func (n *Node) startBus(context.Context) (err error) {
	n.publisher, err = bus.StartPublisher(bus.PublisherConfig{
		Conn: n.publishing, DB: n.db, Keys: n.keys, Log: n.config.Log, Metrics: n.registry,
		Streams: events.StreamOptions{Replicas: n.config.Replicas, Subscribers: n.config.EventSubscribers},
	})
	if err != nil {
		return err
	}
	n.responder, err = bus.StartResponder(bus.ResponderConfig{
		Conn: n.answering, Authority: n.authority, Keys: n.keys, Issuer: n.config.Issuer,
		Ready: n.publisher.Ready, Log: n.config.Log, Metrics: n.registry,
	})
	return err
}

// AwaitReady waits until the database has been compared with the bus. It gives up
// where waiting is in vain: at a broker that is too old, [bus.ErrOldServer].
func (n *Node) AwaitReady(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := n.publisher.Ready()
		if err == nil || errors.Is(err, bus.ErrOldServer) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the auth service: %w: %w", ctx.Err(), err)
		}
	}
}

// URL is where HTTP is served.
func (n *Node) URL() string { return "http://" + n.listener.Addr().String() }

// Issuer is the iss claim of the tokens.
func (n *Node) Issuer() string { return n.config.Issuer }

// Authority is the domain, for tests that go where HTTP is too slow.
func (n *Node) Authority() *authority.Authority { return n.authority }

// Metrics are what /metrics shows.
func (n *Node) Metrics() prometheus.Gatherer { return n.registry }

// Broker is the broker in this process, or nil.
func (n *Node) Broker() *broker.Broker { return n.broker }

// BootstrapSecret returns a new one-time secret for the first admin, and false
// where there is an admin already.
func (n *Node) BootstrapSecret(ctx context.Context) (secret string, ok bool, err error) {
	s, err := n.authority.NewBootstrapSecret(ctx)
	var refused *authority.Error
	if errors.As(err, &refused) && refused.Code == authority.CodeAdminExists {
		return "", false, nil
	}
	return s.Reveal(), err == nil, err
}

// Close ends the node in order and waits for it. Calling it again returns the
// same error.
func (n *Node) Close() error {
	n.closing.Do(func() { n.closed = n.shutdown() })
	return n.closed
}

func (n *Node) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	errs := []error{n.stopServing(ctx)}
	n.loops.Wait()
	if n.responder != nil {
		n.responder.Close()
	}
	if n.publisher != nil {
		n.publisher.Close(ctx)
	}
	errs = append(errs, n.stopEnforcing())
	for _, nc := range []*nats.Conn{n.answering, n.publishing, n.enforcing} {
		if nc != nil {
			drain(ctx, nc)
		}
	}
	if n.broker != nil && n.config.Embedded != nil {
		n.broker.Close()
	}
	if n.db != nil {
		errs = append(errs, n.db.Close())
	}
	return errors.Join(errs...)
}

// stopServing waits for the requests under way. Where nothing was served yet, the
// addresses are given back.
func (n *Node) stopServing(ctx context.Context) error {
	if n.server != nil {
		defer n.stop()
		return n.server.Shutdown(ctx)
	}
	var errs []error
	for _, listener := range []net.Listener{n.listener, n.mutual} {
		if listener != nil {
			errs = append(errs, listener.Close())
		}
	}
	return errors.Join(errs...)
}

// drain sends what is buffered and closes the connection.
func drain(ctx context.Context, nc *nats.Conn) {
	if nc.IsConnected() {
		_ = nc.FlushWithContext(ctx) // what is lost here is in the database
	}
	nc.Close()
}
