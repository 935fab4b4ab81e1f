package store

import (
	"fmt"
	"time"
)

// Throttle counts the failures of a bucket: an account, an address.
type Throttle struct {
	Bucket   string
	Failures int
	// BlockedUntil is zero where the bucket is not blocked.
	BlockedUntil time.Time
	UpdatedAt    time.Time
}

// Throttle returns a bucket's count; ErrNotFound is one without failures.
func (r *Reader) Throttle(bucket string) (Throttle, error) {
	return one(r, func(row scanner) (Throttle, error) {
		var t Throttle
		err := row.Scan(&t.Bucket, &t.Failures, moment{&t.BlockedUntil}, moment{&t.UpdatedAt})
		return t, err
	}, "SELECT t.bucket, t.failures, t.blocked_until, t.updated_at FROM throttle t WHERE t.bucket = $1", bucket)
}

// SetThrottle saves a bucket's count; UpdatedAt is now.
func (tx *Tx) SetThrottle(t Throttle) error {
	_, err := tx.exec(`INSERT INTO throttle (bucket, failures, blocked_until, updated_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (bucket) DO UPDATE SET failures = excluded.failures, blocked_until = excluded.blocked_until,
			updated_at = excluded.updated_at`,
		t.Bucket, t.Failures, millis(t.BlockedUntil), millis(tx.now))
	if err != nil {
		return fmt.Errorf("counting a failure: %w", err)
	}
	return nil
}

// ClearThrottle forgets a bucket's failures.
func (tx *Tx) ClearThrottle(bucket string) error {
	if _, err := tx.exec("DELETE FROM throttle WHERE bucket = $1", bucket); err != nil {
		return fmt.Errorf("clearing a throttle: %w", err)
	}
	return nil
}
