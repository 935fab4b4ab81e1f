package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/authbus/authbus/authsvc/internal/gateway/proxy"
	"github.com/authbus/authbus/verifier"
)

// ticker is a service that sends an event whenever one is asked for.
func ticker(t *testing.T, events <-chan string) *httptest.Server {
	t.Helper()
	return service(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		flush := http.NewResponseController(w)
		if err := flush.Flush(); err != nil {
			return
		}
		for {
			select {
			case event := <-events:
				fmt.Fprintf(w, "data: %s\n\n", event)
				if err := flush.Flush(); err != nil {
					return
				}
			case <-r.Context().Done():
				return
			}
		}
	})
}

func TestEventsPassAtOnceAndEndWithTheSession(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			events := make(chan string)
			g := prepare(t, proxy.Config{}, everything(t, "stream: true, limits: {time: 10s}", ticker(t, events).URL))
			g.EnableHTTP2 = protocol == "HTTP/2.0"
			g.StartTLS()
			end := g.sessions()
			res, err := g.Client().Get(g.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close() //nolint:errcheck // it ends in the middle
			if res.Proto != protocol {
				t.Fatalf("protocol %s", res.Proto)
			}
			in := bufio.NewReader(res.Body)
			for _, event := range []string{"one", "two"} {
				events <- event
				if line, err := in.ReadString('\n'); err != nil || line != "data: "+event+"\n" {
					t.Fatalf("got %q, %v", line, err)
				}
				if _, err := in.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			end(&verifier.Error{Err: verifier.ErrRevoked})
			if rest, err := io.ReadAll(in); err == nil || len(rest) > 0 {
				t.Errorf("the stream ended with %q, %v: as if it were complete", rest, err)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("the stream ended after %v", took)
			}
		})
	}
}

// TestAStreamOfKnownLengthPassesAtOnceToo: what has come waits for nothing.
func TestAStreamOfKnownLengthPassesAtOnceToo(t *testing.T) {
	next := make(chan struct{})
	s := service(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "6")
		for _, part := range []string{"", "abc", "def"} {
			_, _ = io.WriteString(w, part)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	})
	g := start(t, proxy.Config{}, everything(t, "stream: true", s.URL))
	res, err := http.ReadResponse(bufio.NewReader(g.dial(t, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	for _, want := range []string{"abc", "def"} {
		next <- struct{}{}
		got := make([]byte, 3)
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != want {
			t.Errorf("got %q, %v", got, err)
		}
	}
	next <- struct{}{}
}

// TestAStreamGoesBothWaysAtOnce: the service answers to each part of the body
// before the next one comes.
func TestAStreamGoesBothWaysAtOnce(t *testing.T) {
	s := service(t, func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		if c.EnableFullDuplex() != nil || c.Flush() != nil {
			return
		}
		part := make([]byte, 3)
		for {
			n, err := r.Body.Read(part)
			_, _ = w.Write(part[:n])
			if c.Flush() != nil || err != nil {
				return
			}
		}
	})
	g := start(t, proxy.Config{}, everything(t, "stream: true", s.URL))
	conn := g.dial(t, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"abc", "def"} {
		if _, err := fmt.Fprintf(conn, "3\r\n%s\r\n", part); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 3)
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != part {
			t.Fatalf("got %q, %v, want %q", got, err, part)
		}
	}
	if _, err := io.WriteString(conn, "0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, res); got.body != "" {
		t.Errorf("the rest is %q", got.body)
	}
	// The connection can be used again.
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"); err != nil {
		t.Fatal(err)
	}
	if res, err = http.ReadResponse(in, nil); err != nil {
		t.Fatal(err)
	}
	if got := read(t, res); got.body != "abc" {
		t.Errorf("the next answer is %+v", got)
	}
}

// TestAClientThatReadsNothingEndsWithTheSession: the gateway is blocked in writing
// when the session ends.
func TestAClientThatReadsNothingEndsWithTheSession(t *testing.T) {
	s := service(t, func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 64<<10)
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	g := start(t, proxy.Config{}, everything(t, "stream: true, limits: {idle: 1h}", s.URL))
	gone := make(chan struct{})
	g.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		g.ServeHTTP(w, r)
	})
	end := g.sessions()
	in := bufio.NewReader(g.dial(t, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
	if line, err := in.ReadString('\n'); err != nil || line != "HTTP/1.1 200 OK\r\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	end(errors.New("over"))
	<-gone
}

// echo is a service that sends back what it is sent.
func echo(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{"echo"}})
	if err != nil {
		return
	}
	defer conn.CloseNow() //nolint:errcheck // it ends in any case
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil || conn.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}

func TestWebSocketsEndWithTheSession(t *testing.T) {
	s := service(t, echo)
	h2c := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	h2c.Config.Protocols = new(http.Protocols)
	h2c.Config.Protocols.SetHTTP1(true)
	h2c.Config.Protocols.SetUnencryptedHTTP2(true)
	h2c.Start()
	t.Cleanup(h2c.Close)
	secure := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close)
	trust := secure.Client().Transport.(*http.Transport).TLSClientConfig
	for name, table := range map[string]string{
		"HTTP/1": `upstreams: {s: {urls: ["` + s.URL + `"]}}`,
		"TLS":    `upstreams: {s: {urls: ["` + secure.URL + `"]}}`,
		"h2c":    `upstreams: {s: {urls: ["` + h2c.URL + `"], h2c: true}}`,
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, proxy.Config{TLS: trust}, parse(t, table+"\nrules: [{name: ws, path: /, methods: [GET], websocket: true, upstream: s, limits: {time: 50ms}}]"))
			end := g.sessions()
			conn, res, err := websocket.Dial(t.Context(), g.URL, &websocket.DialOptions{Subprotocols: []string{"echo"}}) //nolint:bodyclose // the library has closed it
			if err != nil {
				t.Fatal(err)
			}
			defer conn.CloseNow() //nolint:errcheck // it has ended
			if res.StatusCode != http.StatusSwitchingProtocols || conn.Subprotocol() != "echo" {
				t.Errorf("got %v", res.Header)
			}
			// Longer than the rule's time, which is for the beginning.
			for began := time.Now(); time.Since(began) < 100*time.Millisecond; {
				if err := conn.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
					t.Fatal(err)
				}
				if _, got, err := conn.Read(t.Context()); err != nil || string(got) != "hello" {
					t.Fatalf("got %q, %v", got, err)
				}
			}
			end(&verifier.Error{Err: verifier.ErrRevoked})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if _, _, err := conn.Read(ctx); err == nil || ctx.Err() != nil {
				t.Errorf("still open: %v", err)
			}
		})
	}
}

