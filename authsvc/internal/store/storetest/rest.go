package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

func testOutbox(t *testing.T, db *store.DB) {
	r := db.Reader(t.Context())
	expect(t, "empty backlog", store.Backlog{})(r.Backlog())
	var first time.Time
	for n := range 5 {
		write(t, db, func(tx *store.Tx) error {
			if n == 0 {
				first = tx.Now()
			}
			return tx.Emit(issuer, events.AccountRegistered{Sub: fmt.Sprintf("u_%d", n)})
		})
	}
	record := revoke(t, db, events.ScopeUser, "u_0")
	expect(t, "backlog", store.Backlog{
		Events: 5, OldestEvent: first, Revocations: 1, OldestRevocation: time.UnixMilli(record.At).UTC(),
	})(r.Backlog())
	pending := get[[]store.OutboxEvent](t)(r.PendingEvents(3))
	if len(pending) != 3 || pending[0].Seq != 1 || pending[2].Seq != 3 {
		t.Fatalf("pending %+v", pending)
	}
	write(t, db, func(tx *store.Tx) error { return tx.MarkPublished(3) })
	pending = get[[]store.OutboxEvent](t)(r.PendingEvents(10))
	if len(pending) != 2 || pending[0].Seq != 4 {
		t.Fatalf("pending after three were published: %+v", pending)
	}
	write(t, db, func(tx *store.Tx) error { return tx.MarkPublished(5) })
	write(t, db, func(tx *store.Tx) error { return tx.Emit(issuer, events.AccountRegistered{Sub: "u_5"}) })
	if next := get[[]store.OutboxEvent](t)(r.PendingEvents(1)); next[0].Seq != 6 {
		t.Errorf("numbers began again at %d when the outbox was empty", next[0].Seq)
	}
	expect(t, "records in the table", int64(1))(r.RevocationCount())
}

func testThrottle(t *testing.T, db *store.DB) {
	r := db.Reader(t.Context())
	if _, err := r.Throttle("account:u_a"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("without failures: %v", err)
	}
	throttle := store.Throttle{Bucket: "account:u_a", Failures: 1}
	for range 2 {
		write(t, db, func(tx *store.Tx) error {
			throttle.UpdatedAt = tx.Now()
			return tx.SetThrottle(throttle)
		})
		expect(t, "throttle", throttle)(r.Throttle("account:u_a"))
		throttle.Failures, throttle.BlockedUntil = 7, throttle.UpdatedAt.Add(time.Minute)
	}
	write(t, db, func(tx *store.Tx) error { return tx.ClearThrottle("account:u_a") })
	if _, err := r.Throttle("account:u_a"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("cleared: %v", err)
	}
}

func testLease(t *testing.T, db *store.DB) {
	acquire := func(holder string, duration time.Duration, want bool) {
		t.Helper()
		write(t, db, func(tx *store.Tx) error {
			got, err := tx.AcquireLease("relay", holder, duration)
			if got != want {
				t.Errorf("%s has the lease: %v, want %v", holder, got, want)
			}
			return err
		})
	}
	acquire("a", time.Hour, true)
	acquire("b", time.Hour, false)
	acquire("a", -time.Millisecond, true) // renewed, and over at once
	acquire("b", time.Hour, true)
	acquire("a", time.Hour, false)
	if lease := get[store.Lease](t)(db.Reader(t.Context()).Lease("relay")); lease.Holder != "b" || time.Until(lease.Until) < 59*time.Minute {
		t.Errorf("lease %+v", lease)
	}
	write(t, db, func(tx *store.Tx) error { return tx.ReleaseLease("relay", "a") }) // not the holder
	acquire("a", time.Hour, false)
	write(t, db, func(tx *store.Tx) error { return tx.ReleaseLease("relay", "b") })
	acquire("a", time.Hour, true)
}

func testServices(t *testing.T, db *store.DB) {
	r := db.Reader(t.Context())
	service := store.Service{ClientID: "orders", Name: "Orders", SecretHash: store.Hash{1, 2}, Audiences: []string{"orders", "billing"}}
	write(t, db, func(tx *store.Tx) error {
		service.CreatedAt = tx.Now()
		return tx.PutService(service)
	})
	expect(t, "service", service)(r.Service("orders"))
	service.Name, service.PreviousHash, service.SecretHash = "Orders 2", service.SecretHash, store.Hash{3}
	write(t, db, func(tx *store.Tx) error {
		service.PreviousUntil = tx.Now().Add(time.Hour)
		return tx.PutService(service)
	})
	expect(t, "replaced service", []store.Service{service})(r.Services())
	write(t, db, func(tx *store.Tx) error { return tx.DeleteService("orders") })
	if _, err := r.Service("orders"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleted service: %v", err)
	}
	if err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.DeleteService("orders") }); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleting it again: %v", err)
	}
}

