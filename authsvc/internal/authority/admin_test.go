package authority_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

// adminCalls are all methods of admins, each on harmless arguments.
func adminCalls(w *world, actor *token.Claims) map[string]error {
	ctx := w.ctx()
	calls := map[string]error{}
	_, calls["Accounts"] = w.Accounts(ctx, actor, authority.AccountQuery{})
	_, calls["Account"] = w.Account(ctx, actor, "root")
	_, calls["Disable"] = w.Disable(ctx, actor, "u_none", "")
	calls["Enable"] = w.Enable(ctx, actor, "u_none", "")
	_, calls["AccountSessions"] = w.AccountSessions(ctx, actor, "u_none")
	_, calls["AdminEndSession"] = w.AdminEndSession(ctx, actor, "s_none", "")
	_, calls["Revoke"] = w.Revoke(ctx, actor, authority.RevokeRequest{Scope: events.ScopeKey, ID: "k_none"})
	_, calls["Revocations"] = w.Revocations(ctx, actor, "", 0)
	_, calls["Keys"] = w.Keys(ctx, actor)
	_, calls["RotateKey"] = w.RotateKey(ctx, actor)
	_, calls["KillKey"] = w.KillKey(ctx, actor, "k_none", "")
	_, calls["Services"] = w.Services(ctx, actor)
	_, _, calls["AddService"] = w.AddService(ctx, actor, "orders", nil)
	_, _, calls["RotateService"] = w.RotateService(ctx, actor, "none", 0)
	calls["RemoveService"] = w.RemoveService(ctx, actor, "none")
	return calls
}

func TestAdminMethodsAskForRoleAndRecentLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		admin := w.admin()
		w.register("alice")
		user := w.claims(w.login("alice"))
		before, records := len(w.outbox()), len(w.records())
		for name, err := range adminCalls(w, user) {
			w.wantCode(err, authority.CodeForbidden, name+" by a user")
		}
		for name, err := range adminCalls(w, nil) {
			w.wantCode(err, authority.CodeForbidden, name+" by nobody")
		}
		time.Sleep(12*time.Hour + time.Second)
		for name, err := range adminCalls(w, admin) {
			w.wantCode(err, authority.CodeInsufficientAuthentication, name+" after 12 hours")
			var refused *authority.Error
			if errors.As(err, &refused) && refused.MaxAge != 12*time.Hour {
				t.Errorf("%s: max age %v", name, refused.MaxAge)
			}
		}
		if len(w.outbox()) != before || len(w.records()) != records {
			t.Error("a refused call changed something")
		}
	})
}

// A refresh makes a token younger, but not the login that it stands for.
func TestRefreshKeepsTheTimeOfTheLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.admin()
		tokens := w.login("root")
		time.Sleep(13 * time.Hour)
		w.wantCode(w.CheckAdmin(w.claims(w.refresh(tokens.RefreshToken))),
			authority.CodeInsufficientAuthentication, "a refreshed token")
		w.must(w.CheckAdmin(w.claims(w.login("root"))))
	})
}

func TestDisableAndEnable(t *testing.T) {
	w := newWorld(t, nil)
	admin := w.admin()
	sub := w.register("alice").Sub
	tokens := w.login("alice")
	ack, err := w.Disable(w.ctx(), admin, sub, "left the company")
	w.must(err)
	w.wantDead(tokens, "after disabling")
	again, err := w.Disable(w.ctx(), admin, sub, "once more")
	w.must(err)
	if again.Rev != ack.Rev+1 || len(eventsOf[events.AccountDisabled](w)) != 1 {
		t.Error("disabling again should write a record, and no second event account.disabled")
	}
	w.must(w.Enable(w.ctx(), admin, sub, "came back"))
	w.must(w.Enable(w.ctx(), admin, sub, "came back"))
	if len(eventsOf[events.AccountEnabled](w)) != 1 {
		t.Error("enabling an active account left an event")
	}
	w.wantDead(tokens, "after enabling")
	w.wantAlive(w.login("alice"), "a login after enabling")
	account, err := w.Account(w.ctx(), admin, "ALICE@example.com")
	if err != nil || account.Sub != sub || account.Status != "active" {
		t.Errorf("account %+v, %v", account, err)
	}
	for _, bad := range []string{"u_none", "", "a.b", "*", "u\x00x"} {
		_, err := w.Disable(w.ctx(), admin, bad, "")
		w.wantCode(err, authority.CodeNotFound, "disabling "+bad)
		w.wantCode(w.Enable(w.ctx(), admin, bad, ""), authority.CodeNotFound, "enabling "+bad)
		_, err = w.Account(w.ctx(), admin, bad)
		w.wantCode(err, authority.CodeNotFound, "showing "+bad)
	}
}

