package httpapi

import (
	"context"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

func (a *api) logIn(ctx context.Context, c caller, req wire.LoginRequest) (*wire.Tokens, error) {
	tokens, err := a.Authority.Login(ctx, authority.Credentials{
		Login: req.Login, Password: authority.Secret(req.Password), ClientID: req.ClientID,
	}, c.meta)
	return wireTokens(tokens), err
}

func (a *api) refresh(ctx context.Context, c caller, req wire.RefreshRequest) (*wire.Tokens, error) {
	tokens, err := a.Authority.Refresh(ctx, authority.RefreshRequest{
		Token: authority.Secret(req.RefreshToken), ClientID: req.ClientID,
	}, c.meta)
	return wireTokens(tokens), err
}

func (a *api) sessions(ctx context.Context, c caller, _ none) (wire.Sessions, error) {
	sessions, err := a.Authority.Sessions(ctx, c.claims)
	return wire.Sessions{Sessions: each(sessions, wireSession)}, err
}

func (a *api) logOut(ctx context.Context, c caller, _ none) (wire.Ack, error) {
	ack, err := a.Authority.Logout(ctx, c.claims)
	return wireAck(ack), err
}

func (a *api) endSession(ctx context.Context, c caller, req wire.SessionRequest) (wire.Ack, error) {
	ack, err := a.Authority.EndSession(ctx, c.claims, req.SID)
	return wireAck(ack), err
}

func (a *api) endAll(ctx context.Context, c caller, req wire.EndAllRequest) (wire.AckTokens, error) {
	ack, tokens, err := a.Authority.EndAll(ctx, c.claims, req.Keep == "current")
	return wireAckTokens(ack, tokens), err
}

// wireTokens is the one place where the secrets of the domain are let out.
func wireTokens(t *authority.Tokens) *wire.Tokens {
	if t == nil {
		return nil
	}
	return &wire.Tokens{
		TokenType: t.TokenType, AccessToken: t.AccessToken.Reveal(), ExpiresIn: t.ExpiresIn,
		RefreshToken: t.RefreshToken.Reveal(), Sub: t.Sub, SID: t.SID,
	}
}

func wireSession(s authority.Session) wire.Session {
	return wire.Session{
		SID: s.SID, Sub: s.Sub, ClientID: s.ClientID, UserAgent: s.UserAgent, Address: s.Address,
		CreatedAt: s.CreatedAt.UTC(), LastUsedAt: s.LastUsedAt.UTC(), ExpiresAt: s.ExpiresAt.UTC(),
		Current: s.Current,
	}
}

func wireAck(ack authority.Ack) wire.Ack {
	return wire.Ack{Epoch: ack.Epoch, Rev: ack.Rev, Delivery: string(ack.Delivery)}
}

func wireAckTokens(ack authority.Ack, tokens *authority.Tokens) wire.AckTokens {
	return wire.AckTokens{Ack: wireAck(ack), Tokens: wireTokens(tokens)}
}
