// Package httpapi is the HTTP API of the auth service.
//
//	handler := httpapi.New(httpapi.Config{
//		Authority: authority, Keys: keys, Issuer: issuer, Logger: logger, Registry: registry,
//	})
//	server := httpapi.NewServer(addr, handler, logger)
//
// Every route is one line of a table: its pattern, who may ask, and what it does;
// one generic handler decodes, validates and answers. schemas/openapi.yaml
// documents the routes, and tests hold the two together.
//
// # Errors
//
// Every refusal is a problem document (RFC 9457) with a stable code. An error
// without a name in the domain becomes 503 or 500, and its words go to the log only.
// Introspection and revocation refuse as RFC 6749 §5.2 has it, because their
// callers are OAuth clients: 400 or 401, application/json and the member error.
//
// # Input
//
// Bodies are bounded, strict and read before anything else is done; names that no
// rule knows are refused. A caller shows one credential, in the header
// Authorization; two of them, or one in a URL, are refused.
//
// # Logs
//
// The access log has one line a request, without path, query, headers or bodies,
// so that no secret can be in it.
package httpapi

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"

	"github.com/go-playground/validator/v10"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/authbus/authbus/authsvc/internal/authority"
)

// Config says what the API stands on. Authority, JWKS, Issuer, Logger and
// Registry are required.
type Config struct {
	Authority *authority.Authority
	// JWKS returns the public signing keys as a JWK set.
	JWKS func() json.RawMessage
	// Issuer is the public URL of the service, without a slash at its end.
	Issuer string
	Logger *slog.Logger
	// Registry takes the API's metrics, and is what /metrics shows.
	Registry *prometheus.Registry
	// Ready says why the service cannot do its work now; nil: it always can. Callers
	// are told what a [*NotReadyError] says for them, and of another error nothing.
	Ready func(context.Context) error
	// CursorKey seals the cursors of lists. Replicas that share it understand each
	// other's; the default is a random one.
	CursorKey []byte
	// TrustedProxies are the peers whose X-Forwarded-For is believed; the default
	// is none.
	TrustedProxies []netip.Prefix
	// Peer returns the name in the certificate that a connection of mutual TLS was
	// made with, by which a service may introspect and revoke; nil: there is none.
	Peer func(tls.ConnectionState) (name string, ok bool)
	// RequestTimeout bounds the work on one request; the default is 15 s.
	RequestTimeout time.Duration
}

const defaultRequestTimeout = 15 * time.Second

// New returns the handler of the whole API.
func New(cfg Config) http.Handler {
	if cfg.RequestTimeout <= 0 {
		cfg.RequestTimeout = defaultRequestTimeout
	}
	a := &api{
		Config: cfg, mux: http.NewServeMux(), validate: newValidator(),
		cursors: newCursors(cfg.CursorKey), metrics: newMetrics(cfg.Registry),
		secure: strings.HasPrefix(cfg.Issuer, "https:"),
	}
	for _, rt := range a.routes() {
		a.mux.HandleFunc(rt.pattern, func(w http.ResponseWriter, r *http.Request) {
			a.serve(w.(*exchange), r, rt) // ServeHTTP hands over nothing else
		})
	}
	return a
}

// NewServer returns a server with limits that no slow or silent peer can stretch.
func NewServer(addr string, handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Addr: addr, Handler: handler,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 32 << 10,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

type api struct {
	Config
	mux      *http.ServeMux
	validate *validator.Validate
	cursors  cursors
	metrics  metrics
	secure   bool // reached by https only
}

// ServeHTTP answers one request, whatever it is.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := newExchange(w, clientAddress(r, a.TrustedProxies))
	a.metrics.inFlight.Inc()
	defer a.finish(x, r)
	defer x.recovered(a.Logger)
	a.secureHeaders(x)
	ctx, cancel := context.WithTimeout(r.Context(), a.RequestTimeout)
	defer cancel()
	r = r.WithContext(ctx)
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	// The mux would redirect a path that is not clean; a path here is exact.
	if _, pattern := a.mux.Handler(r); pattern != "" && path.Clean(r.URL.Path) == r.URL.Path {
		a.mux.ServeHTTP(x, r)
		return
	}
	a.unrouted(x, r)
}

func (a *api) finish(x *exchange, r *http.Request) {
	a.metrics.inFlight.Dec()
	a.metrics.observe(x.route, methodLabel(r.Method), x.status, time.Since(x.began))
	x.log(r.Context(), a.Logger, r)
}

// serve finds out who asks and has the route answer.
func (a *api) serve(x *exchange, r *http.Request, rt route) {
	_, x.route, _ = strings.Cut(rt.pattern, " ")
	from := authority.Meta{Address: x.address, UserAgent: userAgent(r)}
	c, err := a.identify(r, rt.access, from)
	if err == nil {
		x.sub = c.name()
		c.meta = from
		err = rt.handle(x, r, c)
	}
	if err != nil {
		x.fail(err, rt.access == service)
	}
}

// unrouted answers a path that is not there, or is not there for this method. The
// mux knows which methods there are, and says so in Allow.
func (a *api) unrouted(x *exchange, r *http.Request) {
	probe := &headerOnly{header: http.Header{}}
	if path.Clean(r.URL.Path) == r.URL.Path {
		a.mux.ServeHTTP(probe, r)
	}
	if allow := probe.header.Get("Allow"); probe.status == http.StatusMethodNotAllowed {
		x.Header().Set("Allow", allow)
		x.fail(&problem{
			status: http.StatusMethodNotAllowed, code: "method_not_allowed",
			detail: "this path knows only " + allow,
		}, false)
		return
	}
	x.fail(errNotFound, false)
}

// headerOnly is a ResponseWriter that keeps no body.
type headerOnly struct {
	header http.Header
	status int
}

func (h *headerOnly) Header() http.Header         { return h.header }
func (h *headerOnly) Write(b []byte) (int, error) { return len(b), nil }
func (h *headerOnly) WriteHeader(status int)      { h.status = status }

// secureHeaders are right for every answer of an API that serves no page; the
// few answers that may be cached say so themselves.
func (a *api) secureHeaders(x *exchange) {
	h := x.Header()
	h.Set("X-Request-Id", x.requestID)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if a.secure {
		h.Set("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
	}
}
