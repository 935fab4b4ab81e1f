package store

import (
	"context"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/authbus/authbus/authsvc/internal/field"
)

// DB is one database of the auth service. All methods may be called from several
// goroutines at once.
type DB struct {
	pools      pools
	writer     *writer
	statements *statements
}

// Open opens the database at address, sqlite:PATH or file:PATH (created where
// missing, its directory is not) or postgres://…, and migrates its schema. ctx
// bounds only Open.
//
// A schema newer than this program knows is refused with a [*SchemaError], and a
// PostgreSQL that would acknowledge a commit before it is durable with an error
// that names the setting.
func Open(ctx context.Context, address string) (*DB, error) {
	p, err := openPools(address)
	if err != nil {
		return nil, &field.Error{Field: "address", Err: err}
	}
	if err := p.migrate(ctx); err != nil {
		_ = p.close() // the first error is the one to report
		if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code() == sqlite3.SQLITE_NOTADB {
			return nil, &field.Error{Field: "address", Err: err}
		}
		return nil, fmt.Errorf("opening the %s database: %w", p.dialect.name, err)
	}
	return &DB{pools: p, writer: startWriter(p), statements: newStatements(p.read)}, nil
}

// Close finishes the writes that have begun, refuses the others with
// [ErrClosed], and closes the connections. It may be called once.
func (db *DB) Close() error {
	db.writer.stop()
	if err := db.pools.close(); err != nil {
		return fmt.Errorf("closing the database: %w", err)
	}
	return nil
}

// Driver is the kind of database: "sqlite" or "postgres".
func (db *DB) Driver() string { return db.pools.dialect.name }
