package authority

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

// Introspect tells a service about a token that is meant for it (RFC 7662). Of
// any other, and of one that is not good, it says no more than that it is not
// active. An error means that the service could not find out.
func (a *Authority) Introspect(ctx context.Context, caller Service, raw Secret) (Introspection, error) {
	if isRefreshToken(raw) {
		return a.introspectRefresh(ctx, caller, raw)
	}
	claims, err := a.verifyFor(ctx, caller, raw)
	var refused *Error
	switch {
	case errors.As(err, &refused):
		return Introspection{}, nil
	case err != nil:
		return Introspection{}, fmt.Errorf("introspecting: %w", err)
	}
	v, err := a.judgeToken(ctx, claims.Ref())
	switch {
	case err != nil:
		return Introspection{}, fmt.Errorf("introspecting: %w", err)
	case v.dead != "":
		return Introspection{}, nil
	}
	return Introspection{Active: true, TokenType: TypeAccess, Claims: claims}, nil
}

// verifyFor checks all of a token that needs no database, for a service that may
// have several audiences. The refusal is CodeInvalidToken; its reason is
// token.ReasonBadAudience where the token is good and none of them is meant.
func (a *Authority) verifyFor(ctx context.Context, caller Service, raw Secret) (claims *token.Claims, err error) {
	err = invalidToken(string(token.ReasonBadAudience), nil)
	for _, audience := range caller.Audiences {
		claims, err = a.verifySignature(ctx, raw.Reveal(), audience)
		if !isForOthers(err) {
			return claims, err
		}
	}
	return nil, err
}

func isForOthers(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && refused.Reason == string(token.ReasonBadAudience)
}

// introspectRefresh looks at a refresh token without using it.
func (a *Authority) introspectRefresh(ctx context.Context, caller Service, raw Secret) (Introspection, error) {
	state, err := a.db.Reader(ctx).RefreshState(store.Hash(raw.hash()))
	if errors.Is(err, store.ErrNotFound) {
		return Introspection{}, nil
	}
	if err != nil {
		return Introspection{}, fmt.Errorf("introspecting: %w", err)
	}
	dead := a.deadBecause(state.SessionState, time.Now()) != "" || !state.Token.RotatedAt.IsZero()
	if dead || !a.isAudience(caller) {
		return Introspection{}, nil
	}
	s := state.Session
	expires := s.LastUsedAt.Add(a.config.SessionIdle)
	if s.ExpiresAt.Before(expires) {
		expires = s.ExpiresAt
	}
	return Introspection{Active: true, TokenType: TypeRefresh, Claims: &token.Claims{
		Issuer: a.config.Issuer, Audience: a.config.Audiences, Subject: s.Sub, SessionID: s.SID, ClientID: s.ClientID,
		Roles: state.Account.Roles, ExpiresAt: expires.Unix(), IssuedAt: state.Token.CreatedAt.Unix(),
		AuthTime: s.AuthTime.Unix(),
	}}, nil
}

// isAudience reports whether the tokens that a refresh token gives are meant for
// the service.
func (a *Authority) isAudience(s Service) bool {
	return slices.ContainsFunc(s.Audiences, func(audience string) bool { return slices.Contains(a.config.Audiences, audience) })
}

// RevokeToken ends a token on behalf of a service that it is meant for (RFC 7009):
// an access token alone, and with a refresh token its whole session, so that its
// access tokens die too (§2.1). A token that is unknown or dead needs nothing; the
// answer is then nil, and still a success. The refusal is CodeTokenNotYours.
//
// A token_type_hint is not needed: the two kinds look different.
func (a *Authority) RevokeToken(ctx context.Context, caller Service, raw Secret) (*Ack, error) {
	var ack Ack
	var err error
	if isRefreshToken(raw) {
		ack, err = a.revokeGrant(ctx, caller, raw)
	} else {
		ack, err = a.revokeAccess(ctx, caller, raw)
	}
	if errors.Is(err, errNothingToRevoke) {
		return nil, nil // a success without a revocation
	}
	if err != nil {
		return nil, err
	}
	return &ack, nil
}

var errNothingToRevoke = errors.New("there is nothing to revoke")

func notYours() error {
	return &Error{Code: CodeTokenNotYours, Message: "the token is not meant for this service"}
}

func (a *Authority) revokeGrant(ctx context.Context, caller Service, raw Secret) (Ack, error) {
	return a.end(ctx, caller.ID, func(tx *store.Tx) (events.Revocation, error) {
		state, err := tx.RefreshState(store.Hash(raw.hash()))
		switch {
		case errors.Is(err, store.ErrNotFound):
			return events.Revocation{}, errNothingToRevoke
		case err != nil:
			return events.Revocation{}, err
		case !a.isAudience(caller):
			return events.Revocation{}, notYours()
		case a.deadBecause(state.SessionState, tx.Now()) != "":
			return events.Revocation{}, errNothingToRevoke
		}
		return a.revokeSession(tx, state.Session.Sub, state.Session.SID, reasonByService, caller.ID)
	})
}

func (a *Authority) revokeAccess(ctx context.Context, caller Service, raw Secret) (Ack, error) {
	claims, err := a.verifyFor(ctx, caller, raw)
	var refused *Error
	switch {
	case isForOthers(err):
		return Ack{}, notYours()
	case errors.As(err, &refused):
		return Ack{}, errNothingToRevoke
	case err != nil:
		return Ack{}, err
	}
	until := claims.Expiry().Add(leewayCap)
	return a.end(ctx, caller.ID, func(tx *store.Tx) (events.Revocation, error) {
		// A record is all by which verifiers know that a token is dead.
		found, err := tx.TokenRecords(claims.Ref())
		switch {
		case err != nil:
			return events.Revocation{}, err
		case covered(claims.Ref(), inEpoch(found.Epoch, found.Records)):
			return events.Revocation{}, errNothingToRevoke
		}
		return a.revokeToken(tx, claims.Subject, claims.ID, until, reasonByService, caller.ID)
	})
}
