package mtls

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/authbus/authbus/events"
)

// Why a connection was ended by this side.
var (
	errExpired  = errors.New("the peer's certificate has expired")
	errReplaced = errors.New("the peer's certificate leads to no root that is trusted now")
)

// connections are the live ones, so that they can be ended.
type connections struct {
	mu   sync.Mutex
	live map[*connection]struct{} // guarded by mu
}

func newConnections() *connections {
	return &connections{live: make(map[*connection]struct{})}
}

func (l *connections) add(c *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live[c] = struct{}{}
}

func (l *connections) remove(c *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.live, c)
}

func (l *connections) all() []*connection {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*connection, 0, len(l.live))
	for c := range l.live {
		all = append(all, c)
	}
	return all
}

func (l *connections) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.live)
}

// judge ends the connections whose peers would not be let in by these roots.
func (l *connections) judge(roots *x509.CertPool, now time.Time) {
	for _, c := range l.all() {
		if err := verify(c.chain, roots, c.usage, now); err != nil {
			c.end(fmt.Errorf("%w: %w", errReplaced, err))
		}
	}
}

// connection is what lies below TLS: closing it ends the connection at once,
// whatever is under way on it.
type connection struct {
	net.Conn
	source *Source
	usage  x509.ExtKeyUsage // what the peer's certificate must be good for

	chain []*x509.Certificate // the peer's; set before it is added

	mu      sync.Mutex
	closed  bool               // guarded by mu
	cause   error              // why this side closed it; guarded by mu
	unwatch context.CancelFunc // guarded by mu
}

// Read implements net.Conn.
func (c *connection) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, c.explain(err)
}

// Write implements net.Conn.
func (c *connection) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.explain(err)
}

// explain says why there is nothing to read or write, if this side is the reason: a
// peer of which nothing is known is not one that has failed.
func (c *connection) explain(err error) error {
	if err == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		return err
	}
	return fmt.Errorf("the connection was ended: %w", c.cause)
}

// admitted begins to follow the fate of the peer's certificate.
func (c *connection) admitted(chain []*x509.Certificate) error {
	c.chain = slices.Clone(chain) // the slice is the handshake's
	s := c.source
	s.conns.add(c)
	// Whatever changed between the judgement and this moment is found here.
	if err := verify(c.chain, s.current.Load().roots, c.usage, time.Now()); err != nil {
		return err
	}
	if r := s.revocations(); r != nil {
		c.enforce(r)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		s.conns.remove(c)
		return net.ErrClosed
	}
	return nil
}

// enforce closes the connection when the peer's certificate is revoked.
func (c *connection) enforce(r Revocations) {
	watched, cancel := r.WatchCertificate(c.source.lifetime, events.CertificateID(c.chain[0]))
	c.mu.Lock()
	before, closed := c.unwatch, c.closed
	if !closed {
		c.unwatch = cancel
	}
	c.mu.Unlock()
	if before != nil {
		before()
	}
	if closed {
		cancel()
		return
	}
	context.AfterFunc(watched, func() {
		if cause := context.Cause(watched); !errors.Is(cause, context.Canceled) {
			c.end(cause)
		}
	})
}

// end closes the connection because of the peer's certificate.
func (c *connection) end(cause error) {
	if !c.shut(cause) {
		return
	}
	c.source.counts.ended.Add(1)
	id, _ := events.CertificateSPIFFEID(c.chain[0]) // empty for a server that has a host name
	c.source.log.Warn("a connection was ended", "peer", id, "address", c.RemoteAddr().String(), "error", cause)
	_ = c.Conn.Close() // it is over either way
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.shut(nil)
	return c.Conn.Close()
}

// shut ends the watch and reports whether it was the first to.
func (c *connection) shut(cause error) bool {
	c.mu.Lock()
	first, unwatch := !c.closed, c.unwatch
	c.closed, c.unwatch = true, nil
	if first {
		c.cause = cause
	}
	c.mu.Unlock()
	c.source.conns.remove(c)
	if unwatch != nil {
		unwatch()
	}
	return first
}

// sweepInterval is how far a connection outlives the peer's certificate.
const sweepInterval = time.Second

// sweep ends connections whose peer's certificate has expired, by a clock that
// goes on while the machine sleeps.
func (s *Source) sweep() {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.lifetime.Done():
			return
		}
		now := time.Now()
		for _, c := range s.conns.all() {
			if now.After(c.chain[0].NotAfter) {
				c.end(errExpired)
			}
		}
	}
}
