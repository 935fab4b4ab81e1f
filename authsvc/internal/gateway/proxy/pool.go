package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/authbus/authbus/authsvc/internal/gateway/routes"
	"github.com/authbus/authbus/verifier"
)

// pool is an upstream: its targets and the connections to them.
type pool struct {
	upstream *routes.Upstream
	targets  []*target
	// requests carries requests, and upgrades those that become WebSockets, which
	// HTTP/2 does not. They are the same but for h2c.
	requests, upgrades transport
	// handshake is how targets with https prove who they are to a check.
	handshake *tls.Config

	ctx      context.Context // of everything that goes through the pool
	cancel   context.CancelCauseFunc
	stop     context.CancelFunc // stops the checks
	checks   sync.WaitGroup
	inFlight atomic.Int64
	turn     atomic.Uint32
	quiet    rate.Sometimes
	log      *slog.Logger
	metrics  *metrics

	shown  sync.Mutex
	listed bool // guarded by shown; whether the pool is in the table

	users int         // exchanges and the table; guarded by Proxy.mu
	drain *time.Timer // guarded by Proxy.mu; set once the pool has left the table
}

// target is one URL of an upstream.
type target struct {
	url      *url.URL
	inFlight atomic.Int64
	state
}

// identity tells upstreams apart: pools of the same survive a change of the table.
func identity(u *routes.Upstream) string {
	text, err := json.Marshal(u)
	if err != nil {
		panic("proxy: " + err.Error()) // no value of these types fails
	}
	return string(text)
}

// transport is a way to an upstream.
type transport interface {
	http.RoundTripper
	CloseIdleConnections()
}

// newPool returns a pool with healthy targets until they are checked.
func (p *Proxy) newPool(u *routes.Upstream) (*pool, error) {
	requests, upgrades, err := p.transports(u)
	if err != nil {
		return nil, err
	}
	handshake, err := p.handshake(u)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(p.ctx)
	b := &pool{
		upstream: u, requests: requests, upgrades: upgrades, handshake: handshake, ctx: ctx, cancel: cancel, stop: func() {},
		quiet: rate.Sometimes{Interval: time.Second}, log: p.config.Logger, metrics: p.metrics,
	}
	for _, text := range u.URLs {
		at, err := url.Parse(text)
		if err != nil {
			cancel(err)
			return nil, fmt.Errorf("upstream %s: %w", u.Name, err)
		}
		// One bad check is enough for a target that has never been good.
		b.targets = append(b.targets, &target{url: at, state: state{healthy: true, bad: u.Health.Unhealthy - 1}})
	}
	return b, nil
}

// transports returns the connections of an upstream.
func (p *Proxy) transports(u *routes.Upstream) (requests, upgrades transport, err error) {
	dialer := &net.Dialer{Timeout: u.ConnectTimeout, KeepAlive: 15 * time.Second}
	base := &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: p.config.TLS.Clone(), TLSHandshakeTimeout: u.ConnectTimeout,
		ForceAttemptHTTP2: true, DisableCompression: true, // bodies pass as they are
		MaxIdleConnsPerHost: 256, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		ExpectContinueTimeout: time.Second,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
	}
	switch {
	case u.SPIFFE != "" && p.config.Identity == nil:
		// Not to the host name instead: whoever asks for an identity wants that one.
		return nil, nil, u.Mistake("spiffe", "the gateway has no certificate to connect with")
	case u.SPIFFE != "":
		mutual, err := p.config.Identity.Transport(base, u.SPIFFE)
		if err != nil {
			return nil, nil, u.Mistake("spiffe", err.Error())
		}
		return mutual, mutual, nil
	case u.H2C:
		clear := base.Clone()
		clear.Protocols = new(http.Protocols)
		clear.Protocols.SetUnencryptedHTTP2(true)
		return clear, base, nil
	default:
		return base, base, nil
	}
}

// handshake returns how targets of the upstream that have https prove who they are.
func (p *Proxy) handshake(u *routes.Upstream) (*tls.Config, error) {
	if u.SPIFFE == "" {
		return p.config.TLS, nil
	}
	return p.config.Identity.Client(u.SPIFFE)
}

// close ends the pool and waits for its checks. Nobody uses it any longer.
func (b *pool) close() {
	b.cancel(errClosed)
	b.stop()
	b.checks.Wait()
	for _, t := range []transport{b.requests, b.upgrades} {
		t.CloseIdleConnections()
	}
}

// pick returns the healthy target with the fewest requests, of equals in turn,
// and one that was not tried before if there is any; nil if none is healthy.
func (b *pool) pick(tried []*target) *target {
	var best *target
	bestCost := int64(0)
	first := int(b.turn.Add(1))
	for i := range b.targets {
		t := b.targets[(first+i)%len(b.targets)]
		if !t.isHealthy() {
			continue
		}
		cost := t.inFlight.Load()
		if slices.Contains(tried, t) {
			cost += 1 << 32
		}
		if best == nil || cost < bestCost {
			best, bestCost = t, cost
		}
	}
	return best
}

// again is the pause before a target is tried a second time.
const again = 25 * time.Millisecond

// RoundTrip sends a request of an exchange to a healthy target, and to another one
// if that fails and the request can be repeated.
func (p *Proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	x := exchangeOf(r.Context())
	var tried []*target
	var failed error
	for {
		t := x.pool.pick(tried)
		if t == nil {
			return nil, cmp.Or(failed, errNoneHealthy)
		}
		if slices.Contains(tried, t) {
			select {
			case <-time.After(again):
			case <-r.Context().Done():
				return nil, failed
			}
		}
		res, err := x.try(r, t)
		if err == nil {
			return res, nil
		}
		if x.ctx.Err() != nil {
			return nil, err
		}
		failed = err
		tried = append(tried, t)
		if isConnectError(err) && !errors.Is(err, verifier.ErrUnavailable) { // which is no fault of the target's
			t.connectFailed(x.pool, err)
		}
		if len(tried) > x.rule.Retries || !x.repeatable(r.Method, err) {
			return nil, err
		}
		p.metrics.retries.WithLabelValues(x.pool.upstream.Name).Inc()
	}
}

// isIdempotent reports whether the method may be carried out twice (RFC 9110 §9.2.2).
func isIdempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// repeatable reports whether a request may be sent again that has failed: one that
// was never sent, or one that may be carried out twice and of whose answer nothing
// has come.
func (x *exchange) repeatable(method string, failure error) bool {
	return x.body.repeatable() && (isConnectError(failure) || isIdempotent(method) && !x.heard.Load())
}

// connectError says that there was no connection to send a request on.
type connectError struct{ error }

// Unwrap returns why.
func (e connectError) Unwrap() error { return e.error }

func isConnectError(err error) bool {
	_, ok := errors.AsType[connectError](err)
	return ok
}

// try sends the request to the target.
func (x *exchange) try(r *http.Request, t *target) (*http.Response, error) {
	var connected atomic.Bool
	// A copy, because a transport may go on reading that of the last try.
	out := r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn:              func(httptrace.GotConnInfo) { connected.Store(true) },
		GotFirstResponseByte: func() { x.heard.Store(true) },
	}))
	at := *r.URL
	at.Scheme, at.Host = t.url.Scheme, t.url.Host
	out.URL, out.Body = &at, x.body.try()
	way := x.pool.requests
	if x.websocket {
		way = x.pool.upgrades
	}
	t.inFlight.Add(1)
	res, err := way.RoundTrip(out)
	if err != nil {
		t.inFlight.Add(-1)
		if !connected.Load() {
			err = connectError{err}
		}
		return nil, err
	}
	x.target = t
	return res, nil
}
