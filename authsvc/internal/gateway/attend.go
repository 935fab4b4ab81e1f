package gateway

import (
	"context"
	"errors"

	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
	"github.com/authbus/authbus/verifier"
)

// attend returns a context that ends when the session does, with the cause that
// [verifier.Verifier.Watch] gives. The end of the JWT's life is not the end of the
// session: then the session is renewed, and its next JWT watched.
func (g *Gateway) attend(ctx context.Context, t vault.Token, p *passenger) (context.Context, context.CancelFunc) {
	attended, end := context.WithCancelCause(ctx)
	g.watch(attended, end, t, p)
	return attended, func() { end(context.Canceled) }
}

// watch ends attended when the passenger's JWT dies, unless there is a next one.
func (g *Gateway) watch(attended context.Context, end context.CancelCauseFunc, t vault.Token, p *passenger) {
	watched, cancel := g.verifier.Watch(attended, p.claims)
	context.AfterFunc(watched, func() {
		defer cancel()
		cause := context.Cause(watched)
		if attended.Err() != nil || !errors.Is(cause, verifier.ErrExpired) {
			end(cause)
			return
		}
		next, err := g.renewed(attended, t, p.session)
		if err != nil {
			end(err)
			return
		}
		g.watch(attended, end, t, next)
	})
}
