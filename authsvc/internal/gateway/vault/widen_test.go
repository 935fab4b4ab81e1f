package vault

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// TestReplicasOfABucket: the default takes none away, and says nothing.
func TestReplicasOfABucket(t *testing.T) {
	for _, c := range []struct {
		configured, has, want int
		warning               string
	}{
		{0, 3, 3, ""},
		{1, 3, 3, "nats stream edit KV_gateway_sessions --replicas=1"},
		{3, 5, 5, "nats stream edit KV_gateway_sessions --replicas=3"},
		{3, 1, 3, ""},
		{0, 1, 1, ""},
	} {
		var log bytes.Buffer
		config := Config{Bucket: DefaultBucket, Replicas: c.configured, Log: slog.New(slog.NewTextHandler(&log, nil))}
		got := config.widened(jetstream.StreamConfig{MaxAge: defaultLifetime, MaxBytes: defaultMaxBytes, Replicas: c.has})
		if got.Replicas != c.want || !strings.Contains(log.String(), c.warning) || (log.Len() > 0) != (c.warning != "") {
			t.Errorf("%d where there are %d: %d, want %d; it says %q", c.configured, c.has, got.Replicas, c.want, log.String())
		}
	}
}
