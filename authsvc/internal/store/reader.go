package store

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"
)

// Reader reads. Where it comes from decides on what it sees: [DB.Reader] the
// last commit at each call, [DB.Snapshot] one state in all calls, and [Tx] the
// transaction's own writes as well. Each method is one statement, so what it
// returns belongs together.
type Reader struct {
	run func(query string, args []any) (*sql.Rows, error)
	// head is the head of a write transaction, ahead of its row; nil elsewhere.
	head *Head
	// failed is told of errors of the database; may be nil.
	failed func(error)
}

// Reader returns a reader each of whose calls sees the last commit. ctx bounds the calls.
func (db *DB) Reader(ctx context.Context) *Reader {
	return &Reader{run: func(query string, args []any) (*sql.Rows, error) {
		stmt, err := db.statements.prepare(ctx, query)
		if err != nil {
			return nil, err
		}
		return stmt.QueryContext(ctx, args...)
	}}
}

// Snapshot runs fn with a reader all of whose calls see the same state of the database.
func (db *DB) Snapshot(ctx context.Context, fn func(r *Reader) error) error {
	tx, err := db.pools.read.BeginTx(ctx, &db.pools.dialect.read)
	if err != nil {
		return fmt.Errorf("beginning to read: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written
	return fn(&Reader{run: func(query string, args []any) (*sql.Rows, error) {
		return tx.QueryContext(ctx, query, args...)
	}})
}

// scanner is a row of a result.
type scanner interface{ Scan(dest ...any) error }

// all returns the rows of a query.
func all[T any](r *Reader, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	result, err := collect(r, scan, query, args)
	if err != nil {
		if r.failed != nil {
			r.failed(err)
		}
		return nil, fmt.Errorf("reading the database: %w", err)
	}
	return result, nil
}

func collect[T any](r *Reader, scan func(scanner) (T, error), query string, args []any) ([]T, error) {
	rows, err := r.run(query, args)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err below tells
	var result []T
	for rows.Next() {
		row, err := scan(rows)
		if err != nil {
			return nil, err
		}
		result = append(result, row)
	}
	return result, rows.Err()
}

// one returns the only row of a query, or ErrNotFound.
func one[T any](r *Reader, scan func(scanner) (T, error), query string, args ...any) (T, error) {
	rows, err := all(r, scan, query, args...)
	if err != nil || len(rows) == 0 {
		var none T
		if err == nil {
			err = ErrNotFound
		}
		return none, err
	}
	return rows[0], nil
}

// statements keeps the queries of readers prepared. All queries are constants,
// so there are few.
type statements struct {
	db       *sql.DB
	mu       sync.RWMutex
	prepared map[string]*sql.Stmt
}

func newStatements(db *sql.DB) *statements {
	return &statements{db: db, prepared: map[string]*sql.Stmt{}}
}

func (s *statements) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	s.mu.RLock()
	stmt := s.prepared[query]
	s.mu.RUnlock()
	if stmt != nil {
		return stmt, nil
	}
	stmt, err := s.db.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if first := s.prepared[query]; first != nil {
		_ = stmt.Close() // another goroutine was faster
		return first, nil
	}
	s.prepared[query] = stmt
	return stmt, nil
}

// millis is how a time is stored: Unix milliseconds, NULL for none.
func millis(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

// moment scans what millis stored.
type moment struct{ at *time.Time }

// Scan implements sql.Scanner.
func (m moment) Scan(value any) error {
	switch v := value.(type) {
	case nil:
		*m.at = time.Time{}
	case int64:
		*m.at = time.UnixMilli(v).UTC()
	default:
		return fmt.Errorf("a time is stored as %T", value)
	}
	return nil
}

func textOrNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func bytesOrNull(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}
