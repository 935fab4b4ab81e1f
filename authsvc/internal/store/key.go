package store

import (
	"errors"
	"fmt"
	"time"
)

// KeyPurpose says what a key signs.
type KeyPurpose string

// The purposes of a signing key.
const (
	KeyForTokens KeyPurpose = "token" // access tokens
	KeyForFeed   KeyPurpose = "feed"  // records of the feed and replies on the bus
)

// KeyState is where a signing key is in its life.
type KeyState string

// The states of a signing key.
const (
	KeyPublished KeyState = "published" // in the JWKS, not yet signing
	KeyActive    KeyState = "active"    // signing
	KeyRetired   KeyState = "retired"   // no token of it is alive
	KeyKilled    KeyState = "killed"    // its tokens are refused
)

// SigningKey is a key pair, its private half sealed.
type SigningKey struct {
	KID     string
	Purpose KeyPurpose
	Alg     string
	// Public is in PKIX, ASN.1 DER form.
	Public []byte
	// SealedPrivate is nil once the key is retired or killed.
	SealedPrivate []byte `json:"-"`
	State         KeyState
	CreatedAt     time.Time
	// ActivateAt and RetireAt are the schedule; zero where nothing is scheduled.
	ActivateAt, RetireAt time.Time
	// ChangedAt is when the state last changed.
	ChangedAt time.Time
}

const keyColumns = `k.kid, k.purpose, k.alg, k.public, k.sealed_private, k.state, k.created_at, k.activate_at,
	k.retire_at, k.changed_at`

func scanKey(row scanner) (SigningKey, error) {
	var k SigningKey
	err := row.Scan(&k.KID, &k.Purpose, &k.Alg, &k.Public, &k.SealedPrivate, &k.State, moment{&k.CreatedAt},
		moment{&k.ActivateAt}, moment{&k.RetireAt}, moment{&k.ChangedAt})
	return k, err
}

// Keys lists all signing keys, retired and killed ones too, oldest first.
func (r *Reader) Keys() ([]SigningKey, error) {
	return all(r, scanKey, "SELECT "+keyColumns+" FROM signing_keys k ORDER BY k.created_at, k.kid")
}

// Key returns a signing key.
func (r *Reader) Key(kid string) (SigningKey, error) {
	return one(r, scanKey, "SELECT "+keyColumns+" FROM signing_keys k WHERE k.kid = $1", kid)
}

// AddKey adds a signing key; CreatedAt and ChangedAt are now. The head's
// KeysVersion grows.
func (tx *Tx) AddKey(k SigningKey) error {
	_, err := tx.exec(`INSERT INTO signing_keys
			(kid, purpose, alg, public, sealed_private, state, created_at, activate_at, retire_at, changed_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $7)`,
		k.KID, string(k.Purpose), k.Alg, k.Public, bytesOrNull(k.SealedPrivate), string(k.State), millis(tx.now),
		millis(k.ActivateAt), millis(k.RetireAt))
	if err != nil {
		return fmt.Errorf("adding key: %w", err)
	}
	tx.batch.head.KeysVersion++
	return nil
}

// UpdateKey saves the state, schedule and sealed private half of k; ChangedAt is
// now. The head's KeysVersion grows. A killed key stays killed: ErrNotFound.
func (tx *Tx) UpdateKey(k SigningKey) error {
	err := tx.change(`UPDATE signing_keys
		SET state = $1, activate_at = $2, retire_at = $3, sealed_private = $4, changed_at = $5
		WHERE kid = $6 AND state <> 'killed'`,
		string(k.State), millis(k.ActivateAt), millis(k.RetireAt), bytesOrNull(k.SealedPrivate), millis(tx.now), k.KID)
	if err != nil {
		return fmt.Errorf("changing key %s: %w", k.KID, err)
	}
	tx.batch.head.KeysVersion++
	return nil
}

// killKey is the effect of a revocation; a key that this database does not have
// needs none.
func (tx *Tx) killKey(kid string) error {
	err := tx.change(`UPDATE signing_keys SET state = 'killed', sealed_private = NULL, changed_at = $1
		WHERE kid = $2 AND state <> 'killed'`, millis(tx.now), kid)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("killing key %s: %w", kid, err)
	}
	tx.batch.head.KeysVersion++
	return nil
}
