package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/authbus/authbus/authsvc/internal/gateway/proxy"
)

// nobody returns the URL of a port where nobody listens.
func nobody(t testing.TB) string {
	t.Helper()
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	return s.URL
}

// failing is an upstream that closes every connection when a request has come.
func failing(t testing.TB, requests *atomic.Int64) string {
	t.Helper()
	s := service(t, func(_ http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		_, _ = io.Copy(io.Discard, r.Body) // whatever it is
		panic(http.ErrAbortHandler)
	})
	return s.URL
}

func TestWhatIsTriedAgain(t *testing.T) {
	for _, c := range []struct {
		name, request, rule string
		tries               int64
	}{
		{"GET", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "retries: 2", 3},
		{"HEAD", "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", "retries: 2", 3},
		{"OPTIONS", "OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n", "retries: 2", 3},
		{"PUT with a short body", "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", "retries: 2", 3},
		{"DELETE", "DELETE / HTTP/1.1\r\nHost: h\r\n\r\n", "retries: 2", 3},
		{"by default once", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "", 2},
		{"never", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "retries: 0", 1},
		{"not POST", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", "retries: 2", 1},
		{"not POST with a body", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", "retries: 2", 1},
		{"not PATCH", "PATCH / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", "retries: 2", 1},
		{"not PUT with a body of any length", "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "retries: 2", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var requests atomic.Int64
			g := start(t, proxy.Config{}, everything(t, c.rule, failing(t, &requests)))
			conn := bufio.NewReader(g.dial(t, c.request))
			if line, err := conn.ReadString('\n'); err != nil || line != "HTTP/1.1 502 Bad Gateway\r\n" {
				t.Errorf("got %q, %v", line, err)
			}
			if got := requests.Load(); got != c.tries {
				t.Errorf("%d tries, want %d", got, c.tries)
			}
		})
	}
}

// TestNothingIsTriedAgainOnceSomethingHasCome: the service has done something.
func TestNothingIsTriedAgainOnceSomethingHasCome(t *testing.T) {
	s := rawService(t, "HTTP/1.1 broken\r\n\r\n")
	g := start(t, proxy.Config{}, everything(t, "retries: 3", s.url))
	if got := g.ask(t, "GET", "/"); got.problem(t).Code != "upstream_failed" || len(s.seen) != 1 {
		t.Errorf("got %+v after %d tries", got, len(s.seen))
	}
}

// TestARequestThatWasNeverSentGoesElsewhere, whatever its method is.
func TestARequestThatWasNeverSentGoesElsewhere(t *testing.T) {
	s := service(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprint(w, string(body), err)
	})
	for _, length := range []string{"Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"} {
		for range 4 { // whoever comes first
			g := start(t, proxy.Config{}, everything(t, "", nobody(t), s.URL))
			if got := g.send(t, "POST / HTTP/1.1\r\nHost: h\r\n"+length); got.status != 200 || got.body != "abc<nil>" {
				t.Errorf("got %+v", got)
			}
		}
	}
}

func TestWithoutAHealthyURLThereIsNoService(t *testing.T) {
	g := start(t, proxy.Config{}, table(t, `
upstreams: {s: {urls: URL, health: {interval: 1h}}}
rules: [{name: all, path: /, methods: [GET], upstream: s}]`, nobody(t), nobody(t)))
	eventually(t, "503", func() bool { return g.ask(t, "GET", "/").status == 503 })
	got := g.ask(t, "GET", "/")
	if p := got.problem(t); p.Code != "upstream_unavailable" || got.header.Get("Retry-After") != "3600" || strings.Contains(got.body, "127.0.0.1") {
		t.Errorf("got %+v", got)
	}
}

