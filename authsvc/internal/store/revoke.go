package store

import (
	"fmt"
	"time"

	"github.com/authbus/authbus/events"
)

// Revoke writes the next record of the log, undelivered as yet, and what it
// means for the state: the session has ended, the account's or everyone's older
// sessions are dead, the key is killed and its private half wiped. expiresAt is
// rounded up to whole seconds. The event about it is up to the caller.
func (tx *Tx) Revoke(scope events.Scope, id string, expiresAt time.Time, reason, actor string) (events.Revocation, error) {
	if !scope.Known() || (id == "") != (scope == events.ScopeEveryone) {
		return events.Revocation{}, fmt.Errorf("revoking: scope %q with id %q makes no sense", scope, id)
	}
	head := &tx.batch.head
	record := events.Revocation{
		Version: events.RevocationVersion, Epoch: head.Epoch, Rev: head.Rev + 1, Scope: scope, ID: id,
		ExpiresAt: expiresAt.Add(time.Second - 1).Unix(), Reason: reason, At: tx.now.UnixMilli(),
	}
	if err := tx.addRecord(record, actor, time.Time{}); err != nil {
		return events.Revocation{}, fmt.Errorf("revoking %s: %w", scope, err)
	}
	head.Rev = record.Rev
	return record, nil
}

func (tx *Tx) addRecord(r events.Revocation, actor string, delivered time.Time) error {
	_, err := tx.exec(`INSERT INTO revocations
			(rev, epoch, scope, target, expires_at, reason, actor, at, delivered_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		r.Rev, r.Epoch, string(r.Scope), r.ID, r.ExpiresAt, r.Reason, actor, r.At, millis(delivered))
	if err != nil {
		return err
	}
	return tx.apply(r)
}

// apply does to the state what a record says. All of it only ever ends things,
// so a record may be applied again.
func (tx *Tx) apply(r events.Revocation) error {
	switch r.Scope {
	case events.ScopeSession:
		_, err := tx.EndSession(r.ID, r.Reason)
		return err
	case events.ScopeUser:
		_, err := tx.exec("UPDATE accounts SET revoked_rev = $1 WHERE sub = $2 AND revoked_rev < $1", r.Rev, r.ID)
		return err
	case events.ScopeEveryone:
		head := &tx.batch.head
		head.EveryoneRev = max(head.EveryoneRev, r.Rev)
		// Statements that compare sessions with the row must see it at once.
		_, err := tx.exec("UPDATE log_head SET everyone_rev = $1 WHERE id = 1", head.EveryoneRev)
		return err
	case events.ScopeKey:
		return tx.killKey(r.ID)
	case events.ScopeToken, events.ScopeCert: // the record itself is all there is
	}
	return nil
}

// MarkDelivered notes that the stream has the records.
func (tx *Tx) MarkDelivered(revs ...uint64) error {
	for _, rev := range revs {
		_, err := tx.exec("UPDATE revocations SET delivered_at = $1 WHERE rev = $2 AND delivered_at IS NULL",
			millis(tx.now), rev)
		if err != nil {
			return fmt.Errorf("marking revocation %d delivered: %w", rev, err)
		}
	}
	return nil
}
