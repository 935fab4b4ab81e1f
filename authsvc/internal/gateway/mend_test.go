package gateway_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/authsvc/authsvctest"
	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
	"github.com/authbus/authbus/events"
)

// way is the way to the auth service, which can fail.
type way struct {
	lose, refuse atomic.Bool                      // lose the answer to the next refresh; carry no refresh
	refreshes    chan struct{}                    // one for each that was tried
	logout       atomic.Pointer[http.HandlerFunc] // asked before a logout is carried, once
	server       *httptest.Server
}

// between puts a way between the gateways to come and the auth service.
func (w *world) between(t testing.TB) *way {
	t.Helper()
	to, err := url.Parse(w.auth.URL())
	if err != nil {
		t.Fatal(err)
	}
	y := &way{refreshes: make(chan struct{}, 1000)}
	carry := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ModifyResponse: func(r *http.Response) error {
			if isRefresh(r.Request) && r.StatusCode == http.StatusOK && y.lose.CompareAndSwap(true, false) {
				panic(http.ErrAbortHandler)
			}
			return nil
		},
	}
	y.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if isRefresh(r) {
			select {
			case y.refreshes <- struct{}{}:
			default:
			}
			if y.refuse.Load() {
				panic(http.ErrAbortHandler)
			}
		}
		if r.Method == http.MethodDelete {
			if before := y.logout.Swap(nil); before != nil {
				(*before)(rw, r)
			}
		}
		carry.ServeHTTP(rw, r)
	}))
	t.Cleanup(y.server.Close)
	w.config.Auth = y.server.URL
	return y
}

func isRefresh(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/refresh") }

// get calls the service at a gateway.
func get(t testing.TB, at string, g granted) reply {
	t.Helper()
	return do(t, http.MethodGet, at+"/orders", "", "Authorization", "Bearer "+g.AccessToken)
}

// TestALostRefresh: the auth service has given a new refresh token, and the gateway
// has never heard of it.
func TestALostRefresh(t *testing.T) {
	t.Parallel()
	w := start(t, authsvctest.Config{AccessLifetime: 2 * time.Second})
	way := w.between(t)
	w.Gateway = w.replica(t)
	g := w.login(t)
	way.lose.Store(true)
	// All the time, until long after the JWT has expired for the second time.
	for began := time.Now(); time.Since(began) < 4*time.Second; {
		// 503 is what is left while the JWT is over and the next try is not due yet.
		if r := get(t, w.URL(), g); r.StatusCode != http.StatusOK && r.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("%s %s", r.Status, r.body)
		}
	}
	if way.lose.Load() {
		t.Fatal("nothing was lost")
	}
	await(t, http.StatusOK, http.StatusServiceUnavailable, func() reply { return get(t, w.URL(), g) })
}

// TestALostRefreshIsRepeated although the client does not come back before the auth
// service would take the old refresh token for a stolen one.
func TestALostRefreshIsRepeated(t *testing.T) {
	t.Parallel()
	w := start(t, authsvctest.Config{RefreshGrace: 3 * time.Second})
	way := w.between(t)
	w.Gateway = w.replica(t)
	g := w.login(t)
	refresh := func() reply {
		return do(t, http.MethodPost, w.URL()+"/refresh", "", "Authorization", "Bearer "+g.AccessToken)
	}
	way.lose.Store(true)
	if r := refresh(); r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" || way.lose.Load() {
		t.Fatalf("%s %s, want 503", r.Status, r.body)
	}
	next(t, way.refreshes, "the refresh is tried")
	next(t, way.refreshes, "the refresh is repeated")
	grace := time.NewTimer(3 * time.Second)
	defer grace.Stop()
	<-grace.C
	if r := refresh(); r.StatusCode != http.StatusOK {
		t.Errorf("after the grace: %s %s", r.Status, r.body)
	}
}

// TestARefreshThatTheVaultDoesNotTake is kept here, and written later.
func TestARefreshThatTheVaultDoesNotTake(t *testing.T) {
	w := start(t, authsvctest.Config{AccessLifetime: time.Second, RefreshGrace: 200 * time.Millisecond})
	g, other := w.login(t), w.replica(t)
	js, err := jetstream.New(w.auth.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "KV_"+vault.DefaultBucket)
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	largest := config.MaxMsgSize
	take := func(size int32) {
		t.Helper()
		config.MaxMsgSize = size
		if _, err := js.UpdateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}
	refreshed := w.refreshes(t)
	take(1)
	for used := time.Now(); time.Since(used) < 400*time.Millisecond; { // until the one in the vault is no good any more
		if len(refreshed) == 0 {
			used = time.Now()
		}
		if r := get(t, w.URL(), g); r.StatusCode != http.StatusOK {
			t.Fatalf("%s %s", r.Status, r.body)
		}
	}
	take(largest)
	for began := time.Now(); len(refreshed) < 3; {
		if r := get(t, w.URL(), g); r.StatusCode != http.StatusOK && r.StatusCode != http.StatusServiceUnavailable || time.Since(began) > timeout {
			t.Fatalf("%s %s", r.Status, r.body)
		}
	}
	if r := get(t, other.URL(), g); r.StatusCode != http.StatusOK {
		t.Errorf("at the other replica: %s %s", r.Status, r.body)
	}
}

