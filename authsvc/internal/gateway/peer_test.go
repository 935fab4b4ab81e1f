package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/authsvc/authsvctest"
	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

// sessions are those of ada, as the auth service shows them to her; the login that
// asks is not among them.
func (w *world) sessions(t testing.TB) []wire.Session {
	t.Helper()
	tokens := w.auth.Login(t, w.ada)
	defer w.auth.Logout(t, tokens)
	anyone, err := client.New(client.Config{Server: w.auth.URL()})
	if err != nil {
		t.Fatal(err)
	}
	all, err := anyone.As(func(context.Context) (string, error) { return tokens.AccessToken, nil }).Sessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var others []wire.Session
	for _, s := range all.Sessions {
		if !s.Current {
			others = append(others, s)
		}
	}
	return others
}

// TestTheAuthServiceSeesTheClient, and not the gateway, nor what a client invents.
func TestTheAuthServiceSeesTheClient(t *testing.T) {
	w := start(t, authsvctest.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	forged := []string{"X-Forwarded-For", "203.0.113.9", "Forwarded", "for=203.0.113.9", "X-Real-Ip", "203.0.113.9"}
	w.config.TrustedProxies = nil
	direct := w.replica(t)
	w.config.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	behind := w.replica(t)
	for _, c := range []struct{ name, gateway, want string }{
		{"connected directly", direct.URL(), "127.0.0.1"},
		{"behind a trusted proxy", behind.URL(), "203.0.113.9"},
	} {
		r := do(t, http.MethodPost, c.gateway+"/login", w.credentials(""), append(forged, "User-Agent", c.name)...)
		if r.StatusCode != http.StatusCreated {
			t.Fatalf("%s: %s %s", c.name, r.Status, r.body)
		}
		for _, s := range w.sessions(t) {
			if s.UserAgent == c.name && s.Address != c.want {
				t.Errorf("%s: the session is from %s, want %s", c.name, s.Address, c.want)
			}
		}
	}
	if n := len(w.sessions(t)); n != 2 {
		t.Errorf("%d sessions, want 2", n)
	}
}

// TestALoginThatCannotBeKept leaves no session behind that nobody has.
func TestALoginThatCannotBeKept(t *testing.T) {
	w := start(t, authsvctest.Config{})
	w.auth.StopBroker()
	r := do(t, http.MethodPost, w.URL()+"/login", w.credentials(""))
	if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Errorf("%s %s, want 503", r.Status, r.body)
	}
	w.auth.StartBroker(t)
	if left := w.sessions(t); len(left) != 0 {
		t.Errorf("left behind: %+v", left)
	}
}

// TestBodiesThatNeverEnd are given up, also with requests that are refused.
func TestBodiesThatNeverEnd(t *testing.T) {
	w := start(t, authsvctest.Config{})
	w.config.BodyTimeout = 50 * time.Millisecond
	g := w.replica(t)
	for path, want := range map[string]int{"/login": 408, "/nowhere": 404, "/orders": 401} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // of a test
		_ = conn.SetDeadline(time.Now().Add(timeout))
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{", path)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil) //nolint:bodyclose // the connection is closed
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		var problem struct{ Code string }
		_ = json.NewDecoder(res.Body).Decode(&problem) // a status is enough
		if res.StatusCode != want {
			t.Errorf("%s: %s %s, want %d", path, res.Status, problem.Code, want)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("%s: the connection stays open: %v", path, err)
		}
	}
}

// TestAFloodOfUnknownTokens from one network costs a bounded number of looks into the
// vault, and leaves the sessions that are known alone.
func TestAFloodOfUnknownTokens(t *testing.T) {
	w := start(t, authsvctest.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	w.config.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	w.Gateway = w.replica(t)
	known, unknown := w.login(t), w.login(t)
	other := w.replica(t)
	nc := w.auth.Connect(t)
	looks, err := nc.SubscribeSync("$JS.API.STREAM.MSG.GET.KV_" + vault.DefaultBucket)
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	ask := func(token, from string) reply {
		return do(t, http.MethodGet, other.URL()+"/orders", "", "Authorization", "Bearer "+token, "X-Forwarded-For", from)
	}
	if r := ask(known.AccessToken, "192.0.2.1"); r.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", r.Status, r.body)
	}
	refused, began := 0, time.Now()
	for range 1000 {
		r := ask(vault.NewToken().Reveal(), "192.0.2.1")
		switch {
		case r.StatusCode == http.StatusServiceUnavailable && r.Header.Get("Retry-After") != "":
			refused++
		case r.StatusCode != http.StatusUnauthorized:
			t.Fatalf("%s %s", r.Status, r.body)
		}
	}
	most := 200 + int(50*time.Since(began).Seconds()) + 2
	if n, _, _ := looks.Pending(); n > most || refused == 0 {
		t.Errorf("%d looks into the vault, want at most %d; %d were refused without", n, most, refused)
	}
	if r := ask(known.AccessToken, "192.0.2.1"); r.StatusCode != http.StatusOK {
		t.Errorf("a known session of that network: %s %s", r.Status, r.body)
	}
	if r := ask(unknown.AccessToken, "192.0.2.2"); r.StatusCode != http.StatusOK {
		t.Errorf("an unknown session of another network: %s %s", r.Status, r.body)
	}
}

// TestManySessionsOfOneNetwork are not taken for a flood, when a gateway has just
// been started and knows none.
func TestManySessionsOfOneNetwork(t *testing.T) {
	w := start(t, authsvctest.Config{})
	js, err := jetstream.New(w.auth.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Open(t.Context(), js, vault.Config{})
	if err != nil {
		t.Fatal(err)
	}
	jwt := w.auth.Login(t, w.ada).AccessToken
	in := time.Now().Add(time.Minute).Unix()
	for range 500 {
		token := vault.NewToken()
		if _, err := v.Create(t.Context(), token, vault.Session{Access: jwt, RefreshAt: in, ExpiresAt: in}); err != nil {
			t.Fatal(err)
		}
		if r := get(t, w.URL(), granted{AccessToken: token.Reveal()}); r.StatusCode != http.StatusOK {
			t.Fatalf("%s %s", r.Status, r.body)
		}
	}
}
