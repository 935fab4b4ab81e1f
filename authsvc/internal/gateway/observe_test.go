package gateway_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/authsvctest"
	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
	"github.com/authbus/authbus/authsvc/internal/logtest"
	"github.com/authbus/authbus/events"
)

// metric returns the value of a metric at a gateway's address for operators.
func metric(t testing.TB, admin, name string) string {
	t.Helper()
	for line := range strings.Lines(do(t, http.MethodGet, admin+"/metrics", "").body) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestMetricsOfSessions(t *testing.T) {
	w := start(t, authsvctest.Config{})
	g := w.login(t)
	do(t, http.MethodPost, w.URL()+"/login", `{"login":"ada","password":"wrong password here"}`)
	do(t, http.MethodPost, w.URL()+"/refresh", "", "Authorization", "Bearer "+g.AccessToken)
	get(t, w.URL(), granted{AccessToken: vault.NewToken().Reveal()})
	for name, want := range map[string]string{
		`authsvc_gateway_own_requests_total{path="/login",status="201"}`:   "1",
		`authsvc_gateway_own_requests_total{path="/login",status="401"}`:   "1",
		`authsvc_gateway_own_requests_total{path="/refresh",status="200"}`: "1",
		`authsvc_gateway_refreshes_total{outcome="renewed"}`:               "1",
		`authsvc_gateway_vault_looks_total{outcome="unknown"}`:             "1",
		`authsvc_gateway_sessions_unsaved`:                                 "0",
	} {
		if got := metric(t, w.AdminURL(), name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	// Whatever a revocation may concern is dropped from memory.
	for i, revoke := range []func(){
		func() { w.auth.Revoke(t, events.ScopeSession, w.login(t).SID) },
		func() { w.login(t); w.auth.Revoke(t, events.ScopeUser, w.ada.Sub) }, // and g's
		func() { w.login(t); w.auth.Revoke(t, events.ScopeEveryone, "") },
	} {
		revoke()
		awaitMetric(t, w.AdminURL(), dropped, []string{"1", "3", "4"}[i])
	}
}

const dropped = "authsvc_gateway_sessions_dropped_total"

// awaitMetric waits until a metric has the value.
func awaitMetric(t testing.TB, admin, name, want string) {
	t.Helper()
	for began := time.Now(); metric(t, admin, name) != want; {
		if time.Since(began) > timeout {
			t.Fatalf("%s is %s, want %s", name, metric(t, admin, name), want)
		}
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	t.Parallel()
	w := start(t, authsvctest.Config{AccessLifetime: 2 * time.Second})
	log := &logtest.Buffer{}
	w.config.Log = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	way := w.between(t)
	w.Gateway = w.replica(t)
	g := w.login(t)
	get(t, w.URL(), g)
	way.refuse.Store(true)
	do(t, http.MethodPost, w.URL()+"/refresh", "", "Authorization", "Bearer "+g.AccessToken)
	for range 2 { // the second time after it was due
		next(t, way.refreshes, "a refresh is tried")
		get(t, w.URL(), g)
	}
	w.auth.StopBroker()
	for _, path := range []string{"/login", "/logout"} {
		do(t, http.MethodPost, w.URL()+path, w.credentials(""), "Authorization", "Bearer "+g.AccessToken)
	}
	get(t, w.URL(), granted{AccessToken: vault.NewToken().Reveal()})
	way.server.Close()
	do(t, http.MethodPost, w.URL()+"/login", w.credentials(""))
	w.auth.StartBroker(t)
	if tokens := w.auth.Login(t, w.ada); !isInside(tokens.AccessToken) || !isInside(tokens.RefreshToken) {
		t.Fatal("the test does not know a token when it sees one")
	}
	text := log.String()
	if !strings.Contains(text, "a login could not be kept") || !strings.Contains(text, "cannot be reached") {
		t.Errorf("nothing is logged: %s", text)
	}
	if isInside(text) || strings.Contains(text, "agw_") || strings.Contains(text, w.ada.Password) {
		t.Errorf("it shows a secret: %s", text)
	}
}

// TestSomethingElseThanTheAuthService, a proxy's page perhaps, is not passed on.
func TestSomethingElseThanTheAuthService(t *testing.T) {
	w := start(t, authsvctest.Config{})
	for _, status := range []int{http.StatusFound, http.StatusNotFound, http.StatusBadGateway} {
		page := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Location", "http://intranet.example/")
			rw.WriteHeader(status)
		}))
		t.Cleanup(page.Close)
		w.config.Auth = page.URL
		r := do(t, http.MethodPost, w.replica(t).URL()+"/login", w.credentials(""))
		if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" || r.Header.Get("Location") != "" {
			t.Errorf("%d: %s %v %s", status, r.Status, r.Header, r.body)
		}
	}
}
