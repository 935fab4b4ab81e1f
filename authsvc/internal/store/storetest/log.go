package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

func testEmptyLog(t *testing.T, db *store.DB) {
	index := get[store.ReadIndex](t)(db.Reader(t.Context()).ReadIndex())
	if !strings.HasPrefix(index.Epoch, "e_") || len(index.Epoch) != 28 {
		t.Errorf("epoch %q", index.Epoch)
	}
	index.Epoch = ""
	expect(t, "index", store.ReadIndex{Floor: 1})(index, nil)
	page := get[store.Page](t)(db.Reader(t.Context()).Range(0, 10))
	if len(page.Records) != 0 || page.Through != 0 || page.Floor != 1 || page.Epoch == "" {
		t.Errorf("page %+v", page)
	}
}

func testCounting(t *testing.T, db *store.DB) {
	for n := uint64(1); n <= 5; n++ {
		write(t, db, func(tx *store.Tx) error {
			record, err := tx.Revoke(events.ScopeToken, fmt.Sprintf("t_%d", n), tx.Now().Add(time.Hour), "logout", "u_a")
			if err != nil {
				return err
			}
			if record.Rev != n || record.Epoch != tx.Head().Epoch || record.At != tx.Now().UnixMilli() {
				t.Errorf("record %d is %+v", n, record)
			}
			return tx.Emit(issuer, events.TokenRevoked{JTI: record.ID, Rev: record.Rev, Actor: "u_a"})
		})
	}
	index := get[store.ReadIndex](t)(db.Reader(t.Context()).ReadIndex())
	if index.Rev != 5 || index.EventSeq != 5 || index.Floor != 1 {
		t.Errorf("index %+v", index)
	}
}

func testRange(t *testing.T, db *store.DB) {
	for range 7 {
		revoke(t, db, events.ScopeSession, "s_x")
	}
	tests := []struct {
		after   uint64
		limit   int
		revs    []uint64
		through uint64
	}{
		{0, 3, []uint64{1, 2, 3}, 3},
		{3, 3, []uint64{4, 5, 6}, 6},
		{6, 3, []uint64{7}, 7},
		{7, 3, nil, 7},
		{99, 3, nil, 7},
		{0, 7, []uint64{1, 2, 3, 4, 5, 6, 7}, 7},
		{0, 100, []uint64{1, 2, 3, 4, 5, 6, 7}, 7},
	}
	for _, test := range tests {
		page := get[store.Page](t)(db.Reader(t.Context()).Range(test.after, test.limit))
		expect(t, "records", test.revs)(revs(page.Records), nil)
		if page.Through != test.through || page.Rev != 7 || page.Floor != 1 {
			t.Errorf("after %d: through %d, rev %d, floor %d", test.after, page.Through, page.Rev, page.Floor)
		}
	}
}

func testTokenRecords(t *testing.T, db *store.DB) {
	revoke(t, db, events.ScopeToken, "t_1")   // 1
	revoke(t, db, events.ScopeToken, "t_2")   // 2
	revoke(t, db, events.ScopeSession, "s_1") // 3
	revoke(t, db, events.ScopeUser, "u_1")    // 4
	revoke(t, db, events.ScopeUser, "u_1")    // 5
	revoke(t, db, events.ScopeEveryone, "")   // 6
	revoke(t, db, events.ScopeEveryone, "")   // 7
	revoke(t, db, events.ScopeKey, "k_1")     // 8
	write(t, db, func(tx *store.Tx) error {   // 9, over
		_, err := tx.Revoke(events.ScopeToken, "t_3", tx.Now().Add(-time.Minute), "", "u_admin")
		return err
	})
	tests := map[string]struct {
		token events.TokenRef
		want  []uint64
	}{
		"by everything":             {events.TokenRef{JTI: "t_1", SID: "s_1", Sub: "u_1", KID: "k_1"}, []uint64{1, 3, 5, 7, 8}},
		"by its own id":             {events.TokenRef{JTI: "t_2", Sub: "u_2", KID: "k_2"}, []uint64{2, 7}},
		"only with everyone":        {events.TokenRef{JTI: "t_9", Sub: "u_2", KID: "k_2"}, []uint64{7}},
		"an expired one is none":    {events.TokenRef{JTI: "t_3", Sub: "u_2", KID: "k_2"}, []uint64{7}},
		"ids of other scopes":       {events.TokenRef{JTI: "u_1", SID: "t_1", Sub: "s_1", KID: "t_2"}, []uint64{7}},
		"no session is no wildcard": {events.TokenRef{JTI: "t_9", SID: "", Sub: "u_1", KID: "k_2"}, []uint64{5, 7}},
	}
	for name, test := range tests {
		found := get[store.TokenRecords](t)(db.Reader(t.Context()).TokenRecords(test.token))
		expect(t, name, test.want)(revs(found.Records), nil)
		if found.Rev != 9 || found.EveryoneRev != 7 {
			t.Errorf("%s: head %+v", name, found.Head)
		}
	}
}

