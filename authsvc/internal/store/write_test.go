package store_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/authsvc/internal/store/storetest"
	"github.com/authbus/authbus/events"
)

// failOn makes the INSERT of a row fail whose column has the value "poison".
func failOn(t *testing.T, d database, table, column string) {
	t.Helper()
	if d.driver == "sqlite" {
		d.exec(t, fmt.Sprintf(`CREATE TRIGGER fail BEFORE INSERT ON %s WHEN NEW.%s = 'poison'
			BEGIN SELECT RAISE(ABORT, 'disk on fire'); END`, table, column))
		return
	}
	d.exec(t, `CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'disk on fire'; END $$`,
		fmt.Sprintf(`CREATE TRIGGER fail BEFORE INSERT ON %s FOR EACH ROW WHEN (NEW.%s = 'poison') EXECUTE FUNCTION fail()`, table, column))
}

// together runs a first function that waits until n others are queued behind it, so
// that all share one transaction, and returns the errors of the others.
func together(t *testing.T, db *store.DB, fns ...func(tx *store.Tx) error) []error {
	t.Helper()
	failures := make([]error, len(fns))
	begun, release := make(chan struct{}), make(chan struct{})
	var group, started sync.WaitGroup
	group.Go(func() {
		err := db.Write(t.Context(), func(*store.Tx) error { close(begun); <-release; return nil })
		if err != nil {
			t.Errorf("the function that held the others: %v", err)
		}
	})
	<-begun
	for n, fn := range fns {
		started.Add(1)
		group.Go(func() {
			started.Done()
			failures[n] = db.Write(t.Context(), fn)
		})
	}
	started.Wait()
	awaitQueued(t, db, len(fns))
	close(release)
	group.Wait()
	return failures
}

// awaitQueued waits until n writes wait for their turn.
func awaitQueued(t *testing.T, db *store.DB, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); db.Waiting() != n; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d writes are waiting, want %d", db.Waiting(), n)
		}
	}
}

func emitAfterRevoking(target string) func(tx *store.Tx) error {
	return func(tx *store.Tx) error {
		record, err := tx.Revoke(events.ScopeUser, target, tx.Now().Add(time.Hour), "", "u_admin")
		if err != nil {
			return err
		}
		return tx.Emit("http://issuer", events.UserRevoked{Sub: target, Rev: record.Rev, Actor: "u_admin"})
	}
}

func TestAFailureConcernsItsCallerAlone(t *testing.T) {
	swallow := func(tx *store.Tx) error {
		_ = tx.CreateAccount(store.Account{Sub: "u_before", Username: "before"})
		_ = emitAfterRevoking("poison")(tx)
		_ = tx.CreateAccount(store.Account{Sub: "u_after", Username: "after"})
		return nil
	}
	refuse := func(tx *store.Tx) error {
		return errors.Join(emitAfterRevoking("u_refused")(tx), errors.New("changed my mind"))
	}
	boom := func(tx *store.Tx) error {
		_ = emitAfterRevoking("u_panicked")(tx)
		panic("boom")
	}
	onBoth(t, func(t *testing.T, d database) {
		db := storetest.Open(t, d.address)
		failOn(t, d, "revocations", "target")
		failures := together(t, db, emitAfterRevoking("u_1"), emitAfterRevoking("poison"), emitAfterRevoking("u_2"),
			swallow, refuse, boom, emitAfterRevoking("u_3"))
		for n, want := range []string{"", "disk on fire", "", "disk on fire", "changed my mind", "panicked: boom", ""} {
			if got := fmt.Sprint(failures[n]); want == "" && failures[n] != nil || !strings.Contains(got, want) {
				t.Errorf("function %d: %v, want %q", n, failures[n], want)
			}
		}
		var panicked *store.PanicError
		if !errors.As(failures[5], &panicked) || !strings.Contains(string(panicked.Stack), "write_test.go") {
			t.Errorf("no stack of the panic: %v", failures[5])
		}
		checkLog(t, db, 3)
		if n := d.number(t, "SELECT count(*) FROM accounts"); n != 0 {
			t.Errorf("%d accounts of a function that failed", n)
		}
	})
}

