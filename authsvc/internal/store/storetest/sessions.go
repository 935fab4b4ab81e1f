package storetest

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

func testSessionRoundTrip(t *testing.T, db *store.DB) {
	addAccount(t, db, "u_a", "alice")
	var session store.Session
	write(t, db, func(tx *store.Tx) error {
		session = sessionOf(tx, "s_a", "u_a")
		return tx.CreateSession(session)
	})
	r := db.Reader(t.Context())
	expect(t, "session", session)(r.Session("s_a"))
	state := get[store.SessionState](t)(r.SessionState("s_a"))
	expect(t, "session of the state", session)(state.Session, nil)
	expect(t, "account of the state", state.Account)(r.Account("u_a"))
	expect(t, "head of the state", state.Head)(get[store.ReadIndex](t)(r.ReadIndex()).Head, nil)
	if _, err := r.SessionState("s_x"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("unknown session: %v", err)
	}
	if err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.CreateSession(sessionOf(tx, "s_b", "u_x")) }); err == nil {
		t.Error("a session without an account was accepted")
	}
	write(t, db, func(tx *store.Tx) error {
		session.LastUsedAt, session.AuthTime, session.Address, session.UserAgent = tx.Now(), tx.Now(), "192.0.2.9", "other"
		return errors.Join(tx.TouchSession("s_a"), tx.SetAuthTime("s_a"), tx.UseSession("s_a", "192.0.2.9", "other"))
	})
	expect(t, "session after its use", session)(r.Session("s_a"))
	if err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.TouchSession("s_x") }); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("use of an unknown session: %v", err)
	}
}

// live returns the ids of a user's live sessions as of now and later.
func live(t *testing.T, db *store.DB, sub string, later time.Duration) []string {
	t.Helper()
	var sids []string
	for _, s := range get[[]store.Session](t)(db.Reader(t.Context()).LiveSessions(sub, time.Now().Add(later), 2*time.Hour)) {
		sids = append(sids, s.SID)
	}
	slices.Sort(sids)
	return sids
}

func testLiveSessions(t *testing.T, db *store.DB) {
	addAccount(t, db, "u_a", "alice")
	addAccount(t, db, "u_b", "bob")
	for _, sid := range []string{"s_1", "s_2", "s_3"} {
		addSession(t, db, sid, "u_a")
	}
	addSession(t, db, "s_b", "u_b")
	expect(t, "all of the user's", []string{"s_1", "s_2", "s_3"})(live(t, db, "u_a", 0), nil)
	expect(t, "idle for too long", []string(nil))(live(t, db, "u_a", 3*time.Hour), nil)
	expect(t, "beyond the absolute lifetime", []string(nil))(live(t, db, "u_a", 25*time.Hour), nil)

	revoke(t, db, events.ScopeSession, "s_1")
	expect(t, "one ended", []string{"s_2", "s_3"})(live(t, db, "u_a", 0), nil)
	revoke(t, db, events.ScopeUser, "u_a")
	expect(t, "user revoked", []string(nil))(live(t, db, "u_a", 0), nil)
	addSession(t, db, "s_4", "u_a")
	expect(t, "a login right afterwards", []string{"s_4"})(live(t, db, "u_a", 0), nil)
	expect(t, "another user", []string{"s_b"})(live(t, db, "u_b", 0), nil)
	revoke(t, db, events.ScopeEveryone, "")
	expect(t, "everyone revoked", []string(nil))(append(live(t, db, "u_a", 0), live(t, db, "u_b", 0)...), nil)
	addSession(t, db, "s_5", "u_a")
	write(t, db, func(tx *store.Tx) error { return tx.SetAccountStatus("u_a", store.AccountDisabled) })
	expect(t, "disabled account", []string(nil))(live(t, db, "u_a", 0), nil)
}

func testKeepSession(t *testing.T, db *store.DB) {
	addAccount(t, db, "u_a", "alice")
	addSession(t, db, "s_1", "u_a")
	addSession(t, db, "s_2", "u_a")
	write(t, db, func(tx *store.Tx) error {
		record, err := tx.Revoke(events.ScopeUser, "u_a", tx.Now().Add(time.Hour), "", "u_a")
		return errors.Join(err, tx.KeepSession("s_2", record.Rev))
	})
	expect(t, "the kept one", []string{"s_2"})(live(t, db, "u_a", 0), nil)
}

