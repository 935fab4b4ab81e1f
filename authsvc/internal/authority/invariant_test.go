package authority_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

// ending is one way in which something ends.
type ending struct {
	name string
	// do ends something of alice, whose session is claims, with tokens.
	do func(w *world, admin, claims *token.Claims, tokens *authority.Tokens) (authority.Ack, error)
	// want are the types of its events, in order; the first is that of the record.
	want []events.Type
	// kept says that the session lives on with a new access token.
	kept bool
	// onlyToken says that no session ended.
	onlyToken bool
}

// endings are all the ways there are.
func endings() []ending {
	revoke := func(scope events.Scope, id func(*token.Claims) string) func(*world, *token.Claims, *token.Claims, *authority.Tokens) (authority.Ack, error) {
		return func(w *world, admin, c *token.Claims, _ *authority.Tokens) (authority.Ack, error) {
			done, err := w.Revoke(w.ctx(), admin, authority.RevokeRequest{Scope: scope, ID: id(c), Reason: "test"})
			return done.Ack, err
		}
	}
	return []ending{
		{
			name: "logout", want: []events.Type{events.TypeSessionEnded},
			do: func(w *world, _, c *token.Claims, _ *authority.Tokens) (authority.Ack, error) {
				return w.Logout(w.ctx(), c)
			},
		},
		{
			name: "user ends the session", want: []events.Type{events.TypeSessionEnded},
			do: func(w *world, _, c *token.Claims, _ *authority.Tokens) (authority.Ack, error) {
				return w.EndSession(w.ctx(), c, c.SessionID)
			},
		},
		{
			name: "user logs out everywhere", want: []events.Type{events.TypeUserRevoked},
			do: func(w *world, _, c *token.Claims, _ *authority.Tokens) (authority.Ack, error) {
				ack, _, err := w.EndAll(w.ctx(), c, false)
				return ack, err
			},
		},
		{
			name: "user logs out everywhere but here", want: []events.Type{events.TypeUserRevoked}, kept: true,
			do: func(w *world, _, c *token.Claims, tokens *authority.Tokens) (authority.Ack, error) {
				ack, fresh, err := w.EndAll(w.ctx(), c, true)
				tokens.AccessToken = fresh.AccessToken
				return ack, err
			},
		},
		{
			name: "user changes the password", kept: true,
			want: []events.Type{events.TypeUserRevoked, events.TypePasswordChanged},
			do: func(w *world, _, c *token.Claims, tokens *authority.Tokens) (authority.Ack, error) {
				ack, fresh, err := w.ChangePassword(w.ctx(), c,
					authority.PasswordChange{Current: goodPassword, New: newPassword}, authority.Meta{Address: home})
				tokens.AccessToken = fresh.AccessToken
				return ack, err
			},
		},
		{
			name: "user deletes the account", want: []events.Type{events.TypeUserRevoked, events.TypeAccountDeleted},
			do: func(w *world, _, c *token.Claims, _ *authority.Tokens) (authority.Ack, error) {
				return w.DeleteAccount(w.ctx(), c, goodPassword, authority.Meta{Address: home})
			},
		},
		{
			name: "admin disables the account", want: []events.Type{events.TypeUserRevoked, events.TypeAccountDisabled},
			do: func(w *world, admin, c *token.Claims, _ *authority.Tokens) (authority.Ack, error) {
				return w.Disable(w.ctx(), admin, c.Subject, "test")
			},
		},
		{
			name: "admin ends the session", want: []events.Type{events.TypeSessionRevoked},
			do: func(w *world, admin, c *token.Claims, _ *authority.Tokens) (authority.Ack, error) {
				return w.AdminEndSession(w.ctx(), admin, c.SessionID, "test")
			},
		},
		{
			name: "admin revokes the token", want: []events.Type{events.TypeTokenRevoked}, onlyToken: true,
			do: revoke(events.ScopeToken, func(c *token.Claims) string { return c.ID }),
		},
		{
			name: "admin revokes the session", want: []events.Type{events.TypeSessionRevoked},
			do: revoke(events.ScopeSession, func(c *token.Claims) string { return c.SessionID }),
		},
		{
			name: "admin revokes the user", want: []events.Type{events.TypeUserRevoked},
			do: revoke(events.ScopeUser, func(c *token.Claims) string { return c.Subject }),
		},
		{
			name: "admin revokes everyone", want: []events.Type{events.TypeEveryoneRevoked},
			do: revoke(events.ScopeEveryone, func(*token.Claims) string { return "" }),
		},
		{
			name: "admin revokes the key", onlyToken: true,
			want: []events.Type{events.TypeKeyRevoked, events.TypeKeyPublished, events.TypeKeyActivated},
			do:   revoke(events.ScopeKey, func(c *token.Claims) string { return c.KeyID }),
		},
		{
			name: "service revokes the access token", want: []events.Type{events.TypeTokenRevoked}, onlyToken: true,
			do: func(w *world, _, _ *token.Claims, tokens *authority.Tokens) (authority.Ack, error) {
				ack, err := w.RevokeToken(w.ctx(), orders, tokens.AccessToken)
				return *ack, err
			},
		},
		{
			name: "service revokes the refresh token", want: []events.Type{events.TypeSessionRevoked},
			do: func(w *world, _, _ *token.Claims, tokens *authority.Tokens) (authority.Ack, error) {
				ack, err := w.RevokeToken(w.ctx(), orders, tokens.RefreshToken)
				return *ack, err
			},
		},
		{
			name: "a refresh token is used again", want: []events.Type{events.TypeSessionRefreshed, events.TypeSessionReuseDetected},
			do: func(w *world, _, _ *token.Claims, tokens *authority.Tokens) (authority.Ack, error) {
				w.refresh(tokens.RefreshToken)
				time.Sleep(11 * time.Second)
				_, err := w.tryRefresh(tokens.RefreshToken)
				w.wantCode(err, authority.CodeInvalidGrant, "reuse")
				return authority.Ack{}, nil
			},
		},
	}
}

