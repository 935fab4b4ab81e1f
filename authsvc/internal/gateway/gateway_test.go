package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/authsvctest"
	"github.com/authbus/authbus/authsvc/internal/gateway"
	"github.com/authbus/authbus/events"
)

func TestOpaqueOutsideJWTInside(t *testing.T) {
	w := start(t, authsvctest.Config{})
	g := w.login(t)
	if strings.Count(g.AccessToken, ".") != 0 || !strings.HasPrefix(g.AccessToken, "agw_") || g.TokenType != "Bearer" || g.Sub != w.ada.Sub {
		t.Errorf("the login gave %+v", g)
	}
	r := do(t, http.MethodGet, w.URL()+"/orders/7?page=2", "", "Authorization", "Bearer "+g.AccessToken)
	if r.StatusCode != http.StatusOK || r.body != "hello" {
		t.Fatalf("%s %s", r.Status, r.body)
	}
	inside := w.last(t)
	jwt := strings.TrimPrefix(inside.Header.Get("Authorization"), "Bearer ")
	if strings.Count(jwt, ".") != 2 || inside.RequestURI != "/orders/7?page=2" {
		t.Errorf("the service was sent %s with %q", inside.RequestURI, jwt)
	}
	if sent := fmt.Sprint(inside.Header, inside.RequestURI); strings.Contains(sent, "agw_") {
		t.Errorf("the opaque token went on: %s", sent)
	}
	if r := do(t, http.MethodGet, w.URL()+"/orders", "", "Authorization", "Bearer "+jwt); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("the JWT is accepted from outside: %s", r.Status)
	}
}

func TestForcedLogoutEndsTheOpaqueToken(t *testing.T) {
	w := start(t, authsvctest.Config{})
	for name, revoke := range map[string]func(granted){
		"session":  func(g granted) { w.auth.Revoke(t, events.ScopeSession, g.SID) },
		"user":     func(granted) { w.auth.Revoke(t, events.ScopeUser, w.ada.Sub) },
		"everyone": func(granted) { w.auth.Revoke(t, events.ScopeEveryone, "") },
	} {
		g := w.login(t)
		call := func() reply {
			return do(t, http.MethodGet, w.URL()+"/orders", "", "Authorization", "Bearer "+g.AccessToken)
		}
		if r := call(); r.StatusCode != http.StatusOK {
			t.Fatalf("%s: before: %s %s", name, r.Status, r.body)
		}
		revoke(g)
		r := await(t, http.StatusUnauthorized, http.StatusOK, call)
		if !strings.Contains(r.body, "please log in again") {
			t.Errorf("%s: %s", name, r.body)
		}
		if r := call(); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: it lives again: %s", name, r.Status)
		}
	}
}

// live opens a WebSocket through the gateway.
func (w *world) live(t *testing.T, headers http.Header) *websocket.Conn {
	t.Helper()
	conn, r, err := websocket.Dial(t.Context(), w.URL()+"/orders/live", &websocket.DialOptions{HTTPHeader: headers}) //nolint:bodyclose // Dial says not to
	if err != nil {
		t.Fatalf("opening a WebSocket: %v (%v)", err, r)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

func echo(t *testing.T, conn *websocket.Conn, text string) error {
	t.Helper()
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
		return err
	}
	_, got, err := conn.Read(t.Context())
	if err == nil && string(got) != text {
		err = fmt.Errorf("%q came back as %q", text, got)
	}
	return err
}

func TestLogoutClosesTheWebSocket(t *testing.T) {
	w := start(t, authsvctest.Config{})
	one, two := w.login(t), w.login(t)
	ending := w.live(t, http.Header{"Authorization": {"Bearer " + one.AccessToken}})
	staying := w.live(t, http.Header{"Authorization": {"Bearer " + two.AccessToken}})
	for _, conn := range []*websocket.Conn{ending, staying} {
		if err := echo(t, conn, "hello"); err != nil {
			t.Fatal(err)
		}
	}
	r := do(t, http.MethodPost, w.URL()+"/logout", "", "Authorization", "Bearer "+one.AccessToken)
	if r.StatusCode != http.StatusOK || !strings.Contains(r.body, `"rev"`) {
		t.Fatalf("logging out: %s %s", r.Status, r.body)
	}
	acked := time.Now()
	if _, _, err := ending.Read(t.Context()); err == nil {
		t.Error("the WebSocket of the session goes on")
	}
	if took := time.Since(acked); took > 2*time.Second {
		t.Errorf("it took %v to close it", took)
	}
	if err := echo(t, staying, "still here"); err != nil {
		t.Errorf("the other session's: %v", err)
	}
	if r := do(t, http.MethodPost, w.URL()+"/logout", "", "Authorization", "Bearer "+one.AccessToken); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("logging out again: %s", r.Status)
	}
}

