package keyring

import (
	"time"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

// Where a token key is in its life, by its row: the database says published both
// of a key that is going to sign and of one that no longer does.
const (
	statePublished = "published" // going to sign
	stateActive    = "active"    // signs
	stateRetiring  = "retiring"  // signs no more, but tokens of it may be alive
	stateRetired   = "retired"
	stateKilled    = "killed"
	// Of a service that signs with shared secrets, or did:
	stateAccepted  = "accepted"  // a secret that does not sign, and whose tokens are good
	stateSuspended = "suspended" // a key pair, out of force as long as secrets are in it
)

func stateOf(k store.SigningKey) string {
	if k.State == store.KeyPublished && !k.RetireAt.IsZero() {
		return stateRetiring
	}
	return string(k.State)
}

// tokenKeys returns the key pairs for tokens that are in one of the states.
func tokenKeys(keys []store.SigningKey, states ...string) []store.SigningKey {
	var found []store.SigningKey
	for _, k := range keys {
		for _, state := range states {
			if k.Purpose == store.KeyForTokens && !isSecret(k) && stateOf(k) == state {
				found = append(found, k)
			}
		}
	}
	return found
}

// plan is what is due. Two replicas that plan on the same rows plan the same.
type plan struct {
	retire   []store.SigningKey // no token of theirs is alive
	activate *store.SigningKey  // its overlap is over
	resign   []store.SigningKey // those that sign until then
	// publish asks for a new key: to sign at once where none does, else after the overlap.
	publish, atOnce bool
}

func (p plan) empty() bool { return len(p.retire) == 0 && p.activate == nil && !p.publish }

// due makes the plan for now.
func (c Config) due(keys []store.SigningKey, now time.Time) plan {
	var p plan
	for _, k := range tokenKeys(keys, stateRetiring) {
		if !now.Before(k.RetireAt) {
			p.retire = append(p.retire, k)
		}
	}
	active := tokenKeys(keys, stateActive)
	pending := tokenKeys(keys, statePublished)
	switch {
	case len(pending) > 0 && (len(active) == 0 || !now.Before(pending[0].ActivateAt)):
		p.activate, p.resign = &pending[0], active
	case len(active) == 0:
		p.publish, p.atOnce = true, true
	case len(pending) == 0 && !now.Before(active[0].ActivateAt.Add(c.RotateEvery)):
		p.publish = true
	}
	return p
}

// carryOut does what is due in a write transaction. fresh is a new key, used
// where the plan wants one.
func (k *Keyring) carryOut(tx *store.Tx, p plan, fresh store.SigningKey) error {
	for _, old := range p.retire {
		if err := k.retire(tx, old); err != nil {
			return err
		}
	}
	if p.activate != nil {
		for _, old := range p.resign {
			if err := k.resign(tx, old); err != nil {
				return err
			}
		}
		return k.activate(tx, *p.activate)
	}
	switch {
	case p.publish && p.atOnce:
		return k.addActive(tx, fresh)
	case p.publish:
		return k.publish(tx, fresh)
	}
	return nil
}

// publish adds a key that is to sign after the overlap.
func (k *Keyring) publish(tx *store.Tx, fresh store.SigningKey) error {
	fresh.State, fresh.ActivateAt = store.KeyPublished, tx.Now().Add(k.config.Overlap)
	if err := tx.AddKey(fresh); err != nil {
		return err
	}
	return tx.Emit(k.config.Issuer, events.KeyPublished{KID: fresh.KID, Alg: fresh.Alg})
}

// addActive adds a key that signs from now on: verifiers will ask for it when
// they see its first token.
func (k *Keyring) addActive(tx *store.Tx, fresh store.SigningKey) error {
	fresh.State, fresh.ActivateAt = store.KeyActive, tx.Now()
	if err := tx.AddKey(fresh); err != nil {
		return err
	}
	if err := tx.Emit(k.config.Issuer, events.KeyPublished{KID: fresh.KID, Alg: fresh.Alg}); err != nil {
		return err
	}
	return tx.Emit(k.config.Issuer, events.KeyActivated{KID: fresh.KID, Alg: fresh.Alg})
}

func (k *Keyring) activate(tx *store.Tx, pending store.SigningKey) error {
	pending.State, pending.ActivateAt = store.KeyActive, tx.Now()
	if err := tx.UpdateKey(pending); err != nil {
		return err
	}
	return tx.Emit(k.config.Issuer, events.KeyActivated{KID: pending.KID, Alg: pending.Alg})
}

// resign ends a key's signing. It stays published for the tokens that are alive.
func (k *Keyring) resign(tx *store.Tx, active store.SigningKey) error {
	active.State, active.RetireAt, active.SealedPrivate = store.KeyPublished, tx.Now().Add(retireAfter), nil
	return tx.UpdateKey(active)
}

func (k *Keyring) retire(tx *store.Tx, old store.SigningKey) error {
	old.State, old.SealedPrivate = store.KeyRetired, nil
	if err := tx.UpdateKey(old); err != nil {
		return err
	}
	return tx.Emit(k.config.Issuer, events.KeyRetired{KID: old.KID, Alg: old.Alg})
}
