package authority_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authbus/authbus/authsvc/internal/authority"
)

// orders is a service that tokens are meant for, stranger one that they are not.
var (
	orders   = authority.Service{ID: "orders", Audiences: []string{"orders"}}
	stranger = authority.Service{ID: "stranger", Audiences: []string{"stranger"}}
)

func TestServices(t *testing.T) {
	w := newWorld(t, nil)
	admin := w.admin()
	added, secret, err := w.AddService(w.ctx(), admin, "orders", nil)
	w.must(err)
	got, err := w.AuthenticateService(w.ctx(), "orders", secret, authority.Meta{})
	if err != nil || got.ID != "orders" || !got.CreatedAt.Equal(added.CreatedAt) {
		t.Errorf("service %+v, %v", got, err)
	}
	_, _, err = w.AddService(w.ctx(), admin, "orders", nil)
	w.wantCode(err, authority.CodeServiceExists, "adding again")
	for _, id := range []string{admin.Subject, "", "Orders", "a_b", authority.Audience} {
		_, _, err = w.AddService(w.ctx(), admin, id, nil)
		w.wantCode(err, authority.CodeInvalidInput, "adding "+id)
	}
	for _, audiences := range [][]string{{""}, {"a b"}, {"a", "a"}, {strings.Repeat("a", 65)}, {"ä"}, make([]string, 17)} {
		_, _, err = w.AddService(w.ctx(), admin, "billing", audiences)
		w.wantCode(err, authority.CodeInvalidInput, "adding one for "+strings.Join(audiences, ","))
	}
	good := secret.Reveal()
	for name, try := range map[string][2]string{
		"no secret": {"orders", ""}, "a truncated secret": {"orders", good[:len(good)-1]}, "a longer secret": {"orders", good + "A"},
		"another case": {"orders", strings.ToUpper(good)}, "an unknown service": {"nobody", good}, "NUL": {"orders\x00", good},
	} {
		_, err := w.AuthenticateService(w.ctx(), try[0], authority.Secret(try[1]), authority.Meta{})
		w.wantCode(err, authority.CodeInvalidClient, name)
	}
	w.must(w.RemoveService(w.ctx(), admin, "orders"))
	w.wantCode(w.RemoveService(w.ctx(), admin, "orders"), authority.CodeNotFound, "removing again")
	_, err = w.AuthenticateService(w.ctx(), "orders", secret, authority.Meta{})
	w.wantCode(err, authority.CodeInvalidClient, "a removed service")
}

