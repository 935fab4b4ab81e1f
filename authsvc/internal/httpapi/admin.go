package httpapi

import (
	"context"
	"time"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
	"github.com/authbus/authbus/authsvc/internal/keyring"
	"github.com/authbus/authbus/events"
)

// defaultPage is how many entries a page has where the caller does not say.
const defaultPage = 50

func pageLimit(wanted int) int {
	if wanted == 0 {
		return defaultPage
	}
	return wanted
}

func (a *api) accounts(ctx context.Context, c caller, req wire.AccountsRequest) (wire.AccountPage, error) {
	list := "accounts\x00" + req.Search
	after, err := a.cursors.open(list, req.Cursor)
	if err != nil {
		return wire.AccountPage{}, err
	}
	page, err := a.Authority.Accounts(ctx, c.claims, authority.AccountQuery{
		Search: req.Search, Cursor: after, Limit: pageLimit(req.Limit),
	})
	return wire.AccountPage{
		Accounts: each(page.Accounts, wireAccount), Next: a.cursors.seal(list, page.Next),
	}, err
}

func (a *api) account(ctx context.Context, c caller, req wire.AccountRequest) (wire.Account, error) {
	account, err := a.Authority.Account(ctx, c.claims, req.Sub)
	return wireAccount(account), err
}

func (a *api) disable(ctx context.Context, c caller, req wire.AccountActionRequest) (wire.Ack, error) {
	ack, err := a.Authority.Disable(ctx, c.claims, req.Sub, req.Reason)
	return wireAck(ack), err
}

func (a *api) enable(ctx context.Context, c caller, req wire.AccountActionRequest) (wire.Account, error) {
	if err := a.Authority.Enable(ctx, c.claims, req.Sub, req.Reason); err != nil {
		return wire.Account{}, err
	}
	return a.account(ctx, c, wire.AccountRequest{Sub: req.Sub})
}

func (a *api) accountSessions(ctx context.Context, c caller, req wire.AccountRequest) (wire.Sessions, error) {
	sessions, err := a.Authority.AccountSessions(ctx, c.claims, req.Sub)
	return wire.Sessions{Sessions: each(sessions, wireSession)}, err
}

func (a *api) adminEndSession(ctx context.Context, c caller, req wire.AdminEndSessionRequest) (wire.Ack, error) {
	ack, err := a.Authority.AdminEndSession(ctx, c.claims, req.SID, req.Reason)
	return wireAck(ack), err
}

// revoke wants a second confirmation for what logs out more than one user.
func (a *api) revoke(ctx context.Context, c caller, req wire.RevokeRequest) (wire.Revoked, error) {
	scope := events.Scope(req.Scope)
	if (scope == events.ScopeEveryone || scope == events.ScopeKey) && !req.Confirm {
		return wire.Revoked{}, errUnconfirmed
	}
	done, err := a.Authority.Revoke(ctx, c.claims, authority.RevokeRequest{
		Scope: scope, ID: req.ID, Reason: req.Reason, NotAfter: req.NotAfter,
	})
	return wire.Revoked{Ack: wireAck(done.Ack), Known: done.Known}, err
}

func (a *api) revocations(ctx context.Context, c caller, req wire.PageRequest) (wire.RevocationPage, error) {
	const list = "revocations"
	after, err := a.cursors.open(list, req.Cursor)
	if err != nil {
		return wire.RevocationPage{}, err
	}
	page, err := a.Authority.Revocations(ctx, c.claims, after, pageLimit(req.Limit))
	return wire.RevocationPage{
		Revocations: each(page.Revocations, wireRevocation), Next: a.cursors.seal(list, page.Next),
	}, err
}

func (a *api) keys(ctx context.Context, c caller, _ none) (wire.SigningKeys, error) {
	keys, err := a.Authority.Keys(ctx, c.claims)
	return wire.SigningKeys{Keys: each(keys, wireKey)}, err
}

func (a *api) rotateKey(ctx context.Context, c caller, _ none) (wire.SigningKey, error) {
	key, err := a.Authority.RotateKey(ctx, c.claims)
	return wireKey(key), err
}

func (a *api) killKey(ctx context.Context, c caller, req wire.KillKeyRequest) (wire.Ack, error) {
	if !req.Confirm {
		return wire.Ack{}, errUnconfirmed
	}
	ack, err := a.Authority.KillKey(ctx, c.claims, req.KID, req.Reason)
	return wireAck(ack), err
}

func (a *api) services(ctx context.Context, c caller, _ none) (wire.Services, error) {
	services, err := a.Authority.Services(ctx, c.claims)
	return wire.Services{Services: each(services, wireService)}, err
}

func (a *api) addService(ctx context.Context, c caller, req wire.ServiceRequest) (wire.NewService, error) {
	added, secret, err := a.Authority.AddService(ctx, c.claims, req.ID, req.Audiences)
	return a.newService(added, secret), err
}

func (a *api) rotateService(ctx context.Context, c caller, req wire.RotateServiceRequest) (wire.NewService, error) {
	overlap := time.Duration(req.OverlapSeconds) * time.Second
	rotated, secret, err := a.Authority.RotateService(ctx, c.claims, req.ID, overlap)
	return a.newService(rotated, secret), err
}

func (a *api) removeService(ctx context.Context, c caller, req wire.NamedServiceRequest) (none, error) {
	return none{}, a.Authority.RemoveService(ctx, c.claims, req.ID)
}

func wireRevocation(r authority.Revocation) wire.Revocation {
	return wire.Revocation{
		Rev: r.Rev, Epoch: r.Epoch, Scope: string(r.Scope), ID: r.ID, Reason: r.Reason, Actor: r.Actor,
		At: time.UnixMilli(r.At).UTC(), ExpiresAt: time.Unix(r.ExpiresAt, 0).UTC(),
	}
}

func wireKey(k keyring.Info) wire.SigningKey {
	return wire.SigningKey{
		KID: k.KID, Alg: k.Alg, State: k.State, CreatedAt: k.CreatedAt.UTC(),
		ActivatedAt: known(k.ActivatedAt), RetiresAt: known(k.RetiresAt),
	}
}

func wireService(s authority.Service) wire.Service {
	return wire.Service{
		ID: s.ID, Audiences: s.Audiences, CreatedAt: s.CreatedAt.UTC(), PreviousUntil: known(s.PreviousUntil),
	}
}

func (a *api) newService(s authority.Service, secret authority.Secret) wire.NewService {
	return wire.NewService{
		ID: s.ID, Secret: secret.Reveal(), Audiences: s.Audiences, UnusedAudiences: a.Authority.Unused(s.Audiences),
		PreviousUntil: known(s.PreviousUntil),
	}
}

// known returns nil for a time that is not known.
func known(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	at = at.UTC()
	return &at
}
