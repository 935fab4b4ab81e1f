package store

import (
	"errors"
	"fmt"
	"time"
)

// Bootstrap is the one-time secret that makes the first admin.
type Bootstrap struct {
	Set           bool // there is or was one
	SetAt, UsedAt time.Time
}

// Bootstrap returns the state of the one-time secret.
func (r *Reader) Bootstrap() (Bootstrap, error) {
	state, err := one(r, func(row scanner) (Bootstrap, error) {
		b := Bootstrap{Set: true}
		err := row.Scan(moment{&b.SetAt}, moment{&b.UsedAt})
		return b, err
	}, "SELECT b.created_at, b.used_at FROM bootstrap b WHERE b.id = 1")
	if errors.Is(err, ErrNotFound) {
		return Bootstrap{}, nil
	}
	return state, err
}

// BootstrapSetAt returns when the one-time secret was set; ErrNotFound is never.
func (r *Reader) BootstrapSetAt() (time.Time, error) {
	state, err := r.Bootstrap()
	if err == nil && !state.Set {
		err = ErrNotFound
	}
	return state.SetAt, err
}

// SetBootstrapSecret sets the one-time secret, in place of an earlier one that
// nobody has used. It reports whether it did: after the first use there is no other.
func (tx *Tx) SetBootstrapSecret(secret Hash) (bool, error) {
	n, err := tx.exec(`INSERT INTO bootstrap (id, secret_hash, created_at) VALUES (1, $1, $2)
		ON CONFLICT (id) DO UPDATE SET secret_hash = excluded.secret_hash, created_at = excluded.created_at
		WHERE bootstrap.used_at IS NULL`, secret[:], millis(tx.now))
	if err != nil {
		return false, fmt.Errorf("setting the bootstrap secret: %w", err)
	}
	return n == 1, nil
}

// UseBootstrapSecret reports whether secret is the one-time secret, and uses it up.
func (tx *Tx) UseBootstrapSecret(secret Hash) (bool, error) {
	n, err := tx.exec("UPDATE bootstrap SET used_at = $1 WHERE secret_hash = $2 AND used_at IS NULL",
		millis(tx.now), secret[:])
	if err != nil {
		return false, fmt.Errorf("using the bootstrap secret: %w", err)
	}
	return n == 1, nil
}
