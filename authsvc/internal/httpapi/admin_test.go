package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
	"github.com/authbus/authbus/verifier/token"
)

func TestAdminLooksAfterAccounts(t *testing.T) {
	w := newWorld(t)
	root, ada := w.admin(t), w.join(t, "ada")
	sub := ada.tokens.Sub

	if got := must[wire.Account](t)(root.Account(t.Context(), "ada")); got.Sub != sub {
		t.Errorf("account = %+v", got)
	}
	if got := must[wire.Sessions](t)(root.AccountSessions(t.Context(), sub)).Sessions; len(got) != 1 || got[0].SID != ada.tokens.SID {
		t.Errorf("sessions = %+v", got)
	}
	must[wire.Ack](t)(root.DisableAccount(t.Context(), sub, "fraud"))
	_, err := ada.Me(t.Context())
	wantCode(t, err, "invalid_token")
	_, err = w.client.Login(t.Context(), wire.LoginRequest{Login: "ada", Password: goodPassword})
	wantCode(t, err, "invalid_credentials")
	enabled := must[wire.Account](t)(root.EnableAccount(t.Context(), sub, ""))
	if enabled.Status != "active" {
		t.Errorf("enabled = %+v", enabled)
	}
	ada = w.logIn(t, "ada")
	must[wire.Ack](t)(root.AdminEndSession(t.Context(), ada.tokens.SID, "left open"))
	_, err = ada.Me(t.Context())
	wantCode(t, err, "invalid_token")
}

