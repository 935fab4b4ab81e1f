package gateway_test

import (
	"errors"
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
	js, err := jetstream.New(w.auth.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), vault.DefaultBucket)
	if err != nil {
		t.Fatal(err)
	}
	held := func(g granted) bool {
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
	ends, stays := w.login(t), w.login(t)
	if !held(ends) || !held(stays) {
		t.Fatal("the vault has not got the sessions")
	}
	w.auth.Revoke(t, events.ScopeSession, ends.SID)
	for began := time.Now(); held(ends); {
		if time.Since(began) > timeout {
			t.Fatal("the session stays in the vault")
		}
	}
	if !held(stays) {
		t.Error("the other session has left, too")
	}
}
