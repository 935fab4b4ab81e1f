package authority_test

import (
	"strings"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/authority"
)

func TestServices(t *testing.T) {
	w := newWorld(t, nil)
	admin := w.admin()
	added, secret, err := w.AddService(w.ctx(), admin, "orders")
	w.must(err)
	got, err := w.AuthenticateService(w.ctx(), "orders", secret)
	if err != nil || got.ID != "orders" || !got.CreatedAt.Equal(added.CreatedAt) {
		t.Errorf("service %+v, %v", got, err)
	}
	_, _, err = w.AddService(w.ctx(), admin, "orders")
	w.wantCode(err, authority.CodeServiceExists, "adding again")
	for _, id := range []string{admin.Subject, "", "Orders", "a_b"} {
		_, _, err = w.AddService(w.ctx(), admin, id)
		w.wantCode(err, authority.CodeInvalidInput, "adding "+id)
	}
	good := secret.Reveal()
	for name, try := range map[string][2]string{
		"no secret": {"orders", ""}, "a truncated secret": {"orders", good[:len(good)-1]}, "a longer secret": {"orders", good + "A"},
		"another case": {"orders", strings.ToUpper(good)}, "an unknown service": {"nobody", good}, "NUL": {"orders\x00", good},
	} {
		_, err := w.AuthenticateService(w.ctx(), try[0], authority.Secret(try[1]))
		w.wantCode(err, authority.CodeInvalidClient, name)
	}
	w.must(w.RemoveService(w.ctx(), admin, "orders"))
	w.wantCode(w.RemoveService(w.ctx(), admin, "orders"), authority.CodeNotFound, "removing again")
	_, err = w.AuthenticateService(w.ctx(), "orders", secret)
	w.wantCode(err, authority.CodeInvalidClient, "a removed service")
}

func TestIntrospection(t *testing.T) {
	w := newWorld(t, nil)
	w.register("alice")
	tokens := w.login("alice")
	orders, stranger := authority.Service{ID: "orders"}, authority.Service{ID: "stranger"}

	access, err := w.Introspect(w.ctx(), orders, tokens.AccessToken)
	w.must(err)
	if !access.Active || access.TokenType != authority.TypeAccess || access.Claims.Subject != tokens.Sub || access.Claims.KeyID == "" {
		t.Errorf("access token: %+v", access)
	}
	refresh, err := w.Introspect(w.ctx(), orders, tokens.RefreshToken)
	w.must(err)
	if !refresh.Active || refresh.TokenType != authority.TypeRefresh || refresh.Claims.SessionID != tokens.SID {
		t.Errorf("refresh token: %+v", refresh)
	}
	for name, raw := range map[string]authority.Secret{
		"access": tokens.AccessToken, "refresh": tokens.RefreshToken,
	} {
		if got, err := w.Introspect(w.ctx(), stranger, raw); err != nil || got.Active || got.Claims != nil || got.TokenType != "" {
			t.Errorf("a service that the %s token is not meant for learns %+v, %v", name, got, err)
		}
	}
	for _, raw := range []authority.Secret{"", "x", "a.b.c", "r_" + authority.Secret(strings.Repeat("A", 43)), tokens.AccessToken[:len(tokens.AccessToken)-1]} {
		if got, err := w.Introspect(w.ctx(), orders, raw); err != nil || got.Active {
			t.Errorf("garbage: %+v, %v", got, err)
		}
	}
	// Looking at a refresh token does not use it.
	w.refresh(tokens.RefreshToken)
	if got, err := w.Introspect(w.ctx(), orders, tokens.RefreshToken); err != nil || got.Active {
		t.Errorf("a rotated refresh token: %+v, %v", got, err)
	}
}

func TestRevokeTokenHitsOnlyItsGrant(t *testing.T) {
	orders := authority.Service{ID: "orders"}
	t.Run("a refresh token ends its session with its access tokens", func(t *testing.T) {
		w := newWorld(t, nil)
		w.register("alice")
		one, other := w.login("alice"), w.login("alice")
		ack, err := w.RevokeToken(w.ctx(), orders, one.RefreshToken, "access_token") // a wrong hint
		if err != nil || ack == nil || ack.Rev != 1 {
			t.Fatalf("%+v, %v", ack, err)
		}
		w.wantDead(one, "the revoked grant")
		w.wantAlive(other, "the other session")
		w.refresh(other.RefreshToken)
		again, err := w.RevokeToken(w.ctx(), orders, one.RefreshToken, "")
		if again != nil || err != nil {
			t.Errorf("revoking a dead refresh token: %+v, %v", again, err)
		}
	})
	t.Run("an access token dies alone", func(t *testing.T) {
		w := newWorld(t, nil)
		w.register("alice")
		one := w.login("alice")
		expires := w.claims(one).ExpiresAt
		_, err := w.RevokeToken(w.ctx(), orders, one.AccessToken, "")
		w.must(err)
		if _, err := w.Authenticate(w.ctx(), one.AccessToken.Reveal()); err == nil {
			t.Error("the revoked access token works")
		}
		w.wantAlive(w.refresh(one.RefreshToken), "its session")
		if record := w.records()[0]; record.ExpiresAt != expires+60 || record.Actor != "orders" {
			t.Errorf("record %+v, want it to expire a minute after the token", record)
		}
	})
	t.Run("of another service nothing dies", func(t *testing.T) {
		w := newWorld(t, nil)
		w.register("alice")
		one := w.login("alice")
		for _, raw := range []authority.Secret{one.AccessToken, one.RefreshToken} {
			_, err := w.RevokeToken(w.ctx(), authority.Service{ID: "stranger"}, raw, "")
			w.wantCode(err, authority.CodeTokenNotYours, "a stranger")
		}
		for _, raw := range []authority.Secret{"", "garbage", "a.b.c", "r_" + authority.Secret(strings.Repeat("A", 43))} {
			if ack, err := w.RevokeToken(w.ctx(), orders, raw, ""); ack != nil || err != nil {
				t.Errorf("%v, %v: an unknown token is a success without a revocation", ack, err)
			}
		}
		w.wantAlive(one, "the token")
		if len(w.records()) != 0 {
			t.Error("there are records")
		}
	})
}
