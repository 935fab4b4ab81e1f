package gateway_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/authsvc/authsvctest"
	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
	"github.com/authbus/authbus/authsvc/internal/logtest"
)

// TestADamagedEntryIsASessionThatIsOver: it will never open. It stays for the operator,
// who is told.
func TestADamagedEntryIsASessionThatIsOver(t *testing.T) {
	w := start(t, authsvctest.Config{})
	g, held := w.login(t), w.held(t)
	log := &logtest.Buffer{}
	w.config.Log = slog.New(slog.NewJSONHandler(log, nil))
	other := w.replica(t)
	js, err := jetstream.New(w.auth.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), vault.DefaultBucket)
	if err != nil {
		t.Fatal(err)
	}
	token, err := vault.ParseToken(g.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), token.Name(), []byte("not what the gateway has sealed for this token")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r := do(t, http.MethodGet, other.URL()+"/orders", "", "Cookie", "__Host-session="+g.AccessToken)
		if r.StatusCode != http.StatusUnauthorized || len(r.Cookies()) != 1 || r.Cookies()[0].MaxAge >= 0 {
			t.Errorf("%s %v %s, want 401 and the cookie gone", r.Status, r.Cookies(), r.body)
		}
	}
	if !held(g) {
		t.Error("the entry is gone")
	}
	if got := metric(t, other.AdminURL(), `authsvc_gateway_vault_looks_total{outcome="damaged"}`); got != "2" {
		t.Errorf("counted %q times", got)
	}
	text := log.String()
	if !strings.Contains(text, "does not open") || !strings.Contains(text, token.Name()[:8]) {
		t.Errorf("it says %s", text)
	}
	if strings.Contains(text, g.AccessToken[4:]) {
		t.Errorf("it shows the token: %s", text)
	}
}
