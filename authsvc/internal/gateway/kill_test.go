package gateway_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/authsvctest"
	"github.com/authbus/authbus/events"
)

// kill kills the key that has signed the JWT which the service was shown last.
func (w *world) kill(t *testing.T) {
	t.Helper()
	encoded, _, _ := strings.Cut(strings.TrimPrefix(w.last(t).Header.Get("Authorization"), "Bearer "), ".")
	text, err := base64.RawURLEncoding.DecodeString(encoded)
	var header struct{ KID string }
	if err != nil || json.Unmarshal(text, &header) != nil || header.KID == "" {
		t.Fatalf("no JWT in %v", w.last(t).Header)
	}
	w.auth.Revoke(t, events.ScopeKey, header.KID)
}

// TestRequestsOutliveAKey: the session is renewed, once, wherever it is known.
func TestRequestsOutliveAKey(t *testing.T) {
	w := start(t, authsvctest.Config{})
	other, g, refreshed := w.replica(t), w.login(t), w.refreshes(t)
	for _, at := range []string{w.URL(), other.URL()} {
		if r := get(t, at, g); r.StatusCode != http.StatusOK {
			t.Fatalf("%s %s", r.Status, r.body)
		}
	}
	before := w.last(t).Header.Get("Authorization")
	w.kill(t)
	for range 3 {
		for _, at := range []string{w.URL(), other.URL()} {
			// 503 is what is left until the new key is known.
			await(t, http.StatusOK, http.StatusServiceUnavailable, func() reply { return get(t, at, g) })
		}
	}
	next(t, refreshed, "the session is refreshed")
	if len(refreshed) > 0 {
		t.Errorf("it is refreshed %d times more", len(refreshed))
	}
	if w.last(t).Header.Get("Authorization") == before {
		t.Error("the service is shown the JWT of the key that was killed")
	}
}

// TestStreamsOutliveAKey, as their session does, and end with the session.
func TestStreamsOutliveAKey(t *testing.T) {
	w := start(t, authsvctest.Config{})
	w.config.MaxStale = time.Minute
	w.Gateway = w.replica(t)
	g, refreshed := w.login(t), w.refreshes(t)
	conn := w.live(t, http.Header{"Authorization": {"Bearer " + g.AccessToken}})
	stream, ended := w.feed(t, g)
	w.kill(t)
	next(t, refreshed, "the session is refreshed")
	for range 3 { // nobody says when the old JWT would have ended them
		if r := get(t, w.URL(), g); r.StatusCode != http.StatusOK {
			t.Fatalf("%s %s", r.Status, r.body)
		}
		if err := echo(t, conn, "still here"); err != nil {
			t.Fatalf("the WebSocket ended: %v", err)
		}
	}
	select {
	case <-ended:
		t.Fatalf("the stream ended: %v", stream.Err())
	default:
	}
	w.auth.Revoke(t, events.ScopeSession, g.SID)
	next(t, ended, "the stream ends")
	if _, _, err := conn.Read(t.Context()); err == nil {
		t.Error("the WebSocket goes on")
	}
}

// TestStreamsEndWithAKey where there is no other JWT.
func TestStreamsEndWithAKey(t *testing.T) {
	w := start(t, authsvctest.Config{})
	w.config.MaxStale = time.Minute
	way := w.between(t)
	w.Gateway = w.replica(t)
	g := w.login(t)
	conn := w.live(t, http.Header{"Authorization": {"Bearer " + g.AccessToken}})
	_, ended := w.feed(t, g)
	way.refuse.Store(true)
	w.kill(t)
	next(t, way.refreshes, "a refresh is tried")
	next(t, ended, "the stream ends")
	if _, _, err := conn.Read(t.Context()); err == nil {
		t.Error("the WebSocket goes on")
	}
}