func TestIntrospection(t *testing.T) {
	w := newWorld(t, nil)
	w.register("alice")
	tokens := w.login("alice")
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

func TestServicesWithSeveralAudiences(t *testing.T) {
	w := newWorld(t, nil)
	admin := w.admin()
	w.register("alice")
	tokens := w.login("alice")
	added, secret, err := w.AddService(w.ctx(), admin, "legacy", []string{"somebody-else", "billing"})
	w.must(err)
	got, err := w.AuthenticateService(w.ctx(), "legacy", secret, authority.Meta{})
	if err != nil || !slices.Equal(got.Audiences, added.Audiences) || len(got.Audiences) != 2 {
		t.Fatalf("service %+v, %v", got, err)
	}
	for _, raw := range []authority.Secret{tokens.AccessToken, tokens.RefreshToken} {
		if found, err := w.Introspect(w.ctx(), got, raw); err != nil || !found.Active {
			t.Errorf("introspection: %+v, %v", found, err)
		}
	}
	if found, err := w.Introspect(w.ctx(), authority.Service{ID: "orders"}, tokens.AccessToken); err != nil || found.Active {
		t.Errorf("a service without audiences: %+v, %v", found, err)
	}
	_, err = w.RevokeToken(w.ctx(), authority.Service{ID: "orders"}, tokens.AccessToken)
	w.wantCode(err, authority.CodeTokenNotYours, "a service without audiences")
	if ack, err := w.RevokeToken(w.ctx(), got, tokens.AccessToken); err != nil || ack == nil {
		t.Errorf("revoking: %+v, %v", ack, err)
	}
}

func TestRotatingASecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		admin := w.admin()
		_, first, err := w.AddService(w.ctx(), admin, "orders", nil)
		w.must(err)
		works := func(secret authority.Secret) bool {
			t.Helper()
			_, err := w.AuthenticateService(w.ctx(), "orders", secret, authority.Meta{})
			if err != nil {
				w.wantCode(err, authority.CodeInvalidClient, "a secret")
			}
			return err == nil
		}
		rotated, second, err := w.RotateService(w.ctx(), admin, "orders", time.Hour)
		w.must(err)
		if !works(first) || !works(second) || !rotated.PreviousUntil.Equal(time.Now().Add(time.Hour)) {
			t.Errorf("within the overlap both work: %v %v, %+v", works(first), works(second), rotated)
		}
		time.Sleep(time.Hour)
		if works(first) || !works(second) {
			t.Errorf("after the overlap only the new one works: %v %v", works(first), works(second))
		}
		_, third, err := w.RotateService(w.ctx(), admin, "orders", 0)
		w.must(err)
		if works(first) || works(second) || !works(third) {
			t.Errorf("without an overlap only the new one works: %v %v %v", works(first), works(second), works(third))
		}
		_, _, err = w.RotateService(w.ctx(), admin, "nobody", 0)
		w.wantCode(err, authority.CodeNotFound, "rotating what is not there")
		for _, overlap := range []time.Duration{-time.Second, authority.MaxSecretOverlap + 1} {
			_, _, err = w.RotateService(w.ctx(), admin, "orders", overlap)
			w.wantCode(err, authority.CodeInvalidInput, overlap.String())
		}
	})
}

func TestFailedServicesAreThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		_, secret, err := w.AddService(w.ctx(), w.admin(), "orders", nil)
		w.must(err)
		near := authority.Meta{Address: "192.0.2.77"}
		for i, id := range []string{"orders", "nobody", "orders", "", "NOBODY"} {
			_, err := w.AuthenticateService(w.ctx(), id, "x_wrong", near)
			w.wantCode(err, authority.CodeInvalidClient, fmt.Sprintf("try %d", i+1))
		}
		for _, id := range []string{"orders", "nobody", ""} {
			_, err := w.AuthenticateService(w.ctx(), id, "x_wrong", near)
			w.wantCode(err, authority.CodeThrottled, "one try more, as "+id)
		}
		if _, err := w.AuthenticateService(w.ctx(), "orders", secret, near); err != nil {
			t.Errorf("the right secret from there: %v", err)
		}
		_, err = w.AuthenticateService(w.ctx(), "orders", "x_wrong", authority.Meta{Address: "198.51.100.1"})
		w.wantCode(err, authority.CodeInvalidClient, "a wrong one from elsewhere")
		w.register("alice")
		if _, err := w.tryLogin("alice", goodPassword, near.Address); err != nil {
			t.Errorf("a user's login from there: %v", err)
		}
		time.Sleep(time.Second)
		_, err = w.AuthenticateService(w.ctx(), "orders", "x_wrong", near)
		w.wantCode(err, authority.CodeInvalidClient, "after the pause")
	})
}

