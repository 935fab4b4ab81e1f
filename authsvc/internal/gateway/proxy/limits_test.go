package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authbus/authbus/authsvc/internal/gateway/proxy"
	"github.com/authbus/authbus/authsvc/internal/gateway/routes"
	"github.com/authbus/authbus/verifier"
)

func TestLimits(t *testing.T) {
	s := service(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent":
			<-r.Context().Done()
		case "/begun":
			fmt.Fprint(w, "a")
			_ = http.NewResponseController(w).Flush() // the client decides
			<-r.Context().Done()
		case "/huge":
			w.Header().Set("X-Huge", strings.Repeat("x", 100<<10))
		case "/broken":
			panic(http.ErrAbortHandler)
		default:
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n, err)
		}
	})
	const post = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
	for _, c := range []struct {
		name, rule, request string
		status              int
		code                string // of a problem, or the body
	}{
		{"a body that fits", "limits: {body: 5}", post + "Content-Length: 5\r\n\r\n12345", 200, "5 <nil>"},
		{"a long body", "limits: {body: 5}", post + "Content-Length: 6\r\n\r\n123456", 413, "body_too_large"},
		{"a body that says no length", "limits: {body: 5}", post + "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n", 200, "5 <nil>"},
		{"a long one of these", "limits: {body: 5}", post + "Transfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n0\r\n\r\n", 413, "body_too_large"},
		{"a long body that would be kept", "limits: {body: 5}", "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n0\r\n\r\n", 413, "body_too_large"},
		{"no body at all", "limits: {body: 0}", post + "Content-Length: 0\r\n\r\n", 200, "0 <nil>"},
		{"a broken body", "", post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "bad_body"},
		{"a body that never ends", "limits: {time: 50ms}, retries: 0", post + "Content-Length: 9\r\n\r\n12", 408, "body_timeout"},
		{"a body without a length that never ends", "limits: {time: 50ms}, stream: true", post + "Transfer-Encoding: chunked\r\n\r\n2\r\n12\r\n", 408, "body_timeout"},
		{"a body that would be kept and never ends", "limits: {time: 50ms}", "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n12", 408, "body_timeout"},
		{"a header that fits", "limits: {header: 1KiB}", "GET / HTTP/1.1\r\nHost: h\r\nX-Long: " + strings.Repeat("x", 900) + "\r\n\r\n", 200, "0 <nil>"},
		{"a long header", "limits: {header: 1KiB}", "GET / HTTP/1.1\r\nHost: h\r\nX-Long: " + strings.Repeat("x", 1100) + "\r\n\r\n", 431, "header_too_large"},
		{"a long target", "limits: {header: 1KiB}", "GET /" + strings.Repeat("x", 1100) + " HTTP/1.1\r\nHost: h\r\n\r\n", 431, "header_too_large"},
		{"no answer in time", "limits: {time: 20ms}", "GET /silent HTTP/1.1\r\nHost: h\r\n\r\n", 504, "upstream_timeout"},
		{"no stream in time", "limits: {time: 20ms}, stream: true", "GET /silent HTTP/1.1\r\nHost: h\r\n\r\n", 504, "upstream_timeout"},
		{"a huge answer's header", "", "GET /huge HTTP/1.1\r\nHost: h\r\n\r\n", 502, "upstream_failed"},
		{"no answer", "", "POST /broken HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 502, "upstream_failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := start(t, proxy.Config{}, everything(t, c.rule, s.URL))
			got := g.send(t, c.request)
			code := got.body
			if got.status != 200 {
				code = got.problem(t).Code
			}
			if got.status != c.status || code != c.code || strings.Contains(got.body, "127.0.0.1") {
				t.Errorf("got %+v, want %d %s", got, c.status, c.code)
			}
		})
	}
	for name, limits := range map[string]string{"time": "limits: {time: 50ms}", "idle": "limits: {idle: 50ms}, stream: true"} {
		t.Run("a begun answer ends by "+name, func(t *testing.T) {
			g := start(t, proxy.Config{}, everything(t, limits, s.URL))
			res, err := g.Client().Get(g.URL + "/begun")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close() //nolint:errcheck // it ends in the middle
			if got, err := io.ReadAll(res.Body); err == nil || string(got) != "a" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// TestAClientThatReadsNoAnswers asks again and again; the answers are so short that
// the server sends each when its exchange is over.
func TestAClientThatReadsNoAnswers(t *testing.T) {
	s := service(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "%1500d", 0) })
	g := prepare(t, proxy.Config{}, everything(t, "limits: {idle: 50ms}", s.URL))
	var closed atomic.Bool
	g.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed.Store(true)
		}
	}
	g.Start()
	conn := g.dial(t, "")
	if err := conn.(*net.TCPConn).SetReadBuffer(32 << 10); err != nil {
		t.Fatal(err)
	}
	go func() { // until the connection is closed
		for {
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
				return
			}
		}
	}()
	eventually(t, "the connection is closed", closed.Load)
}