func TestWebSocketsNeedARuleThatAllowsThem(t *testing.T) {
	g := start(t, proxy.Config{}, everything(t, "", service(t, echo).URL))
	conn, res, err := websocket.Dial(t.Context(), g.URL, nil) //nolint:bodyclose // the library has closed it
	if err == nil {
		_ = conn.CloseNow()
		t.Fatal("let through")
	}
	if res == nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("got %v", res)
	}
}

// TestAServiceThatSwitchesUnaskedIsCutOff: what follows a switch would escape the rules.
func TestAServiceThatSwitchesUnaskedIsCutOff(t *testing.T) {
	for name, header := range map[string]string{
		"asked for h2c":     "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
		"asked for nothing": "",
	} {
		t.Run(name, func(t *testing.T) {
			s := rawService(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
			g := start(t, proxy.Config{}, everything(t, "websocket: true, retries: 0", s.url))
			res := g.send(t, "GET / HTTP/1.1\r\nHost: h\r\n"+header+"\r\n")
			if p := res.problem(t); p.Code != "upstream_failed" {
				t.Errorf("got %+v", p)
			}
			if seen := <-s.seen; strings.Contains(seen, "Upgrade") || strings.Contains(seen, "HTTP2-Settings") {
				t.Errorf("the service saw\n%s", seen)
			}
		})
	}
}

func TestHTTP2OnBothSides(t *testing.T) {
	tell := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-End")
		fmt.Fprintf(w, "%s %s %s %v", r.Proto, r.Header.Get("Authorization"), body, err)
		w.Header().Set("X-End", fmt.Sprint(r.Trailer.Get("X-Sum"), " ", r.Trailer["X-User"]))
	})
	secure := httptest.NewUnstartedServer(tell)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close)
	clear := httptest.NewUnstartedServer(tell)
	clear.Config.Protocols = new(http.Protocols)
	clear.Config.Protocols.SetUnencryptedHTTP2(true)
	clear.Start()
	t.Cleanup(clear.Close)
	trust := secure.Client().Transport.(*http.Transport).TLSClientConfig
	for name, upstream := range map[string]string{
		"TLS": `{urls: ["` + secure.URL + `"]}`,
		"h2c": `{urls: ["` + clear.URL + `"], h2c: true}`,
	} {
		t.Run(name, func(t *testing.T) {
			g := prepare(t, proxy.Config{TLS: trust}, parse(t, "upstreams: {s: "+upstream+"}\nrules: [{name: r, path: /, methods: [POST], upstream: s}]"))
			g.EnableHTTP2 = true
			g.StartTLS()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL, io.MultiReader(strings.NewReader("abc")))
			if err != nil {
				t.Fatal(err)
			}
			r.Trailer = http.Header{"X-Sum": {"6"}, "X-User": {"evil"}}
			res, err := g.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, res); got.body != "HTTP/2.0 Bearer "+jwt+" abc <nil>" || res.ProtoMajor != 2 || got.trailer.Get("X-End") != "6 []" {
				t.Errorf("got %s %+v", res.Proto, got)
			}
		})
	}
}

// TestCallsAsOfGRPC: parts in both directions in turn, and a status in trailers that
// nobody has announced; or a status alone, in the header.
func TestCallsAsOfGRPC(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		if r.Header.Get("Te") != "trailers" || r.URL.Path == "/pkg.Service/Refuse" {
			w.Header().Set("Grpc-Status", "7")
			return
		}
		flush := http.NewResponseController(w)
		_ = flush.Flush() // the client decides
		part := make([]byte, 4)
		for {
			n, err := r.Body.Read(part)
			if err != nil {
				break
			}
			_, _ = w.Write(part[:n])
			_ = flush.Flush()
		}
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
		w.Header().Set(http.TrailerPrefix+"Set-Cookie", "__Host-session=evil")
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	g := prepare(t, proxy.Config{}, parse(t, `
upstreams: {s: {urls: ["`+s.URL+`"], h2c: true}}
rules: [{name: r, path: /pkg.Service, methods: [POST], upstream: s, stream: true}]`))
	g.EnableHTTP2 = true
	g.StartTLS()
	call := func(method string) (*io.PipeWriter, *http.Response) {
		t.Helper()
		in, out := io.Pipe()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/pkg.Service/"+method, in)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Te": {"trailers"}, "Content-Type": {"application/grpc"}}
		res, err := g.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return out, res
	}
	out, res := call("Echo")
	for range 3 {
		if _, err := out.Write([]byte("part")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4)
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != "part" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, res); fmt.Sprint(got.trailer) != "map[Grpc-Status:[0]]" {
		t.Errorf("the trailer is %v", got.trailer)
	}
	out, res = call("Refuse")
	if got := read(t, res); got.header.Get("Grpc-Status") != "7" || len(got.trailer) != 0 {
		t.Errorf("got %+v", got)
	}
	_ = out.Close()
}
