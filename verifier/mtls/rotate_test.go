package mtls

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// startHTTP serves "ok" to the allowed peers, slowly for the path /slow.
func startHTTP(t *testing.T, s *Source, allow ...string) (url string) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	listener, err := s.Listener(tcp, allow...)
	must(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			select {
			case <-time.After(100 * time.Millisecond):
			case <-r.Context().Done():
			}
		}
		_, _ = io.WriteString(w, "ok")
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return "https://" + tcp.Addr().String()
}

func fetch(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if err == nil && string(body) != "ok" {
		err = errors.New("the answer is " + string(body))
	}
	return errors.Join(err, resp.Body.Close())
}

// TestRotationUnderLoadFailsNoRequest: certificates of three seconds, each
// replaced well before its end, for longer than they live.
func TestRotationUnderLoadFailsNoRequest(t *testing.T) {
	t.Parallel()
	ca := newCA(t)
	short := leaf{from: -100 * time.Millisecond, to: 3 * time.Second}
	files := map[string]Config{}
	for _, name := range []string{"orders", "gateway"} {
		config := ca.files(name, short)
		config.ExpiryOnly = true
		files[name] = config
	}
	orders, gateway := open(t, files["orders"]), open(t, files["gateway"])
	url := startHTTP(t, orders, "gateway")

	ctx, stop := context.WithCancel(t.Context())
	var asked atomic.Int64
	var load sync.WaitGroup
	for _, base := range []*http.Transport{nil, {MaxIdleConnsPerHost: 4}} { // HTTP/2, and 1.1
		transport, err := gateway.Transport(base, "orders")
		must(t, err)
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		for _, path := range []string{"/", "/", "/slow"} {
			load.Go(func() {
				for ctx.Err() == nil {
					if err := fetch(context.WithoutCancel(ctx), client, url+path); err != nil {
						t.Errorf("after %d requests: %v", asked.Load(), err)
						return
					}
					asked.Add(1)
				}
			})
		}
	}
	first := orders.NotAfter()
	replace := time.NewTicker(700 * time.Millisecond)
	defer replace.Stop()
	for time.Now().Before(first.Add(1500 * time.Millisecond)) {
		<-replace.C
		for name, config := range files {
			must(t, config.write(ca.issue(name, short)))
		}
	}
	stop()
	load.Wait()
	if n := orders.Stats(); n.Reloads < 5 || asked.Load() < 100 || n.RefusedReloads != 0 || n.RefusedPeers != 0 {
		t.Errorf("%d requests, %+v", asked.Load(), n)
	}
	t.Logf("%d requests, none failed; %d reloads; ended: %d here, %d there",
		asked.Load(), orders.Stats().Reloads, orders.Stats().Ended, gateway.Stats().Ended)
}

// TestAConnectionEndsWithTheCertificate of a peer that has not renewed it.
func TestAConnectionEndsWithTheCertificate(t *testing.T) {
	t.Parallel()
	ca := newCA(t)
	orders := ca.open("orders")
	url := startHTTP(t, orders, "gateway")
	config := ca.files("gateway", leaf{to: 2 * time.Second})
	config.ExpiryOnly = true
	gateway := open(t, config)
	transport, err := gateway.Transport(nil, "orders")
	must(t, err)
	client := &http.Client{Transport: transport}
	must(t, fetch(t.Context(), client, url))
	until(t, "the connection has ended", func() bool { return orders.Stats().Connections == 0 })
	if n := orders.Stats(); n.Ended != 1 || time.Now().Before(gateway.NotAfter()) {
		t.Errorf("%+v, %v before the end", n, time.Until(gateway.NotAfter()))
	}
	if err := fetch(t.Context(), client, url); err == nil {
		t.Error("a client whose certificate has expired is served")
	}
}

// TestAConnectionEndsWithTheRoot that the peer's certificate leads to.
func TestAConnectionEndsWithTheRoot(t *testing.T) {
	old, next := newCA(t), newCA(t)
	config := old.files("orders", leaf{})
	config.ExpiryOnly = true
	orders := open(t, config)
	url := startHTTP(t, orders, "gateway")
	gateway := old.open("gateway")
	transport, err := gateway.Transport(nil, "orders")
	must(t, err)
	client := &http.Client{Transport: transport}
	must(t, fetch(t.Context(), client, url))

	both, alone := next.issue("orders", leaf{}), next.issue("orders", leaf{})
	both.ca = append(both.ca, old.issue("orders", leaf{}).ca...)
	must(t, config.write(both))
	until(t, "both roots count", func() bool { return inForce(t, orders, both) })
	if n := orders.Stats(); n.Ended != 0 || n.Connections != 1 {
		t.Errorf("an overlap ends connections: %+v", n)
	}
	must(t, config.write(alone))
	until(t, "the old root counts no longer", func() bool { return orders.Stats().Ended == 1 })
}

func TestATransportIsForHTTPS(t *testing.T) {
	transport, err := newCA(t).open("gateway").Transport(nil, "orders")
	must(t, err)
	if err := fetch(t.Context(), &http.Client{Transport: transport}, "http://127.0.0.1:1/"); err == nil {
		t.Error("it goes in the clear")
	}
}
