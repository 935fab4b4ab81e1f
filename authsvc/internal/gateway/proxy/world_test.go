package proxy_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/gateway/proxy"
	"github.com/authbus/authbus/authsvc/internal/gateway/routes"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

const jwt = "header.claims.signature"

// gateway is a proxy behind a real server that lets everybody in, with one JWT.
type gateway struct {
	*httptest.Server
	proxy *proxy.Proxy

	mu    sync.Mutex
	table *routes.Table   // guarded by mu
	ended context.Context // guarded by mu; ends every request's session
}

// table reads routes. In the text, URL stands for the urls of the upstream s.
func table(t testing.TB, text string, urls ...string) *routes.Table {
	t.Helper()
	quoted, err := json.Marshal(urls)
	if err != nil {
		t.Fatal(err)
	}
	got, err := routes.Parse("routes.yaml", []byte(strings.ReplaceAll(text, "URL", string(quoted))))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func parse(t testing.TB, text string) *routes.Table {
	t.Helper()
	return table(t, text)
}

// everything lets all requests through to the upstream s; more is added to the rule.
func everything(t testing.TB, more string, urls ...string) *routes.Table {
	t.Helper()
	return table(t, `
upstreams: {s: {urls: URL, health: {interval: 1h}}}
rules: [{name: all, path: /, methods: [GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS], upstream: s, `+more+`}]`, urls...)
}

func start(t testing.TB, c proxy.Config, table *routes.Table) *gateway {
	t.Helper()
	g := prepare(t, c, table)
	g.Start()
	return g
}

// prepare is start without starting the server.
func prepare(t testing.TB, c proxy.Config, table *routes.Table) *gateway {
	t.Helper()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	p, err := proxy.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Use(table); err != nil {
		t.Fatal(err)
	}
	g := &gateway{proxy: p, table: table}
	g.Server = httptest.NewUnstartedServer(g)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		g.Close()
	})
	return g
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, err := routes.CleanPath(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	g.mu.Lock()
	table, ended := g.table, g.ended
	g.mu.Unlock()
	rule, _ := table.Match(r.Host, r.Method, path)
	if rule == nil {
		http.NotFound(w, r)
		return
	}
	if ended != nil {
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		defer context.AfterFunc(ended, func() { cancel(context.Cause(ended)) })()
		r = r.WithContext(ctx)
	}
	g.proxy.Serve(w, r, rule, &proxy.Identity{Bearer: jwt, Client: r.Header.Get("Test-Client")})
}

// sessions returns what ends every session from now on.
func (g *gateway) sessions() context.CancelCauseFunc {
	ctx, end := context.WithCancelCause(context.Background())
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = ctx
	return end
}

// service starts an upstream.
func service(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// raw is an upstream that reads requests as bytes and gives one answer to all.
type raw struct {
	url  string
	seen chan string // one request's header and body each
}

func rawService(t testing.TB, answer string) *raw {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &raw{url: "http://" + listener.Addr().String(), seen: make(chan string, 16)}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { s.serve(conn, answer) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close() // the test is over
		conns.Wait()
	})
	return s
}

// serve reads one request after the other, as far as their header says.
func (s *raw) serve(conn net.Conn, answer string) {
	defer conn.Close() //nolint:errcheck // the test is over
	in := bufio.NewReader(conn)
	for {
		var header strings.Builder
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			header.WriteString(line)
			if line == "\r\n" {
				break
			}
		}
		text := header.String()
		if strings.Contains(text, "Transfer-Encoding: chunked\r\n") {
			for !strings.HasSuffix(text, "0\r\n\r\n") && !strings.HasSuffix(text, "\r\n0\r\nX-Sum: 1\r\n\r\n") {
				b, err := in.ReadByte()
				if err != nil {
					return
				}
				text += string(b)
			}
		}
		s.seen <- text
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
	}
}

// reply is an answer that has been read to its end.
type reply struct {
	status          int
	header, trailer http.Header
	body            string
}

// send writes bytes to the gateway and reads the answer.
func (g *gateway) send(t testing.TB, request string) reply {
	t.Helper()
	return answerOn(t, g.dial(t, request))
}

// dial writes bytes to the gateway.
func (g *gateway) dial(t testing.TB, request string) net.Conn {
	t.Helper()
	return dial(t, g.Listener.Addr().String(), request)
}

// dial writes bytes to whoever listens.
func dial(t testing.TB, address, request string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn
}

// answerOn reads an answer.
func answerOn(t testing.TB, conn net.Conn) reply {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, res)
}

// ask sends a request without a body.
func (g *gateway) ask(t testing.TB, method, path string) reply {
	t.Helper()
	return g.send(t, method+" "+path+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
}

func read(t testing.TB, res *http.Response) reply {
	t.Helper()
	defer res.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, res.Trailer, string(body)}
}

// problem reads the problem document of an answer.
func (r reply) problem(t testing.TB) wire.Problem {
	t.Helper()
	var p wire.Problem
	if err := json.Unmarshal([]byte(r.body), &p); err != nil || r.header.Get("Content-Type") != wire.ProblemType || p.Status != r.status {
		t.Fatalf("no problem document: %d %v %q", r.status, r.header, r.body)
	}
	return p
}

// eventually fails t unless the condition holds in time.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("never: " + what)
		}
	}
}

// settled fails t unless no more goroutines run than before.
func settled(t testing.TB, before int) {
	t.Helper()
	eventually(t, fmt.Sprintf("as few goroutines as before (%d)", before), func() bool { return runtime.NumGoroutine() <= before })
}
