package store

import (
	"fmt"
	"time"
)

// KnownAddress reports whether a session of the user was used from the address
// since then; it may have ended.
func (r *Reader) KnownAddress(sub, address string, since time.Time) (bool, error) {
	return one(r, func(row scanner) (bool, error) {
		var n int64
		err := row.Scan(&n)
		return n > 0, err
	}, "SELECT count(*) FROM sessions s WHERE s.sub = $1 AND s.address = $2 AND s.last_used_at > $3",
		sub, address, millis(since))
}

// UseSession notes that a session was used now, and from where.
func (tx *Tx) UseSession(sid, address, userAgent string) error {
	err := tx.change("UPDATE sessions SET last_used_at = $1, address = $2, user_agent = $3 WHERE sid = $4",
		millis(tx.now), address, userAgent, sid)
	if err != nil {
		return fmt.Errorf("changing session %s: %w", sid, err)
	}
	return nil
}

// BootstrapSetAt returns when the one-time secret was set; ErrNotFound is never.
func (r *Reader) BootstrapSetAt() (time.Time, error) {
	return one(r, func(row scanner) (time.Time, error) {
		var at time.Time
		err := row.Scan(moment{&at})
		return at, err
	}, "SELECT b.created_at FROM bootstrap b WHERE b.id = 1")
}
