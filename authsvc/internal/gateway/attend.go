package gateway

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
	"github.com/authbus/authbus/verifier"
	"github.com/authbus/authbus/verifier/token"
)

// attend returns a context that ends when the session does, with the cause that
// [verifier.Verifier.Watch] gives. The end of the JWT's life is not the end of the
// session: the session is renewed before, as it is for requests, and its next JWT
// watched. So it is when the key of the JWT is killed, and then within the bound.
func (g *Gateway) attend(ctx context.Context, t vault.Token, p *passenger) (context.Context, context.CancelFunc) {
	attended, end := context.WithCancelCause(ctx)
	a := &attendance{gateway: g, token: t, ctx: attended, end: end}
	a.watch(p)
	return attended, func() { end(context.Canceled) }
}

// attendance watches a session for as long as ctx.
type attendance struct {
	gateway *Gateway
	token   vault.Token
	ctx     context.Context
	end     context.CancelCauseFunc
}

// watch ends the attendance when the passenger's JWT dies, unless there is another by
// then.
func (a *attendance) watch(p *passenger) {
	watched, cancel := a.gateway.verifier.Watch(a.ctx, p.claims)
	var over atomic.Bool // whatever comes first goes on with the next JWT, or ends it
	renewal := time.AfterFunc(time.Until(time.Unix(p.session.RefreshAt, 0)), func() {
		if next := a.successor(watched, p); next != nil && over.CompareAndSwap(false, true) {
			a.watch(next)
			cancel()
		}
	})
	context.AfterFunc(watched, func() {
		defer cancel()
		renewal.Stop()
		if !over.CompareAndSwap(false, true) {
			return
		}
		next, err := a.replacement(p, context.Cause(watched))
		if err != nil {
			a.end(err)
			return
		}
		a.watch(next)
	})
}

// replacement returns the session with another JWT, or why it is over: cause, if that is
// the end of more than the JWT. Where the key of the JWT was killed, the session goes on
// with another key, if that is had before anybody has to refuse the old one.
func (a *attendance) replacement(p *passenger, cause error) (*passenger, error) {
	ctx := a.ctx
	switch {
	case ctx.Err() != nil:
		return nil, cause
	case errors.Is(cause, verifier.ErrExpired):
	case keyless(cause):
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.gateway.bound.left(time.Now()))
		defer cancel()
	default:
		return nil, cause
	}
	return a.gateway.renewed(ctx, a.token, p.session)
}

// keyless reports whether a JWT is refused because its key is not valid any more.
func keyless(err error) bool {
	refused, ok := errors.AsType[*verifier.Error](err)
	return ok && (refused.Reason == verifier.ReasonRevokedKey || refused.Reason == string(token.ReasonUnknownKID))
}

// successor waits until the session has another JWT than p's, and renews it if nobody
// else does. It returns nil if p's has died before.
func (a *attendance) successor(watched context.Context, p *passenger) *passenger {
	pause := time.NewTicker(retryRefresh)
	defer pause.Stop()
	for watched.Err() == nil {
		if s, err := a.gateway.keeper.open(watched, a.token); err == nil && s.Access != p.session.Access {
			if claims, err := a.gateway.verifier.Verify(watched, s.Access); err == nil {
				return &passenger{session: s, claims: claims}
			}
		}
		select {
		case <-pause.C:
		case <-watched.Done():
		}
	}
	return nil
}
