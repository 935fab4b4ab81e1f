package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
	"github.com/authbus/authbus/verifier"
)

// Problem is an answer of the gateway itself in place of a service's (RFC 9457).
// It never tells where a service is.
type Problem struct {
	Status       int
	Code, Detail string
	RetryAfter   time.Duration // 0: no such header
}

// Write sends the problem.
func (p *Problem) Write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", wire.ProblemType)
	h.Set("Cache-Control", "no-store")
	if p.RetryAfter > 0 {
		seconds := int64((p.RetryAfter + time.Second - 1) / time.Second)
		h.Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	w.WriteHeader(p.Status)
	// A client that has gone away is no concern of the gateway's.
	_ = json.NewEncoder(w).Encode(wire.Problem{
		Type: "about:blank", Title: http.StatusText(p.Status), Status: p.Status, Code: p.Code, Detail: p.Detail,
	})
}

// busyFor is how soon a request may come again that met too many others.
const busyFor = time.Second

func tooManyRequests(wait time.Duration) *Problem {
	return &Problem{http.StatusTooManyRequests, "rate_limited", "too many requests: try again later", wait}
}

func tooBusy() *Problem {
	return &Problem{http.StatusServiceUnavailable, "too_busy", "too many requests are under way: try again later", busyFor}
}

func noneHealthy(wait time.Duration) *Problem {
	return &Problem{http.StatusServiceUnavailable, "upstream_unavailable", "the service is not available now", wait}
}

func undecided() *Problem {
	return &Problem{http.StatusServiceUnavailable, "upstream_undecided", "whether the service is the right one cannot be decided now", busyFor}
}

func shuttingDown() *Problem {
	return &Problem{http.StatusServiceUnavailable, "unavailable", "the gateway no longer serves this", busyFor}
}

func bodyTooLarge() *Problem {
	return &Problem{http.StatusRequestEntityTooLarge, "body_too_large", "the request's body is larger than allowed here", 0}
}

func headerTooLarge() *Problem {
	return &Problem{http.StatusRequestHeaderFieldsTooLarge, "header_too_large", "the request's header is larger than allowed here", 0}
}

func badBody() *Problem {
	return &Problem{http.StatusBadRequest, "bad_body", "the request's body cannot be read", 0}
}

func misplaced() *Problem {
	return &Problem{http.StatusBadRequest, "token_misplaced", "the opaque token belongs in Authorization, or in the gateway's own cookie, and nowhere else", 0}
}

func bodyTimeout() *Problem {
	return &Problem{http.StatusRequestTimeout, "body_timeout", "the request's body did not come in time", 0}
}

func noWebSocket() *Problem {
	return &Problem{http.StatusForbidden, "websocket_not_allowed", "there is no WebSocket here", 0}
}

// LoopDetected refuses a request of which [Proxy.HasCarried] is true.
func LoopDetected() *Problem {
	return &Problem{http.StatusLoopDetected, "loop_detected", "the request has come through this gateway before", 0}
}

func upstreamTimeout() *Problem {
	return &Problem{http.StatusGatewayTimeout, "upstream_timeout", "the service did not answer in time", 0}
}

func upstreamUnreachable() *Problem {
	return &Problem{http.StatusBadGateway, "upstream_unreachable", "the service cannot be reached", 0}
}

func upstreamFailed() *Problem {
	return &Problem{http.StatusBadGateway, "upstream_failed", "the service did not answer properly", 0}
}

func internal() *Problem {
	return &Problem{http.StatusInternalServerError, "internal", "something went wrong here", 0}
}

// Why the gateway itself ends an exchange.
var (
	errTime    = errors.New("the rule's time is over")
	errIdle    = errors.New("idle for longer than the rule allows")
	errDrained = errors.New("the upstream has left the table")
	errClosed  = errors.New("the gateway ends")
	// errNoneHealthy means that no URL of the upstream is healthy.
	errNoneHealthy = errors.New("no URL of the upstream is healthy")
)

// fail answers an exchange that has brought no answer of the service's.
func (x *exchange) fail(w http.ResponseWriter, err error) {
	cause := context.Cause(x.ctx)
	if cause != nil {
		err = cause
	}
	x.log(err)
	if session, ok := errors.AsType[*verifier.Error](cause); ok {
		verifier.Deny(w, session)
		return
	}
	if errors.Is(cause, context.Canceled) && !x.body.slow.Load() {
		// The client has gone, or the caller has ended its request. The server takes a
		// client that is too slow for one that has gone.
		panic(http.ErrAbortHandler)
	}
	x.problem(err).Write(w)
}

// problem turns what went wrong into what a client may know of it.
func (x *exchange) problem(err error) *Problem {
	switch {
	case x.body.tooLarge.Load():
		return bodyTooLarge()
	case x.body.slow.Load(), errors.Is(err, errTime) && x.body.waiting.Load():
		return bodyTimeout()
	case x.body.broken.Load():
		return badBody()
	case errors.Is(err, errNoneHealthy):
		return noneHealthy(x.rule.Upstream.Health.Interval)
	case errors.Is(err, verifier.ErrUnavailable):
		return undecided()
	case errors.Is(err, errDrained) || errors.Is(err, errClosed):
		return shuttingDown()
	case errors.Is(err, errTime) || errors.Is(err, errIdle) || errors.Is(err, context.DeadlineExceeded) || isTimeout(err):
		return upstreamTimeout()
	case isConnectError(err):
		return upstreamUnreachable()
	default:
		return upstreamFailed()
	}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
