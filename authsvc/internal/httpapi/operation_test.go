package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

func TestDiscovery(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{
		"/healthz", "/readyz", "/metrics", "/openapi.json", "/.well-known/jwks.json", "/.well-known/oauth-authorization-server",
	} {
		if got := w.send(t, request{method: "GET", path: path}); got.status != http.StatusOK || got.body == "" {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	got := w.send(t, request{method: "GET", path: "/.well-known/oauth-authorization-server"})
	if !strings.Contains(got.body, `"issuer":"`+testIssuer+`"`) || !strings.Contains(got.body, `"grant_types_supported":[]`) {
		t.Errorf("metadata = %s", got.body)
	}
	const auth = `["client_secret_basic","client_secret_post"]`
	for _, want := range []string{
		`"jwks_uri":"` + testIssuer + `/.well-known/jwks.json"`,
		`"introspection_endpoint":"` + testIssuer + `/v1/introspect","introspection_endpoint_auth_methods_supported":` + auth,
		`"revocation_endpoint":"` + testIssuer + `/v1/revoke","revocation_endpoint_auth_methods_supported":` + auth,
	} {
		if !strings.Contains(got.body, want) {
			t.Errorf("metadata = %s, want %s in it", got.body, want)
		}
	}
	if got.header.Get("Strict-Transport-Security") == "" {
		t.Error("an https issuer sends no Strict-Transport-Security")
	}
}

// TestMetadataNamesCertificates: where services may show one, clients can find out.
func TestMetadataNamesCertificates(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Peer = func(tls.ConnectionState) (string, bool) { return "", false }
	})
	got := w.send(t, request{method: "GET", path: "/.well-known/oauth-authorization-server"})
	const methods = `_auth_methods_supported":["client_secret_basic","client_secret_post","tls_client_auth"]`
	if strings.Count(got.body, methods) != 2 {
		t.Errorf("metadata = %s", got.body)
	}
}

func TestNotReady(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Ready = func(context.Context) error { return errors.New("dial nats.internal:4222: refused") }
	})
	got := w.send(t, request{method: "GET", path: "/readyz"})
	if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" || strings.Contains(got.body, "nats") {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if !strings.Contains(w.logs.String(), "nats.internal") {
		t.Error("the log does not say why")
	}
}

func TestWhyItIsNotReady(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Ready = func(context.Context) error {
			return &NotReadyError{Reason: "the database cannot be read", Err: errors.New("dial db.internal:5432: refused")}
		}
	})
	got := w.send(t, request{method: "GET", path: "/readyz"})
	if got.status != http.StatusServiceUnavailable || got.problem.Detail != "the database cannot be read" || strings.Contains(got.body, "internal:") {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if !strings.Contains(w.logs.String(), "db.internal") {
		t.Error("the log does not say why")
	}
}

func TestAPanicIsAnAnswer(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Ready = func(context.Context) error { panic("secret words") }
	})
	got := w.send(t, request{method: "GET", path: "/readyz"})
	if got.status != http.StatusInternalServerError || got.problem.Code != "internal" || strings.Contains(got.body, "secret words") {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if log := w.logs.String(); !strings.Contains(log, "secret words") || !strings.Contains(log, got.problem.RequestID) {
		t.Errorf("log = %s", log)
	}
}

// TestDatabaseGone takes the database away: nothing is granted, everything says
// 503, and no words of the database reach anybody.
func TestDatabaseGone(t *testing.T) {
	w := newWorld(t)
	root, ada := w.admin(t), w.join(t, "ada")
	orders := addService(t, root, "orders")
	w.loseDatabase()
	var failures []error
	_, err := ada.Me(t.Context())
	failures = append(failures, err)
	_, err = ada.Logout(t.Context())
	failures = append(failures, err)
	_, err = w.client.Login(t.Context(), wire.LoginRequest{Login: "ada", Password: goodPassword})
	failures = append(failures, err)
	_, err = w.client.Refresh(t.Context(), wire.RefreshRequest{RefreshToken: wire.Secret(ada.tokens.RefreshToken)})
	failures = append(failures, err)
	_, err = w.client.Introspect(t.Context(), orders, ada.tokens.AccessToken)
	failures = append(failures, err, w.client.RevokeToken(t.Context(), orders, ada.tokens.AccessToken))
	for i, err := range failures {
		var p *client.Problem
		if !errors.As(err, &p) || p.Status != http.StatusServiceUnavailable || p.RetryAfter == 0 || strings.Contains(err.Error(), "database") {
			t.Errorf("%d: got %v", i, err)
		}
	}
}

