package store

import (
	"context"
	"fmt"
	"time"
)

// purgeMargin is how long an expired revocation stays, for clocks that differ.
const purgeMargin = 5 * time.Minute

// Retention says what is old. A zero time leaves its table alone.
type Retention struct {
	// Sessions that ended, or whose absolute lifetime was over, before this go,
	// with their refresh tokens.
	SessionsEnded time.Time
	// Sessions last used before this go: their idle lifetime has long been over.
	SessionsUnused time.Time
	// Rotated is when the grace of rotated refresh tokens ends: sealed successors
	// of those rotated before are wiped.
	Rotated time.Time
	// Throttles are counts without a failure since then, and no block.
	Throttles time.Time
}

// Purged counts the rows that are gone.
type Purged struct {
	Revocations, Sessions, Successors, Throttles int64
}

// Purge removes what is over: revocations five minutes after they expired, and
// what keep calls old. It works in small transactions, so that writers in between
// do not wait long.
func (db *DB) Purge(ctx context.Context, keep Retention) (Purged, error) {
	var total Purged
	for {
		var round Purged
		err := db.Write(ctx, func(tx *Tx) (err error) {
			round, err = tx.purge(keep)
			return err
		})
		if err != nil {
			return Purged{}, fmt.Errorf("purging: %w", err)
		}
		total.Revocations += round.Revocations
		total.Sessions += round.Sessions
		total.Successors += round.Successors
		total.Throttles += round.Throttles
		if max(round.Revocations, round.Sessions, round.Throttles) < purgeRows {
			return total, nil
		}
	}
}

// purgeRows is the most rows of a table that one transaction removes.
const purgeRows = 500

func (tx *Tx) purge(keep Retention) (Purged, error) {
	var p Purged
	var err error
	p.Revocations, err = tx.exec(`DELETE FROM revocations WHERE rev IN
		(SELECT rev FROM revocations WHERE expires_at < $1 LIMIT $2)`, tx.now.Add(-purgeMargin).Unix(), purgeRows)
	if err != nil {
		return Purged{}, err
	}
	p.Sessions, err = tx.exec(`DELETE FROM sessions WHERE sid IN
		(SELECT sid FROM sessions WHERE ended_at < $1 OR expires_at < $1 OR last_used_at < $2 LIMIT $3)`,
		keep.SessionsEnded.UnixMilli(), keep.SessionsUnused.UnixMilli(), purgeRows)
	if err != nil {
		return Purged{}, err
	}
	p.Successors, err = tx.WipeSuccessors(keep.Rotated)
	if err != nil {
		return Purged{}, err
	}
	p.Throttles, err = tx.exec(`DELETE FROM throttle WHERE bucket IN
		(SELECT bucket FROM throttle WHERE updated_at < $1 AND coalesce(blocked_until, 0) < $2 LIMIT $3)`,
		keep.Throttles.UnixMilli(), millis(tx.now), purgeRows)
	if err != nil {
		return Purged{}, err
	}
	return p, nil
}
