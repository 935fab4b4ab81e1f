package gateway_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/authsvc/authsvctest"
	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
	"github.com/authbus/authbus/events"
)

// TestASessionEndedElsewhereLeavesTheVault without being asked for again, and no other.
func TestASessionEndedElsewhereLeavesTheVault(t *testing.T) {
	w := start(t, authsvctest.Config{})
	held := w.held(t)
	ends, stays := w.login(t), w.login(t)
	if !held(ends) || !held(stays) {
		t.Fatal("the vault has not got the sessions")
	}
	w.auth.Revoke(t, events.ScopeSession, ends.SID)
	wantGone(t, held, ends)
	if !held(stays) {
		t.Error("the other session has left, too")
	}
}

// TestARefusedSessionLeavesTheVault, where nobody heard of its end: no gateway ran then.
func TestARefusedSessionLeavesTheVault(t *testing.T) {
	w := start(t, authsvctest.Config{})
	held, g := w.held(t), w.login(t)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w.auth.Revoke(t, events.ScopeSession, g.SID)
	w.Gateway = w.replica(t)
	if r := do(t, http.MethodGet, w.URL()+"/orders", "", "Authorization", "Bearer "+g.AccessToken); r.StatusCode != http.StatusUnauthorized {
		t.Fatalf("the session that has ended: %s %s", r.Status, r.body)
	}
	wantGone(t, held, g)
}

// held returns what tells whether the vault has a session.
func (w *world) held(t *testing.T) func(granted) bool {
	t.Helper()
	js, err := jetstream.New(w.auth.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), vault.DefaultBucket)
	if err != nil {
		t.Fatal(err)
	}
	return func(g granted) bool {
		t.Helper()
		token, err := vault.ParseToken(g.AccessToken)
		if err != nil {
			t.Fatal(err)
		}
		_, err = kv.Get(t.Context(), token.Name())
		if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
			t.Fatal(err)
		}
		return err == nil
	}
}

func wantGone(t *testing.T, held func(granted) bool, g granted) {
	t.Helper()
	for began := time.Now(); held(g); {
		if time.Since(began) > timeout {
			t.Fatal("the session stays in the vault")
		}
	}
}

// TestALogThatIsToldAgain drops nobody who has logged in since: the stream was lost, and
// is filled again with all that was ever revoked.
func TestALogThatIsToldAgain(t *testing.T) {
	w := start(t, authsvctest.Config{})
	heard, nc := make(chan *nats.Msg, 100), w.auth.Connect(t)
	if _, err := nc.ChanSubscribe("auth.revocations.*", heard); err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	held, before := w.held(t), w.login(t)
	w.auth.Revoke(t, events.ScopeUser, w.ada.Sub)
	w.auth.Revoke(t, events.ScopeEveryone, "")
	w.auth.Revoke(t, events.ScopeKey, "a-key-of-nobody")
	for range 3 {
		next(t, heard, "a revocation")
	}
	awaitMetric(t, w.AdminURL(), dropped, "1")
	if r := get(t, w.URL(), before); r.StatusCode != http.StatusUnauthorized {
		t.Fatalf("who was logged out: %s %s", r.Status, r.body)
	}
	stays, ends := w.login(t), w.login(t)
	const found = `authsvc_gateway_vault_looks_total{outcome="found"}`
	looks := metric(t, w.AdminURL(), found)
	w.auth.DeleteFeed(t)
	for range 3 {
		next(t, heard, "a revocation once more")
	}
	w.auth.Revoke(t, events.ScopeSession, ends.SID)
	wantGone(t, held, ends)
	if got := metric(t, w.AdminURL(), dropped); got != "2" {
		t.Errorf("%s sessions were dropped, want 2", got)
	}
	if r := get(t, w.URL(), stays); r.StatusCode != http.StatusOK {
		t.Errorf("who has logged in since: %s %s", r.Status, r.body)
	}
	if got := metric(t, w.AdminURL(), found); got != looks {
		t.Errorf("%s looks into the vault, %s before: the session was not in memory", got, looks)
	}
}