func TestLogsHoldNoSecrets(t *testing.T) {
	w := newWorld(t)
	ada := w.join(t, "ada")
	_, err := w.client.Login(t.Context(), wire.LoginRequest{Login: "ada", Password: "a wrong password of hers"})
	wantCode(t, err, "invalid_credentials")
	w.send(t, request{method: "GET", path: "/v1/me?access_token=" + ada.tokens.AccessToken})
	w.send(t, request{method: "GET", path: "/" + ada.tokens.AccessToken})
	next := must[wire.Tokens](t)(w.client.Refresh(t.Context(), wire.RefreshRequest{RefreshToken: wire.Secret(ada.tokens.RefreshToken)}))
	must[wire.Ack](t)(w.holding(next).Logout(t.Context()))
	log := w.logs.String()
	for _, secret := range []string{
		goodPassword, "a wrong password of hers", "ada@example.org", "eyJ",
		ada.tokens.RefreshToken, next.RefreshToken,
	} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	for _, want := range []string{`"route":"/v1/sessions"`, `"status":401`, `"sub":"` + ada.tokens.Sub, `"code":"invalid_credentials"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s", want)
		}
	}
}

func TestMetricsAreLabelledByRoute(t *testing.T) {
	w := newWorld(t)
	ada := w.join(t, "ada")
	w.send(t, request{method: "DELETE", path: "/v1/sessions/s_one", header: ada.as()})
	w.send(t, request{method: "GET", path: "/some/scanner/path.php"})
	w.send(t, request{method: "BREW", path: "/v1/me"})
	page := w.send(t, request{method: "GET", path: "/metrics"}).body
	for _, want := range []string{
		`authsvc_http_requests_total{method="DELETE",route="/v1/sessions/{sid}",status="404"} 1`,
		`authsvc_http_requests_total{method="GET",route="none",status="404"} 1`,
		`authsvc_http_requests_total{method="other",route="none",status="405"} 1`,
		`authsvc_http_requests_in_flight 1`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if strings.Contains(page, "s_one") || strings.Contains(page, "scanner") || strings.Contains(page, "BREW") {
		t.Error("a caller's words are a label")
	}
}

func TestClientAddress(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"a direct client", "192.0.2.1:5", nil, "192.0.2.1"},
		{"a client that pretends", "192.0.2.1:5", []string{"203.0.113.9"}, "192.0.2.1"},
		{"behind a proxy", "10.1.1.1:5", []string{"203.0.113.9"}, "203.0.113.9"},
		{"behind a proxy, and pretending", "10.1.1.1:5", []string{"198.51.100.7, 203.0.113.9"}, "203.0.113.9"},
		{"behind two proxies", "10.1.1.1:5", []string{"198.51.100.7", "203.0.113.9, 10.2.2.2"}, "203.0.113.9"},
		{"only proxies", "10.1.1.1:5", []string{"10.3.3.3"}, "10.3.3.3"},
		{"a proxy that says nothing", "10.1.1.1:5", nil, "10.1.1.1"},
		{"words instead of an address", "10.1.1.1:5", []string{"203.0.113.9, unknown"}, "10.1.1.1"},
		{"IPv4 in IPv6", "[::ffff:192.0.2.1]:5", nil, "192.0.2.1"},
		{"IPv6 behind a proxy", "[fd00::1]:5", []string{"2001:db8::7"}, "2001:db8::7"},
		{"a zone", "[fe80::1%eth0]:5", nil, "fe80::1"},
		{"no address at all", "@", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
			r.RemoteAddr = c.peer
			r.Header["X-Forwarded-For"] = c.forwarded
			if got := clientAddress(r, proxies); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