func testBootstrap(t *testing.T, db *store.DB) {
	r := db.Reader(t.Context())
	expect(t, "before", store.Bootstrap{})(r.Bootstrap())
	set := func(secret store.Hash, want bool) {
		t.Helper()
		write(t, db, func(tx *store.Tx) error {
			done, err := tx.SetBootstrapSecret(secret)
			if done != want {
				t.Errorf("set: %v, want %v", done, want)
			}
			return err
		})
	}
	use := func(secret store.Hash, want bool) {
		t.Helper()
		write(t, db, func(tx *store.Tx) error {
			done, err := tx.UseBootstrapSecret(secret)
			if done != want {
				t.Errorf("used: %v, want %v", done, want)
			}
			return err
		})
	}
	use(store.Hash{1}, false)
	set(store.Hash{1}, true)
	set(store.Hash{2}, true)
	use(store.Hash{1}, false)
	use(store.Hash{2}, true)
	use(store.Hash{2}, false)
	set(store.Hash{3}, false)
	use(store.Hash{3}, false)
	if b := get[store.Bootstrap](t)(r.Bootstrap()); !b.Set || b.UsedAt.IsZero() || b.SetAt.IsZero() {
		t.Errorf("afterwards: %+v", b)
	}
}

func testPurge(t *testing.T, db *store.DB) {
	addAccount(t, db, "u_a", "alice")
	now := time.Now()
	write(t, db, func(tx *store.Tx) error {
		for _, expires := range []time.Duration{-time.Hour, -6 * time.Minute, -4 * time.Minute, time.Hour} {
			if _, err := tx.Revoke(events.ScopeToken, "t_x", tx.Now().Add(expires), "", "u_a"); err != nil {
				return err
			}
		}
		live, over, unused, ended := sessionOf(tx, "s_live", "u_a"), sessionOf(tx, "s_over", "u_a"), sessionOf(tx, "s_unused", "u_a"), sessionOf(tx, "s_ended", "u_a")
		over.ExpiresAt = now.Add(-49 * time.Hour)
		unused.LastUsedAt = now.Add(-49 * time.Hour)
		ended.EndedAt = now.Add(-49 * time.Hour)
		return errors.Join(tx.CreateSession(live), tx.CreateSession(over), tx.CreateSession(unused), tx.CreateSession(ended),
			tx.AddRefreshToken(store.Hash{1}, "s_live"), tx.AddRefreshToken(store.Hash{2}, "s_over"),
			tx.SetThrottle(store.Throttle{Bucket: "free", Failures: 1}),
			tx.SetThrottle(store.Throttle{Bucket: "blocked", Failures: 9, BlockedUntil: now.Add(time.Hour)}))
	})
	nothing := get[store.Purged](t)(db.Purge(t.Context(), store.Retention{}))
	expect(t, "only expired revocations", store.Purged{Revocations: 2})(nothing, nil)
	twoDaysAgo := now.Add(-48 * time.Hour)
	purged := get[store.Purged](t)(db.Purge(t.Context(), store.Retention{
		SessionsEnded: twoDaysAgo, SessionsUnused: twoDaysAgo, Rotated: now, Throttles: now.Add(time.Minute),
	}))
	expect(t, "purged", store.Purged{Sessions: 3, Throttles: 1})(purged, nil)

	r := db.Reader(t.Context())
	if index := get[store.ReadIndex](t)(r.ReadIndex()); index.Floor != 3 || index.Rev != 4 {
		t.Errorf("index %+v", index)
	}
	if _, err := r.RefreshState(store.Hash{1}); err != nil {
		t.Errorf("token of the live session: %v", err)
	}
	if _, err := r.RefreshState(store.Hash{2}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("token of a session that is gone: %v", err)
	}
}

func testPurgeMany(t *testing.T, db *store.DB) {
	write(t, db, func(tx *store.Tx) error {
		for range 1200 {
			if _, err := tx.Revoke(events.ScopeToken, "t_x", tx.Now().Add(-time.Hour), "", "u_a"); err != nil {
				return err
			}
		}
		return nil
	})
	expect(t, "purged", store.Purged{Revocations: 1200})(db.Purge(t.Context(), store.Retention{}))
	if index := get[store.ReadIndex](t)(db.Reader(t.Context()).ReadIndex()); index.Floor != 1201 || index.Rev != 1200 {
		t.Errorf("index %+v", index)
	}
	if record := revoke(t, db, events.ScopeUser, "u_a"); record.Rev != 1201 {
		t.Errorf("the next record is %d", record.Rev)
	}
}
