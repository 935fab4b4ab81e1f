package authority_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/verifier/token"
)

// TestNoSidePathToATokenForTheDead goes through every way to get a token, for
// every way in which an account or a session can be dead.
func TestNoSidePathToATokenForTheDead(t *testing.T) {
	type situation struct {
		name string
		// kill is told the session's user and claims.
		kill func(w *world, admin, c *token.Claims)
		// login says that logging in again works.
		login bool
	}
	situations := []situation{
		{name: "account disabled", kill: func(w *world, admin, c *token.Claims) {
			_, err := w.Disable(w.ctx(), admin, c.Subject, "")
			w.must(err)
		}},
		{name: "account deleted", kill: func(w *world, _, c *token.Claims) {
			_, err := w.DeleteAccount(w.ctx(), c, goodPassword, authority.Meta{})
			w.must(err)
		}},
		{name: "session ended", login: true, kill: func(w *world, _, c *token.Claims) {
			_, err := w.Logout(w.ctx(), c)
			w.must(err)
		}},
		{name: "user revoked", login: true, kill: func(w *world, _, c *token.Claims) {
			_, _, err := w.EndAll(w.ctx(), c, false)
			w.must(err)
		}},
		{name: "everyone revoked", login: true, kill: func(w *world, admin, _ *token.Claims) {
			_, err := w.Revoke(w.ctx(), admin, authority.RevokeRequest{Scope: "everyone"})
			w.must(err)
		}},
		{name: "session idle too long", login: true, kill: func(*world, *token.Claims, *token.Claims) {
			time.Sleep(14 * 24 * time.Hour)
		}},
		{name: "session too old", login: true, kill: func(*world, *token.Claims, *token.Claims) {
			time.Sleep(90 * 24 * time.Hour)
		}},
	}
	for _, s := range situations {
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				admin := w.admin()
				w.register("alice")
				tokens := w.login("alice")
				claims := w.claims(tokens)
				rotated := *tokens
				tokens = w.refresh(tokens.RefreshToken)
				s.kill(w, admin, claims)

				wantNoToken(w, claims, tokens, &rotated)
				again, err := w.tryLogin("alice", goodPassword, home)
				if (err == nil) != s.login {
					t.Errorf("logging in again: %v", err)
				}
				if err == nil {
					w.wantAlive(again, "a new login")
					w.wantDead(tokens, "the old session after a new login")
					if again.SID == tokens.SID {
						t.Error("the new session has the old one's id")
					}
				}
			})
		})
	}
}

// wantNoToken tries every way to get a token out of a dead session.
func wantNoToken(w *world, claims *token.Claims, tokens, rotated *authority.Tokens) {
	w.t.Helper()
	meta := authority.Meta{Address: home}
	w.wantDead(tokens, "the dead session")
	_, err := w.tryRefresh(rotated.RefreshToken)
	w.wantCode(err, authority.CodeInvalidGrant, "refreshing within the grace")
	_, kept, err := w.EndAll(w.ctx(), claims, true)
	w.wantCode(err, authority.CodeInvalidToken, "ending all but this")
	if kept != nil {
		w.t.Error("ending all but this gave a token")
	}
	_, changed, err := w.ChangePassword(w.ctx(), claims, authority.PasswordChange{Current: goodPassword, New: newPassword}, meta)
	w.wantCode(err, authority.CodeInvalidToken, "changing the password")
	if changed != nil {
		w.t.Error("changing the password gave a token")
	}
	_, err = w.DeleteAccount(w.ctx(), claims, goodPassword, meta)
	w.wantCode(err, authority.CodeInvalidToken, "deleting the account")
	for _, raw := range []authority.Secret{tokens.AccessToken, tokens.RefreshToken, rotated.RefreshToken} {
		found, err := w.Introspect(w.ctx(), orders, raw)
		if err != nil || found.Active || found.Claims != nil {
			w.t.Errorf("introspection: %+v, %v", found, err)
		}
	}
	if _, err := w.Verify(w.ctx(), tokens.AccessToken.Reveal(), "orders"); err == nil {
		w.t.Error("the access token verifies for a service")
	}
	status, err := w.Status(w.ctx(), claims.Ref())
	if err != nil || status.Active {
		w.t.Errorf("status: %+v, %v", status, err)
	}
}
