// Package storetest runs the store's conformance suite, and gives tests real
// databases: a SQLite file in a temporary directory, or a database of its own on
// a PostgreSQL server that this package starts.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) *store.DB { return storetest.Open(t, storetest.Postgres(t)) })
//	}
//
// One PostgreSQL server serves a whole test binary. It dies with it, however it
// ends, and takes its files with it.
package storetest

import (
	"path/filepath"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/store"
)

// Open opens the database at address and closes it when the test ends.
func Open(t testing.TB, address string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), address)
	if err != nil {
		t.Fatalf("opening the store: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	return db
}

// SQLite opens a fresh SQLite database, closed and removed when the test ends.
func SQLite(t testing.TB) *store.DB {
	t.Helper()
	return Open(t, "sqlite:"+filepath.Join(t.TempDir(), "auth.db"))
}
