package authority

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/verifier/token"
)

// AuthenticateService identifies a service by its id and secret. The refusal is
// CodeInvalidClient.
func (a *Authority) AuthenticateService(ctx context.Context, id string, secret Secret) (Service, error) {
	invalid := &Error{Code: CodeInvalidClient, Message: "the service is not known or its secret is wrong"}
	if !validClientID(id) {
		return Service{}, invalid
	}
	s, err := a.db.Reader(ctx).Service(id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Service{}, fmt.Errorf("authenticating service: %w", err)
	}
	unknown := err != nil
	if subtle.ConstantTimeCompare(s.SecretHash[:], secret.hash()) != 1 || unknown {
		return Service{}, invalid
	}
	return serviceOf(s), nil
}

// Services lists the services by their ids.
func (a *Authority) Services(ctx context.Context, actor *token.Claims) ([]Service, error) {
	if err := a.CheckAdmin(actor); err != nil {
		return nil, err
	}
	rows, err := a.db.Reader(ctx).Services()
	if err != nil {
		return nil, fmt.Errorf("listing services: %w", err)
	}
	services := make([]Service, 0, len(rows))
	for _, row := range rows {
		services = append(services, serviceOf(row))
	}
	return services, nil
}

// AddService adds a service, whose id is the audience it answers to, and returns
// its secret, which nobody can show again.
func (a *Authority) AddService(ctx context.Context, actor *token.Claims, id string) (Service, Secret, error) {
	if err := a.CheckAdmin(actor); err != nil {
		return Service{}, "", err
	}
	if !validClientID(id) {
		return Service{}, "", invalidInput(Violation{"id", "invalid", "use lower-case letters, digits and hyphens, at most 64"})
	}
	secret := newSecret(prefixService)
	var added store.Service
	err := a.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Service(id)
		if err == nil {
			return &Error{Code: CodeServiceExists, Message: "there is a service of this id"}
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		added = store.Service{
			ClientID: id, Name: id, SecretHash: store.Hash(secret.hash()), Audiences: []string{id}, CreatedAt: tx.Now(),
		}
		return tx.PutService(added)
	})
	if err != nil {
		return Service{}, "", fmt.Errorf("adding service: %w", err)
	}
	a.log.InfoContext(ctx, "service added", "id", id, "actor", actor.Subject)
	return serviceOf(added), secret, nil
}

// RemoveService removes a service. It is CodeNotFound where there is none.
func (a *Authority) RemoveService(ctx context.Context, actor *token.Claims, id string) error {
	if err := a.CheckAdmin(actor); err != nil {
		return err
	}
	if !validClientID(id) {
		return notFound("service")
	}
	err := a.db.Write(ctx, func(tx *store.Tx) error { return tx.DeleteService(id) })
	if errors.Is(err, store.ErrNotFound) {
		return notFound("service")
	}
	if err != nil {
		return fmt.Errorf("removing service: %w", err)
	}
	a.log.InfoContext(ctx, "service removed", "id", id, "actor", actor.Subject)
	return nil
}

func serviceOf(s store.Service) Service { return Service{ID: s.ClientID, CreatedAt: s.CreatedAt} }
