package gateway_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

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