// TestALateAnswerOfTheGatewayIsSent although the server's own time for it is over.
func TestALateAnswerOfTheGatewayIsSent(t *testing.T) {
	s := service(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	g := prepare(t, proxy.Config{}, everything(t, "limits: {time: 200ms}", s.URL))
	g.Config.WriteTimeout = 20 * time.Millisecond
	g.Start()
	if got := g.ask(t, "GET", "/"); got.problem(t).Code != "upstream_timeout" {
		t.Errorf("got %+v", got)
	}
}

// TestABodyThatNobodyWants holds up neither the answer nor the connection.
func TestABodyThatNobodyWants(t *testing.T) {
	g := start(t, proxy.Config{}, everything(t, "limits: {time: 1h}", rawService(t, ok).url))
	conn := g.dial(t, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nabc")
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200 OK\r\n") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestASessionThatEndsBeforeTheAnswerIsToldSo(t *testing.T) {
	asked := make(chan struct{})
	s := service(t, func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})
	g := start(t, proxy.Config{}, everything(t, "", s.URL))
	end := g.sessions()
	go func() {
		<-asked
		end(&verifier.Error{Err: verifier.ErrRevoked})
	}()
	if got := g.ask(t, "GET", "/"); got.status != 401 || !strings.Contains(got.body, "invalid_token") {
		t.Errorf("got %+v", got)
	}
}

func TestTooManyAtOnce(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s := service(t, func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-leave
	})
	g := start(t, proxy.Config{}, table(t, `
upstreams: {s: {urls: URL, max_in_flight: 1}}
rules: [{name: all, path: /, methods: [GET], upstream: s}]`, s.URL))
	first := make(chan int)
	go func() { first <- g.ask(t, "GET", "/").status }()
	<-entered
	if got := g.ask(t, "GET", "/"); got.problem(t).Code != "too_busy" || got.status != 503 || got.header.Get("Retry-After") != "1" {
		t.Errorf("got %+v", got)
	}
	close(leave)
	if status := <-first; status != 200 {
		t.Errorf("the first got %d", status)
	}
}

func TestClientsAreLimitedOneByOne(t *testing.T) {
	s := rawService(t, ok)
	g := start(t, proxy.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
		everything(t, "rate: {requests: 1, per: 1h, burst: 2}", s.url))
	from := func(address string) int {
		got := g.send(t, "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: "+address+"\r\n\r\n")
		if got.status == 429 && (got.problem(t).Code != "rate_limited" || got.header.Get("Retry-After") != "3600") {
			t.Errorf("got %+v", got)
		}
		return got.status
	}
	for i, want := range []int{200, 200, 429, 429} {
		if got := from("192.0.2.1"); got != want {
			t.Errorf("request %d: %d", i+1, got)
		}
	}
	if got := from("192.0.2.2"); got != 200 {
		t.Errorf("another client: %d", got)
	}
	// One host has a whole /64.
	for i, want := range []int{200, 200, 429} {
		if got := from(fmt.Sprintf("2001:db8::%d", i)); got != want {
			t.Errorf("address %d of a network: %d", i+1, got)
		}
	}
}

func TestUsersAreLimitedWhereverTheyAre(t *testing.T) {
	g := start(t, proxy.Config{}, everything(t, "rate: {requests: 1, per: 1h}", rawService(t, ok).url))
	for i, c := range []struct {
		client string
		status int
	}{{"ada", 200}, {"bob", 200}, {"ada", 429}, {"", 200}, {"", 429}, {"bob", 429}} {
		if got := g.send(t, "GET / HTTP/1.1\r\nHost: h\r\nTest-Client: "+c.client+"\r\n\r\n"); got.status != c.status {
			t.Errorf("request %d, of %q: %d", i+1, c.client, got.status)
		}
	}
}

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := proxy.NewLimiter(2)
		limit := routes.Rate{Requests: 2, Per: time.Second, Burst: 1}
		expect := func(who string, want time.Duration) {
			t.Helper()
			if got := l.Allow("r", who, limit); got != want {
				t.Errorf("%s has to wait %v, want %v", who, got, want)
			}
		}
		expect("a", 0)
		expect("a", 500*time.Millisecond)
		time.Sleep(300 * time.Millisecond)
		expect("a", 200*time.Millisecond) // what is refused does not count
		time.Sleep(200 * time.Millisecond)
		expect("a", 0)
		expect("b", 0)
		expect("a", 500*time.Millisecond)
		expect("c", 0) // takes the place of b, who has been silent for longest
		expect("a", 500*time.Millisecond)
		expect("b", 0)
		limit.Burst = 3
		expect("b", 0)
		expect("b", 0)
		expect("b", 0)
		expect("b", 500*time.Millisecond)
	})
}

func TestBadConfigurationIsNamed(t *testing.T) {
	_, err := proxy.New(proxy.Config{Cookie: "a b", Drain: -1, MaxClients: -1})
	want := "proxy: Config.Cookie must be the name of a cookie\nproxy: Config.Drain must be positive\nproxy: Config.MaxClients must be positive"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestAnIdentityIsNotGivenUpForAHostName(t *testing.T) {
	p, err := proxy.New(proxy.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close() //nolint:errcheck // never fails
	err = p.Use(parse(t, `
upstreams: {s: {urls: ["https://h:1"], spiffe: "spiffe://example.org/s"}}
rules: [{name: all, path: /, methods: [GET], upstream: s}]`))
	if err == nil || err.Error() != "routes.yaml:2: upstreams[s].spiffe: the gateway has no certificate to connect with" {
		t.Errorf("got %v", err)
	}
}