func testEndSession(t *testing.T, db *store.DB) {
	addAccount(t, db, "u_a", "alice")
	addSession(t, db, "s_1", "u_a")
	for _, want := range []bool{true, false} {
		write(t, db, func(tx *store.Tx) error {
			ended, err := tx.EndSession("s_1", "logout")
			if ended != want {
				t.Errorf("ended: %v, want %v", ended, want)
			}
			return err
		})
	}
	first := get[store.Session](t)(db.Reader(t.Context()).Session("s_1"))
	revoke(t, db, events.ScopeSession, "s_1")
	expect(t, "an ended session after its revocation", first)(db.Reader(t.Context()).Session("s_1"))
}

func testKnownAddress(t *testing.T, db *store.DB) {
	addAccount(t, db, "u_a", "alice")
	addSession(t, db, "s_1", "u_a")
	revoke(t, db, events.ScopeSession, "s_1")
	r := db.Reader(t.Context())
	hourAgo := time.Now().Add(-time.Hour)
	expect(t, "the address of a session that has ended", true)(r.KnownAddress("u_a", "192.0.2.1", hourAgo))
	expect(t, "another", false)(r.KnownAddress("u_a", "192.0.2.2", hourAgo))
	expect(t, "another's", false)(r.KnownAddress("u_b", "192.0.2.1", hourAgo))
	expect(t, "too long ago", false)(r.KnownAddress("u_a", "192.0.2.1", time.Now().Add(time.Hour)))
}

func testRotation(t *testing.T, db *store.DB) {
	addAccount(t, db, "u_a", "alice")
	addSession(t, db, "s_1", "u_a")
	first, second, third := store.Hash{1}, store.Hash{2}, store.Hash{3}
	write(t, db, func(tx *store.Tx) error { return tx.AddRefreshToken(first, "s_1") })
	rotate := func(old, successor store.Hash, want bool) {
		t.Helper()
		write(t, db, func(tx *store.Tx) error {
			done, err := tx.RotateRefreshToken(old, successor, []byte("sealed"))
			if done != want {
				t.Errorf("rotated: %v, want %v", done, want)
			}
			return err
		})
	}
	rotate(first, second, true)
	rotate(first, third, false)
	state := get[store.RefreshState](t)(db.Reader(t.Context()).RefreshState(first))
	if state.Token.Hash != first || state.Token.Successor != second || string(state.Token.SealedSuccessor) != "sealed" ||
		state.Token.RotatedAt.IsZero() || state.Session.SID != "s_1" || state.Account.Sub != "u_a" || state.Head.Epoch == "" {
		t.Errorf("rotated token %+v", state)
	}
	fresh := get[store.RefreshState](t)(db.Reader(t.Context()).RefreshState(second))
	if !fresh.Token.RotatedAt.IsZero() || fresh.Token.SealedSuccessor != nil || fresh.Session.SID != "s_1" {
		t.Errorf("successor %+v", fresh)
	}
	write(t, db, func(tx *store.Tx) error {
		early, err := tx.WipeSuccessors(tx.Now().Add(-time.Hour))
		late, err2 := tx.WipeSuccessors(tx.Now().Add(time.Hour))
		if early != 0 || late != 1 {
			t.Errorf("wiped %d within grace, %d after", early, late)
		}
		return errors.Join(err, err2)
	})
	state = get[store.RefreshState](t)(db.Reader(t.Context()).RefreshState(first))
	if state.Token.SealedSuccessor != nil || state.Token.Successor != second {
		t.Errorf("wiped token %+v", state.Token)
	}
}

func testRotationRace(t *testing.T, db *store.DB) {
	addAccount(t, db, "u_a", "alice")
	addSession(t, db, "s_1", "u_a")
	old := store.Hash{0xff}
	write(t, db, func(tx *store.Tx) error { return tx.AddRefreshToken(old, "s_1") })
	var winners atomic.Int64
	var group sync.WaitGroup
	for n := range 100 {
		group.Go(func() {
			err := db.Write(t.Context(), func(tx *store.Tx) error {
				done, err := tx.RotateRefreshToken(old, store.Hash{byte(n)}, []byte("sealed"))
				if done {
					winners.Add(1)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if winners.Load() != 1 {
		t.Errorf("%d rotations of one token succeeded", winners.Load())
	}
}

func testRotationUnknown(t *testing.T, db *store.DB) {
	write(t, db, func(tx *store.Tx) error {
		done, err := tx.RotateRefreshToken(store.Hash{1}, store.Hash{2}, nil)
		if done {
			t.Error("a token that does not exist was rotated")
		}
		return err
	})
	if _, err := db.Reader(t.Context()).RefreshState(store.Hash{2}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("its successor: %v", err)
	}
}
