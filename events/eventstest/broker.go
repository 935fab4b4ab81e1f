// Package eventstest gives tests a real broker: an embedded nats-server with
// JetStream on disk, on a free port, that can be stopped and started again as
// the same broker.
//
//	b := eventstest.NewBroker(t)
//	js := b.Streams(t)
//	seen := eventstest.Collect(t, b.Connect(t), events.Subscription{})
//	err := events.Publish(ctx, js, eventstest.Event(1, events.SessionEnded{Sub: "u1", SID: "s1", Rev: 7}))
//	ended := eventstest.Await(t, seen, func(e events.SessionEnded) bool { return e.SID == "s1" })
//
// Everything ends with the test that began it, and nothing is left behind.
package eventstest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/events"
)

// patience is how long the helpers of this package wait before they fail a test.
const patience = 20 * time.Second

// Broker is one nats-server. Stop and Start are not for concurrent use.
type Broker struct {
	t      testing.TB
	opts   server.Options
	server *server.Server
	url    string
}

// NewBroker starts a broker with a name of its own and JetStream in a temporary
// folder.
func NewBroker(t testing.TB) *Broker {
	t.Helper()
	b := &Broker{t: t, opts: server.Options{
		ServerName: "eventstest-" + rand.Text(),
		Host:       "127.0.0.1",
		Port:       server.RANDOM_PORT,
		JetStream:  true,
		StoreDir:   t.TempDir(),
		NoLog:      true,
		NoSigs:     true,
	}}
	t.Cleanup(b.Stop)
	b.Start()
	return b
}

// URL is where clients connect. It stays the same when the broker is restarted.
func (b *Broker) URL() string { return b.url }

// Server is the server that runs now, or the one that was stopped last.
func (b *Broker) Server() *server.Server { return b.server }

// Start starts the broker again, with what it had stored, on the same port.
func (b *Broker) Start() {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := b.start()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("starting the broker: %v", err)
		}
	}
}

// start makes one attempt: whoever has taken the port meanwhile may give it back.
func (b *Broker) start() error {
	opts := b.opts // the server changes its options
	s, err := server.NewServer(&opts)
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(patience / 4) {
		s.Shutdown()
		s.WaitForShutdown()
		return fmt.Errorf("not ready for connections on port %d", b.opts.Port)
	}
	b.server = s
	b.opts.Port = s.Addr().(*net.TCPAddr).Port
	b.url = "nats://" + net.JoinHostPort(b.opts.Host, strconv.Itoa(b.opts.Port))
	return nil
}

// Stop stops the broker as a clean shutdown does, and waits for it. Its clients
// lose their connections and try to get them back.
func (b *Broker) Stop() {
	if b.server == nil {
		return
	}
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

// Connect connects to the broker and makes sure that it is this one: a port may
// have passed to somebody else's. Without options that say otherwise the
// connection comes back within milliseconds of a restart. It is closed when t ends.
func (b *Broker) Connect(t testing.TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	defaults := []nats.Option{
		nats.MaxReconnects(-1),
		nats.ReconnectWait(10 * time.Millisecond),
		nats.ReconnectJitter(0, 0),
	}
	nc, err := nats.Connect(b.url, append(defaults, opts...)...)
	if err != nil {
		t.Fatalf("connecting to the broker: %v", err)
	}
	t.Cleanup(nc.Close)
	if got := nc.ConnectedServerName(); got != b.opts.ServerName {
		t.Fatalf("connected to a broker named %q, not to this test's %q", got, b.opts.ServerName)
	}
	return nc
}

// AwaitConnected waits until nc is connected to the broker as it runs now. After
// a restart a connection seems to be up until it has noticed, and what is
// published meanwhile is lost.
func (b *Broker) AwaitConnected(t testing.TB, nc *nats.Conn) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for nc.ConnectedServerId() != b.server.ID() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the connection to the broker does not come back")
		}
	}
}

// Streams creates the two streams with their defaults, over a connection of its
// own, and returns what to publish with.
func (b *Broker) Streams(t testing.TB) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(b.Connect(t))
	if err != nil {
		t.Fatalf("using JetStream: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := events.EnsureStreams(ctx, js, events.StreamOptions{}); err != nil {
		t.Fatal(err)
	}
	return js
}