// The JWT lives for 2 s here; the session, and with it the WebSocket, for longer.
func TestTheSessionOutlivesItsJWT(t *testing.T) {
	w := start(t, authsvctest.Config{AccessLifetime: 2 * time.Second})
	g := w.login(t)
	conn := w.live(t, http.Header{"Authorization": {"Bearer " + g.AccessToken}})
	first := w.last(t).Header.Get("Authorization")
	deadline := time.Now().Add(timeout)
	for w.last(t).Header.Get("Authorization") == first {
		if r := do(t, http.MethodGet, w.URL()+"/orders", "", "Authorization", "Bearer "+g.AccessToken); r.StatusCode != http.StatusOK {
			t.Fatalf("%s %s", r.Status, r.body)
		}
		if time.Now().After(deadline) {
			t.Fatal("the JWT is never renewed")
		}
	}
	if err := echo(t, conn, "still here"); err != nil {
		t.Errorf("the WebSocket ended with the JWT: %v", err)
	}
}

func TestConcurrentRequestsRefreshOnce(t *testing.T) {
	w := start(t, authsvctest.Config{AccessLifetime: time.Second})
	g := w.login(t)
	var refreshed sync.Map
	sub := w.auth.Connect(t)
	count := make(chan struct{}, 100)
	s, err := sub.Subscribe("auth.events.session.refreshed.>", func(*nats.Msg) { count <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Unsubscribe() }()
	if err := sub.Flush(); err != nil {
		t.Fatal(err)
	}
	expired := time.NewTimer(1100 * time.Millisecond) // all requests come when the JWT is over
	<-expired.C
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			refreshed.Store(i, do(t, http.MethodGet, w.URL()+"/orders", "", "Authorization", "Bearer "+g.AccessToken).StatusCode)
		})
	}
	wg.Wait()
	refreshed.Range(func(_, status any) bool {
		if status != http.StatusOK {
			t.Errorf("a request was answered with %v", status)
		}
		return true
	})
	<-count
	if err := sub.Flush(); err != nil {
		t.Fatal(err)
	}
	if more := len(count); more != 0 {
		t.Errorf("the session was refreshed %d times", more+1)
	}
}

func TestReplicasShareSessions(t *testing.T) {
	w := start(t, authsvctest.Config{})
	other := w.replica(t)
	g := w.login(t)
	call := func() reply {
		return do(t, http.MethodGet, other.URL()+"/orders", "", "Authorization", "Bearer "+g.AccessToken)
	}
	if r := call(); r.StatusCode != http.StatusOK {
		t.Fatalf("at the other replica: %s %s", r.Status, r.body)
	}
	if r := do(t, http.MethodPost, w.URL()+"/refresh", "", "Authorization", "Bearer "+g.AccessToken); r.StatusCode != http.StatusOK || strings.Contains(r.body, "access_token") {
		t.Errorf("refreshing: %s %s", r.Status, r.body)
	}
	if r := call(); r.StatusCode != http.StatusOK {
		t.Errorf("after a refresh at the first: %s %s", r.Status, r.body)
	}
	if r := do(t, http.MethodPost, w.URL()+"/logout", "", "Authorization", "Bearer "+g.AccessToken); r.StatusCode != http.StatusOK {
		t.Fatalf("logging out: %s %s", r.Status, r.body)
	}
	await(t, http.StatusUnauthorized, http.StatusOK, call)
}

