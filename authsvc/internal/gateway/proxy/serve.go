package proxy

import (
	"errors"
	"net/http"
	"time"

	"github.com/authbus/authbus/authsvc/internal/gateway/routes"
)

// Serve carries the request to the rule's upstream and the answer back, or says in
// a problem document why not. id is nil where the rule is public, and who has sent
// the request must have been settled otherwise. It returns when the answer is
// complete, or with the context of the request, and everything streamed ends then.
// It panics with http.ErrAbortHandler, for the server, where an answer must be cut off.
func (p *Proxy) Serve(w http.ResponseWriter, r *http.Request, rule *routes.Rule, id *Identity) {
	began := time.Now()
	from, header := p.forwardingOf(r), p.requestHeader(r.Header)
	refused := p.admit(r, rule, id, from)
	if refused == nil && p.takesSecretOn(r, header) {
		refused = misplaced()
	}
	if refused != nil {
		p.refuse(w, rule, refused, began)
		return
	}
	b, err := p.acquire(rule.Upstream)
	if err != nil {
		refused = internal()
		if errors.Is(err, errClosed) {
			refused = shuttingDown()
		} else {
			p.config.Logger.Error("an upstream cannot be used", "rule", rule.Name, "error", err)
		}
		p.refuse(w, rule, refused, began)
		return
	}
	defer p.release(b)
	defer b.inFlight.Add(-1)
	if b.inFlight.Add(1) > int64(rule.Upstream.MaxInFlight) {
		p.refuse(w, rule, tooBusy(), began)
		return
	}
	x := p.newExchange(w, r, rule, b)
	defer func() { p.metrics.observe(rule.Name, x.answer.status, x.websocket || rule.Stream, time.Since(began)) }()
	defer x.end()
	x.from, x.via = from, p.via(r)
	if !rule.Public {
		x.bearer = id.Bearer
	}
	if rule.Retries > 0 && isIdempotent(r.Method) {
		if err := x.body.keep(); err != nil {
			x.fail(x.answer, err)
			return
		}
	}
	way := p.reverse
	if rule.Stream {
		way = p.stream
		// Without it an HTTP/1 server reads the body to its end before it answers; one
		// that cannot, such as of HTTP/2, need not.
		_ = x.control.EnableFullDuplex()
	}
	way.ServeHTTP(x.answer, x.request(r, header))
}

// admit judges a request before anything is done for it.
func (p *Proxy) admit(r *http.Request, rule *routes.Rule, id *Identity, from forwarding) *Problem {
	client := ClientNetwork(from.client)
	switch {
	case !rule.Public && (id == nil || id.Bearer == ""):
		return internal() // whoever called let somebody in who is nobody
	case !rule.Public && id.Client != "":
		client = id.Client
	}
	if rule.Rate != nil {
		if wait := p.limiter.Allow(rule.Name, client, *rule.Rate); wait > 0 {
			return tooManyRequests(wait)
		}
	}
	switch {
	case headerSize(r) > int64(rule.Limits.Header):
		return headerTooLarge()
	case r.ContentLength > int64(rule.Limits.Body):
		return bodyTooLarge()
	case isWebSocket(r) && !rule.WebSocket:
		return noWebSocket()
	}
	return nil
}

func (p *Proxy) refuse(w http.ResponseWriter, rule *routes.Rule, refused *Problem, began time.Time) {
	refused.Write(w)
	p.metrics.observe(rule.Name, refused.Status, false, time.Since(began))
}
