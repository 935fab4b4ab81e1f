package bus

import (
	"context"
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/events/eventstest"
)

func TestEventsGetAPartOfTheAccount(t *testing.T) {
	const gib = 1 << 30
	for _, tc := range []struct {
		name      string
		limit     int64
		clustered bool
		want      int64
	}{
		{"one server", 8 * gib, false, 6 * gib},
		{"three servers of 8 GiB", 3 * 8 * gib, true, 3 * 8 * gib / 5 / 4 * 3},
		{"five servers of 8 GiB", 5 * 8 * gib, true, 6 * gib},
		{"hardly anything", 1, false, 1}, // 0 would be no bound
	} {
		if got := eventsBound(tc.limit, tc.clustered); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}

// mute is a broker that does not tell what the account may hold.
type mute struct{ jetstream.JetStream }

func (mute) AccountInfo(context.Context) (*jetstream.AccountInfo, error) {
	return nil, nats.ErrTimeout
}

func TestTheBoundStaysWhileTheLimitIsNotKnown(t *testing.T) {
	js := eventstest.NewBroker(t).Streams(t)
	p := &Publisher{js: mute{js}, log: slog.New(slog.DiscardHandler)}
	const bound = 1 << 20
	if err := events.EnsureStreams(t.Context(), js, events.StreamOptions{EventsMaxBytes: bound}); err != nil {
		t.Fatal(err)
	}
	if err := p.ensureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.CachedInfo().Config.MaxBytes; got != bound {
		t.Errorf("the events are bounded by %d, and were by %d", got, bound)
	}
}
