package vault_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
	"github.com/authbus/authbus/authsvc/internal/logtest"
	"github.com/authbus/authbus/events/eventstest"
)

const stream = "KV_" + vault.DefaultBucket

// TestOpenOnlyWidens: all replicas of the gateway share the bucket.
func TestOpenOnlyWidens(t *testing.T) {
	b := eventstest.NewBroker(t)
	js := b.Streams(t)
	for _, step := range []struct {
		name     string
		opened   vault.Config
		lifetime time.Duration
		maxBytes int64
		warning  string // "" for none
	}{
		{"made", vault.Config{Lifetime: 2 * time.Hour, MaxBytes: 2 << 20}, 2 * time.Hour, 2 << 20, ""},
		{"opened again", vault.Config{Lifetime: 2 * time.Hour, MaxBytes: 2 << 20}, 2 * time.Hour, 2 << 20, ""},
		{
			"a shorter lifetime",
			vault.Config{Lifetime: time.Hour, MaxBytes: 2 << 20},
			2 * time.Hour, 2 << 20, `"configured":"1h0m0s","kept":"2h0m0s","bucket":"gateway_sessions","to_change":"nats stream edit KV_gateway_sessions --max-age=1h0m0s"`,
		},
		{
			"a smaller bound",
			vault.Config{Lifetime: 2 * time.Hour, MaxBytes: 1 << 20},
			2 * time.Hour, 2 << 20, `"to_change":"nats stream edit KV_gateway_sessions --max-bytes=1048576"`,
		},
		{"a longer lifetime", vault.Config{Lifetime: 3 * time.Hour, MaxBytes: 2 << 20}, 3 * time.Hour, 2 << 20, ""},
		{"a larger bound", vault.Config{Lifetime: 3 * time.Hour, MaxBytes: 3 << 20}, 3 * time.Hour, 3 << 20, ""},
		{"the defaults", vault.Config{}, 14 * 24 * time.Hour, 1 << 30, ""},
		{"less than the defaults", vault.Config{Lifetime: time.Minute}, 14 * 24 * time.Hour, 1 << 30, "--max-age=1m0s"},
	} {
		t.Run(step.name, func(t *testing.T) {
			log := &logtest.Buffer{}
			step.opened.Log = log.Logger()
			open(t, b, step.opened)
			s, err := js.Stream(t.Context(), stream)
			if err != nil {
				t.Fatal(err)
			}
			if has := s.CachedInfo().Config; has.MaxAge != step.lifetime || has.MaxBytes != step.maxBytes {
				t.Errorf("it has %v and %d bytes, want %v and %d", has.MaxAge, has.MaxBytes, step.lifetime, step.maxBytes)
			}
			if said := log.String(); !strings.Contains(said, step.warning) || (said != "") != (step.warning != "") {
				t.Errorf("it says %q, want %q", said, step.warning)
			}
		})
	}
}

// TestOpenKeepsWhatHasNoEnd, which an operator has chosen.
func TestOpenKeepsWhatHasNoEnd(t *testing.T) {
	b := eventstest.NewBroker(t)
	js := b.Streams(t)
	_, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{
		Bucket: vault.DefaultBucket, LimitMarkerTTL: time.Minute, Metadata: map[string]string{"team": "shop"}, Compression: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	log := &logtest.Buffer{}
	open(t, b, vault.Config{Log: log.Logger()})
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	has := s.CachedInfo().Config
	if has.MaxAge != 0 || has.MaxBytes != -1 || has.Metadata["team"] != "shop" || has.Compression != jetstream.S2Compression || has.AllowDirect {
		t.Errorf("it has become %+v", has)
	}
	if log.String() != "" {
		t.Errorf("it says %s", log)
	}
}
