package store

import (
	"fmt"
	"time"
)

// Hash is the SHA-256 of a secret: all that the database knows of it.
type Hash [32]byte

// RefreshToken is one link of a session's chain.
type RefreshToken struct {
	Hash      Hash
	SID       string
	CreatedAt time.Time
	// RotatedAt is when the token was exchanged for its successor; zero before.
	RotatedAt time.Time
	// Successor is the hash of the token that it was exchanged for.
	Successor Hash
	// SealedSuccessor is that token, sealed with a key that only whoever holds this
	// one can derive; nil once it is wiped.
	SealedSuccessor []byte
}

// RefreshState is a refresh token with all that decides about it, from one snapshot.
type RefreshState struct {
	Token RefreshToken
	SessionState
}

// RefreshState returns a refresh token with its session, account and the head.
func (r *Reader) RefreshState(hash Hash) (RefreshState, error) {
	return one(r, func(row scanner) (RefreshState, error) {
		var t RefreshToken
		var own, successor []byte
		state, err := r.scanState(row, &own, &t.SID, moment{&t.CreatedAt}, moment{&t.RotatedAt}, &successor, &t.SealedSuccessor)
		copy(t.Hash[:], own)
		copy(t.Successor[:], successor)
		return RefreshState{Token: t, SessionState: state}, err
	}, "SELECT t.hash, t.sid, t.created_at, t.rotated_at, t.successor_hash, t.sealed_successor, "+
		sessionColumns+", "+accountColumns+", "+headColumns+`
		FROM refresh_tokens t JOIN sessions s ON s.sid = t.sid JOIN accounts a ON a.sub = s.sub
			JOIN log_head h ON h.id = 1
		WHERE t.hash = $1`, hash[:])
}

// AddRefreshToken adds the first token of a session's chain.
func (tx *Tx) AddRefreshToken(hash Hash, sid string) error {
	_, err := tx.exec("INSERT INTO refresh_tokens (hash, sid, created_at) VALUES ($1, $2, $3)", hash[:], sid, millis(tx.now))
	if err != nil {
		return fmt.Errorf("adding refresh token: %w", err)
	}
	return nil
}

// RotateRefreshToken exchanges a token for its successor, if nobody has done so
// before, and reports whether it did. sealed is the successor sealed for the
// holder of the old token.
func (tx *Tx) RotateRefreshToken(old, successor Hash, sealed []byte) (bool, error) {
	n, err := tx.exec(`UPDATE refresh_tokens SET rotated_at = $1, successor_hash = $2, sealed_successor = $3
		WHERE hash = $4 AND rotated_at IS NULL`, millis(tx.now), successor[:], sealed, old[:])
	if err != nil {
		return false, fmt.Errorf("rotating refresh token: %w", err)
	}
	if n == 0 {
		return false, nil
	}
	_, err = tx.exec(`INSERT INTO refresh_tokens (hash, sid, created_at)
		VALUES ($1, (SELECT sid FROM refresh_tokens WHERE hash = $2), $3)`, successor[:], old[:], millis(tx.now))
	if err != nil {
		return false, fmt.Errorf("rotating refresh token: %w", err)
	}
	return true, nil
}

// WipeSuccessors removes the sealed successors of tokens rotated before a time:
// their grace is over. It returns how many there were.
func (tx *Tx) WipeSuccessors(rotatedBefore time.Time) (int64, error) {
	n, err := tx.exec(`UPDATE refresh_tokens SET sealed_successor = NULL
		WHERE sealed_successor IS NOT NULL AND rotated_at < $1`, millis(rotatedBefore))
	if err != nil {
		return 0, fmt.Errorf("wiping sealed refresh tokens: %w", err)
	}
	return n, nil
}