// The auth service ends a session for which another application wants to refresh.
func TestApplicationsRefreshAsThemselves(t *testing.T) {
	w := start(t, authsvctest.Config{})
	r := do(t, http.MethodPost, w.URL()+"/login", w.credentials(`,"client_id":"mobile"`))
	var g granted
	if err := json.Unmarshal([]byte(r.body), &g); err != nil || g.AccessToken == "" {
		t.Fatalf("logging in: %s %s (%v)", r.Status, r.body, err)
	}
	for range 2 {
		if r := do(t, http.MethodPost, w.URL()+"/refresh", "", "Authorization", "Bearer "+g.AccessToken); r.StatusCode != http.StatusOK {
			t.Fatalf("refreshing: %s %s", r.Status, r.body)
		}
	}
	if s := w.sessions(t); len(s) != 1 || s[0].ClientID != "mobile" {
		t.Errorf("the sessions are %+v", s)
	}
}

func TestSessionsOutliveTheGateway(t *testing.T) {
	w := start(t, authsvctest.Config{})
	g := w.login(t)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	next := w.replica(t)
	if r := do(t, http.MethodGet, next.URL()+"/orders", "", "Authorization", "Bearer "+g.AccessToken); r.StatusCode != http.StatusOK {
		t.Errorf("after a restart: %s %s", r.Status, r.body)
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	w := start(t, authsvctest.Config{})
	bearer := "Bearer " + w.login(t).AccessToken
	for _, tc := range []struct {
		method, path, authorization string
		want                        int
		code                        string
	}{
		{http.MethodGet, "/orders", bearer, 200, ""},
		{http.MethodGet, "/shop", "", 200, ""},
		{http.MethodGet, "/shop", "Bearer nonsense", 200, ""}, // nobody looks at it
		{http.MethodGet, "/admin", bearer, 403, "insufficient_scope"},
		{http.MethodGet, "/payroll", bearer, 403, "insufficient_scope"}, // no token is for it
		{http.MethodGet, "/orders", "", 401, "not_authenticated"},
		{http.MethodGet, "/orders", "Bearer agw_nonsense", 401, "invalid_token"},
		{http.MethodGet, "/orders", "Bearer agw_" + strings.Repeat("A", 43), 401, "invalid_token"},
		{http.MethodGet, "/orders", "Basic YTpi", 401, "invalid_token"},
		{http.MethodDelete, "/orders", bearer, 405, "method_not_allowed"},
		{http.MethodGet, "/ordersx", bearer, 404, "not_found"},
		{http.MethodGet, "/", bearer, 404, "not_found"},
		{http.MethodGet, "/metrics", bearer, 404, "not_found"},
		{http.MethodGet, "/healthz", "", 404, "not_found"},
		{http.MethodGet, "/shop/%2e%2e/orders", "", 400, "bad_path"},
		{http.MethodGet, "/shop//orders", "", 400, "bad_path"},
		{http.MethodGet, "/login", "", 405, "method_not_allowed"},
		{http.MethodPost, "/logout", "", 401, "not_authenticated"},
		{http.MethodGet, "/orders?access_token=x", bearer, 400, "invalid_request"},
		{http.MethodGet, "/orders?access_token=x", "", 400, "invalid_request"},
		{http.MethodGet, "/orders?a=1;Access%5FToken=x", bearer, 400, "invalid_request"},
	} {
		before := w.asked()
		var headers []string
		if tc.authorization != "" {
			headers = []string{"Authorization", tc.authorization}
		}
		r := do(t, tc.method, w.URL()+tc.path, "", headers...)
		var problem struct{ Code string }
		if tc.want != 200 {
			if err := json.Unmarshal([]byte(r.body), &problem); err != nil {
				t.Errorf("%s %s: %q: %v", tc.method, tc.path, r.body, err)
			}
		}
		if r.StatusCode != tc.want || problem.Code != tc.code {
			t.Errorf("%s %s: %d %q, want %d %q", tc.method, tc.path, r.StatusCode, problem.Code, tc.want, tc.code)
		}
		if asked := w.asked() != before; asked != (tc.want == 200) {
			t.Errorf("%s %s: the service was asked: %v", tc.method, tc.path, asked)
		}
	}
}

// TestATokenInTheQueryIsNoSecondCredential, and whoever sends one is told what is wrong.
func TestATokenInTheQueryIsNoSecondCredential(t *testing.T) {
	w := start(t, authsvctest.Config{})
	token := w.login(t).AccessToken
	const detail = "tokens in the query are not accepted"
	for _, tc := range []struct {
		method, path string
		headers      []string
		status       int
		want         string
	}{
		{http.MethodGet, "/orders?access_token=" + token, nil, 400, detail},
		{http.MethodGet, "/orders?access_token=" + token, []string{"Authorization", "Bearer " + token}, 400, detail},
		{http.MethodGet, "/orders?a=1&access_token", nil, 400, detail},
		{http.MethodPost, "/refresh?access_token=" + token, nil, 400, detail},
		{http.MethodPost, "/logout?access_token=" + token, nil, 400, detail},
		{http.MethodGet, "/orders", []string{"Authorization", "Bearer " + token, "Cookie", "__Host-session=" + token}, 400, "more than one credential"},
	} {
		r := do(t, tc.method, w.URL()+tc.path, "", tc.headers...)
		var problem struct{ Code, Title, Detail string }
		if err := json.Unmarshal([]byte(r.body), &problem); err != nil || r.StatusCode != tc.status || problem.Code != "invalid_request" ||
			problem.Title != tc.want && problem.Detail != tc.want {
			t.Errorf("%s %.30s: %s %s (%v)", tc.method, tc.path, r.Status, r.body, err)
		}
		if challenge := r.Header.Get("WWW-Authenticate"); challenge != `Bearer error="invalid_request", error_description="`+tc.want+`"` {
			t.Errorf("%s %.30s: challenged with %s", tc.method, tc.path, challenge)
		}
	}
	if r := do(t, http.MethodGet, w.URL()+"/orders", "", "Authorization", "Bearer "+token); r.StatusCode != http.StatusOK {
		t.Errorf("the session has ended: %s", r.Status)
	}
}

// TestATokenInAnotherPlaceGoesNowhere: a service that logs its requests would have it.
func TestATokenInAnotherPlaceGoesNowhere(t *testing.T) {
	w := start(t, authsvctest.Config{})
	token := w.login(t).AccessToken
	encoded := ""
	for i := range len(token) {
		encoded += fmt.Sprintf("%%%02x", token[i])
	}
	const refused, passes = http.StatusBadRequest, http.StatusOK
	for _, tc := range []struct {
		name, query string
		headers     []string
		want        int
	}{
		{"nowhere", "", nil, passes},
		{"a header", "", []string{"X-Api-Key", token}, refused},
		{"in the middle of a header", "", []string{"X-Debug", "token=" + token + "; more"}, refused},
		{"the second header of the name", "", []string{"X-Api-Key", "a", "X-Api-Key", token}, refused},
		{"a header, encoded", "", []string{"X-Api-Key", encoded}, refused},
		{"behind what looks encoded", "", []string{"X-Api-Key", "%a" + token}, refused},
		{"with more behind it", "", []string{"X-Api-Key", token + "AAAA"}, refused},
		{"a header for WebSockets", "", []string{"Sec-WebSocket-Protocol", "bearer, " + token}, refused},
		{"somebody else's", "", []string{"X-Api-Key", "agw_" + strings.Repeat("A", 43)}, refused},
		{"a header that goes no further", "", []string{"X-Auth-Token", token}, passes},
		{"a cookie", "", []string{"Cookie", "a=b; session=" + token}, refused},
		{"a cookie, quoted", "", []string{"Cookie", `session="` + token + `"`}, refused},
		{"a page before", "", []string{"Referer", "https://shop.example/?t=" + token}, refused},
		{"a page before, as it goes no further", "", []string{"Referer", "https://shop.example/?access_token=" + token}, passes},
		{"a parameter", "?token=" + token, nil, refused},
		{"a parameter without a name", "?" + token, nil, refused},
		{"the name of a parameter", "?a&" + token + "=1", nil, refused},
		{"a parameter, encoded", "?token=" + encoded, nil, refused},
		{"a parameter, encoded in part", "?token=%61gw_" + token[4:], nil, refused},
		{"a parameter behind a broken escape", "?share=100%&%zz&token=%61gw%5F" + token[4:], nil, refused},
		{"a path", "/" + token, nil, refused},
		{"a path, encoded", "/a/" + encoded + "/b", nil, refused},
		{"too short for one", "?token=" + token[:len(token)-1], nil, passes},
		{"in another case", "?token=" + strings.ToUpper(token), nil, passes},
	} {
		for _, path := range []string{"/orders", "/shop"} { // the second one is public
			before := w.asked()
			headers := tc.headers
			if path == "/orders" {
				headers = append([]string{"Authorization", "Bearer " + token}, headers...)
			}
			r := do(t, http.MethodGet, w.URL()+path+tc.query, "", headers...)
			if r.StatusCode != tc.want || tc.want == refused && !strings.Contains(r.body, `"code":"token_misplaced"`) || strings.Contains(r.body, token) {
				t.Errorf("%s, %s: %s %s", tc.name, path, r.Status, r.body)
			}
			if asked := w.asked() != before; asked != (tc.want == passes) {
				t.Errorf("%s, %s: the service was asked: %v", tc.name, path, asked)
			}
			if tc.want == passes {
				if sent := fmt.Sprint(w.last(t).Header, w.last(t).RequestURI); strings.Contains(sent, token) {
					t.Errorf("%s, %s: it went on: %s", tc.name, path, sent)
				}
			}
		}
	}
}

// TestARequestThatComesBackIsNotCarriedAgain where an upstream leads to the gateways
// and its address does not tell.
func TestARequestThatComesBackIsNotCarriedAgain(t *testing.T) {
	w := start(t, authsvctest.Config{})
	bearer := "Bearer " + w.login(t).AccessToken
	for path, replicas := range map[string]int{"/orders": 1, "/shop": 3} { // the second one is public
		var passed atomic.Int64
		gateways := make([]*gateway.Gateway, replicas)
		front := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			to, err := url.Parse(gateways[int(passed.Add(1))%replicas].URL())
			if err != nil {
				t.Error(err)
			}
			r.SetURL(to)
		}})
		t.Cleanup(front.Close)
		w.config.Routes = filepath.Join(t.TempDir(), "routes.yaml")
		if err := os.WriteFile(w.config.Routes, []byte(strings.ReplaceAll(table, "URL", front.URL)), 0o600); err != nil {
			t.Fatal(err)
		}
		for i := range gateways {
			gateways[i] = w.replica(t)
		}
		r := do(t, http.MethodGet, gateways[0].URL()+path, "", "Authorization", bearer)
		if r.StatusCode != http.StatusLoopDetected || !strings.Contains(r.body, `"code":"loop_detected"`) {
			t.Errorf("%s: %s %s", path, r.Status, r.body)
		}
		if n := passed.Load(); n != int64(replicas) {
			t.Errorf("%s: carried %d times by %d gateways", path, n, replicas)
		}
	}
}

