package natsconfig_test

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/authsvc/internal/natsconfig"
)

func TestLimitsOfAccounts(t *testing.T) {
	w := newWorld(t, everybody())
	for _, tc := range []struct {
		who                        string // asks about the account that it has JetStream of
		store                      int64
		streams, consumers, memory int64
	}{
		{"operator", 10 << 30, 2, 66, 0},
		{"gateway", 1 << 30, 1, 1, 0},
	} {
		info, err := jet(t, w.as(t, tc.who)).AccountInfo(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l := info.Limits
		if l.MaxStore != tc.store || int64(l.MaxStreams) != tc.streams || int64(l.MaxConsumers) != tc.consumers || l.MaxMemory != tc.memory {
			t.Errorf("%s sees the limits %+v", tc.who, l)
		}
	}
	_, err := jet(t, w.as(t, natsconfig.Publisher)).CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "AUTH_EVENTS", Subjects: []string{"auth.events.>"}, Storage: jetstream.MemoryStorage,
	})
	if err == nil {
		t.Error("a stream in memory was made")
	}
}

// An account's limit counts every copy of a stream, a server's only its own.
func TestAClusterHasRoomForEveryCopy(t *testing.T) {
	c := everybody()
	c.Cluster = &natsconfig.Cluster{Name: "c", Routes: []string{"nats-route://b:1", "nats-route://c:1"}}
	opts := (&world{ca: newIssuer(t)}).options(t, c)
	if opts.JetStreamMaxStore != 11<<30 || opts.JetStreamMaxMemory != 64<<20 || !opts.SyncAlways {
		t.Errorf("server: %d and %d bytes, sync always %v", opts.JetStreamMaxStore, opts.JetStreamMaxMemory, opts.SyncAlways)
	}
}
