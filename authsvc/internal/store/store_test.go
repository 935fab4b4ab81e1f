package store_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/authsvc/internal/store/storetest"
)

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *store.DB { return storetest.SQLite(t) })
}

func TestPostgres(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *store.DB { return storetest.Open(t, storetest.Postgres(t)) })
}

// database is a fresh database of one kind, reachable around the store as well.
type database struct {
	address string
	driver  string // for database/sql
	source  string
}

// onBoth runs a test on a fresh database of each kind.
func onBoth(t *testing.T, test func(t *testing.T, d database)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) { test(t, sqliteDatabase(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, postgresDatabase(t)) })
}

func sqliteDatabase(t testing.TB) database {
	t.Helper()
	path := filepath.Join(t.TempDir(), "auth.db")
	return database{address: "sqlite:" + path, driver: "sqlite", source: "file:" + path + "?_pragma=busy_timeout(10000)"}
}

func postgresDatabase(t testing.TB) database {
	t.Helper()
	address := storetest.Postgres(t)
	return database{address: address, driver: "pgx", source: address}
}

// exec runs statements around the store.
func (d database) exec(t *testing.T, statements ...string) {
	t.Helper()
	db, err := sql.Open(d.driver, d.source)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range statements {
		if _, execErr := db.ExecContext(context.WithoutCancel(t.Context()), statement); execErr != nil {
			err = errors.Join(err, execErr)
		}
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// number reads one number around the store.
func (d database) number(t *testing.T, query string) int64 {
	t.Helper()
	db, err := sql.Open(d.driver, d.source)
	if err != nil {
		t.Fatal(err)
	}
	var n int64
	err = db.QueryRowContext(t.Context(), query).Scan(&n)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return n
}