func testLogListing(t *testing.T, db *store.DB) {
	first := revoke(t, db, events.ScopeSession, "s_1")
	revoke(t, db, events.ScopeUser, "u_1")
	revoke(t, db, events.ScopeSession, "s_2")
	r := db.Reader(t.Context())
	list := func(f store.LogFilter) []uint64 {
		var numbers []uint64
		for _, entry := range get[[]store.LogEntry](t)(r.Log(f)) {
			if entry.Actor != "u_admin" || entry.Reason != "test" {
				t.Errorf("entry %+v", entry)
			}
			numbers = append(numbers, entry.Rev)
		}
		return numbers
	}
	expect(t, "all", []uint64{3, 2, 1})(list(store.LogFilter{Limit: 10}), nil)
	expect(t, "a page", []uint64{3, 2})(list(store.LogFilter{Limit: 2}), nil)
	expect(t, "the next page", []uint64{1})(list(store.LogFilter{Limit: 2, Before: 2}), nil)
	expect(t, "a scope", []uint64{3, 1})(list(store.LogFilter{Limit: 9, Scope: events.ScopeSession}), nil)
	expect(t, "an id", []uint64{2})(list(store.LogFilter{Limit: 9, ID: "u_1"}), nil)

	expect(t, "undelivered", []uint64{1, 2})(revs(get[[]events.Revocation](t)(r.Undelivered(2))), nil)
	write(t, db, func(tx *store.Tx) error { return tx.MarkDelivered(1, 3) })
	expect(t, "undelivered after", []uint64{2})(revs(get[[]events.Revocation](t)(r.Undelivered(9))), nil)
	entry := get[[]store.LogEntry](t)(r.Log(store.LogFilter{Limit: 9, ID: "s_1"}))[0]
	expect(t, "the record as written", first)(entry.Revocation, nil)
	if entry.DeliveredAt.IsZero() {
		t.Error("delivered, but the log does not say when")
	}
}

func testNonsense(t *testing.T, db *store.DB) {
	for scope, id := range map[events.Scope]string{"planet": "p_1", events.ScopeUser: "", events.ScopeEveryone: "u_1"} {
		err := db.Write(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Revoke(scope, id, tx.Now().Add(time.Hour), "", "u_admin")
			return err
		})
		if err == nil {
			t.Errorf("scope %q with id %q was accepted", scope, id)
		}
	}
	index := get[store.ReadIndex](t)(db.Reader(t.Context()).ReadIndex())
	if index.Rev != 0 {
		t.Errorf("rev is %d", index.Rev)
	}
}

func testEmit(t *testing.T, db *store.DB) {
	addAccount(t, db, "u_a", "alice")
	write(t, db, func(tx *store.Tx) error { return tx.Emit(issuer, events.AccountRegistered{Sub: "u_a"}) })
	write(t, db, func(tx *store.Tx) error { return tx.Emit(issuer, events.KeyPublished{KID: "k_1", Alg: "EdDSA"}) })
	pending := get[[]store.OutboxEvent](t)(db.Reader(t.Context()).PendingEvents(10))
	if len(pending) != 2 || pending[0].Seq != 1 || pending[1].Seq != 2 ||
		pending[0].Subject != "auth.events.account.registered.u_a" || pending[1].Subject != "auth.events.key.published.-" {
		t.Fatalf("outbox %+v", pending)
	}
	var event events.Event
	if err := json.Unmarshal(pending[0].Document, &event); err != nil {
		t.Fatal(err)
	}
	head := get[store.ReadIndex](t)(db.Reader(t.Context()).ReadIndex()).Head
	want := events.Event{
		ID: head.Epoch + "-1", Source: issuer, Time: pending[0].CreatedAt, Sequence: 1,
		Data: events.AccountRegistered{Sub: "u_a"},
	}
	expect(t, "event", want)(event, nil)
}

func testOwnWrites(t *testing.T, db *store.DB) {
	addAccount(t, db, "u_a", "alice")
	write(t, db, func(tx *store.Tx) error {
		if err := tx.CreateSession(sessionOf(tx, "s_a", "u_a")); err != nil {
			return err
		}
		record, err := tx.Revoke(events.ScopeEveryone, "", tx.Now().Add(time.Hour), "test", "u_admin")
		if err != nil {
			return err
		}
		index, err := tx.ReadIndex()
		if index.Rev != record.Rev || index.EveryoneRev != record.Rev || index.Floor != record.Rev {
			t.Errorf("index %+v, record %d", index, record.Rev)
		}
		state, err2 := tx.SessionState("s_a")
		if state.Head != tx.Head() || state.Session.SID != "s_a" {
			t.Errorf("state %+v", state)
		}
		live, err3 := tx.LiveSessions("u_a", tx.Now(), time.Hour)
		if len(live) != 0 {
			t.Errorf("a session older than the revocation of everyone is live: %+v", live)
		}
		page, err4 := tx.Range(0, 10)
		if len(page.Records) != 1 || page.Through != record.Rev {
			t.Errorf("page %+v", page)
		}
		return errors.Join(err, err2, err3, err4)
	})
}

