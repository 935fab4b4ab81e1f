package store_test

import (
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