// checkLog checks that revisions 1 to n and events 1 to n are there, each event
// with its revision, and nothing else.
func checkLog(t *testing.T, db *store.DB, n int) {
	t.Helper()
	page, err := db.Reader(t.Context()).Range(0, n+1000)
	if err != nil {
		t.Fatal(err)
	}
	pending, err := db.Reader(t.Context()).PendingEvents(n + 1000)
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Records) != n || len(pending) != n || page.Rev != uint64(n) || page.EventSeq != uint64(n) {
		t.Fatalf("%d records, %d events, head %+v, want %d", len(page.Records), len(pending), page.Head, n)
	}
	for i, record := range page.Records {
		if record.Rev != uint64(i+1) || pending[i].Seq != uint64(i+1) {
			t.Fatalf("place %d holds record %d and event %d", i+1, record.Rev, pending[i].Seq)
		}
		if !strings.Contains(string(pending[i].Document), fmt.Sprintf(`"rev":%d`, record.Rev)) ||
			!strings.HasSuffix(pending[i].Subject, "."+record.ID) {
			t.Fatalf("event %d does not tell of record %+v: %s", i+1, record, pending[i].Document)
		}
	}
}

// Alone in its transaction, a function that fails must leave as little behind.
func TestAFailureAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := storetest.Open(t, d.address)
		failOn(t, d, "revocations", "target")
		for range 3 {
			if err := db.Write(t.Context(), emitAfterRevoking("poison")); err == nil {
				t.Fatal("no error")
			}
			if err := db.Write(t.Context(), func(tx *store.Tx) error {
				return errors.Join(emitAfterRevoking("u_1")(tx), errors.New("no"))
			}); err == nil {
				t.Fatal("no error")
			}
			if err := db.Write(t.Context(), func(tx *store.Tx) error { _ = emitAfterRevoking("u_1")(tx); panic(1) }); err == nil {
				t.Fatal("no error")
			}
		}
		if err := db.Write(t.Context(), emitAfterRevoking("u_1")); err != nil {
			t.Fatal(err)
		}
		checkLog(t, db, 1)
	})
}

// Where the database gives up the whole transaction in the middle of a batch,
// nobody may be told that it was committed.
func TestABrokenTransactionFailsAllOfItsCallers(t *testing.T) {
	d := sqliteDatabase(t)
	db := storetest.Open(t, d.address)
	d.exec(t, `CREATE TRIGGER fail BEFORE INSERT ON revocations WHEN NEW.target = 'poison'
		BEGIN SELECT RAISE(ROLLBACK, 'gone'); END`)
	first, second := pair(t, db, emitAfterRevoking("u_1"), emitAfterRevoking("poison"))
	if first == nil || second == nil {
		t.Errorf("errors: %v, %v", first, second)
	}
	checkLog(t, db, 0)
	if err := db.Write(t.Context(), emitAfterRevoking("u_2")); err != nil {
		t.Fatal(err)
	}
	checkLog(t, db, 1)
}

// pair runs two functions one after the other in the same transaction.
func pair(t *testing.T, db *store.DB, first, second func(tx *store.Tx) error) (err1, err2 error) {
	t.Helper()
	begun, release := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		err1 = db.Write(t.Context(), func(tx *store.Tx) error { close(begun); <-release; return first(tx) })
	})
	<-begun
	group.Go(func() { err2 = db.Write(t.Context(), second) })
	awaitQueued(t, db, 1)
	close(release)
	group.Wait()
	return err1, err2
}

// A commit that fails (here: a constraint checked only then) fails all its callers.
func TestAFailedCommitFailsAllOfItsCallers(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := storetest.Open(t, d.address)
		d.exec(t, "DROP TABLE lease", `CREATE TABLE lease (name TEXT PRIMARY KEY,
			holder TEXT NOT NULL REFERENCES accounts (sub) DEFERRABLE INITIALLY DEFERRED, until BIGINT NOT NULL)`)
		orphan := func(tx *store.Tx) error {
			_, err := tx.AcquireLease("relay", "u_nobody", time.Minute)
			return err
		}
		first, second := pair(t, db, emitAfterRevoking("u_1"), orphan)
		if first == nil || second == nil {
			t.Errorf("errors: %v, %v", first, second)
		}
		if err := db.Write(t.Context(), emitAfterRevoking("u_2")); err != nil {
			t.Fatal(err)
		}
		checkLog(t, db, 1)
	})
}

