package mtls

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Transport is an http.RoundTripper to servers that prove who they are. Its
// connections are closed at once when the server's certificate is revoked, expires,
// or leads to no trusted root any longer.
//
// A new request never goes over a connection that was made with a certificate that
// has been renewed since, nor over one whose server is near the end of its
// certificate. What is under way there ends in peace; so renewal costs no request.
//
// The error of a request that failed because of the server's certificate wraps what
// [Revocations] said: verifier.ErrRevoked, or verifier.ErrUnavailable where nothing is
// known of it now. Why a server refuses this side, it does not tell.
type Transport struct {
	source *Source
	list   allowed
	base   *http.Transport

	mu      sync.Mutex
	current *generation // guarded by mu
}

// generation are the connections made with one identity.
type generation struct {
	identity *identity
	// many carries HTTP/2 where the server has it; upgrades (WebSocket) need a
	// connection of HTTP/1.1 to themselves.
	many, upgrades *http.Transport

	mu      sync.Mutex
	drainAt time.Time // no new request from then on; guarded by mu
}

const (
	dialTimeout     = 10 * time.Second
	idleConnTimeout = 90 * time.Second
)

// Transport returns a transport to the servers, given as to [Source.Client]. base
// says the rest, nil stands for the defaults of net/http; its TLS settings and its
// proxy are not used. Requests that are not https fail.
func (s *Source) Transport(base *http.Transport, servers ...string) (*Transport, error) {
	list, err := s.parseAllowed(servers)
	if err != nil {
		return nil, err
	}
	if base == nil {
		base = &http.Transport{
			ExpectContinueTimeout: time.Second, MaxIdleConns: 100, ForceAttemptHTTP2: true,
			// Where the peer has vanished without a word, TCP goes on for a quarter of an hour.
			HTTP2: &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second},
		}
	}
	base = base.Clone()
	base.Proxy, base.TLSClientConfig, base.TLSNextProto = nil, nil, nil
	if base.IdleConnTimeout == 0 {
		base.IdleConnTimeout = idleConnTimeout // a generation that is over must end
	}
	return &Transport{source: s, list: list, base: base}, nil
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		if r.Body != nil {
			_ = r.Body.Close() // RoundTrip must close it, and nothing was read
		}
		return nil, fmt.Errorf("mutual TLS needs https, not %q", r.URL.Scheme)
	}
	g := t.generation(time.Now())
	if r.Header.Get("Upgrade") != "" {
		return g.upgrades.RoundTrip(r)
	}
	return g.many.RoundTrip(r)
}

// CloseIdleConnections closes what no request is using.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	g := t.current
	t.mu.Unlock()
	if g != nil {
		g.closeIdle()
	}
}

func (g *generation) closeIdle() {
	g.many.CloseIdleConnections()
	g.upgrades.CloseIdleConnections()
}

// generation returns the connections to use now.
func (t *Transport) generation(now time.Time) *generation {
	t.mu.Lock()
	before := t.current
	if before != nil && before.identity == t.source.current.Load() && !before.drained(now) {
		t.mu.Unlock()
		return before
	}
	g := &generation{identity: t.source.current.Load()}
	g.many, g.upgrades = t.base.Clone(), t.base.Clone()
	g.many.DialTLSContext = t.dialer(g, "h2", "http/1.1")
	if !t.base.ForceAttemptHTTP2 {
		g.many.DialTLSContext = t.dialer(g, "http/1.1")
	}
	g.upgrades.ForceAttemptHTTP2 = false
	g.upgrades.DialTLSContext = t.dialer(g, "http/1.1")
	t.current = g
	t.mu.Unlock()
	if before != nil {
		before.closeIdle()
	}
	return g
}

func (g *generation) drained(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.drainAt.IsZero() && now.After(g.drainAt)
}

// meet has the generation end before the server's certificate does. A server that
// has not renewed by then would not have by the next connection either.
func (g *generation) meet(leaf *x509.Certificate, now time.Time) {
	at := leaf.NotAfter.Add(-leaf.NotAfter.Sub(issuedAt(leaf, now)) / alarmShare)
	g.mu.Lock()
	defer g.mu.Unlock()
	if at.After(now) && (g.drainAt.IsZero() || at.Before(g.drainAt)) {
		g.drainAt = at
	}
}

// dialer returns what net/http calls for a connection to a server.
func (t *Transport) dialer(g *generation, protocols ...string) func(context.Context, string, string) (net.Conn, error) {
	dial := t.base.DialContext
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, cmp.Or(t.base.TLSHandshakeTimeout, dialTimeout))
		defer cancel()
		raw, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c := &connection{Conn: raw, source: t.source, usage: x509.ExtKeyUsageServerAuth}
		config := t.source.client(func(state tls.ConnectionState) error {
			if err := t.source.admit(state, t.list); err != nil {
				return err
			}
			g.meet(state.PeerCertificates[0], time.Now())
			return c.admitted(state.PeerCertificates)
		})
		config.NextProtos = protocols
		if host, _, err := net.SplitHostPort(address); err == nil {
			config.ServerName = host // for whoever routes by it; it proves nothing
		}
		conn := tls.Client(c, config)
		if err := conn.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return conn, nil
	}
}
