package authority

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/authbus/authbus/authsvc/internal/store"
)

// AuthenticateService identifies a service by its id and secret. The refusals are
// CodeInvalidClient, the same and in the same time for an unknown service and a
// wrong secret, and CodeThrottled after too many of those from one network.
//
// The right secret is never throttled. Its 256 random bits cannot be guessed at
// any rate, and otherwise whoever shares an address with a service could lock it out.
func (a *Authority) AuthenticateService(ctx context.Context, id string, secret Secret, m Meta) (Service, error) {
	if !validClientID(id) {
		id = "" // no service has it, and it is looked for like any other
	}
	r := a.db.Reader(ctx)
	s, err := r.Service(id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Service{}, fmt.Errorf("authenticating service: %w", err)
	}
	known, now, hash := err == nil, time.Now(), secret.hash()
	current := subtle.ConstantTimeCompare(s.SecretHash[:], hash) == 1
	previous := subtle.ConstantTimeCompare(s.PreviousHash[:], hash) == 1 && now.Before(s.PreviousUntil)
	if known && (current || previous) {
		return serviceOf(s), nil
	}
	return Service{}, a.refuseService(ctx, s.ClientID, m.clean())
}

// CertifiedService returns the service that has proved its id by a certificate of the
// internal CA. It is CodeInvalidClient where no admin has added it. Nobody can try
// names here, so nothing is throttled.
func (a *Authority) CertifiedService(ctx context.Context, id string) (Service, error) {
	if !validClientID(id) {
		id = "" // a SPIFFE ID may have names that no service has
	}
	s, err := a.db.Reader(ctx).Service(id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Service{}, &Error{Code: CodeInvalidClient, Message: "the service is not known"}
	case err != nil:
		return Service{}, fmt.Errorf("authenticating service: %w", err)
	}
	return serviceOf(s), nil
}

// refuseService counts a failed try against its network. While that is blocked
// nothing is written, so that a flood costs reads only. id is that of a service that
// there is, or empty: the log holds no text of a stranger's.
func (a *Authority) refuseService(ctx context.Context, id string, m Meta) error {
	bucket := serviceBucket(m.Address)
	wait, err := blockedFor(a.db.Reader(ctx), bucket, time.Now())
	if err == nil && wait == 0 && bucket != "" {
		err = a.db.Write(ctx, func(tx *store.Tx) error {
			if wait, err = blockedFor(tx.Reader, bucket, tx.Now()); err != nil || wait > 0 {
				return err
			}
			return countFailure(tx, bucket)
		})
	}
	switch {
	case err != nil:
		return fmt.Errorf("authenticating service: %w", err)
	case wait > 0:
		return throttled(wait, "service")
	}
	a.log.InfoContext(ctx, "service refused", "id", id, "address", m.Address)
	return &Error{Code: CodeInvalidClient, Message: "the service is not known or its secret is wrong"}
}

// serviceBucket is apart from that of logins: a service with a wrong secret must
// not keep the users out who come through the same gateway.
func serviceBucket(address string) string {
	if n := network(address); n != "" {
		return "service:" + n
	}
	return ""
}
