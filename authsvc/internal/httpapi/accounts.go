package httpapi

import (
	"context"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

func (a *api) register(ctx context.Context, c caller, req wire.RegisterRequest) (wire.Account, error) {
	account, err := a.Authority.Register(ctx, authority.Registration{
		Username: req.Username, Email: req.Email, Password: authority.Secret(req.Password),
	}, c.meta)
	return wireAccount(account), err
}

func (a *api) bootstrap(ctx context.Context, c caller, req wire.BootstrapRequest) (wire.Account, error) {
	account, err := a.Authority.BootstrapAdmin(ctx, authority.Secret(req.Secret), authority.Registration{
		Username: req.Username, Email: req.Email, Password: authority.Secret(req.Password),
	}, c.meta)
	return wireAccount(account), err
}

func (a *api) me(ctx context.Context, c caller, _ none) (wire.Me, error) {
	account, err := a.Authority.Me(ctx, c.claims)
	return wire.Me{Account: wireAccount(account), SID: c.claims.SessionID}, err
}

func (a *api) deleteMe(ctx context.Context, c caller, req wire.DeleteMeRequest) (wire.Ack, error) {
	ack, err := a.Authority.DeleteAccount(ctx, c.claims, authority.Secret(req.Password), c.meta)
	return wireAck(ack), err
}

func (a *api) changePassword(ctx context.Context, c caller, req wire.PasswordRequest) (wire.AckTokens, error) {
	ack, tokens, err := a.Authority.ChangePassword(ctx, c.claims, authority.PasswordChange{
		Current: authority.Secret(req.CurrentPassword), New: authority.Secret(req.NewPassword),
	}, c.meta)
	return wireAckTokens(ack, tokens), err
}

func wireAccount(account authority.Account) wire.Account {
	return wire.Account{
		Sub: account.Sub, Username: account.Username, Email: account.Email,
		Roles: list(account.Roles), Status: account.Status, CreatedAt: account.CreatedAt.UTC(),
	}
}

// list makes sure that an empty list is [] in JSON, not null.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

// each turns every item of the domain into its wire shape.
func each[In, Out any](items []In, shape func(In) Out) []Out {
	out := make([]Out, len(items))
	for i, item := range items {
		out[i] = shape(item)
	}
	return out
}