// TestADueSessionWithoutABus goes on with the JWT that it has.
func TestADueSessionWithoutABus(t *testing.T) {
	t.Parallel()
	w := start(t, authsvctest.Config{AccessLifetime: 12 * time.Second})
	w.config.MaxStale = time.Minute
	w.Gateway = w.replica(t)
	g := w.login(t)
	due := time.NewTimer(9 * time.Second) // three quarters
	defer due.Stop()
	<-due.C
	w.auth.StopBroker()
	if r := get(t, w.URL(), g); r.StatusCode != http.StatusOK {
		t.Errorf("%s %s", r.Status, r.body)
	}
	w.auth.StartBroker(t)
}

// TestRefreshSaysWhenItCannot be done, in place of a life that the session has not.
func TestRefreshSaysWhenItCannot(t *testing.T) {
	w := start(t, authsvctest.Config{})
	way := w.between(t)
	w.Gateway = w.replica(t)
	g := w.login(t)
	way.refuse.Store(true)
	refresh := func() reply {
		return do(t, http.MethodPost, w.URL()+"/refresh", "", "Authorization", "Bearer "+g.AccessToken)
	}
	if r := refresh(); r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Errorf("%s %s, want 503", r.Status, r.body)
	}
	if r := get(t, w.URL(), g); r.StatusCode != http.StatusOK {
		t.Errorf("meanwhile: %s %s", r.Status, r.body)
	}
	way.refuse.Store(false)
	await(t, http.StatusOK, http.StatusServiceUnavailable, refresh)
}

// TestReplicasRefreshAtOnce: each session at both, over and over, and no session is
// taken for stolen.
func TestReplicasRefreshAtOnce(t *testing.T) {
	w := start(t, authsvctest.Config{AccessLifetime: time.Second})
	other, g, refreshed := w.replica(t), w.login(t), w.refreshes(t)
	begin, results := make(chan struct{}), make(chan reply, 100)
	for _, at := range []string{w.URL(), other.URL()} {
		for range 4 {
			go func() {
				<-begin
				for len(refreshed) < 5 {
					r := get(t, at, g)
					if r.StatusCode != http.StatusOK {
						results <- r
						return
					}
				}
				results <- reply{}
			}()
		}
	}
	close(begin)
	for range 8 {
		if r := <-results; r.Response != nil {
			t.Errorf("%s %s", r.Status, r.body)
		}
	}
}

// TestALogoutWithAJWTThatIsNoGood any more, by a moment, is repeated with another.
func TestALogoutWithAJWTThatIsNoGood(t *testing.T) {
	w := start(t, authsvctest.Config{})
	way := w.between(t)
	w.Gateway = w.replica(t)
	g := w.login(t)
	spoil := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { r.Header.Set("Authorization", "Bearer x") })
	way.logout.Store(&spoil)
	r := do(t, http.MethodPost, w.URL()+"/logout", "", "Authorization", "Bearer "+g.AccessToken)
	if r.StatusCode != http.StatusOK || !strings.Contains(r.body, `"rev"`) {
		t.Errorf("%s %s", r.Status, r.body)
	}
	// And where the session has ended meanwhile, it says so.
	g = w.login(t)
	end := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { w.auth.Revoke(t, events.ScopeSession, g.SID) })
	way.logout.Store(&end)
	r = do(t, http.MethodPost, w.URL()+"/logout", "", "Authorization", "Bearer "+g.AccessToken)
	if r.StatusCode != http.StatusUnauthorized || r.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("of a session that has ended: %s %v %s", r.Status, r.Header, r.body)
	}
}

// TestALogoutIsFinished when the browser has left the page.
func TestALogoutIsFinished(t *testing.T) {
	w := start(t, authsvctest.Config{})
	way := w.between(t)
	w.Gateway = w.replica(t)
	g := w.login(t)
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	wait := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { leave(); <-left })
	way.logout.Store(&wait)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL()+"/logout", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.AccessToken)
	if res, err := http.DefaultClient.Do(req); err == nil {
		_ = res.Body.Close()
		t.Fatal("the browser has not left")
	}
	close(left)
	for began := time.Now(); len(w.sessions(t)) != 0; {
		if time.Since(began) > timeout {
			t.Fatal("the session goes on")
		}
	}
}
