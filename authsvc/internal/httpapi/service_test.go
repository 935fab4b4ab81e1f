package httpapi

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

// addService adds a service and returns its credentials.
func addService(t *testing.T, root person, id string) client.ServiceCredentials {
	t.Helper()
	added := must[wire.NewService](t)(root.AddService(t.Context(), wire.ServiceRequest{ID: id}))
	return client.ServiceCredentials{ID: added.ID, Secret: wire.Secret(added.Secret)}
}

func TestServicesComeAndGo(t *testing.T) {
	w := newWorld(t)
	root := w.admin(t)
	shop := addService(t, root, "orders")
	_, err := root.AddService(t.Context(), wire.ServiceRequest{ID: "orders"})
	wantCode(t, err, "service_exists")
	if got := must[wire.Services](t)(root.Services(t.Context())).Services; len(got) != 1 || got[0].ID != "orders" {
		t.Errorf("services = %+v", got)
	}
	must[wire.Introspection](t)(w.client.Introspect(t.Context(), shop, "x"))
	if err := root.RemoveService(t.Context(), "orders"); err != nil {
		t.Error(err)
	}
	wantCode(t, root.RemoveService(t.Context(), "orders"), "not_found")
	_, err = w.client.Introspect(t.Context(), shop, "x")
	wantCode(t, err, "invalid_client")
}

func TestIntrospection(t *testing.T) {
	w := newWorld(t)
	root, ada := w.admin(t), w.join(t, "ada")
	orders, stranger := addService(t, root, "orders"), addService(t, root, "stranger")
	got := must[wire.Introspection](t)(w.client.Introspect(t.Context(), orders, ada.tokens.AccessToken))
	if !got.Active || got.Sub != ada.tokens.Sub || got.SID != ada.tokens.SID || got.TokenType != "Bearer" || got.Iss != testIssuer {
		t.Errorf("introspection = %+v", got)
	}
	const nothing = "{\"active\":false}\n"
	must[wire.Ack](t)(w.logIn(t, "ada").EndSession(t.Context(), ada.tokens.SID))
	grace := w.join(t, "grace")
	for name, c := range map[string]struct {
		service client.ServiceCredentials
		token   string
	}{
		"a revoked token":                         {orders, ada.tokens.AccessToken},
		"no token at all":                         {orders, "nonsense"},
		"a token that is meant for somebody else": {stranger, grace.tokens.AccessToken},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.sendForm(t, "/v1/introspect", c.service, url.Values{"token": {c.token}})
			if a.status != http.StatusOK || a.body != nothing {
				t.Errorf("got %d %s", a.status, a.body)
			}
		})
	}
}

func TestRevocationByServices(t *testing.T) {
	w := newWorld(t)
	root, ada := w.admin(t), w.join(t, "ada")
	other := w.logIn(t, "ada")
	orders, stranger := addService(t, root, "orders"), addService(t, root, "stranger")

	wantCode(t, w.client.RevokeToken(t.Context(), stranger, ada.tokens.AccessToken), "token_not_yours")
	must[wire.Me](t)(ada.Me(t.Context()))
	if err := w.client.RevokeToken(t.Context(), orders, "nonsense"); err != nil {
		t.Errorf("an unknown token: %v", err)
	}
	if err := w.client.RevokeToken(t.Context(), orders, ada.tokens.AccessToken); err != nil {
		t.Fatal(err)
	}
	_, err := ada.Me(t.Context())
	wantCode(t, err, "invalid_token")
	if err := w.client.RevokeToken(t.Context(), orders, ada.tokens.AccessToken); err != nil {
		t.Errorf("a token that is revoked already: %v", err)
	}
	if err := w.client.RevokeToken(t.Context(), orders, ada.tokens.RefreshToken); err != nil {
		t.Fatal(err)
	}
	_, err = w.client.Refresh(t.Context(), wire.RefreshRequest{RefreshToken: wire.Secret(ada.tokens.RefreshToken)})
	wantCode(t, err, "invalid_grant")
	must[wire.Me](t)(other.Me(t.Context())) // the other session of the same user
}

func TestServicesMustShowWhoTheyAre(t *testing.T) {
	w := newWorld(t)
	orders := addService(t, w.admin(t), "orders")
	form := url.Values{"token": {"x"}}
	for _, path := range []string{"/v1/introspect", "/v1/revoke"} {
		for name, c := range map[string]struct {
			service     client.ServiceCredentials
			form        url.Values
			status      int
			code, oauth string
		}{
			"nobody":                 {client.ServiceCredentials{}, form, 401, "invalid_client", "invalid_client"},
			"a wrong secret":         {client.ServiceCredentials{ID: "orders", Secret: "x_wrong"}, form, 401, "invalid_client", "invalid_client"},
			"an unknown service":     {client.ServiceCredentials{ID: "shop", Secret: orders.Secret}, form, 401, "invalid_client", "invalid_client"},
			"a broken encoding":      {client.ServiceCredentials{ID: "%zz", Secret: "x"}, form, 401, "invalid_client", "invalid_client"},
			"two ways at once":       {orders, url.Values{"token": {"x"}, "client_secret": {"y"}}, 400, "two_credentials", "invalid_request"},
			"no token":               {orders, url.Values{}, 422, "invalid_input", "invalid_request"},
			"two tokens":             {orders, url.Values{"token": {"x", "y"}}, 422, "invalid_input", "invalid_request"},
			"an unknown extra is ok": {orders, url.Values{"token": {"x"}, "extra": {"y"}}, 200, "", ""},
		} {
			t.Run(path+"/"+name, func(t *testing.T) {
				a := w.sendForm(t, path, c.service, c.form)
				if a.status != c.status || a.problem.Code != c.code || a.problem.OAuthError != c.oauth {
					t.Errorf("got %d %s", a.status, a.body)
				}
				if c.status == 401 && !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic ") {
					t.Errorf("challenge %q", a.header.Get("WWW-Authenticate"))
				}
			})
		}
	}
}

func TestVerifyHoldsTheTokenToItsAudience(t *testing.T) {
	w := newWorld(t)
	ada := w.join(t, "ada")
	for path, status := range map[string]int{
		"/v1/verify":                   200,
		"/v1/verify?audience=orders":   200,
		"/v1/verify?audience=stranger": 401,
		"/v1/verify?audiense=orders":   422,
	} {
		if got := w.send(t, request{method: "GET", path: path, header: ada.as()}); got.status != status {
			t.Errorf("%s: got %d %s, want %d", path, got.status, got.body, status)
		}
	}
}

// sendForm sends a form with the service's credentials, as they are.
func (w *world) sendForm(t *testing.T, path string, s client.ServiceCredentials, form url.Values) answer {
	t.Helper()
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if s.ID != "" {
		basic := http.Request{Header: header}
		basic.SetBasicAuth(s.ID, s.Secret.Reveal())
	}
	return w.send(t, request{method: "POST", path: path, header: header, body: form.Encode()})
}