func TestAccountsArePaged(t *testing.T) {
	w := newWorld(t, nil)
	admin := w.admin()
	for i := range 7 {
		w.register(fmt.Sprintf("user_%d", i))
	}
	var names []string
	q := authority.AccountQuery{Limit: 3}
	for pages := 0; ; pages++ {
		page, err := w.Accounts(w.ctx(), admin, q)
		w.must(err)
		for _, account := range page.Accounts {
			names = append(names, account.Username)
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			if pages != 2 {
				t.Errorf("%d pages", pages+1)
			}
			break
		}
	}
	slices.Sort(names) // several are of the same millisecond
	if got := strings.Join(names, " "); got != "root user_0 user_1 user_2 user_3 user_4 user_5 user_6" {
		t.Errorf("accounts %s", got)
	}
	for search, want := range map[string]int{"USER_": 7, "user_3": 1, "user%": 0, "root@": 1, "\x00": 0, admin.Subject: 1} {
		page, err := w.Accounts(w.ctx(), admin, authority.AccountQuery{Search: search})
		if err != nil || len(page.Accounts) != want {
			t.Errorf("searching %q: %d accounts, %v; want %d", search, len(page.Accounts), err, want)
		}
	}
	for _, cursor := range []string{"x", "1", "1.", ".u_1", "1.u' OR 1=1 --", "99999999999999999999.u_1"} {
		_, err := w.Accounts(w.ctx(), admin, authority.AccountQuery{Cursor: cursor})
		w.wantCode(err, authority.CodeInvalidInput, "cursor "+cursor)
	}
}

func TestRevocationsAreListedNewestFirst(t *testing.T) {
	w := newWorld(t, nil)
	admin := w.admin()
	for i := range 5 {
		_, err := w.Revoke(w.ctx(), admin, authority.RevokeRequest{Scope: events.ScopeToken, ID: fmt.Sprint("t_", i), Reason: "test"})
		w.must(err)
	}
	first, err := w.Revocations(w.ctx(), admin, "", 3)
	w.must(err)
	rest, err := w.Revocations(w.ctx(), admin, first.Next, 3)
	w.must(err)
	var ids []string
	for _, r := range append(first.Revocations, rest.Revocations...) {
		ids = append(ids, r.ID)
		if r.Actor != admin.Subject || r.Reason != "test" {
			t.Errorf("record %+v", r)
		}
	}
	if got := strings.Join(ids, " "); got != "t_4 t_3 t_2 t_1 t_0" || rest.Next != "" {
		t.Errorf("records %s, then %q", got, rest.Next)
	}
	for _, cursor := range []string{"0", "-1", "x", "1 OR 1=1"} {
		_, err := w.Revocations(w.ctx(), admin, cursor, 3)
		w.wantCode(err, authority.CodeInvalidInput, "cursor "+cursor)
	}
}

func TestRevokeSaysWhatIsKnown(t *testing.T) {
	w := newWorld(t, nil)
	admin := w.admin()
	w.register("alice")
	c := w.claims(w.login("alice"))
	for _, test := range []struct {
		scope events.Scope
		id    string
		known bool
	}{
		{events.ScopeToken, "anything-at-all", true},
		{events.ScopeSession, "s_none", false},
		{events.ScopeSession, c.SessionID, true},
		{events.ScopeSession, c.SessionID, true}, // again
		{events.ScopeUser, "u_none", false},
		{events.ScopeUser, c.Subject, true},
		{events.ScopeKey, "k_none", false},
		{events.ScopeKey, c.KeyID, true},
		{events.ScopeEveryone, "", true},
	} {
		before := len(w.records())
		done, err := w.Revoke(w.ctx(), admin, authority.RevokeRequest{Scope: test.scope, ID: test.id})
		if err != nil || done.Known != test.known {
			t.Errorf("%s %q: %+v, %v; want known %v", test.scope, test.id, done, err, test.known)
		}
		if len(w.records()) != before+1 {
			t.Errorf("%s %q wrote no record", test.scope, test.id)
		}
	}
	w.outbox() // validates the events
}

