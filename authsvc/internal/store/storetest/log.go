package storetest

import (
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

func testLog(t *testing.T, open func(t *testing.T) *store.DB) {
	db := open(t)
	for range 3 {
		if err := db.Write(t.Context(), func(tx *store.Tx) error {
			r, err := tx.Revoke(events.ScopeSession, "s_x", tx.Now().Add(time.Hour), "logout", "u_a")
			if err != nil {
				return err
			}
			return tx.Emit("http://issuer", events.SessionEnded{Sub: "u_a", SID: "s_x", Rev: r.Rev})
		}); err != nil {
			t.Fatal(err)
		}
	}
	idx, err := db.Reader(t.Context()).ReadIndex()
	t.Log(idx, err)
	page, err := db.Reader(t.Context()).Range(1, 10)
	t.Log(page, err)
	recs, err := db.Reader(t.Context()).TokenRecords(events.TokenRef{SID: "s_x"})
	t.Log(recs, err)
	l, err := db.Reader(t.Context()).Log(store.LogFilter{Limit: 2})
	t.Log(l, err)
	ev, err := db.Reader(t.Context()).PendingEvents(1)
	t.Log(ev, err)
	for _, e := range ev {
		t.Log(string(e.Document))
	}
	bl, err := db.Reader(t.Context()).Backlog()
	t.Log(bl, err)
}

func testAccounts(t *testing.T, open func(t *testing.T) *store.DB) {
	db := open(t)
	if err := db.Write(t.Context(), func(tx *store.Tx) error {
		return tx.CreateAccount(store.Account{Sub: "u_a", UsernameKey: "a"})
	}); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	h := store.Hash{1}
	if err := db.Write(t.Context(), func(tx *store.Tx) error {
		if err := tx.CreateSession(store.Session{SID: "s_a", Sub: "u_a", CreatedAt: now, LastUsedAt: now, ExpiresAt: now.Add(time.Hour), AuthTime: now}); err != nil {
			return err
		}
		if err := tx.AddRefreshToken(h, "s_a"); err != nil {
			return err
		}
		_, err := tx.RotateRefreshToken(h, store.Hash{2}, []byte("x"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	st, err := db.Reader(t.Context()).RefreshState(store.Hash{2})
	t.Log(st, err)
	as, err := db.Reader(t.Context()).Accounts(store.AccountFilter{Limit: 3, Search: "a"})
	t.Log(as, err)
	ls, err := db.Reader(t.Context()).LiveSessions("u_a", now, time.Hour)
	t.Log(ls, err)
	p, err := db.Purge(t.Context(), store.Retention{SessionsEnded: now, Rotated: now.Add(time.Hour)})
	t.Log(p, err)
}
