package keyring

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

// ErrUnknownKey is returned where there is no key for tokens of that kid.
var ErrUnknownKey = errors.New("no such signing key")

// ErrFeedKey is returned where the feed's key was to be killed.
var ErrFeedKey = errors.New("the key of the feed cannot be killed")

// Info describes a key for tokens. It holds no private part.
type Info struct {
	KID string
	Alg string
	// State is published (going to sign), active (signs), retiring (signs no
	// more, but tokens of it may be alive), retired or killed. Of a shared secret
	// it is active, accepted (does not sign, but tokens of it are good), retired
	// (not configured) or killed; while there is one, key pairs that are neither
	// retired nor killed are suspended.
	State     string
	CreatedAt time.Time
	// ActivatedAt is when the key began to sign, or is going to.
	ActivatedAt time.Time
	// RetiresAt is when a retiring key retires; zero for others.
	RetiresAt time.Time
}

func (c Config) infoOf(k store.SigningKey) Info {
	info := Info{
		KID: k.KID, Alg: k.Alg, State: stateOf(k), CreatedAt: k.CreatedAt,
		ActivatedAt: k.ActivateAt, RetiresAt: k.RetireAt,
	}
	final := k.State == store.KeyKilled || k.State == store.KeyRetired
	switch {
	case isSecret(k) && k.State != store.KeyKilled:
		// Not as the row says: a replica that is configured otherwise may have changed it.
		info.State = string(c.stateOfSecret(k.KID))
		if info.State == statePublished {
			info.State = stateAccepted
		}
	case c.shared() && !final:
		info.State = stateSuspended
	}
	return info
}

// List returns all keys for tokens that there ever were, oldest first.
func (k *Keyring) List(ctx context.Context) ([]Info, error) {
	rows, err := k.db.Reader(ctx).Keys()
	if err != nil {
		return nil, fmt.Errorf("listing signing keys: %w", err)
	}
	var infos []Info
	for _, row := range rows {
		if row.Purpose == store.KeyForTokens {
			infos = append(infos, k.config.infoOf(row))
		}
	}
	return infos, nil
}

// Rotate publishes a new key that will sign after the overlap. Where one is
// published already, that one is the answer. The error is [ErrNotRotated] where a
// shared secret signs.
func (k *Keyring) Rotate(ctx context.Context) (Info, error) {
	if k.config.shared() {
		return Info{}, ErrNotRotated
	}
	fresh, err := newKey(k.config.Master, store.KeyForTokens, k.config.alg())
	if err != nil {
		return Info{}, err
	}
	var info Info
	err = k.db.Write(ctx, func(tx *store.Tx) error {
		rows, err := tx.Keys()
		if err != nil {
			return err
		}
		if pending := tokenKeys(rows, statePublished); len(pending) > 0 {
			info = k.config.infoOf(pending[0])
			return nil
		}
		if err := k.publish(tx, fresh); err != nil {
			return err
		}
		row, err := tx.Key(fresh.KID)
		info = k.config.infoOf(row)
		return err
	})
	if err != nil {
		return Info{}, fmt.Errorf("rotating the signing key: %w", err)
	}
	return info, k.Reload(ctx)
}

// Kill revokes a key for tokens: every token that it signed dies, and no replica
// signs with it again. If it was the active one, a new key signs from now on; a
// shared secret has no successor here, so nothing does ([ErrKilledSecret]). To
// kill a key again is harmless, and another record. The error is [ErrUnknownKey]
// for a kid that there never was, and [ErrFeedKey] for the feed's.
func (k *Keyring) Kill(ctx context.Context, kid, actor, reason string) (events.Revocation, error) {
	var fresh store.SigningKey
	if !k.config.shared() {
		var err error
		if fresh, err = newKey(k.config.Master, store.KeyForTokens, k.config.alg()); err != nil {
			return events.Revocation{}, err
		}
	}
	var record events.Revocation
	err := k.db.Write(ctx, func(tx *store.Tx) error {
		row, err := tx.Key(kid)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return ErrUnknownKey
		case err != nil:
			return err
		case row.Purpose != store.KeyForTokens:
			return ErrFeedKey
		}
		record, err = k.kill(tx, row, fresh, actor, reason)
		return err
	})
	if err != nil {
		return events.Revocation{}, fmt.Errorf("killing signing key: %w", err)
	}
	if err := k.Reload(ctx); err != nil {
		// It is dead all the same, and Run tries again.
		k.config.Logger.ErrorContext(ctx, "loading signing keys after one was killed failed", "kid", kid, "err", err)
	}
	if k.config.shared() && kid == k.config.Secret.ID() {
		k.config.Logger.ErrorContext(ctx, ErrKilledSecret.Error(), "kid", kid)
	}
	return record, nil
}

func (k *Keyring) kill(tx *store.Tx, row, fresh store.SigningKey, actor, reason string) (events.Revocation, error) {
	record, err := tx.Revoke(events.ScopeKey, row.KID, tx.Now().Add(retireAfter), reason, actor)
	if err != nil {
		return events.Revocation{}, err
	}
	revoked := events.KeyRevoked{KID: row.KID, Rev: record.Rev, Reason: reason, Actor: actor}
	if err := tx.Emit(k.config.Issuer, revoked); err != nil {
		return events.Revocation{}, err
	}
	if row.State == store.KeyActive && !isSecret(row) && !k.config.shared() {
		// Not a key that was published before: whoever took the one may have it too.
		err = k.addActive(tx, fresh)
	}
	return record, err
}