// TestMetricsAreOfTheTableInForce: a request that began before may still find out
// something about a URL that has left it.
func TestMetricsAreOfTheTableInForce(t *testing.T) {
	registry := prometheus.NewRegistry()
	g := start(t, proxy.Config{Registry: registry}, everything(t, "", nobody(t)))
	if err := g.proxy.Use(everything(t, "", rawService(t, ok).url)); err != nil {
		t.Fatal(err)
	}
	if got := g.ask(t, "GET", "/"); got.problem(t).Code != "upstream_unreachable" {
		t.Errorf("got %+v", got)
	}
	const over = "requests_total{all,502}=1 requests_in_flight{s}=0 "
	var got string
	eventually(t, over, func() bool { got = sample(t, registry); return strings.HasPrefix(got, over) })
	if got != over+"upstream_healthy{s,*}=1" {
		t.Errorf("got %s", got)
	}
}

// TestAURLThatCannotBeConnectedToGetsNoMore, long before the next check.
func TestAURLThatCannotBeConnectedToGetsNoMore(t *testing.T) {
	checked := make(chan struct{}, 1)
	s := service(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			checked <- struct{}{}
		}
	})
	g := start(t, proxy.Config{}, table(t, `
upstreams: {s: {urls: URL, health: {path: /healthz, interval: 1h}}}
rules: [{name: all, path: /, methods: [GET], upstream: s, retries: 0}]`, s.URL))
	<-checked
	if got := g.ask(t, "GET", "/"); got.status != http.StatusOK {
		t.Fatalf("got %+v", got)
	}
	s.Close()
	eventually(t, "503", func() bool { return g.ask(t, "GET", "/").status == http.StatusServiceUnavailable })
}

func TestAURLComesBackWhenItIsHealthyAgain(t *testing.T) {
	var sick atomic.Bool
	sick.Store(true)
	s := service(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" && sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprint(w, r.Header.Get("Authorization"))
	})
	g := start(t, proxy.Config{}, table(t, `
upstreams: {s: {urls: URL, health: {path: /healthz, interval: 10ms}}}
rules: [{name: all, path: /, methods: [GET], upstream: s}]`, s.URL))
	status := func(want int) func() bool { return func() bool { return g.ask(t, "GET", "/").status == want } }
	eventually(t, "503 while sick", status(503))
	sick.Store(false)
	eventually(t, "200 when well", status(200))
	sick.Store(true)
	eventually(t, "503 when sick again", status(503))
}

// TestAURLIsTakenBackWithoutAPath: connecting is enough.
func TestAURLIsTakenBackWithoutAPath(t *testing.T) {
	address := strings.TrimPrefix(nobody(t), "http://")
	g := start(t, proxy.Config{}, table(t, `
upstreams: {s: {urls: URL, health: {interval: 10ms}}}
rules: [{name: all, path: /, methods: [GET], upstream: s}]`, "http://"+address))
	eventually(t, "503", func() bool { return g.ask(t, "GET", "/").status == 503 })
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Listener = listener
	s.Start()
	t.Cleanup(s.Close)
	eventually(t, "404", func() bool { return g.ask(t, "GET", "/").status == 404 })
}

func TestRequestsGoToWhoeverHasTheFewest(t *testing.T) {
	block := make(chan struct{})
	busy, idle := new(atomic.Int64), new(atomic.Int64)
	counting := func(n *atomic.Int64) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) {
			n.Add(1)
			if r.URL.Path == "/block" {
				<-block
			}
		}
	}
	a, b := service(t, counting(busy)), service(t, counting(idle))
	g := start(t, proxy.Config{}, everything(t, "", a.URL, b.URL))
	defer close(block)
	for range 10 {
		g.ask(t, "GET", "/")
	}
	if busy.Load() != 5 || idle.Load() != 5 {
		t.Errorf("of 10 requests %d and %d", busy.Load(), idle.Load())
	}
	g.dial(t, "GET /block HTTP/1.1\r\nHost: h\r\n\r\n")
	eventually(t, "the blocked request", func() bool { return busy.Load()+idle.Load() == 11 })
	if idle.Load() == 6 {
		busy, idle = idle, busy
	}
	for range 10 {
		g.ask(t, "GET", "/")
	}
	if busy.Load() != 6 || idle.Load() != 15 {
		t.Errorf("beside a blocked request %d and %d", busy.Load(), idle.Load())
	}
}
