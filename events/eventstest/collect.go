package eventstest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/events"
)

// Event returns an event with a plausible envelope, valid if data is.
func Event(sequence uint64, data events.Data) events.Event {
	return events.Event{
		ID:       fmt.Sprintf("eventstest-%d", sequence),
		Source:   "https://auth.example.test",
		Time:     time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(sequence) * time.Millisecond),
		Sequence: sequence,
		Data:     data,
	}
}

// Collector keeps the events that its subscription hears.
type Collector struct {
	mu     sync.Mutex // guards heard and grew
	heard  []events.Event
	grew   chan struct{} // closed, and made anew, with each event
	poison []events.Poison
}

// Collect subscribes until t ends. A poison message fails nothing: see Poison.
func Collect(t testing.TB, nc *nats.Conn, o events.Subscription) *Collector {
	t.Helper()
	c := &Collector{grew: make(chan struct{})}
	report := o.OnPoison
	o.OnPoison = func(p events.Poison) {
		c.change(func() { c.poison = append(c.poison, p) })
		if report != nil {
			report(p)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	sub, err := events.Subscribe(ctx, nc, o, func(_ context.Context, e events.Event) error {
		c.change(func() { c.heard = append(c.heard, e) })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.Close)
	return c
}

func (c *Collector) change(apply func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	apply()
	close(c.grew)
	c.grew = make(chan struct{})
}

// Events returns what has been heard so far, in order.
func (c *Collector) Events() []events.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.heard)
}

// Poison returns the messages that were given up so far.
func (c *Collector) Poison() []events.Poison {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.poison)
}

// AwaitCount waits until n events or more have been heard, and returns all of
// them. It fails t if that takes too long.
func (c *Collector) AwaitCount(t testing.TB, n int) []events.Event {
	t.Helper()
	heard, ok := c.await(func() bool { return len(c.heard) >= n })
	if !ok {
		t.Fatalf("waiting for %d events: heard %d: %s", n, len(heard), types(heard))
	}
	return heard
}

// Await waits for an event of type D that match accepts, among those already
// heard and those to come, and returns the first. A nil match accepts any. It
// fails t if that takes too long.
func Await[D events.Data](t testing.TB, c *Collector, match func(D) bool) events.Event {
	t.Helper()
	var found events.Event
	heard, ok := c.await(func() bool {
		i := slices.IndexFunc(c.heard, func(e events.Event) bool {
			data, ok := e.Data.(D)
			return ok && (match == nil || match(data))
		})
		if i >= 0 {
			found = c.heard[i]
		}
		return i >= 0
	})
	if !ok {
		t.Fatalf("waiting for %T: heard %d events: %s", *new(D), len(heard), types(heard))
	}
	return found
}

// await waits until cond, which is called with the lock held.
func (c *Collector) await(cond func() bool) ([]events.Event, bool) {
	timeout := time.After(patience)
	for {
		c.mu.Lock()
		ok, grew, heard := cond(), c.grew, slices.Clone(c.heard)
		c.mu.Unlock()
		if ok {
			return heard, true
		}
		select {
		case <-grew:
		case <-timeout:
			return heard, false
		}
	}
}

func types(heard []events.Event) []events.Type {
	types := make([]events.Type, len(heard))
	for i, e := range heard {
		types[i] = e.Data.Type()
	}
	return types
}
