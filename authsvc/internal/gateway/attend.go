package gateway

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
	"github.com/authbus/authbus/verifier"
)

// attend returns a context that ends when the session does, with the cause that
// [verifier.Verifier.Watch] gives. The end of the JWT's life is not the end of the
// session: the session is renewed before, as it is for requests, and its next JWT
// watched.
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
		cause := context.Cause(watched)
		if a.ctx.Err() != nil || !errors.Is(cause, verifier.ErrExpired) {
			a.end(cause)
			return
		}
		next, err := a.gateway.renewed(a.ctx, a.token, p.session)
		if err != nil {
			a.end(err)
			return
		}
		a.watch(next)
	})
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
