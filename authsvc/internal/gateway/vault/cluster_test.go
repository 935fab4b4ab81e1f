package vault_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/authsvc/internal/freeport"
	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
	"github.com/authbus/authbus/authsvc/internal/logtest"
)

// clustered is how one of three brokers is started, as often as it is.
func clustered(t *testing.T) (options []server.Options, urls string) {
	t.Helper()
	var clients, routes []string
	for i := range 3 {
		client, route := address(t), address(t)
		clients, routes = append(clients, "nats://"+client.String()), append(routes, "nats://"+route.String())
		options = append(options, server.Options{
			ServerName: fmt.Sprintf("broker-%d", i), Host: "127.0.0.1", Port: client.Port, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
			Cluster: server.ClusterOpts{Name: "vault", Host: "127.0.0.1", Port: route.Port},
		})
	}
	for i := range options {
		options[i].Routes = server.RoutesFromStr(strings.Join(routes, ","))
	}
	return options, strings.Join(clients, ",")
}

func address(t *testing.T) *net.TCPAddr {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", freeport.Address(t))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func startBroker(t *testing.T, o server.Options) *server.Server {
	t.Helper()
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { stopBroker(s) })
	if !s.ReadyForConnections(patience) {
		t.Fatal("a broker did not start")
	}
	return s
}

func stopBroker(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// TestABucketWithoutALeaderIsNotLost: two of three brokers are away, and nobody can tell
// anything until they are back.
func TestABucketWithoutALeaderIsNotLost(t *testing.T) {
	t.Parallel()
	options, urls := clustered(t)
	brokers := make([]*server.Server, len(options))
	for i, o := range options {
		brokers[i] = startBroker(t, o)
	}
	nc, err := nats.Connect(urls, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	log, token := &logtest.Buffer{}, vault.NewToken()
	var v *vault.Vault
	for began := time.Now(); v == nil; { // a cluster takes its time to begin
		if v, err = vault.Open(t.Context(), js, vault.Config{Replicas: 3, Log: log.Logger()}); err != nil && time.Since(began) > 3*patience {
			t.Fatal(err)
		}
	}
	if _, err := v.Create(t.Context(), token, session); err != nil {
		t.Fatal(err)
	}
	stopBroker(brokers[0])
	stopBroker(brokers[1])
	for range 3 {
		if _, err := v.Get(t.Context(), token); errors.Is(err, vault.ErrNotFound) {
			t.Errorf("a read: %v", err)
		}
		if _, err := v.Create(t.Context(), vault.NewToken(), session); err == nil {
			t.Error("a session is kept by one of three")
		}
	}
	for i := range 2 {
		brokers[i] = startBroker(t, options[i])
	}
	for began := time.Now(); ; {
		_, err := v.Get(t.Context(), token)
		if err == nil {
			break
		}
		if errors.Is(err, vault.ErrNotFound) || time.Since(began) > 3*patience {
			t.Fatalf("the session is lost: %v", err)
		}
	}
	if log.String() != "" {
		t.Errorf("it is said: %s", log)
	}
	// And a lost one is made as it was.
	for began := time.Now(); js.DeleteStream(t.Context(), stream) != nil; {
		if time.Since(began) > patience {
			t.Fatal("the stream cannot be deleted")
		}
	}
	wantMade(t, js, func() error { _, err := v.Get(t.Context(), token); return err })
	s, err := js.Stream(t.Context(), stream)
	if err != nil || s.CachedInfo().Config.Replicas != 3 {
		t.Errorf("the new bucket: %+v, %v", s, err)
	}
}
