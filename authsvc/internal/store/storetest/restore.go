package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

func testOpenEpoch(t *testing.T, db *store.DB) {
	revoke(t, db, events.ScopeUser, "u_a")
	before := get[store.ReadIndex](t)(db.Reader(t.Context()).ReadIndex())
	if err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.OpenEpoch(1) }); err == nil {
		t.Error("an epoch began at a revision that was given out")
	}
	const base = 1 << 40
	write(t, db, func(tx *store.Tx) error {
		return errors.Join(tx.OpenEpoch(base), tx.Emit(issuer, events.AccountRegistered{Sub: "u_b"}))
	})
	after := get[store.ReadIndex](t)(db.Reader(t.Context()).ReadIndex())
	if after.Epoch == before.Epoch || after.Rev != base || after.Floor != 1 || after.EventSeq != before.EventSeq+1<<32+1 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if record := revoke(t, db, events.ScopeUser, "u_a"); record.Rev != base+1 || record.Epoch != after.Epoch {
		t.Errorf("first record of the epoch: %+v", record)
	}
}

// record returns a record of a stream.
func record(epoch string, rev uint64, scope events.Scope, id string, expires time.Duration) events.Revocation {
	return events.Revocation{
		Version: events.RevocationVersion, Epoch: epoch, Rev: rev, Scope: scope, ID: id,
		ExpiresAt: time.Now().Add(expires).Unix(), Reason: "logout", At: time.Now().UnixMilli(),
	}
}

func testTakeBack(t *testing.T, db *store.DB) {
	addAccount(t, db, "u_a", "alice")
	addAccount(t, db, "u_b", "bob")
	for sid, sub := range map[string]string{"s_1": "u_a", "s_2": "u_a", "s_3": "u_b"} {
		addSession(t, db, sid, sub)
	}
	write(t, db, func(tx *store.Tx) error {
		return tx.AddKey(store.SigningKey{KID: "k_1", Purpose: store.KeyForTokens, Alg: "EdDSA", Public: []byte{1}, SealedPrivate: []byte{1}, State: store.KeyActive})
	})
	known := revoke(t, db, events.ScopeToken, "t_1")
	old := known.Epoch
	stream := []events.Revocation{
		known,
		record(old, 2, events.ScopeSession, "s_1", time.Hour),
		record(old, 3, events.ScopeUser, "u_b", time.Hour),
		record(old, 4, events.ScopeToken, "t_2", -time.Hour), // over
		record(old, 5, events.ScopeKey, "k_1", time.Hour),
		record(old, 6, events.ScopeSession, "s_unknown", time.Hour),
		record(old, 7, events.ScopeUser, "u_unknown", time.Hour),
		record(old, 8, events.ScopeEveryone, "", time.Hour),
	}
	if err := db.Write(t.Context(), func(tx *store.Tx) error { _, err := tx.TakeBack(stream); return err }); err == nil {
		t.Error("records above the log were taken into it without a new epoch")
	}
	for _, want := range []int{6, 0} { // the second time nothing is missing
		write(t, db, func(tx *store.Tx) error {
			if err := tx.OpenEpoch(tx.Head().Rev + 8 + 1<<32); err != nil {
				return err
			}
			missing, err := tx.TakeBack(stream)
			if missing != want {
				t.Errorf("%d were missing, want %d", missing, want)
			}
			return err
		})
	}
	r := db.Reader(t.Context())
	page := get[store.Page](t)(r.Range(0, 100))
	expect(t, "revisions", []uint64{1, 2, 3, 5, 6, 7, 8})(revs(page.Records), nil)
	expect(t, "a record as it was", stream[1])(page.Records[1], nil)
	expect(t, "undelivered", []uint64{1})(revs(get[[]events.Revocation](t)(r.Undelivered(10))), nil)
	session, bob := get[store.Session](t)(r.Session("s_1")), get[store.Account](t)(r.Account("u_b"))
	if session.EndedAt.IsZero() || bob.RevokedRev != 3 || page.EveryoneRev != 8 {
		t.Errorf("session %+v, account %+v, head %+v", session, bob, page.Head)
	}
	if key := get[store.SigningKey](t)(r.Key("k_1")); key.State != store.KeyKilled {
		t.Errorf("key %+v", key)
	}
}

// After the backup was put back, the database wrote a record of its own under a
// revision that the stream has too: both must hold.
func testTakeBackDiverged(t *testing.T, db *store.DB) {
	addAccount(t, db, "u_a", "alice")
	own := revoke(t, db, events.ScopeToken, "t_own")
	write(t, db, func(tx *store.Tx) error {
		if err := tx.OpenEpoch(1 << 33); err != nil {
			return err
		}
		missing, err := tx.TakeBack([]events.Revocation{record(own.Epoch, own.Rev, events.ScopeUser, "u_a", time.Hour)})
		if missing != 1 {
			t.Errorf("%d were missing", missing)
		}
		return err
	})
	page := get[store.Page](t)(db.Reader(t.Context()).Range(0, 10))
	expect(t, "revisions", []uint64{own.Rev, 1<<33 + 1})(revs(page.Records), nil)
	if taken := page.Records[1]; taken.ID != "u_a" || taken.Epoch != page.Epoch {
		t.Errorf("taken back as %+v", taken)
	}
	if account := get[store.Account](t)(db.Reader(t.Context()).Account("u_a")); account.RevokedRev != 1<<33+1 {
		t.Errorf("account %+v", account)
	}
}

func testAllLive(t *testing.T, db *store.DB) {
	write(t, db, func(tx *store.Tx) error {
		for n := range 2500 {
			if _, err := tx.Revoke(events.ScopeToken, fmt.Sprintf("t_%d", n), tx.Now().Add(time.Hour), "", "u_a"); err != nil {
				return err
			}
		}
		return nil
	})
	for _, after := range []uint64{0, 1, 999, 1000, 2499, 2500} {
		next := after + 1
		for r, err := range db.AllLive(t.Context(), after) {
			if err != nil || r.Rev != next {
				t.Fatalf("after %d: rev %d, %v, want %d", after, r.Rev, err, next)
			}
			next++
		}
		if next != 2501 {
			t.Errorf("after %d: ended at %d", after, next-1)
		}
	}
	var seen int
	for _, err := range db.AllLive(t.Context(), 0) {
		if seen++; err != nil || seen == 10 {
			break
		}
	}
}
