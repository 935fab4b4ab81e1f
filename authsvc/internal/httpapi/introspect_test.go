package httpapi

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
	"github.com/authbus/authbus/verifier/token"
)

// TestActiveAnswers holds what is told of a good token against RFC 7662 §2.2.
func TestActiveAnswers(t *testing.T) {
	w := newWorld(t)
	root, ada := w.admin(t), w.join(t, "ada")
	orders := addService(t, root, "orders")
	claims := *w.claims(t, ada)
	claims.Scope, claims.NotBefore, claims.Roles = []string{"read", "write"}, claims.IssuedAt, []string{"clerk"}
	scoped := must[string](t)(w.keys.SignToken(claims))
	for name, c := range map[string]struct {
		token     string
		tokenType string
		members   string
	}{
		"an access token":       {ada.tokens.AccessToken, "Bearer", "active aud auth_time client_id exp iat iss jti rev sid sub token_type"},
		"one with all there is": {scoped, "Bearer", "active aud auth_time client_id exp iat iss jti nbf rev roles scope sid sub token_type"},
		"a refresh token":       {ada.tokens.RefreshToken, "refresh_token", "active aud auth_time client_id exp iat iss sid sub token_type"},
	} {
		for _, hint := range []string{"", "access_token", "refresh_token", "saml2-assertion", strings.Repeat("x", 9000)} {
			t.Run(name+" with the hint "+hint[:min(len(hint), 20)], func(t *testing.T) {
				a := w.sendForm(t, "/v1/introspect", orders, url.Values{"token": {c.token}, "token_type_hint": {hint}})
				var got wire.Introspection
				members := map[string]any{}
				if json.Unmarshal([]byte(a.body), &got) != nil || json.Unmarshal([]byte(a.body), &members) != nil {
					t.Fatalf("got %d %s", a.status, a.body)
				}
				if !got.Active || got.Sub != ada.tokens.Sub || got.SID != ada.tokens.SID || got.TokenType != c.tokenType ||
					got.Iss != testIssuer || got.ClientID != "first-party" || !slices.Contains(got.Aud, "orders") {
					t.Errorf("introspection = %+v", got)
				}
				if names := strings.Join(slices.Sorted(maps.Keys(members)), " "); strings.TrimSpace(names) != c.members {
					t.Errorf("members are %s\nwant        %s", names, c.members)
				}
				if c.token == scoped && (got.Scope != "read write" || got.Nbf != claims.IssuedAt) {
					t.Errorf("introspection = %+v", got)
				}
				if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json" {
					t.Errorf("headers %v", a.header)
				}
			})
		}
	}
}

// TestInactiveAnswersSayNothing: whatever is wrong with a token, the answer is the
// same, byte by byte.
func TestInactiveAnswersSayNothing(t *testing.T) {
	const nothing = "{\"active\":false}\n"
	w := newWorld(t)
	root, ada := w.admin(t), w.join(t, "ada")
	orders, stranger := addService(t, root, "orders"), addService(t, root, "stranger")
	removed := addService(t, root, "shop")
	signed := func(change func(*token.Claims)) string {
		t.Helper()
		claims := *w.claims(t, ada)
		change(&claims)
		return must[string](t)(w.keys.SignToken(claims))
	}
	ended, loggedOut, disabled, rotated := w.join(t, "brian"), w.join(t, "charles"), w.join(t, "dennis"), w.join(t, "edsger")
	must[wire.Ack](t)(root.AdminEndSession(t.Context(), ended.tokens.SID, "test"))
	must[wire.Ack](t)(loggedOut.Logout(t.Context()))
	must[wire.Ack](t)(root.DisableAccount(t.Context(), disabled.tokens.Sub, "test"))
	must[wire.Tokens](t)(w.client.Refresh(t.Context(), wire.RefreshRequest{RefreshToken: wire.Secret(rotated.tokens.RefreshToken)}))
	revoked := w.join(t, "frances")
	if err := w.client.RevokeToken(t.Context(), orders, revoked.tokens.AccessToken); err != nil {
		t.Fatal(err)
	}
	good := ada.tokens.AccessToken
	for name, c := range map[string]struct {
		service client.ServiceCredentials
		token   string
	}{
		"unknown":                                 {orders, "nonsense"},
		"malformed":                               {orders, "a.b.c"},
		"one byte of NUL":                         {orders, "\x00"},
		"far too long":                            {orders, strings.Repeat("a", 40_000)},
		"cut short":                               {orders, good[:len(good)-1]},
		"with a tampered signature":               {orders, good[:len(good)-8] + "AAAAAAAA"},
		"with a space":                            {orders, good + " "},
		"expired":                                 {orders, signed(func(c *token.Claims) { c.IssuedAt -= 3000; c.ExpiresAt = c.IssuedAt + 600 })},
		"not valid yet":                           {orders, signed(func(c *token.Claims) { c.NotBefore = time.Now().Unix() + 300 })},
		"of another issuer":                       {orders, signed(func(c *token.Claims) { c.Issuer = "https://elsewhere.example" })},
		"of a session that never was":             {orders, signed(func(c *token.Claims) { c.SessionID = "s_aaaaaaaaaaaaaaaaaaaaaaaaaa" })},
		"of another user's session":               {orders, signed(func(c *token.Claims) { c.Subject = ended.tokens.Sub })},
		"ahead of the log":                        {orders, signed(func(c *token.Claims) { c.Rev = 1 << 40 })},
		"revoked":                                 {orders, revoked.tokens.AccessToken},
		"of an ended session":                     {orders, ended.tokens.AccessToken},
		"of a session logged out":                 {orders, loggedOut.tokens.AccessToken},
		"of a disabled account":                   {orders, disabled.tokens.AccessToken},
		"meant for others":                        {stranger, good},
		"meant for others only":                   {orders, signed(func(c *token.Claims) { c.Audience = []string{"billing"} })},
		"meant for another case":                  {orders, signed(func(c *token.Claims) { c.Audience = []string{"Orders"} })},
		"a refresh token of others":               {stranger, ada.tokens.RefreshToken},
		"an unknown refresh token":                {orders, "r_" + strings.Repeat("A", 43)},
		"a rotated refresh token":                 {orders, rotated.tokens.RefreshToken},
		"a refresh token of an ended session":     {orders, ended.tokens.RefreshToken},
		"a refresh token of a logged out session": {orders, loggedOut.tokens.RefreshToken},
		"a refresh token of a disabled account":   {orders, disabled.tokens.RefreshToken},
		"a service's secret":                      {orders, removed.Secret.Reveal()},
	} {
		t.Run("a token "+name, func(t *testing.T) {
			a := w.sendForm(t, "/v1/introspect", c.service, url.Values{"token": {c.token}})
			if a.status != http.StatusOK || a.body != nothing || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("got %d %s", a.status, a.body)
			}
		})
	}
	a := w.sendForm(t, "/v1/introspect", orders, url.Values{"token": {good}})
	if !strings.HasPrefix(a.body, `{"active":true,`) {
		t.Errorf("and the good one: %s", a.body)
	}
}