func TestALostConnectionIsReplaced(t *testing.T) {
	d := postgresDatabase(t)
	db := storetest.Open(t, d.address)
	if err := db.Write(t.Context(), emitAfterRevoking("u_1")); err != nil {
		t.Fatal(err)
	}
	cut := "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
	d.exec(t, cut)
	if err := db.Write(t.Context(), emitAfterRevoking("u_2")); err != nil {
		t.Fatalf("after the connection was cut between two writes: %v", err)
	}
	err := db.Write(t.Context(), func(tx *store.Tx) error {
		d.exec(t, cut)
		return emitAfterRevoking("u_3")(tx)
	})
	if err == nil {
		t.Fatal("a write whose connection was cut succeeded")
	}
	if err := db.Write(t.Context(), emitAfterRevoking("u_4")); err != nil {
		t.Fatal(err)
	}
	checkLog(t, db, 3)
}

func TestContextOfAWrite(t *testing.T) {
	db := storetest.SQLite(t)
	ctx, cancel := context.WithCancel(t.Context())
	begun, release := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		err := db.Write(ctx, func(tx *store.Tx) error {
			close(begun)
			<-release
			return revokeUser(tx)
		})
		if err != nil {
			t.Errorf("the context ended while it ran, and it failed: %v", err)
		}
	})
	<-begun
	group.Go(func() {
		err := db.Write(ctx, func(*store.Tx) error { t.Error("it ran although its context had ended"); return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("queued write: %v", err)
		}
	})
	awaitQueued(t, db, 1)
	cancel()
	awaitQueued(t, db, 0)
	close(release)
	group.Wait()
	if err := db.Write(ctx, revokeUser); !errors.Is(err, context.Canceled) {
		t.Errorf("a write with an ended context: %v", err)
	}
	if index, err := db.Reader(t.Context()).ReadIndex(); err != nil || index.Rev != 1 {
		t.Errorf("index %+v, %v", index, err)
	}
}

func TestCloseWaitsForTheWriter(t *testing.T) {
	d := sqliteDatabase(t)
	db := mustOpen(t, d)
	begun, release := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		if err := db.Write(t.Context(), func(tx *store.Tx) error { close(begun); <-release; return revokeUser(tx) }); err != nil {
			t.Errorf("a write that had begun: %v", err)
		}
	})
	<-begun
	closed := make(chan error)
	go func() { closed <- db.Close() }()
	select {
	case err := <-closed:
		t.Errorf("closed while a write was running: %v", err)
	default:
	}
	close(release)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	group.Wait()
	if err := db.Write(t.Context(), revokeUser); !errors.Is(err, store.ErrClosed) {
		t.Errorf("a write after Close: %v", err)
	}
	again := storetest.Open(t, d.address)
	if index, err := again.Reader(t.Context()).ReadIndex(); err != nil || index.Rev != 1 {
		t.Errorf("index %+v, %v", index, err)
	}
}

func TestATransactionKeptTooLong(t *testing.T) {
	db := storetest.SQLite(t)
	var kept *store.Tx
	if err := db.Write(t.Context(), func(tx *store.Tx) error { kept = tx; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := revokeUser(kept); err == nil {
		t.Error("it could still write")
	}
	if _, err := kept.ReadIndex(); err == nil {
		t.Error("it could still read")
	}
}

func TestCommittedWakesTheRelay(t *testing.T) {
	db := storetest.SQLite(t)
	woken := func() bool {
		select {
		case <-db.Committed():
			return true
		default:
			return false
		}
	}
	if err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.SetThrottle(store.Throttle{Bucket: "x"}) }); err != nil {
		t.Fatal(err)
	}
	if woken() {
		t.Error("woken by a commit without anything to publish")
	}
	for range 3 {
		if err := db.Write(t.Context(), emitAfterRevoking("u_1")); err != nil {
			t.Fatal(err)
		}
	}
	if !woken() || woken() {
		t.Error("three commits must wake once")
	}
}

// Everything above the store tests time in bubbles; the store must work in one.
func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := storetest.SQLite(t)
		begin := time.Now()
		if err := db.Write(t.Context(), revokeUser); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if purged, err := db.Purge(t.Context(), store.Retention{}); err != nil || purged.Revocations != 1 {
			t.Errorf("purged %+v, %v after %v", purged, err, time.Since(begin))
		}
	})
}
