package bus_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/internal/bus"
	"github.com/authbus/authbus/authsvc/internal/node/broker"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

// cluster starts three brokers and returns them with the addresses of all.
func cluster(t *testing.T) (brokers []*server.Server, urls string) {
	t.Helper()
	var routes string
	var addresses []string
	for i := range 3 {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprintf("broker-%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT,
			JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: server.RANDOM_PORT},
			Routes:  server.RoutesFromStr(routes),
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
		if !s.ReadyForConnections(10 * time.Second) {
			t.Fatal("a broker did not start")
		}
		if routes == "" {
			routes = "nats://" + s.ClusterAddr().String()
		}
		brokers, addresses = append(brokers, s), append(addresses, s.ClientURL())
	}
	return brokers, strings.Join(addresses, ",")
}

func TestRelayKeepsTheOrderWhileAClusterLosesItsLeader(t *testing.T) {
	t.Parallel()
	brokers, urls := cluster(t)
	r := startReplica(t, t.TempDir(), "a.db", events.StreamOptions{Replicas: 3},
		func(broker.Identity) bus.Target { return bus.Target{URL: urls} }).awaitReady()
	w := &world{}
	var err error
	if w.admin, err = nats.Connect(urls, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.admin.Close)
	stream, err := w.js(t).Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	r.emit(300)
	for _, b := range brokers {
		if b.Name() == stream.CachedInfo().Cluster.Leader {
			b.Shutdown()
		}
	}
	r.emit(300)
	r.awaitPublished()
	inOrder(t, w.sequences(t), r.head().EventSeq)
}

// emit writes n events, one after the other.
func (r *replica) emit(n int) {
	r.t.Helper()
	for range n {
		err := r.db.Write(r.t.Context(), func(tx *store.Tx) error {
			return tx.Emit(issuer, events.AccountRegistered{Sub: "u_1"})
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
}
