package proxy

import (
	"context"
	"errors"
	"log"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"

	"github.com/authbus/authbus/authsvc/internal/gateway/routes"
)

// Identity is who asks.
type Identity struct {
	// Bearer is the JWT that the service gets.
	Bearer string
	// Client tells clients apart for rate limits, such as the token's subject;
	// default: the address.
	Client string
}

// Proxy carries requests to upstreams.
type Proxy struct {
	config Config
	// pseudonym is its name in Via.
	pseudonym string
	metrics   *metrics
	reverse   *httputil.ReverseProxy
	stream    *httputil.ReverseProxy // the same, where nothing may wait for more to come
	limiter   *Limiter

	ctx    context.Context // of all pools
	cancel context.CancelCauseFunc
	under  sync.WaitGroup // exchanges and changes of the table under way; added to under mu

	mu     sync.Mutex
	closed bool                       // guarded by mu
	pools  map[string]*pool           // guarded by mu; those of the table, by identity
	quick  map[*routes.Upstream]*pool // guarded by mu; the same, by the table's own upstreams
}

// New returns a proxy that knows no upstreams yet; see [Proxy.Use].
func New(config Config) (*Proxy, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(config.Registry)
	if err != nil {
		return nil, err
	}
	p := &Proxy{config: config, pseudonym: newPseudonym(), metrics: m, limiter: NewLimiter(config.MaxClients)}
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	p.reverse = &httputil.ReverseProxy{
		Rewrite: p.rewrite, Transport: p, BufferPool: &buffers{},
		ModifyResponse: func(res *http.Response) error { return exchangeOf(res.Request.Context()).answered(res) },
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			exchangeOf(r.Context()).fail(w, err)
		},
		ErrorLog: log.New(quiet{}, "", 0),
	}
	stream := *p.reverse
	stream.FlushInterval = -1
	p.stream = &stream
	return p, nil
}

// quiet drops the lines of ReverseProxy: a client that has gone away in the
// middle of an answer is no news.
type quiet struct{}

func (quiet) Write(line []byte) (int, error) { return len(line), nil }

// buffers lends what bodies are copied with.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *buffers) Get() []byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(buffer []byte) { b.pool.Put(&buffer) }

// Use gets ready for the upstreams of the table and lets go of those that it does
// not name; those that it names unchanged stay as they are, with their connections
// and what is known of their health. It fails, and changes nothing, if the gateway
// cannot connect to one of them. It returns when nobody checks what has left the
// table any longer; requests do not wait for that.
func (p *Proxy) Use(table *routes.Table) error {
	unused, err := p.exchangeTable(table)
	if err != nil {
		return err
	}
	defer p.under.Done()
	for _, b := range unused {
		b.close()
	}
	return nil
}

// exchangeTable puts the table's pools in place and returns those that nobody uses
// any longer, to be closed without mu: that waits for their checks. Close waits for
// under, which the caller must leave then.
func (p *Proxy) exchangeTable(table *routes.Table) (unused []*pool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errors.New("the proxy is closed")
	}
	pools, quick := make(map[string]*pool), make(map[*routes.Upstream]*pool)
	var added []*pool
	for _, u := range table.Upstreams() {
		id := identity(u)
		b := p.pools[id]
		if b == nil {
			if b, err = p.newPool(u); err != nil {
				for _, b := range added {
					b.close() // which has no checks yet
				}
				return nil, err
			}
			added = append(added, b)
		}
		pools[id], quick[u] = b, b
	}
	left := p.pools
	p.pools, p.quick = pools, quick
	for id, b := range left {
		if pools[id] == nil && p.retire(b) {
			unused = append(unused, b)
		}
	}
	for _, b := range added {
		b.users++ // the table
		b.startChecks()
	}
	p.under.Add(1)
	return unused, nil
}

// retire takes a pool out of the table, and reports whether nobody uses it. The
// requests that do may finish within the time to drain. The caller holds mu.
func (p *Proxy) retire(b *pool) (unused bool) {
	b.stop()
	b.hide()
	if b.users--; b.users == 0 {
		return true
	}
	b.drain = time.AfterFunc(p.config.Drain, func() { b.cancel(errDrained) })
	return false
}

// acquire returns the pool of an upstream for an exchange, which must release it.
// One that has just left the table is served from a pool of its own: its request
// was matched while it was in there.
func (p *Proxy) acquire(u *routes.Upstream) (*pool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	b := p.quick[u]
	if b == nil {
		b = p.pools[identity(u)]
	}
	if b == nil {
		var err error
		if b, err = p.newPool(u); err != nil {
			return nil, err
		}
	}
	b.users++
	p.under.Add(1)
	p.metrics.inFlight.WithLabelValues(u.Name).Inc()
	return b, nil
}

// release gives a pool back. The last one out closes it.
func (p *Proxy) release(b *pool) {
	defer p.under.Done()
	p.metrics.inFlight.WithLabelValues(b.upstream.Name).Dec()
	if p.leave(b) {
		b.close()
	}
}

// leave reports whether the exchange was the last one of a pool that has left the
// table, so that nobody can find it any more.
func (p *Proxy) leave(b *pool) (last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b.users--
	if b.users == 0 && b.drain != nil {
		b.drain.Stop()
	}
	return b.users == 0
}

// Close ends what is under way, streams and WebSockets too, and waits for it.
// Requests that come later are answered with 503.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	left := p.pools
	p.mu.Unlock()
	p.cancel(errClosed)
	p.under.Wait()
	for _, b := range left {
		b.close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pools, p.quick = nil, nil
	return nil
}
