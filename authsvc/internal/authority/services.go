package authority

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/verifier/token"
)

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

// AddService adds a service that may ask about the tokens of the audiences, by
// default those with its id in aud, and returns its secret, which nobody can show
// again. It is CodeServiceExists where there is one of this id.
func (a *Authority) AddService(ctx context.Context, actor *token.Claims, id string, audiences []string) (Service, Secret, error) {
	if err := a.CheckAdmin(actor); err != nil {
		return Service{}, "", err
	}
	if err := checkService(id, audiences); err != nil {
		return Service{}, "", err
	}
	if len(audiences) == 0 {
		audiences = []string{id}
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
			ClientID: id, Name: id, SecretHash: store.Hash(secret.hash()), Audiences: audiences, CreatedAt: tx.Now(),
		}
		return tx.PutService(added)
	})
	if err != nil {
		return Service{}, "", fmt.Errorf("adding service: %w", err)
	}
	a.log.InfoContext(ctx, "service added", "id", id, "audiences", audiences, "actor", actor.Subject)
	return serviceOf(added), secret, nil
}

// Unused returns those of the audiences that no token carries. A service that has
// no others is told of every token that it is not active.
func (a *Authority) Unused(audiences []string) []string {
	var unused []string
	for _, audience := range audiences {
		if !slices.Contains(a.config.Audiences, audience) {
			unused = append(unused, audience)
		}
	}
	return unused
}

// maxAudiences bounds what one service may ask about: a token is held against
// each of its audiences.
const maxAudiences = 16

func checkService(id string, audiences []string) error {
	var bad []Violation
	if !validClientID(id) {
		bad = append(bad, Violation{"id", "invalid", "use lower-case letters, digits and hyphens, at most 64"})
	}
	if id == actorRule {
		bad = append(bad, Violation{"id", "invalid", "it is the auth service's own name, which the log gives as the actor of its rules"})
	}
	if len(audiences) > maxAudiences {
		bad = append(bad, Violation{"audiences", "too_long", "at most 16 are allowed"})
	}
	for i, audience := range audiences {
		switch {
		case !validAudience(audience) || !validID(audience, maxClientID):
			bad = append(bad, Violation{"audiences", "invalid", "each must be the name of a service, of 1 to 64 visible ASCII characters"})
		case slices.Contains(audiences[:i], audience):
			bad = append(bad, Violation{"audiences", "duplicate", "one is there twice"})
		}
	}
	if len(bad) > 0 {
		return invalidInput(bad...)
	}
	return nil
}

// MaxSecretOverlap is how long a replaced secret may work at most.
const MaxSecretOverlap = 7 * 24 * time.Hour

// RotateService gives a service a new secret and returns it. The one before works
// for the overlap, from 0 to [MaxSecretOverlap], and any older one no more. It is
// CodeNotFound where there is no such service.
func (a *Authority) RotateService(ctx context.Context, actor *token.Claims, id string, overlap time.Duration) (Service, Secret, error) {
	if err := a.CheckAdmin(actor); err != nil {
		return Service{}, "", err
	}
	if overlap < 0 || overlap > MaxSecretOverlap {
		return Service{}, "", invalidInput(Violation{"overlap_seconds", "invalid", "must be between 0 and 7 days"})
	}
	if !validClientID(id) {
		return Service{}, "", notFound("service")
	}
	secret := newSecret(prefixService)
	var rotated store.Service
	err := a.db.Write(ctx, func(tx *store.Tx) (err error) {
		if rotated, err = tx.Service(id); err != nil {
			return err
		}
		rotated.PreviousHash, rotated.PreviousUntil = store.Hash{}, time.Time{}
		if overlap > 0 {
			rotated.PreviousHash, rotated.PreviousUntil = rotated.SecretHash, tx.Now().Add(overlap)
		}
		rotated.SecretHash = store.Hash(secret.hash())
		return tx.PutService(rotated)
	})
	if errors.Is(err, store.ErrNotFound) {
		return Service{}, "", notFound("service")
	}
	if err != nil {
		return Service{}, "", fmt.Errorf("rotating a service's secret: %w", err)
	}
	a.log.InfoContext(ctx, "service secret rotated", "id", id, "overlap", overlap, "actor", actor.Subject)
	return serviceOf(rotated), secret, nil
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

func serviceOf(s store.Service) Service {
	return Service{ID: s.ClientID, Audiences: s.Audiences, CreatedAt: s.CreatedAt, PreviousUntil: s.PreviousUntil}
}
