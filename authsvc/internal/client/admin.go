package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

// Bootstrap trades the one-time secret for the first admin.
func (c *Client) Bootstrap(ctx context.Context, req wire.BootstrapRequest) (wire.Account, error) {
	return call[wire.Account](ctx, c, http.MethodPost, "/v1/admin/bootstrap", req)
}

// Accounts lists accounts, one page at a time.
func (c *Client) Accounts(ctx context.Context, req wire.AccountsRequest) (wire.AccountPage, error) {
	return call[wire.AccountPage](ctx, c, http.MethodGet,
		"/v1/admin/accounts"+pageQuery(req.Search, req.Limit, req.Cursor), nil)
}

// Account shows one account, by its sub, user name or e-mail address.
func (c *Client) Account(ctx context.Context, sub string) (wire.Account, error) {
	return call[wire.Account](ctx, c, http.MethodGet, accountPath(sub), nil)
}

// DisableAccount disables an account and ends its sessions.
func (c *Client) DisableAccount(ctx context.Context, sub, reason string) (wire.Ack, error) {
	return call[wire.Ack](ctx, c, http.MethodPost, accountPath(sub)+"/disable", reasonBody{reason})
}

// EnableAccount lets a disabled account log in again.
func (c *Client) EnableAccount(ctx context.Context, sub, reason string) (wire.Account, error) {
	return call[wire.Account](ctx, c, http.MethodPost, accountPath(sub)+"/enable", reasonBody{reason})
}

// AccountSessions lists the live sessions of an account.
func (c *Client) AccountSessions(ctx context.Context, sub string) (wire.Sessions, error) {
	return call[wire.Sessions](ctx, c, http.MethodGet, accountPath(sub)+"/sessions", nil)
}

// AdminEndSession ends anybody's session.
func (c *Client) AdminEndSession(ctx context.Context, sid, reason string) (wire.Ack, error) {
	path := "/v1/admin/sessions/" + url.PathEscape(sid) + "?" + url.Values{"reason": {reason}}.Encode()
	return call[wire.Ack](ctx, c, http.MethodDelete, path, nil)
}

// Revoke writes a revocation.
func (c *Client) Revoke(ctx context.Context, req wire.RevokeRequest) (wire.Revoked, error) {
	return call[wire.Revoked](ctx, c, http.MethodPost, "/v1/admin/revocations", req)
}

// Revocations lists the live revocations, newest first, one page at a time.
func (c *Client) Revocations(ctx context.Context, page wire.PageRequest) (wire.RevocationPage, error) {
	return call[wire.RevocationPage](ctx, c, http.MethodGet, "/v1/admin/revocations"+pageQuery("", page.Limit, page.Cursor), nil)
}

// Keys lists the signing keys.
func (c *Client) Keys(ctx context.Context) (wire.SigningKeys, error) {
	return call[wire.SigningKeys](ctx, c, http.MethodGet, "/v1/admin/keys", nil)
}

// RotateKey publishes a new signing key.
func (c *Client) RotateKey(ctx context.Context) (wire.SigningKey, error) {
	return call[wire.SigningKey](ctx, c, http.MethodPost, "/v1/admin/keys/rotate", nil)
}

// KillKey kills a signing key; the caller has confirmed it.
func (c *Client) KillKey(ctx context.Context, kid, reason string) (wire.Ack, error) {
	body := struct {
		reasonBody
		Confirm bool `json:"confirm"`
	}{reasonBody{reason}, true}
	return call[wire.Ack](ctx, c, http.MethodPost, "/v1/admin/keys/"+url.PathEscape(kid)+"/kill", body)
}

// Services lists the services that may introspect and revoke.
func (c *Client) Services(ctx context.Context) (wire.Services, error) {
	return call[wire.Services](ctx, c, http.MethodGet, "/v1/admin/services", nil)
}

// AddService adds a service; its secret is in this answer and nowhere else.
func (c *Client) AddService(ctx context.Context, req wire.ServiceRequest) (wire.NewService, error) {
	return call[wire.NewService](ctx, c, http.MethodPost, "/v1/admin/services", req)
}

// RotateService gives a service a new secret; the one before works for the overlap,
// in whole seconds.
func (c *Client) RotateService(ctx context.Context, id string, overlap time.Duration) (wire.NewService, error) {
	body := struct {
		OverlapSeconds int64 `json:"overlap_seconds"`
	}{int64(overlap / time.Second)}
	return call[wire.NewService](ctx, c, http.MethodPost, "/v1/admin/services/"+url.PathEscape(id)+"/rotate", body)
}

// RemoveService removes a service.
func (c *Client) RemoveService(ctx context.Context, id string) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, "/v1/admin/services/"+url.PathEscape(id), nil)
	return err
}

type reasonBody struct {
	Reason string `json:"reason,omitempty"`
}

func accountPath(sub string) string { return "/v1/admin/accounts/" + url.PathEscape(sub) }

func pageQuery(search string, limit int, cursor string) string {
	query := url.Values{}
	if search != "" {
		query.Set("search", search)
	}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}