func TestLoginAnswersAsTheAuthServiceDoes(t *testing.T) {
	w := start(t, authsvctest.Config{})
	for body, want := range map[string]struct {
		status int
		code   string
	}{
		`{"login":"ada","password":"wrong password here"}`: {401, "invalid_credentials"},
		`{"login":"ada"}`: {422, "invalid_input"},
		`{"login":`:       {400, "bad_body"},
		`{"login":"` + strings.Repeat("a", 20<<10) + `"}`: {413, "body_too_large"},
	} {
		r := do(t, http.MethodPost, w.URL()+"/login", body)
		var problem struct{ Code string }
		if err := json.Unmarshal([]byte(r.body), &problem); err != nil || r.StatusCode != want.status || problem.Code != want.code {
			t.Errorf("%.40s: %s %s (%v), want %d %s", body, r.Status, r.body, err, want.status, want.code)
		}
	}
}

func TestBusAndAuthServiceAway(t *testing.T) {
	w := start(t, authsvctest.Config{})
	known, unknown := w.login(t), w.login(t)
	other := w.replica(t)
	call := func(url, token string) reply {
		return do(t, http.MethodGet, url+"/orders", "", "Authorization", "Bearer "+token)
	}
	if r := call(other.URL(), known.AccessToken); r.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", r.Status, r.body)
	}
	w.auth.StopBroker()
	if r := call(other.URL(), known.AccessToken); r.StatusCode != http.StatusOK {
		t.Errorf("a session that is known, without a bus: %s %s", r.Status, r.body)
	}
	if r := call(other.URL(), unknown.AccessToken); r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Errorf("a session that is not known, without a bus: %s %s, want 503", r.Status, r.body)
	}
	await(t, http.StatusServiceUnavailable, http.StatusOK, func() reply { return call(other.URL(), known.AccessToken) })
	w.auth.StartBroker(t)
	for _, g := range []granted{known, unknown} {
		await(t, http.StatusOK, http.StatusServiceUnavailable, func() reply { return call(other.URL(), g.AccessToken) })
	}
}

