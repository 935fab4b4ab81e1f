package store

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/authbus/authbus/events"
)

// Tx is a write transaction. It reads what it has written itself.
type Tx struct {
	*Reader
	batch *batch
	now   time.Time
	// statementErr is the first error of the database. From then on every
	// statement fails with it: SQLite may have ended the transaction, and what
	// came after would be committed on its own.
	statementErr error
}

func newTx(b *batch, now time.Time) *Tx {
	tx := &Tx{batch: b, now: now.Truncate(time.Millisecond).UTC()}
	tx.Reader = &Reader{head: &b.head, failed: tx.fail}
	tx.run = tx.query
	return tx
}

// Now is the time of the transaction: what it writes as "now", in whole
// milliseconds, UTC.
func (tx *Tx) Now() time.Time { return tx.now }

// Head is the log's head with what this transaction has added to it.
func (tx *Tx) Head() Head { return tx.batch.head }

// Emit records an event about what this transaction does: it takes the next
// order number and leaves the finished document in the outbox. source is the
// issuer of the tokens.
func (tx *Tx) Emit(source string, data events.Data) error {
	head := &tx.batch.head
	seq := head.EventSeq + 1
	document, err := json.Marshal(events.Event{
		ID: fmt.Sprintf("%s-%d", head.Epoch, seq), Source: source, Time: tx.now, Sequence: seq, Data: data,
	})
	if err != nil {
		return fmt.Errorf("encoding event %s: %w", data.Type(), err)
	}
	_, err = tx.exec("INSERT INTO outbox (seq, subject, document, created_at) VALUES ($1, $2, $3, $4)",
		seq, events.SubjectOf(data.Type(), data.Subject()), document, millis(tx.now))
	if err != nil {
		return fmt.Errorf("recording event %s: %w", data.Type(), err)
	}
	head.EventSeq = seq
	return nil
}

func (tx *Tx) query(query string, args []any) (*sql.Rows, error) {
	if tx.statementErr != nil {
		return nil, tx.statementErr
	}
	return tx.batch.query(query, args)
}

func (tx *Tx) exec(query string, args ...any) (int64, error) {
	if tx.statementErr != nil {
		return 0, tx.statementErr
	}
	affected, err := tx.batch.exec(query, args...)
	if err != nil {
		tx.fail(err)
		return 0, fmt.Errorf("writing to the database: %w", err)
	}
	return affected, nil
}

// change runs a statement that must hit a row.
func (tx *Tx) change(query string, args ...any) error {
	affected, err := tx.exec(query, args...)
	if err == nil && affected == 0 {
		err = ErrNotFound
	}
	return err
}

func (tx *Tx) fail(err error) {
	if tx.statementErr == nil {
		tx.statementErr = err
	}
}
