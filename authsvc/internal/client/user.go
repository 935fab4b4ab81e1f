package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

// ServiceCredentials are what a service shows to introspect and revoke.
type ServiceCredentials struct {
	ID     string
	Secret wire.Secret
}

// Register makes an account.
func (c *Client) Register(ctx context.Context, req wire.RegisterRequest) (wire.Account, error) {
	return call[wire.Account](ctx, c, http.MethodPost, "/v1/accounts", req)
}

// Login begins a session.
func (c *Client) Login(ctx context.Context, req wire.LoginRequest) (wire.Tokens, error) {
	return call[wire.Tokens](ctx, c, http.MethodPost, "/v1/sessions", req)
}

// Refresh trades a refresh token for new tokens.
func (c *Client) Refresh(ctx context.Context, req wire.RefreshRequest) (wire.Tokens, error) {
	return call[wire.Tokens](ctx, c, http.MethodPost, "/v1/sessions/refresh", req)
}

// Sessions lists the live sessions of whoever asks.
func (c *Client) Sessions(ctx context.Context) (wire.Sessions, error) {
	return call[wire.Sessions](ctx, c, http.MethodGet, "/v1/sessions", nil)
}

// Logout ends the session that asks.
func (c *Client) Logout(ctx context.Context) (wire.Ack, error) {
	return call[wire.Ack](ctx, c, http.MethodDelete, "/v1/sessions/current", nil)
}

// EndSession ends one of the asker's own sessions.
func (c *Client) EndSession(ctx context.Context, sid string) (wire.Ack, error) {
	return call[wire.Ack](ctx, c, http.MethodDelete, "/v1/sessions/"+url.PathEscape(sid), nil)
}

// EndAll ends all sessions of whoever asks; with keepThis, all but the one that
// asks, which gets a fresh access token.
func (c *Client) EndAll(ctx context.Context, keepThis bool) (wire.AckTokens, error) {
	path := "/v1/sessions"
	if keepThis {
		path += "?keep=current"
	}
	return call[wire.AckTokens](ctx, c, http.MethodDelete, path, nil)
}

// Me shows the account of whoever asks.
func (c *Client) Me(ctx context.Context) (wire.Me, error) {
	return call[wire.Me](ctx, c, http.MethodGet, "/v1/me", nil)
}

// DeleteMe deletes the account of whoever asks.
func (c *Client) DeleteMe(ctx context.Context, req wire.DeleteMeRequest) (wire.Ack, error) {
	return call[wire.Ack](ctx, c, http.MethodDelete, "/v1/me", req)
}

// ChangePassword changes the asker's password, ends the other sessions, and gives
// this one a fresh access token.
func (c *Client) ChangePassword(ctx context.Context, req wire.PasswordRequest) (wire.AckTokens, error) {
	return call[wire.AckTokens](ctx, c, http.MethodPut, "/v1/me/password", req)
}

// Verify has the service judge the client's own token.
func (c *Client) Verify(ctx context.Context) (wire.Verified, error) {
	return call[wire.Verified](ctx, c, http.MethodGet, "/v1/verify", nil)
}

// Introspect asks about a token (RFC 7662).
func (c *Client) Introspect(ctx context.Context, service ServiceCredentials, token string) (wire.Introspection, error) {
	return form[wire.Introspection](ctx, c, "/v1/introspect", service, url.Values{"token": {token}})
}

// RevokeToken revokes an access token, or ends the session of a refresh token (RFC 7009).
func (c *Client) RevokeToken(ctx context.Context, service ServiceCredentials, token string) error {
	_, err := form[struct{}](ctx, c, "/v1/revoke", service, url.Values{"token": {token}})
	return err
}
