package verifier

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// relay passes connections on to an address. Those that are there when it loses
// them stay open, and nothing comes through any more: as when a peer vanishes.
type relay struct {
	net.Listener
	target string

	mu    sync.Mutex
	lost  chan struct{} // closed to lose the connections that there are; guarded by mu
	conns []net.Conn    // guarded by mu
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l, target: target, lost: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() { r.run(&running) })
	t.Cleanup(func() {
		_ = l.Close()
		r.mu.Lock()
		for _, c := range r.conns {
			_ = c.Close()
		}
		r.mu.Unlock()
		running.Wait()
	})
	return r
}

func (r *relay) run(running *sync.WaitGroup) {
	for {
		from, err := r.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", r.target)
		if err != nil {
			_ = from.Close()
			continue
		}
		r.mu.Lock()
		r.conns = append(r.conns, from, to)
		lost := r.lost
		r.mu.Unlock()
		running.Go(func() { pass(from, to, lost) })
		running.Go(func() { pass(to, from, lost) })
	}
}

// pass copies until the connections are closed, and only reads once they are lost.
func pass(from, to net.Conn, lost <-chan struct{}) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-lost:
		default:
			_, _ = to.Write(buf[:n]) // its reader notices what is wrong
		}
		if err != nil {
			return
		}
	}
}

func (r *relay) lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.lost)
	r.lost = make(chan struct{})
}

// TestAConnectionThatIsLost: where the peer of a kept connection has vanished without
// a word, another connection is tried soon, over HTTP/2 too.
func TestAConnectionThatIsLost(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Proto != proto {
					t.Errorf("asked over %s", r.Proto)
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, `{"active":false}`)
			}))
			server.EnableHTTP2 = proto == "HTTP/2.0"
			server.StartTLS()
			t.Cleanup(server.Close)
			way := newRelay(t, server.Listener.Addr().String())
			i := newIntrospector(Config{
				IntrospectionURL: strings.Replace(server.URL, server.Listener.Addr().String(), way.Addr().String(), 1),
				ClientID:         "orders", ClientSecret: "s", MaxAsks: 4, RequestTimeout: 100 * time.Millisecond,
			})
			t.Cleanup(i.close)
			trusting, ok := server.Client().Transport.(*http.Transport)
			if !ok {
				t.Fatal("the test client has no *http.Transport")
			}
			i.own.TLSClientConfig = trusting.TLSClientConfig
			ask := func() error {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				_, err := i.ask(ctx, trialToken)
				return err
			}
			answers := func(within time.Duration) bool {
				for end := time.Now().Add(within); time.Now().Before(end); {
					if ask() == nil {
						return true
					}
				}
				return false
			}
			if !answers(30 * time.Second) {
				t.Fatal("no answer at all")
			}
			way.lose()
			if ask() == nil {
				t.Fatal("an answer over a connection that is lost")
			}
			if !answers(30 * time.Second) {
				t.Error("the lost connection is used for ever")
			}
		})
	}
}

// TestAnEndpointThatNobodyVouchesFor: the token and the secret are not shown to it.
func TestAnEndpointThatNobodyVouchesFor(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	i := newIntrospector(Config{IntrospectionURL: server.URL, ClientID: "orders", ClientSecret: "s", MaxAsks: 1, RequestTimeout: time.Minute})
	t.Cleanup(i.close)
	_, err := i.ask(t.Context(), trialToken)
	var failed *askError
	if !errors.As(err, &failed) || failed.reason != ReasonNoAnswer || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v", err)
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("it was asked %d times", n)
	}
}

// TestABusyServiceKeepsItsConnections: no more are opened than there are questions at
// once, however often as many are asked. What net/http keeps by default is two.
func TestABusyServiceKeepsItsConnections(t *testing.T) {
	const crowd, rounds = 16, 20
	var opened atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"active":false}`)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	i := newIntrospector(Config{
		IntrospectionURL: server.URL, ClientID: "orders", ClientSecret: "s", MaxAsks: crowd, RequestTimeout: time.Minute,
	})
	t.Cleanup(i.close)
	for range rounds {
		var asking sync.WaitGroup
		for range crowd {
			asking.Go(func() {
				if _, err := i.ask(t.Context(), trialToken); err != nil {
					t.Error(err)
				}
			})
		}
		asking.Wait()
	}
	if n := opened.Load(); n > crowd {
		t.Errorf("%d connections for %d questions at once", n, crowd)
	}
}
