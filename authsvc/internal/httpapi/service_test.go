package httpapi

import (
	"net/http"
	"net/url"
	"strings"
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

func TestServicesThatCannotBeAdded(t *testing.T) {
	w := newWorld(t)
	root := w.admin(t)
	header := jsonHeader()
	header.Set("Authorization", root.as().Get("Authorization"))
	long := strings.Repeat("a", 65)
	for _, tt := range []struct{ name, body, field, code, message string }{
		{"no id", `{}`, "id", "required", "is required"},
		{"an empty id", `{"id":""}`, "id", "required", "is required"},
		{"a blank id", `{"id":" "}`, "id", "invalid", "lower-case letters"},
		{"an id in capitals", `{"id":"Orders"}`, "id", "invalid", "lower-case letters"},
		{"an id with a control character", `{"id":"or\u0007ders"}`, "id", "invalid", "lower-case letters"},
		{"a long id", `{"id":"` + long + `"}`, "id", "too_long", "at most 64 characters"},
		{"no audience", `{"id":"shop","audiences":[]}`, "audiences", "too_short", "must have at least 1 entry"},
		{"null audiences", `{"id":"shop","audiences":null}`, "audiences", "wrong_type", "must be a list of strings"},
		{"one audience for a list", `{"id":"shop","audiences":"orders"}`, "audiences", "wrong_type", "must be a list of strings"},
		{"an empty audience", `{"id":"shop","audiences":["orders",""]}`, "audiences[1]", "required", "is required"},
		{"a blank audience", `{"id":"shop","audiences":[" "]}`, "audiences", "invalid", "visible ASCII"},
		{"an audience of two", `{"id":"shop","audiences":["a b"]}`, "audiences", "invalid", "visible ASCII"},
		{"an audience with a control character", `{"id":"shop","audiences":["a\u0000"]}`, "audiences", "invalid", "visible ASCII"},
		{"an audience beyond ASCII", `{"id":"shop","audiences":["bücher"]}`, "audiences", "invalid", "visible ASCII"},
		{"a long audience", `{"id":"shop","audiences":["` + long + `"]}`, "audiences[0]", "too_long", "at most 64 characters"},
		{"an audience twice", `{"id":"shop","audiences":["a","b","a"]}`, "audiences", "duplicate", "has one entry twice"},
		{"many audiences", `{"id":"shop","audiences":["` + strings.Join(strings.Split("abcdefghijklmnopq", ""), `","`) + `"]}`, "audiences", "too_long", "must have at most 16 entries"},
	} {
		got := w.send(t, request{method: "POST", path: "/v1/admin/services", header: header, body: tt.body})
		if got.status != http.StatusUnprocessableEntity || len(got.problem.Errors) != 1 {
			t.Errorf("%s: %d %s", tt.name, got.status, got.body)
			continue
		}
		if v := got.problem.Errors[0]; v.Field != tt.field || v.Code != tt.code || !strings.Contains(v.Message, tt.message) {
			t.Errorf("%s: %+v", tt.name, v)
		}
	}
	if got := must[wire.Services](t)(root.Services(t.Context())).Services; len(got) != 0 {
		t.Errorf("added %+v", got)
	}
}
