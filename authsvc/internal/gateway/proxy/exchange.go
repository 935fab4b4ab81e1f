package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"github.com/authbus/authbus/authsvc/internal/gateway/routes"
)

// exchange is one request and its answer.
type exchange struct {
	proxy     *Proxy
	rule      *routes.Rule
	pool      *pool
	bearer    string
	from      forwarding
	via       string
	websocket bool
	body      *body
	answer    *answer
	early     bool        // the client takes answers before the answer proper (RFC 9110 §15.2)
	heard     atomic.Bool // something of the service's answer has come
	target    *target     // whoever answers; nil until then

	// ctx ends with the client's request, the rule's limits, the upstream or the
	// proxy, and cancel ends it.
	ctx    context.Context
	cancel context.CancelCauseFunc
	// time ends ctx unless the answer has begun, or, where nothing may stream, is complete.
	time *time.Timer
	// detach lets go of the pool's context.
	detach func() bool

	control *http.ResponseController
	// mu guards what ends the writing to the client. The answer may be read by
	// another goroutine than the one that ends the exchange.
	mu      sync.Mutex
	idle    *time.Timer // guarded by mu; nil until the answer begins
	over    bool        // guarded by mu
	unwatch func() bool // guarded by mu; stops unblock
}

// exchangeKey finds the exchange in a request's context.
type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchangeKey{}).(*exchange) }

// newExchange prepares the exchange, which must be ended.
func (p *Proxy) newExchange(w http.ResponseWriter, r *http.Request, rule *routes.Rule, u *pool) *exchange {
	x := &exchange{
		proxy: p, rule: rule, pool: u, websocket: isWebSocket(r), early: r.ProtoAtLeast(1, 1),
		body: p.newBody(w, r, rule.Limits), control: http.NewResponseController(w),
	}
	x.answer = &answer{ResponseWriter: w, exchange: x}
	ctx, cancel := context.WithCancelCause(r.Context())
	x.ctx, x.cancel = context.WithValue(ctx, exchangeKey{}, x), cancel
	x.detach = context.AfterFunc(u.ctx, func() { cancel(context.Cause(u.ctx)) })
	x.time = time.AfterFunc(rule.Limits.Time, func() { cancel(errTime) })
	x.taken(rule.Limits.Time + rule.Limits.Idle) // what comes before an answer, or in its place
	return x
}

// end lets go of everything. What the server has not sent yet must be taken in
// time, too; nothing else touches the client's connection afterwards.
func (x *exchange) end() {
	x.detach()
	x.time.Stop()
	x.body.end()
	if x.target != nil {
		x.target.inFlight.Add(-1)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over = true
	x.cancel(context.Canceled)
	if x.idle != nil {
		x.idle.Stop()
		x.unwatch()
		x.taken(x.rule.Limits.Idle)
	}
}

// begin is called when the answer begins: from now on it must not be idle, and
// writing to the client ends with the exchange.
func (x *exchange) begin() {
	x.mu.Lock()
	defer x.mu.Unlock()
	idle := x.rule.Limits.Idle
	x.idle = time.AfterFunc(idle, func() { x.cancel(errIdle) })
	x.taken(idle)
	x.unwatch = context.AfterFunc(x.ctx, x.unblock)
}

// unblock ends the writing to a client that takes nothing.
func (x *exchange) unblock() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.over {
		_ = x.control.SetWriteDeadline(time.Unix(1, 0))
	}
}

// moved is called when bytes of the answer have moved.
func (x *exchange) moved() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over || x.ctx.Err() != nil {
		return
	}
	idle := x.rule.Limits.Idle
	x.idle.Reset(idle)
	x.taken(idle)
}

// taken says within which time the client must take what it is sent. A writer
// without deadlines is left alone: it is a test's.
func (x *exchange) taken(within time.Duration) {
	_ = x.control.SetWriteDeadline(time.Now().Add(within))
}

// request returns the client's request as far as it may go on. header is what of its
// own does.
func (x *exchange) request(r *http.Request, header http.Header) *http.Request {
	in := r.WithContext(x.ctx)
	in.Header = header
	in.Trailer = nil
	if x.body.kept != nil {
		in.Header.Del("Expect") // it need not wait for the body
	}
	if x.websocket {
		in.Header.Set("Connection", "Upgrade")
		in.Header.Set("Upgrade", "websocket")
	}
	return in
}

// rewrite makes the service's request of the client's: what the gateway itself
// says about it is put in here, after everything else was taken out.
func (*Proxy) rewrite(pr *httputil.ProxyRequest) {
	x := exchangeOf(pr.In.Context())
	h := pr.Out.Header
	if x.bearer != "" {
		h.Set("Authorization", "Bearer "+x.bearer)
	}
	if x.from.chain != "" {
		h.Set("X-Forwarded-For", x.from.chain)
	}
	h.Set("Via", x.via)
	h.Set("X-Forwarded-Host", pr.In.Host)
	h.Set("X-Forwarded-Proto", x.from.proto)
	pr.Out.Host = "" // the URL's
	// Not of pr.Out: ReverseProxy leaves out what not everybody reads alike. That is
	// for proxies that decide by the query.
	pr.Out.URL.RawQuery = withoutToken(pr.In.URL.RawQuery)
	pr.Out.URL.ForceQuery = pr.In.URL.ForceQuery
	pr.Out.Trailer = x.body.to
}

// log tells why an exchange failed, but no more often than is of use.
func (x *exchange) log(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	x.pool.quiet.Do(func() {
		x.proxy.config.Logger.Warn("a request was not carried", "rule", x.rule.Name, "upstream", x.rule.Upstream.Name, "error", err)
	})
}
