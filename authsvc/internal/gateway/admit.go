package gateway

import (
	"context"
	"errors"

	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
	"github.com/authbus/authbus/verifier"
)

// passenger is a session that has been let in.
type passenger struct {
	session vault.Session
	claims  *verifier.Claims
}

// admit returns the session behind a token, if it is alive: its JWT passes the
// gateway's verifier. Every error is a *verifier.Error.
func (g *Gateway) admit(ctx context.Context, t vault.Token) (*passenger, error) {
	s, err := g.keeper.open(ctx, t)
	if err != nil {
		return nil, refusal(err)
	}
	claims, err := g.verifier.Verify(ctx, s.Access)
	switch {
	case err == nil:
		return &passenger{session: s, claims: claims}, nil
	case outlived(err):
		return g.renewed(ctx, t, s)
	case errors.Is(err, verifier.ErrRevoked):
		g.sweeper.remove(kept{token: t, session: s})
	}
	return nil, err
}

// outlived reports whether the session may go on although its JWT may not: it has
// expired, its key has been changed, or what was revoked is all that was issued
// before. Whether the session has ended with it, the auth service knows.
func outlived(err error) bool {
	refused, ok := errors.AsType[*verifier.Error](err)
	if !ok {
		return false
	}
	switch refused.Reason {
	case verifier.ReasonRevokedUser, verifier.ReasonRevokedEveryone, verifier.ReasonRevokedKey:
		return true
	}
	return errors.Is(err, verifier.ErrExpired) || errors.Is(err, verifier.ErrInvalid)
}

// renewed returns the session with another JWT than it had.
func (g *Gateway) renewed(ctx context.Context, t vault.Token, s vault.Session) (*passenger, error) {
	next, err := g.keeper.renew(ctx, t, s.Access)
	if err != nil {
		return nil, refusal(err)
	}
	claims, err := g.verifier.Verify(ctx, next.Access)
	if err != nil {
		return nil, err
	}
	return &passenger{session: next, claims: claims}, nil
}

// refusal turns an error of the keeper into what a verifier would say.
func refusal(err error) error {
	if errors.Is(err, errEnded) {
		return &verifier.Error{Err: verifier.ErrRevoked, Reason: verifier.ReasonRevokedSession, Detail: "no session behind the token"}
	}
	return &verifier.Error{Err: verifier.ErrUnavailable, Reason: verifier.ReasonNoAnswer, Detail: err.Error()}
}

// over reports whether a refusal is for good.
func over(err error) bool {
	return !errors.Is(err, verifier.ErrUnavailable)
}
