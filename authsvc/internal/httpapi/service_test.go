package httpapi

import (
	"net/http"
	"net/url"
	"testing"
	"time"

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
	typo := must[wire.NewService](t)(root.AddService(t.Context(), wire.ServiceRequest{ID: "typo", Audiences: []string{"orders", "biling"}}))
	if len(typo.Audiences) != 2 || len(typo.UnusedAudiences) != 1 || typo.UnusedAudiences[0] != "biling" {
		t.Errorf("added %+v", typo)
	}
	if err := root.RemoveService(t.Context(), "typo"); err != nil {
		t.Error(err)
	}
	_, err := root.AddService(t.Context(), wire.ServiceRequest{ID: "orders"})
	wantCode(t, err, "service_exists")
	if got := must[wire.Services](t)(root.Services(t.Context())).Services; len(got) != 1 || got[0].ID != "orders" {
		t.Errorf("services = %+v", got)
	}
	must[wire.Introspection](t)(w.client.Introspect(t.Context(), shop, "x"))
	rotated := must[wire.NewService](t)(root.RotateService(t.Context(), "orders", time.Minute))
	next := client.ServiceCredentials{ID: "orders", Secret: wire.Secret(rotated.Secret)}
	must[wire.Introspection](t)(w.client.Introspect(t.Context(), shop, "x"))
	must[wire.Introspection](t)(w.client.Introspect(t.Context(), next, "x"))
	must[wire.NewService](t)(root.RotateService(t.Context(), "orders", 0))
	for _, old := range []client.ServiceCredentials{shop, next} {
		_, err = w.client.Introspect(t.Context(), old, "x")
		wantCode(t, err, "invalid_client")
	}
	_, err = root.RotateService(t.Context(), "nobody", 0)
	wantCode(t, err, "not_found")
	_, err = root.RotateService(t.Context(), "orders", 8*24*time.Hour)
	wantCode(t, err, "invalid_input")
	if err := root.RemoveService(t.Context(), "orders"); err != nil {
		t.Error(err)
	}
	wantCode(t, root.RemoveService(t.Context(), "orders"), "not_found")
	_, err = w.client.Introspect(t.Context(), shop, "x")
	wantCode(t, err, "invalid_client")
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
	header := formHeader()
	if s.ID != "" {
		basic := http.Request{Header: header}
		basic.SetBasicAuth(s.ID, s.Secret.Reveal())
	}
	return w.send(t, request{method: "POST", path: path, header: header, body: form.Encode()})
}

func formHeader() http.Header {
	return http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
}
