package gateway_test

import (
	"bufio"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/authsvctest"
	"github.com/authbus/authbus/events"
)

// refreshes counts the refreshes of all sessions.
func (w *world) refreshes(t *testing.T) <-chan *nats.Msg {
	t.Helper()
	heard := make(chan *nats.Msg, 1000)
	nc := w.auth.Connect(t)
	_, err := nc.ChanSubscribe("auth.events.session.refreshed.>", heard)
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return heard
}

// next waits for one.
func next[T any](t *testing.T, heard <-chan T, what string) {
	t.Helper()
	select {
	case <-heard:
	case <-time.After(timeout):
		t.Fatalf("never: %s", what)
	}
}

// feed opens a streamed answer. The channel says when it has ended.
func (w *world) feed(t *testing.T, g granted) (*bufio.Scanner, <-chan struct{}) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL()+"/feed", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.AccessToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res, err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	ended := make(chan struct{})
	lines := bufio.NewScanner(res.Body)
	if !lines.Scan() {
		t.Fatal("it ends before it begins")
	}
	go func() {
		defer close(ended)
		for lines.Scan() {
		}
	}()
	return lines, ended
}

// TestStreamsLastAsLongAsTheSession: far beyond the life of the JWT that opened them,
// without any other request, and no longer than until a forced logout.
func TestStreamsLastAsLongAsTheSession(t *testing.T) {
	w := start(t, authsvctest.Config{AccessLifetime: time.Second})
	w.config.Leeway = time.Second
	w.Gateway = w.replica(t)
	for name, revoke := range map[string]func(granted){
		"session":  func(g granted) { w.auth.Revoke(t, events.ScopeSession, g.SID) },
		"user":     func(granted) { w.auth.Revoke(t, events.ScopeUser, w.ada.Sub) },
		"everyone": func(granted) { w.auth.Revoke(t, events.ScopeEveryone, "") },
	} {
		t.Run(name, func(t *testing.T) {
			g, refreshed := w.login(t), w.refreshes(t)
			conn := w.live(t, http.Header{"Authorization": {"Bearer " + g.AccessToken}})
			stream, ended := w.feed(t, g)
			opened := time.Now()
			for time.Since(opened) < 3*time.Second { // the JWT is accepted for 2 s at most
				next(t, refreshed, "the session is refreshed")
				if err := echo(t, conn, "still here"); err != nil {
					t.Fatalf("the WebSocket ended after %v: %v", time.Since(opened), err)
				}
			}
			select {
			case <-ended:
				t.Fatalf("the stream ended: %v", stream.Err())
			default:
			}
			revoke(g)
			acked := time.Now()
			if _, _, err := conn.Read(t.Context()); err == nil {
				t.Error("the WebSocket goes on")
			}
			next(t, ended, "the stream ends")
			if stream.Err() == nil {
				t.Error("the stream ended as if it were complete")
			}
			if took := time.Since(acked); took > 2*time.Second {
				t.Errorf("it took %v to end both", took)
			}
		})
	}
}

// TestStreamsOutliveTheAuthServiceForAMoment: it is away when the session is due, and
// back before the JWT is over.
func TestStreamsOutliveTheAuthServiceForAMoment(t *testing.T) {
	t.Parallel()
	w := start(t, authsvctest.Config{AccessLifetime: 8 * time.Second})
	w.config.Leeway = time.Second
	way := w.between(t)
	w.Gateway = w.replica(t)
	g, refreshed := w.login(t), w.refreshes(t)
	conn := w.live(t, http.Header{"Authorization": {"Bearer " + g.AccessToken}})
	way.refuse.Store(true)
	next(t, way.refreshes, "a refresh is tried")
	way.refuse.Store(false)
	next(t, refreshed, "the session is refreshed")
	over := time.NewTimer(4 * time.Second) // for the first JWT
	defer over.Stop()
	<-over.C
	if err := echo(t, conn, "still here"); err != nil {
		t.Errorf("the WebSocket ended with the JWT: %v", err)
	}
}
