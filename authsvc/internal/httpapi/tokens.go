package httpapi

import (
	"context"
	"strings"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
	"github.com/authbus/authbus/verifier/token"
)

// verify judges the presented token for a service that asks every time.
func (a *api) verify(ctx context.Context, c caller, req wire.VerifyRequest) (wire.Verified, error) {
	var claims *token.Claims
	var err error
	if req.Audience == "" {
		claims, err = a.Authority.Authenticate(ctx, c.token)
	} else {
		claims, err = a.Authority.Verify(ctx, c.token, req.Audience)
	}
	if err != nil {
		return wire.Verified{}, err
	}
	return wire.Verified{
		Sub: claims.Subject, SID: claims.SessionID, ClientID: claims.ClientID,
		Roles: list(claims.Roles), Exp: claims.ExpiresAt,
	}, nil
}

func (a *api) introspect(ctx context.Context, c caller, req wire.TokenRequest) (wire.Introspection, error) {
	found, err := a.Authority.Introspect(ctx, c.service, authority.Secret(req.Token))
	if err != nil || !found.Active || found.Claims == nil {
		return wire.Introspection{}, err
	}
	claims := found.Claims
	var rev *uint64
	if found.TokenType == authority.TypeAccess {
		rev = &claims.Rev
	}
	return wire.Introspection{
		Active: true, Scope: strings.Join(claims.Scope, " "), ClientID: claims.ClientID,
		TokenType: found.TokenType, Exp: claims.ExpiresAt, Iat: claims.IssuedAt, Nbf: claims.NotBefore,
		Sub: claims.Subject, Aud: claims.Audience, Iss: claims.Issuer, JTI: claims.ID,
		SID: claims.SessionID, Roles: claims.Roles, AuthTime: claims.AuthTime, Rev: rev,
	}, nil
}

// revokeToken answers 200 without a body, whether there was anything to revoke or
// not (RFC 7009 §2.2).
func (a *api) revokeToken(ctx context.Context, c caller, req wire.TokenRequest) (none, error) {
	_, err := a.Authority.RevokeToken(ctx, c.service, authority.Secret(req.Token))
	return none{}, err
}
