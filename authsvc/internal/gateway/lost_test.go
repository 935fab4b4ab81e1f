package gateway_test

import (
	"net/http"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/authsvc/authsvctest"
	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
)

// loseVault deletes the bucket of the sessions, as an operator might by mistake.
func (w *world) loseVault(t *testing.T) {
	t.Helper()
	js, err := jetstream.New(w.auth.Connect(t))
	if err == nil {
		err = js.DeleteStream(t.Context(), "KV_"+vault.DefaultBucket)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestALostVaultIsMadeAgain: clients log in again, and nobody restarts anything. A
// replica that knows the session goes on with it until its JWT is due.
func TestALostVaultIsMadeAgain(t *testing.T) {
	w := start(t, authsvctest.Config{})
	other, g, cookie := w.replica(t), w.login(t), w.browser(t)
	w.loseVault(t)
	await(t, http.StatusUnauthorized, http.StatusServiceUnavailable, func() reply { return get(t, other.URL(), g) })
	r := do(t, http.MethodGet, other.URL()+"/orders", "", "Cookie", cookie)
	if r.StatusCode != http.StatusUnauthorized || len(r.Cookies()) != 1 || r.Cookies()[0].MaxAge >= 0 {
		t.Errorf("a browser's session: %s %v %s", r.Status, r.Cookies(), r.body)
	}
	if r := get(t, w.URL(), g); r.StatusCode != http.StatusOK {
		t.Errorf("where it is known: %s %s", r.Status, r.body)
	}
	if r := get(t, other.URL(), w.login(t)); r.StatusCode != http.StatusOK {
		t.Errorf("a new session: %s %s", r.Status, r.body)
	}
}

// TestALoginFindsTheVaultLost and has it made again.
func TestALoginFindsTheVaultLost(t *testing.T) {
	w := start(t, authsvctest.Config{})
	w.loseVault(t)
	await(t, http.StatusCreated, http.StatusServiceUnavailable, func() reply {
		return do(t, http.MethodPost, w.URL()+"/login", w.credentials(""))
	})
}
