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
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/authbus/authbus/authsvc/internal/gateway/routes"
)

// pool is an upstream: its targets and the connections to them.
type pool struct {
	upstream *routes.Upstream
	targets  []*target
	// requests carries requests, and upgrades those that become WebSockets, which
	// HTTP/2 does not. They are the same but for h2c.
	requests, upgrades *http.Transport

	ctx      context.Context // of everything that goes through the pool
	cancel   context.CancelCauseFunc
	stop     context.CancelFunc // stops the checks
	checks   sync.WaitGroup
	inFlight atomic.Int64
	turn     atomic.Uint32
	quiet    rate.Sometimes
	log      *slog.Logger
	metrics  *metrics

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

// newPool returns a pool with healthy targets until they are checked.
func (p *Proxy) newPool(u *routes.Upstream) (*pool, error) {
	transport, err := p.transport(u)
	if err != nil {
		return nil, fmt.Errorf("upstream %s: %w", u.Name, err)
	}
	ctx, cancel := context.WithCancelCause(p.ctx)
	b := &pool{
		upstream: u, requests: transport, upgrades: transport, ctx: ctx, cancel: cancel, stop: func() {},
		quiet: rate.Sometimes{Interval: time.Second}, log: p.config.Logger, metrics: p.metrics,
	}
	if u.H2C {
		b.requests = transport.Clone()
		b.requests.Protocols = new(http.Protocols)
		b.requests.Protocols.SetUnencryptedHTTP2(true)
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

// transport returns the connections of an upstream.
func (p *Proxy) transport(u *routes.Upstream) (*http.Transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	secure := slices.ContainsFunc(u.URLs, func(text string) bool { return strings.HasPrefix(text, "https://") })
	switch {
	case secure && p.config.TLS != nil:
		config = p.config.TLS(u.SPIFFE)
	case u.SPIFFE != "":
		config = nil // it cannot be checked
	}
	if config == nil {
		// Not to the host name instead: whoever asks for an identity wants that one.
		return nil, errors.New("the gateway has no certificate to connect with")
	}
	dialer := &net.Dialer{Timeout: u.ConnectTimeout, KeepAlive: 15 * time.Second}
	return &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: config.Clone(), TLSHandshakeTimeout: u.ConnectTimeout,
		ForceAttemptHTTP2: true, DisableCompression: true, // bodies pass as they are
		MaxIdleConnsPerHost: 256, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		ExpectContinueTimeout: time.Second,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
	}, nil
}

// close ends the pool and waits for its checks. Nobody uses it any longer.
func (b *pool) close() {
	b.cancel(errClosed)
	b.stop()
	b.checks.Wait()
	for _, t := range []*http.Transport{b.requests, b.upgrades} {
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
		if isConnectError(err) {
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

// isConnectError reports whether there was no connection to send a request on.
func isConnectError(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return true
	}
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

// try sends the request to the target.
func (x *exchange) try(r *http.Request, t *target) (*http.Response, error) {
	// A copy, because a transport may go on reading that of the last try.
	out := r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotFirstResponseByte: func() { x.heard.Store(true) },
	}))
	at := *r.URL
	at.Scheme, at.Host = t.url.Scheme, t.url.Host
	out.URL, out.Body = &at, x.body.try()
	transport := x.pool.requests
	if x.websocket {
		transport = x.pool.upgrades
	}
	t.inFlight.Add(1)
	res, err := transport.RoundTrip(out)
	if err != nil {
		t.inFlight.Add(-1)
		return nil, err
	}
	x.target = t
	return res, nil
}
