package store

import (
	"database/sql"
	"fmt"
	"time"
)

// OutboxEvent is an event that the stream has not acknowledged.
type OutboxEvent struct {
	Seq     uint64
	Subject string
	// Document is the CloudEvents document, ready to publish.
	Document  []byte
	CreatedAt time.Time
}

// PendingEvents lists the next events to publish, in order.
func (r *Reader) PendingEvents(limit int) ([]OutboxEvent, error) {
	return all(r, func(row scanner) (OutboxEvent, error) {
		var e OutboxEvent
		err := row.Scan(&e.Seq, &e.Subject, &e.Document, moment{&e.CreatedAt})
		return e, err
	}, "SELECT o.seq, o.subject, o.document, o.created_at FROM outbox o ORDER BY o.seq LIMIT $1", limit)
}

// MarkPublished removes the events up to and including through: the stream has them.
func (tx *Tx) MarkPublished(through uint64) error {
	if _, err := tx.exec("DELETE FROM outbox WHERE seq <= $1", through); err != nil {
		return fmt.Errorf("clearing the outbox: %w", err)
	}
	return nil
}

// Backlog is what waits for the bus.
type Backlog struct {
	Events, Revocations int64
	// OldestEvent and OldestRevocation are when the first that waits was written;
	// zero where none does.
	OldestEvent, OldestRevocation time.Time
}

// Backlog counts what waits for the bus.
func (r *Reader) Backlog() (Backlog, error) {
	return one(r, func(row scanner) (Backlog, error) {
		var b Backlog
		err := row.Scan(&b.Events, moment{&b.OldestEvent}, &b.Revocations, moment{&b.OldestRevocation})
		return b, err
	}, `SELECT (SELECT count(*) FROM outbox), (SELECT min(created_at) FROM outbox),
		(SELECT count(*) FROM revocations WHERE delivered_at IS NULL),
		(SELECT min(at) FROM revocations WHERE delivered_at IS NULL)`)
}

// RevocationCount counts the records that the table holds.
func (r *Reader) RevocationCount() (int64, error) {
	count, err := one(r, func(row scanner) (sql.Null[int64], error) {
		var n sql.Null[int64]
		err := row.Scan(&n)
		return n, err
	}, "SELECT count(*) FROM revocations")
	return count.V, err
}