// TestNoStateChangeWithoutItsEvent goes through every way in which something ends,
// and compares the log, the events and the state.
func TestNoStateChangeWithoutItsEvent(t *testing.T) {
	for _, e := range endings() {
		t.Run(e.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { checkEnding(newWorld(t, nil), e) })
		})
	}
}

func checkEnding(w *world, e ending) {
	admin := w.admin()
	w.register("alice")
	tokens := w.login("alice")
	claims := w.claims(tokens)
	old := *tokens
	events, records := len(w.outbox()), len(w.records())

	ack, err := e.do(w, admin, claims, tokens)
	w.must(err)
	added := w.outbox()[events:]
	if len(w.records()) != records+1 {
		w.t.Fatalf("%d new records in the log, want 1", len(w.records())-records)
	}
	record := w.records()[records]
	if ack.Rev != 0 && (ack.Rev != record.Rev || ack.Epoch != record.Epoch || ack.Delivery != authority.Pending) {
		w.t.Errorf("acknowledged %+v, the record is %+v", ack, record)
	}
	wantTypes(w, added, e.want)
	wantEventsOfRecord(w, added, record)
	if record.Actor == "" || !record.Covers(claims.Ref()) {
		w.t.Errorf("the record does not cover the old access token, or has no actor: %+v", record)
	}
	_, err = w.Authenticate(w.ctx(), old.AccessToken.Reveal())
	w.wantCode(err, authority.CodeInvalidToken, "the old access token")
	wantState(w, e, tokens)
}

func wantTypes(w *world, added []events.Event, want []events.Type) {
	w.t.Helper()
	var got []events.Type
	for _, e := range added {
		got = append(got, e.Data.Type())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("events are %v, want %v", got, want)
	}
}

// revOf returns the revision that an event speaks of; 0 where it speaks of none.
func revOf(data events.Data) uint64 {
	switch e := data.(type) {
	case events.SessionEnded:
		return e.Rev
	case events.SessionRevoked:
		return e.Rev
	case events.SessionReuseDetected:
		return e.Rev
	case events.TokenRevoked:
		return e.Rev
	case events.UserRevoked:
		return e.Rev
	case events.EveryoneRevoked:
		return e.Rev
	case events.KeyRevoked:
		return e.Rev
	case events.PasswordChanged:
		return e.Rev
	case events.AccountDisabled:
		return e.Rev
	case events.AccountDeleted:
		return e.Rev
	}
	return 0
}