func TestBadConfigurationIsRefused(t *testing.T) {
	w := start(t, authsvctest.Config{})
	for field, spoil := range map[string]func(*gateway.Config){
		"Routes: ":            func(c *gateway.Config) { c.Routes = "" },
		"Auth: ":              func(c *gateway.Config) { c.Auth = "auth.example.org" },
		"a query, a fragment": func(c *gateway.Config) { c.Auth = "https://user:secret@auth.example.org" },
		"Listen: ":            func(c *gateway.Config) { c.Listen = "somewhere" },
		"AdminListen: ":       func(c *gateway.Config) { c.AdminListen = c.Listen + "x" },
		"no such cert":        func(c *gateway.Config) { c.CertFile, c.KeyFile = "/no such cert", "/no such key" },
		"Leeway: ":            func(c *gateway.Config) { c.Leeway = -1 },
		"MaxStale: ":          func(c *gateway.Config) { c.MaxStale = -1 },
		"BodyTimeout: ":       func(c *gateway.Config) { c.BodyTimeout = -1 },
		"CachedSessions":      func(c *gateway.Config) { c.CachedSessions = -1 },
		"Replicas: 3":         func(c *gateway.Config) { c.Replicas = 3 }, // by one broker
		"Issuer: ":            func(c *gateway.Config) { c.Issuer = "" },
		"NATS: ":              func(c *gateway.Config) { c.NATS = nil },
		"CertFile: ":          func(c *gateway.Config) { c.CertFile = "x" },
		"SessionIdle: ":       func(c *gateway.Config) { c.SessionIdle = time.Millisecond },
		"Replicas: ":          func(c *gateway.Config) { c.Replicas = 9 },
		"no such file":        func(c *gateway.Config) { c.Routes = "/nowhere/routes.yaml" },
		"is the gateway's":    func(c *gateway.Config) { c.Routes = routesFile(t, "/login") },
		"upstreams[s].urls[0]: is the gateway's own address": func(c *gateway.Config) {
			c.Listen, c.Routes = ":1", routesFile(t, "/x") // where its upstream is
		},
	} {
		c := w.config
		c.NATS = w.auth.Connect(t)
		spoil(&c)
		g, err := gateway.Start(t.Context(), c)
		if err == nil {
			t.Errorf("%s: it starts", field)
			_ = g.Close()
		} else if !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named: %v", field, err)
		}
	}
}

// routesFile is a table whose only rule has the path.
func routesFile(t *testing.T, path string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "routes.yaml")
	text := "upstreams: {s: {urls: [http://127.0.0.1:1]}}\nrules: [{name: x, path: " + path + ", methods: [POST], upstream: s}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
