package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/authbus/authbus/events"
)

// actorRestore is who wrote a record that came back from the stream; the feed
// does not say who wrote it first.
const actorRestore = "restore"

// eventGap is how far the order numbers of events jump with a new epoch: above
// every one that may have been given out.
const eventGap = 1 << 32

// OpenEpoch begins a new log after the database came from a backup: a new random
// epoch, whose revisions go on from newRev, and events from far above the last
// known one. newRev must be greater than the current revision.
func (tx *Tx) OpenEpoch(newRev uint64) error {
	head := &tx.batch.head
	if newRev <= head.Rev {
		return fmt.Errorf("opening an epoch: revision %d is not above the current %d", newRev, head.Rev)
	}
	head.Epoch, head.Rev = newEpoch(), newRev
	head.EventSeq += eventGap
	return nil
}

// TakeBack puts records of the stream that the database lacks into it, with
// their own revisions and epochs, delivered, and does to the state what they say:
// for a database that came from a backup. It returns how many were missing. Those
// that have expired are skipped.
//
// Call [Tx.OpenEpoch] before. Where the database has another record under the
// same revision (it wrote one after the backup was put back), the one from the
// stream gets a new revision in the new epoch, so that neither is lost.
func (tx *Tx) TakeBack(stream []events.Revocation) (int, error) {
	var missing int
	for _, record := range stream {
		if record.Expired(tx.now.Add(-purgeMargin)) {
			continue
		}
		added, err := tx.takeBack(record)
		if err != nil {
			return 0, fmt.Errorf("taking back revocation %d of %s: %w", record.Rev, record.Epoch, err)
		}
		if added {
			missing++
		}
	}
	return missing, nil
}

func (tx *Tx) takeBack(record events.Revocation) (bool, error) {
	have, err := one(tx.Reader, scanRevocation,
		"SELECT "+revocationColumns+" FROM revocations r WHERE r.rev = $1", record.Rev)
	switch {
	case errors.Is(err, ErrNotFound):
		if record.Rev > tx.batch.head.Rev {
			return false, fmt.Errorf("the log is only at %d: its new epoch must begin above", tx.batch.head.Rev)
		}
		return true, tx.addRecord(record, actorRestore, tx.now)
	case err != nil:
		return false, err
	case have.Epoch == record.Epoch && have.Scope == record.Scope && have.ID == record.ID:
		return false, tx.apply(record)
	}
	_, err = tx.Revoke(record.Scope, record.ID, time.Unix(record.ExpiresAt, 0), record.Reason, actorRestore)
	return true, err
}

// AllLive goes through every record with after < rev that the table holds, in
// order, page by page: to refill a stream. It ends after an error.
func (db *DB) AllLive(ctx context.Context, after uint64) iter.Seq2[events.Revocation, error] {
	const pageSize = 1000
	return func(yield func(events.Revocation, error) bool) {
		for {
			page, err := db.Reader(ctx).Range(after, pageSize)
			if err != nil {
				yield(events.Revocation{}, err)
				return
			}
			for _, record := range page.Records {
				if !yield(record, nil) {
					return
				}
			}
			if page.Through >= page.Rev {
				return
			}
			after = page.Through
		}
	}
}
