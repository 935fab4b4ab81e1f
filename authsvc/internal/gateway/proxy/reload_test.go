package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/authbus/authbus/authsvc/internal/gateway/proxy"
	"github.com/authbus/authbus/authsvc/internal/gateway/routes"
)

// TestReloadingDropsNoRequest replaces the file again and again under load: the
// rules change, the upstreams change, and now and then the file is no good.
func TestReloadingDropsNoRequest(t *testing.T) {
	a := service(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a") })
	b := service(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "b") })
	path := filepath.Join(t.TempDir(), "routes.yaml")
	write := func(i int) {
		text := fmt.Sprintf("upstreams: {a: {urls: [%q]}, b: {urls: [%q], max_in_flight: %d}}\nrules:\n", a.URL, b.URL, 1000+i)
		text += fmt.Sprintf("  - {name: r%d, path: /, methods: [GET], upstream: %c}\n", i, 'a'+i%2)
		if i%3 == 2 {
			text += "  - nonsense\n"
		}
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Error(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Error(err)
		}
	}
	write(0)
	quiet := slog.New(slog.DiscardHandler)
	p, err := proxy.New(proxy.Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close() //nolint:errcheck // never fails
	file, err := routes.Open(path, quiet, p.Use)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // never fails
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rule, _ := file.Current().Match(r.Host, r.Method, r.URL.Path)
		p.Serve(w, r, rule, &proxy.Identity{Bearer: jwt})
	}))
	defer server.Close()
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var requests, from [2]atomic.Int64
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				res, err := server.Client().Get(server.URL)
				if err != nil {
					t.Error(err)
					return
				}
				got := read(t, res)
				requests[0].Add(1)
				if got.status != 200 {
					t.Errorf("got %+v", got)
					return
				}
				from[got.body[0]-'a'].Add(1)
			}
		})
	}
	for i := 1; file.Stats().Adopted < 6 || file.Stats().Refused < 3; i++ {
		before := file.Stats()
		write(i)
		eventually(t, "the file is read", func() bool { return file.Stats() != before })
	}
	stop()
	load.Wait()
	if from[0].Load() == 0 || from[1].Load() == 0 {
		t.Errorf("%d requests: %d to a, %d to b", requests[0].Load(), from[0].Load(), from[1].Load())
	}
}

// TestConnectionsOutliveATableThatLeavesThemAlone also when the rules change.
func TestConnectionsOutliveATableThatLeavesThemAlone(t *testing.T) {
	s := service(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) })
	g := start(t, proxy.Config{}, everything(t, "", s.URL))
	first := g.ask(t, "GET", "/").body
	g.use(t, everything(t, "retries: 3", s.URL))
	if again := g.ask(t, "GET", "/").body; again != first {
		t.Errorf("the connection changed from %s to %s", first, again)
	}
	g.use(t, parse(t, `
upstreams: {s: {urls: ["`+s.URL+`"], max_in_flight: 7}}
rules: [{name: all, path: /, methods: [GET], upstream: s}]`))
	if again := g.ask(t, "GET", "/").body; again == first {
		t.Errorf("a changed upstream goes on with the connection %s", first)
	}
}

func (g *gateway) use(t testing.TB, table *routes.Table) {
	t.Helper()
	if err := g.proxy.Use(table); err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.table = table
}

func TestWhatGoesOnIsDrained(t *testing.T) {
	events := make(chan string)
	g := start(t, proxy.Config{Drain: 200 * time.Millisecond}, everything(t, "stream: true", ticker(t, events).URL))
	res, err := g.Client().Get(g.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // it ends in the middle
	g.use(t, everything(t, "", nobody(t)))
	in := bufio.NewReader(res.Body)
	events <- "still here"
	if line, err := in.ReadString('\n'); err != nil || line != "data: still here\n" {
		t.Errorf("got %q, %v", line, err)
	}
	if rest, err := io.ReadAll(in); err == nil || string(rest) != "\n" {
		t.Errorf("drained with %q, %v", rest, err)
	}
}

// stuck is a log that takes no warning until it is released.
type stuck struct{ warned, released chan struct{} }

func (s *stuck) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "level=WARN") {
		close(s.warned)
		<-s.released
	}
	return len(line), nil
}

// TestRequestsDoNotWaitForChecks of a table that has gone: one of them takes its
// time, and only Use and Close wait for it.
func TestRequestsDoNotWaitForChecks(t *testing.T) {
	next := everything(t, "", rawService(t, ok).url)
	log := &stuck{make(chan struct{}), make(chan struct{})}
	registry := prometheus.NewRegistry()
	g := start(t, proxy.Config{Logger: slog.New(slog.NewTextHandler(log, nil)), Registry: registry}, everything(t, "", nobody(t)))
	<-log.warned // by the check
	var use sync.WaitGroup
	use.Go(func() { g.use(t, next) })
	defer use.Wait()
	defer close(log.released)
	eventually(t, "the next table", func() bool { return strings.HasSuffix(sample(t, registry), "upstream_healthy{s,*}=1") })
	answer := make(chan int, 1)
	go func() {
		w := httptest.NewRecorder()
		g.proxy.Serve(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody), next.Rules()[0], &proxy.Identity{Bearer: jwt})
		answer <- w.Code
	}()
	select {
	case status := <-answer:
		if status != http.StatusOK {
			t.Errorf("got %d", status)
		}
	case <-time.After(10 * time.Second):
		t.Error("a request waits for a check")
	}
}

// TestARuleOfTheLastTableIsServed: it was matched when it was in force.
func TestARuleOfTheLastTableIsServed(t *testing.T) {
	s := rawService(t, ok)
	g := start(t, proxy.Config{}, everything(t, "", s.url))
	if err := g.proxy.Use(everything(t, "", nobody(t))); err != nil {
		t.Fatal(err)
	}
	if got := g.ask(t, "GET", "/"); got.status != 200 {
		t.Errorf("got %+v", got)
	}
}

func TestCloseEndsEverythingAndWaits(t *testing.T) {
	before := runtime.NumGoroutine()
	events := make(chan string)
	stream, socket := ticker(t, events), service(t, echo)
	g := start(t, proxy.Config{}, parse(t, `
upstreams: {e: {urls: ["`+stream.URL+`"], health: {interval: 10ms}}, s: {urls: ["`+socket.URL+`"], health: {interval: 10ms}}}
rules:
  - {name: e, path: /events, methods: [GET], upstream: e, stream: true}
  - {name: s, path: /socket, methods: [GET], upstream: s, websocket: true}`))
	res, err := g.Client().Get(g.URL + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()                                            //nolint:errcheck // it ends in the middle
	conn, _, err := websocket.Dial(t.Context(), g.URL+"/socket", nil) //nolint:bodyclose // the library has closed it
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow() //nolint:errcheck // it has ended
	if err := g.proxy.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("the stream ended as if it were complete")
	}
	if _, _, err := conn.Read(t.Context()); err == nil {
		t.Error("the WebSocket goes on")
	}
	if got := g.ask(t, "GET", "/events"); got.problem(t).Code != "unavailable" {
		t.Errorf("got %+v", got)
	}
	if err := g.proxy.Use(g.table); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("a closed proxy takes a table: %v", err)
	}
	_ = conn.CloseNow()
	g.Close()
	g.Client().CloseIdleConnections()
	stream.Close()
	socket.Close()
	settled(t, before)
}