// TestServicesCannotBeGuessedByTheClock: a wrong secret takes as long as an
// unknown service.
func TestServicesCannotBeGuessedByTheClock(t *testing.T) {
	w := newWorld(t, nil)
	_, _, err := w.AddService(w.ctx(), w.admin(), "orders", nil)
	w.must(err)
	took := map[string][]time.Duration{}
	for range 300 { // in turns, so that whatever else the machine does hits both
		for _, id := range []string{"orders", "nobody"} {
			began := time.Now()
			_, err := w.AuthenticateService(w.ctx(), id, "x_wrong", authority.Meta{})
			took[id] = append(took[id], time.Since(began))
			w.wantCode(err, authority.CodeInvalidClient, id)
		}
	}
	median := func(id string) time.Duration {
		slices.Sort(took[id])
		return took[id][len(took[id])/2]
	}
	known, unknown := median("orders"), median("nobody")
	if known > 2*unknown || unknown > 2*known {
		t.Errorf("a wrong secret takes %v, an unknown service %v", known, unknown)
	}
	t.Logf("a wrong secret takes %v, an unknown service %v", known, unknown)
}

func TestRevokeTokenHitsOnlyItsGrant(t *testing.T) {
	t.Run("a refresh token ends its session with its access tokens", func(t *testing.T) {
		w := newWorld(t, nil)
		w.register("alice")
		one, other := w.login("alice"), w.login("alice")
		ack, err := w.RevokeToken(w.ctx(), orders, one.RefreshToken)
		if err != nil || ack == nil || ack.Rev != 1 {
			t.Fatalf("%+v, %v", ack, err)
		}
		w.wantDead(one, "the revoked grant")
		w.wantAlive(other, "the other session")
		w.refresh(other.RefreshToken)
		again, err := w.RevokeToken(w.ctx(), orders, one.RefreshToken)
		if again != nil || err != nil {
			t.Errorf("revoking a dead refresh token: %+v, %v", again, err)
		}
	})
	t.Run("an access token dies alone", func(t *testing.T) {
		w := newWorld(t, nil)
		w.register("alice")
		one := w.login("alice")
		expires := w.claims(one).ExpiresAt
		_, err := w.RevokeToken(w.ctx(), orders, one.AccessToken)
		w.must(err)
		if _, err := w.Authenticate(w.ctx(), one.AccessToken.Reveal()); err == nil {
			t.Error("the revoked access token works")
		}
		w.wantAlive(w.refresh(one.RefreshToken), "its session")
		if record := w.records()[0]; record.ExpiresAt != expires+60 || record.Actor != "orders" {
			t.Errorf("record %+v, want it to expire a minute after the token", record)
		}
	})
	t.Run("what is dead needs no record", func(t *testing.T) {
		w := newWorld(t, nil)
		w.register("alice")
		one, ended := w.login("alice"), w.login("alice")
		_, err := w.RevokeToken(w.ctx(), orders, one.AccessToken)
		w.must(err)
		_, err = w.RevokeToken(w.ctx(), orders, ended.RefreshToken)
		w.must(err)
		before := len(w.records())
		for range 10 { // whoever asks again and again must not fill the log
			for _, raw := range []authority.Secret{one.AccessToken, ended.AccessToken, ended.RefreshToken} {
				if ack, err := w.RevokeToken(w.ctx(), orders, raw); ack != nil || err != nil {
					t.Errorf("revoking it again: %+v, %v", ack, err)
				}
			}
		}
		if after := len(w.records()); after != before {
			t.Errorf("%d records more", after-before)
		}
	})
	t.Run("of another service nothing dies", func(t *testing.T) {
		w := newWorld(t, nil)
		w.register("alice")
		one := w.login("alice")
		for _, raw := range []authority.Secret{one.AccessToken, one.RefreshToken} {
			_, err := w.RevokeToken(w.ctx(), stranger, raw)
			w.wantCode(err, authority.CodeTokenNotYours, "a stranger")
		}
		for _, raw := range []authority.Secret{"", "garbage", "a.b.c", "r_" + authority.Secret(strings.Repeat("A", 43))} {
			if ack, err := w.RevokeToken(w.ctx(), orders, raw); ack != nil || err != nil {
				t.Errorf("%v, %v: an unknown token is a success without a revocation", ack, err)
			}
		}
		w.wantAlive(one, "the token")
		if len(w.records()) != 0 {
			t.Error("there are records")
		}
	})
}