func TestListsComeInPages(t *testing.T) {
	w := newWorld(t)
	root := w.admin(t)
	want := []string{"root"}
	for _, name := range []string{"ada", "grace", "lovelace"} {
		w.join(t, name)
		want = append(want, name)
	}
	var got []string
	for cursor := ""; ; {
		page := must[wire.AccountPage](t)(root.Accounts(t.Context(), wire.AccountsRequest{Limit: 2, Cursor: cursor}))
		for _, a := range page.Accounts {
			got = append(got, a.Username)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("accounts = %v, want %v", got, want)
	}
	found := must[wire.AccountPage](t)(root.Accounts(t.Context(), wire.AccountsRequest{Search: "lovel"}))
	if len(found.Accounts) != 1 || found.Accounts[0].Username != "lovelace" {
		t.Errorf("found = %+v", found)
	}
}

func TestTamperedCursorsAreRefused(t *testing.T) {
	w := newWorld(t)
	root := w.admin(t)
	w.join(t, "ada")
	page := must[wire.AccountPage](t)(root.Accounts(t.Context(), wire.AccountsRequest{Limit: 1}))
	last := page.Next[len(page.Next)-1:]
	for name, cursor := range map[string]string{
		"made up":           "1 OR 1=1",
		"cut":               page.Next[:len(page.Next)-2],
		"longer":            page.Next + "AA",
		"one letter off":    page.Next[:len(page.Next)-1] + strings.Map(func(r rune) rune { return r ^ 1 }, last),
		"without its proof": "YWRh",
	} {
		_, err := root.Accounts(t.Context(), wire.AccountsRequest{Limit: 1, Cursor: cursor})
		if !client.HasCode(err, "invalid_cursor") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	_, err := root.Accounts(t.Context(), wire.AccountsRequest{Search: "a", Limit: 1, Cursor: page.Next})
	wantCode(t, err, "invalid_cursor") // of another search
	_, err = root.Revocations(t.Context(), wire.PageRequest{Cursor: page.Next})
	wantCode(t, err, "invalid_cursor") // of another list
}

func TestAdminRevokesInEveryScope(t *testing.T) {
	w := newWorld(t)
	root := w.admin(t)
	for _, c := range []struct {
		scope string
		id    func(person) string
	}{
		{"token", func(p person) string { return w.claims(t, p).ID }},
		{"session", func(p person) string { return p.tokens.SID }},
		{"user", func(p person) string { return p.tokens.Sub }},
		{"key", func(p person) string { return w.claims(t, p).KeyID }},
		{"everyone", func(person) string { return "" }},
	} {
		t.Run(c.scope, func(t *testing.T) {
			root = w.logIn(t, "root")
			ada := w.join(t, "ada-"+c.scope)
			req := wire.RevokeRequest{Scope: c.scope, ID: c.id(ada), Reason: "test"}
			if c.scope == "key" || c.scope == "everyone" {
				_, err := root.Revoke(t.Context(), req)
				wantField(t, err, "confirm", "required")
				must[wire.Me](t)(ada.Me(t.Context()))
				req.Confirm = true
			}
			done := must[wire.Revoked](t)(root.Revoke(t.Context(), req))
			if done.Rev == 0 || !done.Known {
				t.Errorf("done = %+v", done)
			}
			_, err := ada.Me(t.Context())
			wantCode(t, err, "invalid_token")
			root = w.logIn(t, "root")
			log := must[wire.RevocationPage](t)(root.Revocations(t.Context(), wire.PageRequest{Limit: 1})).Revocations
			if len(log) != 1 || log[0].Scope != c.scope || log[0].ID != req.ID || log[0].Rev != done.Rev ||
				log[0].Reason != "test" || log[0].Actor != root.tokens.Sub {
				t.Errorf("log = %+v", log)
			}
		})
	}
	done := must[wire.Revoked](t)(w.logIn(t, "root").Revoke(t.Context(),
		wire.RevokeRequest{Scope: "session", ID: "s_aaaaaaaaaaaaaaaaaaaaaaaaaa", Reason: "test"}))
	if done.Known {
		t.Error("a session that never was is known")
	}
}

func TestRevocationInputIsChecked(t *testing.T) {
	w := newWorld(t)
	root := w.admin(t)
	for name, c := range map[string]struct {
		req         wire.RevokeRequest
		field, code string
	}{
		"an unknown scope":     {wire.RevokeRequest{Scope: "planet", ID: "x", Reason: "r"}, "scope", "not_one_of"},
		"a user without id":    {wire.RevokeRequest{Scope: "user", Reason: "r"}, "id", "required"},
		"everyone with an id":  {wire.RevokeRequest{Scope: "everyone", ID: "x", Reason: "r", Confirm: true}, "id", "not_allowed"},
		"no reason":            {wire.RevokeRequest{Scope: "user", ID: "x"}, "reason", "required"},
		"an overlong reason":   {wire.RevokeRequest{Scope: "user", ID: "x", Reason: strings.Repeat("r", 257)}, "reason", "too_long"},
		"an overlong token id": {wire.RevokeRequest{Scope: "token", ID: strings.Repeat("x", 257), Reason: "r"}, "id", "too_long"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := root.Revoke(t.Context(), c.req)
			wantField(t, err, c.field, c.code)
		})
	}
}

func TestKeysRotateAndDie(t *testing.T) {
	w := newWorld(t)
	root := w.admin(t)
	next := must[wire.SigningKey](t)(root.RotateKey(t.Context()))
	keys := must[wire.SigningKeys](t)(root.Keys(t.Context())).Keys
	if len(keys) != 2 || next.State != "published" || !slices.ContainsFunc(keys, func(k wire.SigningKey) bool { return k.KID == next.KID }) {
		t.Fatalf("next = %+v, keys = %+v", next, keys)
	}
	jwks := w.send(t, request{method: "GET", path: "/.well-known/jwks.json"})
	if !strings.Contains(jwks.body, next.KID) || strings.Contains(jwks.body, `"d"`) {
		t.Errorf("jwks = %s", jwks.body)
	}
	_, err := root.KillKey(t.Context(), "k_none", "test")
	wantCode(t, err, "not_found")
	unconfirmed := w.send(t, request{method: "POST", path: "/v1/admin/keys/" + next.KID + "/kill", header: root.as(), body: `{"reason":"r"}`})
	if unconfirmed.problem.Code != "invalid_input" {
		t.Errorf("unconfirmed: %+v", unconfirmed)
	}
	must[wire.Ack](t)(root.KillKey(t.Context(), w.claims(t, root).KeyID, "leaked"))
	_, err = root.Keys(t.Context())
	wantCode(t, err, "invalid_token")
	must[wire.SigningKeys](t)(w.logIn(t, "root").Keys(t.Context()))
}

func TestBootstrapWorksOnce(t *testing.T) {
	w := newWorld(t)
	secret := must[authority.Secret](t)(w.authority.NewBootstrapSecret(t.Context()))
	req := wire.BootstrapRequest{Secret: "b_wrong", Username: "root", Email: "root@example.org", Password: goodPassword}
	_, err := w.client.Bootstrap(t.Context(), req)
	wantCode(t, err, "invalid_bootstrap_secret")
	req.Secret = wire.Secret(secret.Reveal())
	account := must[wire.Account](t)(w.client.Bootstrap(t.Context(), req))
	if !slices.Equal(account.Roles, []string{"admin"}) {
		t.Errorf("account = %+v", account)
	}
	req.Username, req.Email = "second", "second@example.org"
	if _, err = w.client.Bootstrap(t.Context(), req); err == nil {
		t.Error("the secret worked twice")
	}
}

func TestAdminRoutesNeedTheRoleAndARecentLogin(t *testing.T) {
	w := newWorld(t)
	root, ada := w.admin(t), w.join(t, "ada")
	old := w.claims(t, root)
	old.AuthTime = time.Now().Add(-13 * time.Hour).Unix()
	raw := must[string](t)(w.keys.SignToken(*old))
	stale := http.Header{"Authorization": {"Bearer " + raw}, "Content-Type": {"application/json"}}
	for _, rt := range (&api{validate: newValidator()}).routes() {
		if rt.access != admin {
			continue
		}
		method, path := concrete(rt.pattern)
		t.Run(rt.pattern, func(t *testing.T) {
			got := w.send(t, request{method: method, path: path, header: ada.as()})
			if got.status != http.StatusForbidden || got.problem.Code != "forbidden" {
				t.Errorf("without the role: %d %s", got.status, got.body)
			}
			got = w.send(t, request{method: method, path: path, header: stale})
			challenge := got.header.Get("WWW-Authenticate")
			if got.status != http.StatusUnauthorized || got.problem.Code != "insufficient_user_authentication" ||
				!strings.Contains(challenge, `error="insufficient_user_authentication"`) || !strings.Contains(challenge, `max_age="43200"`) {
				t.Errorf("with an old login: %d %s %s", got.status, challenge, got.body)
			}
		})
	}
}

// claims are what the person's access token says.
func (w *world) claims(t *testing.T, p person) *token.Claims {
	t.Helper()
	return must[*token.Claims](t)(w.authority.Authenticate(t.Context(), p.tokens.AccessToken))
}

// concrete fills a pattern's wildcards.
func concrete(pattern string) (method, path string) {
	method, path, _ = strings.Cut(pattern, " ")
	fill := strings.NewReplacer("{sub}", "u_aaaaaaaaaaaaaaaaaaaaaaaaaa", "{sid}", "s_aaaaaaaaaaaaaaaaaaaaaaaaaa",
		"{kid}", "k_aaaaaaaaaaaaaaaaaaaaaaaaaa", "{id}", "some-service")
	return method, fill.Replace(path)
}
