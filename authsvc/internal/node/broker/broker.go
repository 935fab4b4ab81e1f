// Package broker runs nats-server, with JetStream on disk, inside this process.
// It is what `authsvc dev`, the tour and the tests use; beyond one machine the
// auth service is given the address of a NATS cluster instead.
//
//	b, err := broker.Start(broker.Config{Dir: "/var/lib/authsvc/nats"})
//	defer b.Close()
//	nc, err := nats.Connect(b.URL(), b.Options(broker.Publisher)...)
//
// # Durability
//
// Unless told otherwise, every message is synced to disk before it is
// acknowledged. nats-server's own
// default syncs every two minutes, and a lone broker has no replica that would
// survive a power cut. The database remains the truth even so.
//
// # Permissions
//
// The auth service has two identities with keys that are made anew at each start
// and never leave the process: [Publisher] may do everything, [Answerer]
// may not publish on any subject of the contract. Everybody else connects
// without credentials and can send requests and read everything, but can
// neither publish on the streams of the auth service nor change them. The
// broker therefore belongs on a loopback address or in a trusted network.
package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/internal/field"
)

// Identity is one of the auth service's own two users.
type Identity string

// The identities that [Broker.Options] connects as.
const (
	Publisher Identity = "authsvc-publisher" // owns the streams and publishes on them
	Answerer  Identity = "authsvc-answerer"  // answers requests, and may publish nothing else
)

// DefaultListen is where the broker listens unless told otherwise.
const DefaultListen = "127.0.0.1:4222"

// startTimeout bounds how long a start may take: a stream of a million records
// is recovered in well under a second.
const startTimeout = 30 * time.Second

// Config says where the broker listens and keeps its data.
type Config struct {
	// Dir is JetStream's store directory; it is created if missing. Required.
	Dir string
	// Listen is host:port; empty means DefaultListen. Port 0 takes a free one,
	// which the broker then keeps over Stop and Start.
	Listen string
	// SyncInterval is how often data are synced to disk; 0 means that each
	// message is, before it is acknowledged.
	SyncInterval time.Duration
	// Log takes what nats-server warns of; nil means slog.Default().
	Log *slog.Logger
}

// Broker is a nats-server in this process. It can be stopped and started again
// on the same address and data. Its methods may be called concurrently.
type Broker struct {
	opts *server.Options
	who  map[Identity]credentials
	log  *slog.Logger

	mu  sync.Mutex
	srv *server.Server // nil while stopped
}

// Start starts a broker.
func Start(cfg Config) (*Broker, error) {
	if cfg.Dir == "" {
		return nil, errors.New("starting broker: no directory for its data")
	}
	host, port, err := splitListen(cfg.Listen)
	if err != nil {
		return nil, &field.Error{Field: "Listen", Err: err}
	}
	b := &Broker{log: cfg.Log}
	if b.log == nil {
		b.log = slog.Default()
	}
	if b.who, err = newCredentials(); err != nil {
		return nil, fmt.Errorf("starting broker: %w", err)
	}
	b.opts = &server.Options{
		ServerName: "authsvc-embedded", // fixed: the name is part of JetStream's identity
		Host:       host, Port: port,
		JetStream: true, StoreDir: cfg.Dir, SyncAlways: cfg.SyncInterval == 0, SyncInterval: cfg.SyncInterval,
		NoSigs: true, DisableShortFirstPing: true,
		Nkeys: users(b.who), NoAuthUser: b.who[anonymous].public,
		MaxPayload: 1 << 20,
	}
	if err := b.Start(); err != nil {
		return nil, err
	}
	return b, nil
}

// StartFile starts a broker from a configuration file of nats-server. Who may do what
// is then the file's word, and [Broker.Options] are for nobody.
func StartFile(path string, log *slog.Logger) (*Broker, error) {
	opts, err := server.ProcessConfigFile(path)
	if err != nil {
		return nil, fmt.Errorf("starting broker: %w", err)
	}
	opts.NoSigs = true
	b := &Broker{opts: opts, log: log}
	if b.log == nil {
		b.log = slog.Default()
	}
	if err := b.Start(); err != nil {
		return nil, err
	}
	return b, nil
}

// splitListen reads host:port; nats-server spells "any free port" as -1.
func splitListen(listen string) (string, int, error) {
	if listen == "" {
		listen = DefaultListen
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("port %q is not a number up to 65535", port)
	}
	if n == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(n), nil
}

// Start starts the broker again after Stop. It does nothing while it runs.
func (b *Broker) Start() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.srv != nil {
		return nil
	}
	srv, err := server.NewServer(b.opts.Clone())
	if err != nil {
		return fmt.Errorf("starting broker: %w", err)
	}
	log := &serverLog{log: b.log, fatal: make(chan string, 1)}
	srv.SetLoggerV2(log, false, false, false)
	srv.Start()
	if err := awaitReady(srv, log.fatal); err != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
		return fmt.Errorf("starting broker on %s: %w", net.JoinHostPort(b.opts.Host, strconv.Itoa(b.opts.Port)), err)
	}
	if addr, ok := srv.Addr().(*net.TCPAddr); ok {
		b.opts.Port = addr.Port
	}
	b.srv = srv
	return nil
}

// awaitReady waits until clients can connect. The server reports what stopped
// it, such as a port in use, only to its log.
func awaitReady(srv *server.Server, fatal <-chan string) error {
	deadline := time.Now().Add(startTimeout)
	for time.Now().Before(deadline) {
		if srv.ReadyForConnections(100 * time.Millisecond) {
			return nil
		}
		select {
		case reason := <-fatal:
			return errors.New(reason)
		default:
		}
	}
	return fmt.Errorf("not ready after %s", startTimeout)
}

// Stop stops the broker and waits until it has. Connections see it vanish.
func (b *Broker) Stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.srv == nil {
		return
	}
	b.srv.Shutdown()
	b.srv.WaitForShutdown()
	b.srv = nil
}

// Close is Stop.
func (b *Broker) Close() { b.Stop() }

// URL is where clients connect.
func (b *Broker) URL() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	host := b.opts.Host
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "nats"
	if b.opts.TLSConfig != nil {
		scheme = "tls"
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(b.opts.Port))
}

// Options make a connection one of the auth service's own: inside the process,
// without the network, and as who. They survive Stop and Start.
func (b *Broker) Options(who Identity) []nats.Option {
	return []nats.Option{nats.InProcessServer(b), nats.Nkey(b.who[who].public, b.who[who].pair.Sign)}
}

// InProcessConn is called by the client library on each attempt to connect. It
// goes to the server that runs now, not to the one that ran at the first attempt.
func (b *Broker) InProcessConn() (net.Conn, error) {
	b.mu.Lock()
	srv := b.srv
	b.mu.Unlock()
	if srv == nil {
		return nil, errors.New("the broker is stopped")
	}
	return srv.InProcessConn()
}