// wantEventsOfRecord checks that the events name the record's revision and no other.
func wantEventsOfRecord(w *world, added []events.Event, record store.LogEntry) {
	w.t.Helper()
	named := 0
	for _, e := range added {
		switch revOf(e.Data) {
		case record.Rev:
			named++
		case 0: // an event that belongs to no record
		default:
			w.t.Errorf("%s names revision %d, the record is %d", e.Data.Type(), revOf(e.Data), record.Rev)
		}
		if e.Source != issuer || e.ID != fmt.Sprintf("%s-%d", record.Epoch, e.Sequence) {
			w.t.Errorf("event %s from %s", e.ID, e.Source)
		}
	}
	if named == 0 {
		w.t.Error("no event names the record")
	}
}

// wantState checks that the session is what the ending says.
func wantState(w *world, e ending, tokens *authority.Tokens) {
	w.t.Helper()
	state, err := w.db.Reader(w.ctx()).SessionState(tokens.SID)
	w.must(err)
	live, err := w.db.Reader(w.ctx()).LiveSessions(tokens.Sub, time.Now(), 14*24*time.Hour)
	w.must(err)
	if alive := len(live) == 1; alive != (e.kept || e.onlyToken) {
		w.t.Errorf("the session lives: %v; state %+v", alive, state)
	}
	switch {
	case e.kept:
		w.wantAlive(tokens, "the kept session")
		w.refresh(tokens.RefreshToken)
	case e.onlyToken:
		w.wantAlive(w.refresh(tokens.RefreshToken), "the session")
	default:
		_, err := w.tryRefresh(tokens.RefreshToken)
		w.wantCode(err, authority.CodeInvalidGrant, "refreshing")
	}
}

// TestAFailingDatabaseChangesNothing lets the database refuse each table's writes
// in turn, under every way in which something ends.
func TestAFailingDatabaseChangesNothing(t *testing.T) {
	for _, table := range []string{"outbox", "revocations"} {
		for _, e := range endings() {
			if e.name == "a refresh token is used again" {
				continue // its first half must succeed: see below
			}
			t.Run(table+"/"+e.name, func(t *testing.T) {
				w := newWorld(t, nil)
				admin := w.admin()
				w.register("alice")
				tokens := w.login("alice")
				claims := w.claims(tokens)
				eventsBefore, recordsBefore := len(w.outbox()), len(w.records())
				w.breakTable(table)
				if err := errorOf(func() error { _, err := e.do(w, admin, claims, tokens); return err }); err == nil {
					t.Error("the database failed and the caller was told of success")
				}
				w.wantAlive(tokens, "after a failure")
				w.mendTable(table)
				w.refresh(tokens.RefreshToken)
				if n := len(w.records()) - recordsBefore; n != 0 {
					t.Errorf("%d records were left", n)
				}
				if n := len(w.outbox()) - eventsBefore; n != 1 { // session.refreshed
					t.Errorf("%d events were left, want only that of the refresh", n)
				}
				if _, err := e.do(w, admin, w.claims(w.login("alice")), w.login("alice")); err != nil {
					t.Errorf("trying again: %v", err)
				}
			})
		}
	}
}

// errorOf runs fn, which may fall over what a failed call did not return.
func errorOf(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("no answer: %v", v)
		}
	}()
	return fn()
}

// breakTable lets every insert into the table fail.
func (w *world) breakTable(table string) {
	w.t.Helper()
	_, err := w.raw().Exec("CREATE TRIGGER broken_" + table + " BEFORE INSERT ON " + table +
		" BEGIN SELECT RAISE(ABORT, 'disk on fire'); END")
	w.must(err)
}

func (w *world) mendTable(table string) {
	w.t.Helper()
	_, err := w.raw().Exec("DROP TRIGGER broken_" + table)
	w.must(err)
}

func TestAFailingDatabaseGrantsNothing(t *testing.T) {
	for _, table := range []string{"outbox", "sessions", "refresh_tokens"} {
		t.Run(table, func(t *testing.T) {
			w := newWorld(t, nil)
			w.register("alice")
			first := w.login("alice")
			w.breakTable(table)
			if tokens, err := w.tryLogin("alice", goodPassword, home); err == nil || tokens != nil {
				t.Errorf("login: %v, %v", tokens, err)
			}
			if table != "sessions" {
				if tokens, err := w.tryRefresh(first.RefreshToken); err == nil || tokens != nil {
					t.Errorf("refresh: %v, %v", tokens, err)
				}
			}
			w.mendTable(table)
			w.refresh(first.RefreshToken)
		})
	}
}