func TestRevokeRefusesWhatCannotBe(t *testing.T) {
	w := newWorld(t, nil)
	admin := w.admin()
	feed := w.keys.FeedKeys()[0].ID
	for _, r := range []authority.RevokeRequest{
		{Scope: "planet", ID: "x"},
		{Scope: events.ScopeEveryone, ID: "x"},
		{Scope: events.ScopeToken},
		{Scope: events.ScopeUser, ID: "a.b"},
		{Scope: events.ScopeUser, ID: ">"},
		{Scope: events.ScopeSession, ID: "a b"},
		{Scope: events.ScopeToken, ID: strings.Repeat("t", 257)},
		{Scope: events.ScopeKey, ID: "k\x00"},
		{Scope: events.ScopeKey, ID: feed},
		{Scope: events.ScopeToken, ID: "t_1", Reason: "a\nb"},
		{Scope: events.ScopeToken, ID: "t_1", Reason: strings.Repeat("ü", 257)},
	} {
		_, err := w.Revoke(w.ctx(), admin, r)
		w.wantCode(err, authority.CodeInvalidInput, fmt.Sprintf("%s %q", r.Scope, r.ID))
	}
	if len(w.records()) != 0 {
		t.Error("a refused revocation wrote a record")
	}
}

func TestEveryoneIsHitAndMayComeBack(t *testing.T) {
	w := newWorld(t, nil)
	admin := w.admin()
	w.register("alice")
	w.register("bob")
	alice, bob := w.login("alice"), w.login("bob")
	_, err := w.Revoke(w.ctx(), admin, authority.RevokeRequest{Scope: events.ScopeEveryone, Reason: "breach"})
	w.must(err)
	w.wantDead(alice, "alice")
	w.wantDead(bob, "bob")
	w.wantAlive(w.login("alice"), "alice after logging in again")
}

func TestKillKeySparesNewTokens(t *testing.T) {
	w := newWorld(t, nil)
	admin := w.admin()
	w.register("alice")
	tokens := w.login("alice")
	_, err := w.KillKey(w.ctx(), admin, w.claims(tokens).KeyID, "leaked")
	w.must(err)
	_, err = w.Authenticate(w.ctx(), tokens.AccessToken.Reveal())
	w.wantCode(err, authority.CodeInvalidToken, "a token of the killed key")
	if refused, ok := errors.AsType[*authority.Error](err); !ok || refused.Reason != "revoked_key" {
		t.Errorf("it is refused for %v", err)
	}
	w.wantAlive(w.refresh(tokens.RefreshToken), "a refreshed token")
	infos, err := w.Keys(w.ctx(), admin)
	w.must(err)
	var states []string
	for _, info := range infos {
		states = append(states, info.State)
	}
	slices.Sort(states)
	if got := strings.Join(states, " "); got != "active killed" {
		t.Errorf("keys are %s", got)
	}
	_, err = w.KillKey(w.ctx(), admin, "k_none", "")
	w.wantCode(err, authority.CodeNotFound, "killing an unknown key")
}

func TestSessionsOfAnAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.admin()
		sub := w.register("alice").Sub
		first := w.login("alice")
		time.Sleep(time.Second)
		second := w.login("alice")
		time.Sleep(89 * 24 * time.Hour / 8)
		w.refresh(second.RefreshToken)
		admin := w.claims(w.login("root"))
		live, err := w.AccountSessions(w.ctx(), admin, sub)
		w.must(err)
		if len(live) != 2 || live[0].SID != first.SID || live[1].SID != second.SID || live[0].Current || live[1].Address != home {
			t.Fatalf("sessions %+v", live)
		}
		for _, s := range live {
			if want := s.LastUsedAt.Add(14 * 24 * time.Hour); !s.ExpiresAt.Equal(want) {
				t.Errorf("session expires at %v, want %v", s.ExpiresAt, want)
			}
		}
		_, err = w.AdminEndSession(w.ctx(), admin, first.SID, "test")
		w.must(err)
		live, err = w.AccountSessions(w.ctx(), admin, sub)
		if err != nil || len(live) != 1 {
			t.Errorf("sessions %+v, %v", live, err)
		}
		_, err = w.AdminEndSession(w.ctx(), admin, "s_none", "")
		w.wantCode(err, authority.CodeNotFound, "an unknown session")
		_, err = w.AccountSessions(w.ctx(), admin, "u_none")
		w.wantCode(err, authority.CodeNotFound, "an unknown account")
	})
}
