package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/authsvc/internal/store/storetest"
	"github.com/authbus/authbus/events"
)

func TestStateSurvivesReopening(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		var before store.ReadIndex
		for n := range 3 {
			db, err := store.Open(t.Context(), d.address)
			if err != nil {
				t.Fatal(err)
			}
			index, err := db.Reader(t.Context()).ReadIndex()
			if err != nil || index.Rev != uint64(n) || n > 0 && index.Epoch != before.Epoch {
				t.Errorf("opened for the %d. time: %+v, %v, before %+v", n+1, index, err, before)
			}
			before = index
			if err := db.Write(t.Context(), revokeUser); err != nil {
				t.Error(err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func revokeUser(tx *store.Tx) error {
	_, err := tx.Revoke(events.ScopeUser, "u_a", tx.Now().Add(time.Hour), "", "u_admin")
	return err
}

func revokeEveryone(tx *store.Tx) error {
	_, err := tx.Revoke(events.ScopeEveryone, "", tx.Now().Add(time.Hour), "", "u_admin")
	return err
}

func TestNewerSchemaIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		if err := mustOpen(t, d).Close(); err != nil {
			t.Fatal(err)
		}
		d.exec(t, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, TRUE)")
		_, err := store.Open(t.Context(), d.address)
		var schema *store.SchemaError
		if !errors.As(err, &schema) || schema.Found != 99 || schema.Known < 1 {
			t.Fatalf("got %v", err)
		}
		if text := err.Error(); !strings.Contains(text, "99") || !strings.Contains(text, fmt.Sprintf("up to %d:", schema.Known)) {
			t.Errorf("the error does not name both versions: %s", text)
		}
	})
}

func mustOpen(t *testing.T, d database) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), d.address)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// Replicas that start at the same time must agree on one log.
func TestManyOpenANewDatabase(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		epochs := make([]string, 6)
		var group sync.WaitGroup
		for n := range epochs {
			group.Go(func() {
				db, err := store.Open(t.Context(), d.address)
				if err != nil {
					t.Error(err)
					return
				}
				index, err := db.Reader(t.Context()).ReadIndex()
				epochs[n] = index.Epoch
				if err := errors.Join(err, db.Close()); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		for _, epoch := range epochs {
			if epoch == "" || epoch != epochs[0] {
				t.Fatalf("epochs %q", epochs)
			}
		}
	})
}

func TestBadAddressIsRefused(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("this is no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ address, says string }{
		"nothing":                {"", "unknown scheme"},
		"only a path":            {"/tmp/auth.db", "unknown scheme"},
		"another database":       {"mysql://localhost/auth", `"mysql"`},
		"SQLite in memory":       {"sqlite::memory:", "needs a file"},
		"in memory, spelled out": {"file:x?mode=memory", "needs a file"},
		"SQLite without a file":  {"sqlite:", "needs a file"},
		"no such directory":      {"sqlite:" + filepath.Join(dir, "no", "auth.db"), "no such file"},
		"a directory":            {"sqlite:" + dir, "directory"},
		"not a database":         {"sqlite:" + garbage, "not a database"},
		"a bad query":            {"file:" + dir + "/x.db?%zz", "address: invalid URL escape"},
		"nobody listens":         {"postgres://u:hunter2@127.0.0.1:1/auth?connect_timeout=2", "connect"},
		"a bad parameter":        {"postgres://u:hunter2@127.0.0.1:1/auth?sslmode=sometimes", "sslmode"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			db, err := store.Open(t.Context(), test.address)
			if err == nil {
				_ = db.Close()
				t.Fatal("it was opened")
			}
			if text := err.Error(); !strings.Contains(text, test.says) || strings.Contains(text, "hunter2") {
				t.Errorf("error: %s", text)
			}
		})
	}
}

func TestSQLiteFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a b%20c?d#.db")
	db, err := store.Open(t.Context(), "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), revokeUser); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || info.Mode().Perm() != 0o600 || !strings.HasPrefix(entry.Name(), "a b%20c?d#.db") {
			t.Errorf("%s: %v, %v", entry.Name(), info.Mode(), err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	same := storetest.Open(t, "file:"+filepath.Join(dir, "a b%2520c%3Fd%23.db"))
	if index, err := same.Reader(t.Context()).ReadIndex(); err != nil || index.Rev != 1 {
		t.Errorf("the same file by its URI: %+v, %v", index, err)
	}
}

// A commit must be on disk when it is acknowledged.
func TestSQLiteIsDurable(t *testing.T) {
	d := sqliteDatabase(t)
	db := storetest.Open(t, d.address)
	for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1"} {
		if got := store.WriterSetting(t, db, "PRAGMA "+pragma); got != want {
			t.Errorf("%s is %s, want %s", pragma, got, want)
		}
	}
}

func TestLossyPostgresIsRefused(t *testing.T) {
	d := postgresDatabase(t)
	_, err := store.Open(t.Context(), d.address+"&synchronous_commit=off")
	if err == nil || !strings.Contains(err.Error(), "synchronous_commit") {
		t.Errorf("set by the URL: %v", err)
	}
	db := storetest.Open(t, d.address)
	if got := store.WriterSetting(t, db, "SHOW synchronous_commit"); got != "on" {
		t.Errorf("synchronous_commit is %s", got)
	}
	if err := db.Write(t.Context(), revokeUser); err != nil {
		t.Fatal(err)
	}
}
