package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
)

// batch is one write transaction with the head it has locked. The head is kept
// in memory and written back once, before the commit.
//
// It begins and ends the transaction with statements of its own instead of a
// sql.Tx, because the statements prepared on the connection outlive it: a sql.Tx
// would prepare them anew each time.
type batch struct {
	ctx     context.Context // ends with the transaction
	session *session
	head    Head
	began   Head
}

func (b *batch) exec(query string, args ...any) (int64, error) {
	stmt, err := b.session.prepare(b.ctx, query)
	if err != nil {
		return 0, err
	}
	result, err := stmt.ExecContext(b.ctx, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (b *batch) query(query string, args []any) (*sql.Rows, error) {
	stmt, err := b.session.prepare(b.ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(b.ctx, args...)
}

func (b *batch) lockHead(locker string) error {
	r := &Reader{run: b.query}
	head, err := one(r, scanHead, "SELECT "+headColumns+" FROM log_head h WHERE h.id = 1"+locker)
	if err != nil {
		return fmt.Errorf("locking the log's head: %w", err)
	}
	b.head, b.began = head, head
	return nil
}

// run runs one function, in a savepoint if others have run before it. The
// second error says that the transaction as a whole cannot go on.
func (b *batch) run(fn func(*Tx) error, savepoint bool) (failed, broken error) {
	before := b.head
	if savepoint {
		if _, err := b.exec("SAVEPOINT op"); err != nil {
			return nil, fmt.Errorf("beginning a write: %w", err)
		}
	}
	tx := newTx(b, time.Now())
	failed = call(fn, tx)
	if tx.statementErr != nil && failed == nil {
		failed = tx.statementErr // fn swallowed it, but part of its work is missing
	}
	tx.statementErr = errFinished
	if failed != nil {
		b.head = before
	}
	if savepoint {
		broken = b.leave(failed != nil)
	}
	return failed, broken
}

// leave ends the savepoint. If the database has given up the whole transaction
// (SQLite does so on a full disk) the savepoint is gone, and this fails.
func (b *batch) leave(undo bool) error {
	if undo {
		if _, err := b.exec("ROLLBACK TO SAVEPOINT op"); err != nil {
			return fmt.Errorf("undoing a write: %w", err)
		}
	}
	if _, err := b.exec("RELEASE SAVEPOINT op"); err != nil {
		return fmt.Errorf("ending a write: %w", err)
	}
	return nil
}

func (b *batch) commit() error {
	if b.head != b.began {
		if err := b.saveHead(); err != nil {
			return err
		}
	}
	if err := b.session.conn.Raw(refuseAborted); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	if _, err := b.exec("COMMIT"); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

// refuseAborted returns an error if a PostgreSQL connection is in a transaction
// that has failed: the server would answer its COMMIT with a rollback and no error.
func refuseAborted(connection any) error {
	if c, ok := connection.(*stdlib.Conn); ok && c.Conn().PgConn().TxStatus() != 'T' {
		return errors.New("the transaction was aborted")
	}
	return nil
}

func (b *batch) saveHead() error {
	_, err := b.exec(`UPDATE log_head SET epoch = $1, rev = $2, event_seq = $3, everyone_rev = $4, keys_version = $5
		WHERE id = 1`, b.head.Epoch, b.head.Rev, b.head.EventSeq, b.head.EveryoneRev, b.head.KeysVersion)
	if err != nil {
		return fmt.Errorf("saving the log's head: %w", err)
	}
	return nil
}

// publishes reports whether the batch left something for the relay.
func (b *batch) publishes() bool {
	return b.head.Rev != b.began.Rev || b.head.EventSeq != b.began.EventSeq
}

var errFinished = errors.New("transaction used after its function returned")
