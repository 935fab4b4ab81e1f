package authority_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/store/storetest"
	"github.com/authbus/authbus/events"
)

func TestHundredParallelRefreshesGiveOneSuccessor(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { hundredRefreshes(t, newWorld(t, nil)) })
	t.Run("PostgreSQL", func(t *testing.T) { hundredRefreshes(t, newWorldAt(t, storetest.Postgres(t), nil)) })
}

func hundredRefreshes(t *testing.T, w *world) {
	w.register("alice")
	first := w.login("alice")
	got := make([]*authority.Tokens, 100)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], err = w.tryRefresh(first.RefreshToken); err != nil {
				t.Errorf("refresh %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for i, tokens := range got {
		if tokens.RefreshToken != got[0].RefreshToken {
			t.Fatalf("refresh %d got another successor", i)
		}
		w.wantAlive(tokens, "a parallel refresh")
	}
	if n := len(eventsOf[events.SessionRefreshed](w)); n != 1 {
		t.Errorf("%d events session.refreshed, want 1", n)
	}
	w.refresh(got[0].RefreshToken) // the family lives
	if n := len(w.records()); n != 0 {
		t.Errorf("%d revocations, want none", n)
	}
}

func TestRefreshGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.register("alice")
		first, other := w.login("alice"), w.login("alice")
		second := w.refresh(first.RefreshToken)
		time.Sleep(10 * time.Second)
		if again := w.refresh(first.RefreshToken); again.RefreshToken != second.RefreshToken {
			t.Error("within the grace there was another successor")
		}
		third := w.refresh(second.RefreshToken)
		time.Sleep(10*time.Second + time.Millisecond)

		_, err := w.tryRefresh(first.RefreshToken)
		w.wantCode(err, authority.CodeInvalidGrant, "using a refresh token again after the grace")
		w.wantDead(third, "after reuse")
		w.wantDead(second, "after reuse")
		w.wantAlive(other, "another session of the user")

		reused := eventsOf[events.SessionReuseDetected](w)
		if len(reused) != 1 || reused[0].SID != first.SID || reused[0].Rev != 1 {
			t.Errorf("events session.reuse_detected: %+v", reused)
		}
		if len(w.records()) != 1 {
			t.Errorf("the log has %d records, want 1: a dead session does not end again", len(w.records()))
		}
	})
}

func TestSweepWipesSuccessorsAfterTheirGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.register("alice")
		first := w.login("alice")
		second := w.refresh(first.RefreshToken)
		w.must(w.Sweep(w.ctx()))
		if again := w.refresh(first.RefreshToken); again.RefreshToken != second.RefreshToken {
			t.Error("sweeping took the successor away within the grace")
		}
		time.Sleep(11 * time.Second)
		w.must(w.Sweep(w.ctx()))
		var sealed int
		w.must(w.raw().QueryRow("SELECT count(*) FROM refresh_tokens WHERE sealed_successor IS NOT NULL").Scan(&sealed))
		if sealed != 0 {
			t.Errorf("%d sealed successors are left", sealed)
		}
		w.refresh(second.RefreshToken)
	})
}

func TestReuseIsDetectedAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.register("alice")
		first := w.login("alice")
		second := w.refresh(first.RefreshToken)
		time.Sleep(11 * time.Second)
		w.start()
		_, err := w.tryRefresh(first.RefreshToken)
		w.wantCode(err, authority.CodeInvalidGrant, "using a refresh token again after a restart")
		w.wantDead(second, "after reuse")
		if len(eventsOf[events.SessionReuseDetected](w)) != 1 {
			t.Error("no event session.reuse_detected")
		}
	})
}

func TestRefreshOfAnotherClientEndsTheSession(t *testing.T) {
	w := newWorld(t, nil)
	w.register("alice")
	first := w.login("alice")
	_, err := w.Refresh(w.ctx(), authority.RefreshRequest{Token: first.RefreshToken, ClientID: "mobile"}, authority.Meta{})
	w.wantCode(err, authority.CodeInvalidGrant, "refreshing as another client")
	w.wantDead(first, "after another client showed its refresh token")
	revoked := eventsOf[events.SessionRevoked](w)
	if len(revoked) != 1 || revoked[0].Reason != "client_mismatch" || revoked[0].Actor != "authsvc" {
		t.Errorf("events session.revoked: %+v", revoked)
	}
}

func TestRefreshTokensAreComparedWhole(t *testing.T) {
	w := newWorld(t, nil)
	w.register("alice")
	tokens := w.login("alice")
	good := tokens.RefreshToken.Reveal()
	flipped := []byte(good)
	flipped[10] ^= 0x20
	for name, raw := range map[string]string{
		"empty": "", "truncated": good[:len(good)-1], "extended": good + "A", "in another case": string(flipped),
		"an access token": tokens.AccessToken.Reveal(), "NUL": "r_\x00" + good[3:],
	} {
		_, err := w.tryRefresh(authority.Secret(raw))
		w.wantCode(err, authority.CodeInvalidGrant, name)
	}
	_, err := w.Authenticate(w.ctx(), good)
	w.wantCode(err, authority.CodeInvalidToken, "a refresh token as an access token")
	w.refresh(tokens.RefreshToken)
}

func TestSessionLifetimes(t *testing.T) {
	t.Run("an idle session ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil)
			w.register("alice")
			tokens := w.login("alice")
			time.Sleep(14*24*time.Hour - time.Second)
			tokens = w.refresh(tokens.RefreshToken)
			time.Sleep(14 * 24 * time.Hour)
			_, err := w.tryRefresh(tokens.RefreshToken)
			w.wantCode(err, authority.CodeInvalidGrant, "refreshing after 14 idle days")
		})
	})
	t.Run("a busy session ends too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil)
			w.register("alice")
			tokens := w.login("alice")
			for range 9 {
				time.Sleep(10*24*time.Hour - 10*time.Second)
				tokens = w.refresh(tokens.RefreshToken)
			}
			if tokens.ExpiresIn != 90 {
				t.Errorf("the last access token lives %d s, want 90: no longer than its session", tokens.ExpiresIn)
			}
			time.Sleep(90 * time.Second)
			_, err := w.tryRefresh(tokens.RefreshToken)
			w.wantCode(err, authority.CodeInvalidGrant, "refreshing after 90 days")
		})
	})
	t.Run("an access token lives ten minutes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil)
			w.register("alice")
			tokens := w.login("alice")
			if tokens.ExpiresIn != 600 {
				t.Errorf("expires_in is %d, want 600", tokens.ExpiresIn)
			}
			time.Sleep(10*time.Minute + 9*time.Second) // the leeway is 10 s
			w.wantAlive(tokens, "within the leeway")
			time.Sleep(time.Second)
			_, err := w.Authenticate(w.ctx(), tokens.AccessToken.Reveal())
			w.wantCode(err, authority.CodeInvalidToken, "after its lifetime")
		})
	})
}

func TestTheOldestSessionMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *authority.Config) { c.MaxSessionsPerUser = 3 })
		w.register("alice")
		w.register("bob")
		others := w.login("bob")
		var all []*authority.Tokens
		for range 4 {
			all = append(all, w.login("alice"))
			time.Sleep(time.Second)
		}
		w.wantDead(all[0], "the oldest of four sessions")
		for _, tokens := range all[1:] {
			w.wantAlive(tokens, "one of the three youngest")
		}
		w.wantAlive(others, "another user's session")
		if got := eventsOf[events.SessionRevoked](w); len(got) != 1 || got[0].Reason != "session_limit" {
			t.Errorf("events session.revoked: %+v", got)
		}
	})
}