func testSnapshot(t *testing.T, db *store.DB) {
	revoke(t, db, events.ScopeSession, "s_1")
	err := db.Snapshot(t.Context(), func(r *store.Reader) error {
		before, err := r.ReadIndex()
		if err != nil {
			return err
		}
		revoke(t, db, events.ScopeSession, "s_2") // does not wait for the reader
		after, err := r.ReadIndex()
		if err != nil {
			return err
		}
		expect(t, "index in the snapshot", before)(after, nil)
		page, err := r.Range(0, 10)
		expect(t, "records in the snapshot", []uint64{1})(revs(page.Records), err)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	page := get[store.Page](t)(db.Reader(t.Context()).Range(0, 10))
	expect(t, "records outside", []uint64{1, 2})(revs(page.Records), nil)
}

func testBatchOfScopes(t *testing.T, db *store.DB) {
	addAccount(t, db, "u_a", "alice")
	addSession(t, db, "s_a", "u_a")
	write(t, db, func(tx *store.Tx) error {
		for scope, id := range map[events.Scope]string{
			events.ScopeToken: "t_a", events.ScopeSession: "s_a", events.ScopeUser: "u_a",
			events.ScopeEveryone: "", events.ScopeKey: "k_unknown", events.ScopeCert: "c_unknown",
		} {
			if _, err := tx.Revoke(scope, id, tx.Now().Add(1500*time.Millisecond), "why", "u_admin"); err != nil {
				return err
			}
		}
		return nil
	})
	state := get[store.SessionState](t)(db.Reader(t.Context()).SessionState("s_a"))
	if state.Session.EndedAt.IsZero() || state.Session.EndReason != "why" ||
		state.Account.RevokedRev == 0 || state.Head.EveryoneRev == 0 || state.Head.Rev != 6 {
		t.Errorf("state %+v", state)
	}
	for _, record := range get[store.Page](t)(db.Reader(t.Context()).Range(0, 10)).Records {
		if rest := record.ExpiresAt*1000 - record.At; rest < 1500 || rest > 2500 {
			t.Errorf("record %d expires %d ms after it was written, want 1500 rounded up to whole seconds", record.Rev, rest)
		}
	}
}

func testCertificates(t *testing.T, db *store.DB) {
	revoke(t, db, events.ScopeCert, "c_1")
	revoke(t, db, events.ScopeCert, "c_1") // again
	revoke(t, db, events.ScopeToken, "c_2")
	write(t, db, func(tx *store.Tx) error {
		_, err := tx.Revoke(events.ScopeCert, "c_3", tx.Now().Add(-time.Minute), "", "u_admin")
		return err
	})
	r := db.Reader(t.Context())
	expect(t, "revoked", []string{"c_1"})(r.RevokedCertificates("c_2", "c_1", "c_3", "c_4"))
	expect(t, "nothing asked", []string(nil))(r.RevokedCertificates())
	write(t, db, func(tx *store.Tx) error { // for less time than those before
		_, err := tx.Revoke(events.ScopeCert, "c_1", tx.Now().Add(time.Minute), "", "u_admin")
		return err
	})
	if longest := get[store.LogEntry](t)(r.LiveRecord(events.ScopeCert, "c_1")); longest.Rev != 2 || longest.ID != "c_1" || longest.Actor == "" {
		t.Errorf("the record that lives longest is %+v", longest)
	}
	for _, id := range []string{"c_2", "c_3", "c_4"} {
		if found, err := r.LiveRecord(events.ScopeCert, id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: found %+v, %v", id, found, err)
		}
	}
}

// testLongLived: a certificate's record stays for days among thousands that have
// gone. Who reads from it on gets over the gap with one page.
func testLongLived(t *testing.T, db *store.DB) {
	revoke(t, db, events.ScopeCert, "c_1") // 1
	write(t, db, func(tx *store.Tx) error {
		for n := range 2000 {
			if _, err := tx.Revoke(events.ScopeToken, fmt.Sprintf("t_%d", n), tx.Now().Add(-time.Hour), "", "u_a"); err != nil {
				return err
			}
		}
		return nil
	})
	revoke(t, db, events.ScopeToken, "t_last") // 2002
	if purged := get[store.Purged](t)(db.Purge(t.Context(), store.Retention{})); purged.Revocations != 2000 {
		t.Errorf("%d records purged, want 2000", purged.Revocations)
	}
	page := get[store.Page](t)(db.Reader(t.Context()).Range(0, 2))
	expect(t, "a page over the gap", []uint64{1, 2002})(revs(page.Records), nil)
	if page.Floor != 1 || page.Through != 2002 || page.Rev != 2002 {
		t.Errorf("floor %d, through %d, rev %d", page.Floor, page.Through, page.Rev)
	}
}
