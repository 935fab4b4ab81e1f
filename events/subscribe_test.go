package events_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/events/eventstest"
)

// publish publishes one SessionEnded for each sequence.
func publish(t *testing.T, js jetstream.JetStream, from, to uint64) {
	t.Helper()
	for seq := from; seq <= to; seq++ {
		if err := events.Publish(t.Context(), js, eventstest.Event(seq, ended(seq))); err != nil {
			t.Fatal(err)
		}
	}
}

func ended(seq uint64) events.SessionEnded {
	return events.SessionEnded{Sub: fmt.Sprintf("u%d", seq%3), SID: fmt.Sprintf("s%d", seq), Rev: seq}
}

func sequences(heard []events.Event) []uint64 {
	seqs := make([]uint64, len(heard))
	for i, e := range heard {
		seqs[i] = e.Sequence
	}
	return seqs
}

func upTo(from, to uint64) []uint64 {
	var seqs []uint64
	for seq := from; seq <= to; seq++ {
		seqs = append(seqs, seq)
	}
	return seqs
}

func wantSequences(t *testing.T, heard []events.Event, want []uint64) {
	t.Helper()
	if got := sequences(heard); !slices.Equal(got, want) {
		t.Fatalf("heard sequences %v, want %v", got, want)
	}
}

// quiet keeps the failures that a test provokes out of its output.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// recorder is a handler that answers each delivery as the test says.
type recorder struct {
	mu    sync.Mutex
	heard []events.Event
	// verdict is called with the number of deliveries of this event so far.
	verdict func(e events.Event, delivery int) error
	calls   chan events.Event
}

func newRecorder(verdict func(events.Event, int) error) *recorder {
	return &recorder{verdict: verdict, calls: make(chan events.Event, 1000)}
}

func (r *recorder) handle(_ context.Context, e events.Event) error {
	r.mu.Lock()
	r.heard = append(r.heard, e)
	delivery := 0
	for _, h := range r.heard {
		if h.ID == e.ID {
			delivery++
		}
	}
	r.mu.Unlock()
	r.calls <- e
	if r.verdict == nil {
		return nil
	}
	return r.verdict(e, delivery)
}

// await waits for n calls of the handler and returns their sequences.
func (r *recorder) await(t *testing.T, n int) []uint64 {
	t.Helper()
	var seqs []uint64
	for range n {
		select {
		case e := <-r.calls:
			seqs = append(seqs, e.Sequence)
		case <-time.After(20 * time.Second):
			t.Fatalf("waiting for %d deliveries, got %v", n, seqs)
		}
	}
	return seqs
}

func subscribe(t *testing.T, nc *nats.Conn, o events.Subscription, h events.Handler) *events.Subscriber {
	t.Helper()
	if o.Log == nil {
		o.Log = quiet()
	}
	sub, err := events.Subscribe(t.Context(), nc, o, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.Close)
	return sub
}

// awaitStats waits until the statistics are as cond wants them.
func awaitStats(t *testing.T, sub *events.Subscriber, cond func(events.Stats) bool) events.Stats {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		st := sub.Stats()
		if cond(st) {
			return st
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("statistics stay at %+v", st)
		}
	}
}

func TestSubscribeStart(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	js := b.Streams(t)
	publish(t, js, 1, 10)
	failed := eventstest.Event(11, events.LoginFailed{Cause: "unknown_account"})
	if err := events.Publish(t.Context(), js, failed); err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	seventh, err := stream.GetMsg(t.Context(), 7)
	if err != nil {
		t.Fatal(err)
	}

	sessions := []events.Type{events.TypeSessionEnded}
	tests := map[string]struct {
		o    events.Subscription
		want []uint64
	}{
		"the zero value starts with the oldest":     {events.Subscription{}, upTo(1, 11)},
		"from a time":                               {events.Subscription{FromTime: seventh.Time}, upTo(7, 11)},
		"from a time before everything":             {events.Subscription{FromTime: time.Unix(1, 0)}, upTo(1, 11)},
		"from the first sequence":                   {events.Subscription{FromSequence: 1}, upTo(1, 11)},
		"from a sequence":                           {events.Subscription{FromSequence: 4}, upTo(4, 11)},
		"from the last sequence":                    {events.Subscription{FromSequence: 11}, upTo(11, 11)},
		"one type":                                  {events.Subscription{Types: sessions}, upTo(1, 10)},
		"another type":                              {events.Subscription{Types: []events.Type{events.TypeLoginFailed}}, upTo(11, 11)},
		"two types":                                 {events.Subscription{Types: append(sessions, events.TypeLoginFailed)}, upTo(1, 11)},
		"one user":                                  {events.Subscription{Sub: "u1"}, []uint64{1, 4, 7, 10}},
		"one type and user":                         {events.Subscription{Types: sessions, Sub: "u0"}, []uint64{3, 6, 9}},
		"one user from a sequence":                  {events.Subscription{FromSequence: 5, Sub: "u1"}, []uint64{7, 10}},
		"a durable starts where the others do, too": {events.Subscription{Durable: "fresh", FromSequence: 9}, upTo(9, 11)},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			seen := eventstest.Collect(t, b.Connect(t), tc.o)
			heard := seen.AwaitCount(t, len(tc.want))
			wantSequences(t, heard, tc.want)
		})
	}
}

func TestSubscribeFromHereOn(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	js := b.Streams(t)
	publish(t, js, 1, 3)
	now := eventstest.Collect(t, b.Connect(t), events.Subscription{FromNow: true})
	later := eventstest.Collect(t, b.Connect(t), events.Subscription{FromSequence: 5})
	publish(t, js, 4, 6)
	wantSequences(t, now.AwaitCount(t, 3), upTo(4, 6))
	wantSequences(t, later.AwaitCount(t, 2), upTo(5, 6))
}

func TestFromSequenceBesidePoison(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	js := b.Streams(t)
	for seq := uint64(1); seq <= 20; seq++ {
		publish(t, js, seq, seq)
		if _, err := js.Publish(t.Context(), "auth.events.session.ended.u1", []byte("no event")); err != nil {
			t.Fatal(err)
		}
	}
	seen := eventstest.Collect(t, b.Connect(t), events.Subscription{FromSequence: 11, Log: quiet()})
	wantSequences(t, seen.AwaitCount(t, 10), upTo(11, 20))
}

func TestRetryKeepsOrder(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	js := b.Streams(t)
	publish(t, js, 1, 6)
	r := newRecorder(func(e events.Event, delivery int) error {
		if e.Sequence == 3 && delivery <= 3 {
			return errors.New("database is away")
		}
		return nil
	})
	sub := subscribe(t, b.Connect(t), events.Subscription{RetryMin: 20 * time.Millisecond}, r.handle)
	if got, want := r.await(t, 9), []uint64{1, 2, 3, 3, 3, 3, 4, 5, 6}; !slices.Equal(got, want) {
		t.Fatalf("delivered %v, want %v", got, want)
	}
	st := awaitStats(t, sub, func(st events.Stats) bool { return st.Handled == 6 })
	if st.Retries != 3 || st.Poison != 0 || st.LastSequence != 6 {
		t.Errorf("statistics are %+v", st)
	}
}

func TestPoison(t *testing.T) {
	t.Parallel()
	fail := errors.New("always")
	bad := func(verdict func() error) func(events.Event, int) error {
		return func(e events.Event, _ int) error {
			if e.Sequence == 2 {
				return verdict()
			}
			return nil
		}
	}
	valid := eventstest.Event(2, ended(2))
	tests := map[string]struct {
		payload    []byte // of the second message; nil for a good event
		verdict    func(events.Event, int) error
		maxTries   int
		reason     string
		deliveries []uint64
	}{
		"no JSON":              {payload: []byte("{"), reason: events.ReasonMalformed, deliveries: []uint64{1, 3}},
		"empty":                {payload: []byte{}, reason: events.ReasonMalformed, deliveries: []uint64{1, 3}},
		"unknown type":         {payload: edit(t, valid, "type", "authbus.session.begun.v1"), reason: events.ReasonUnknownType, deliveries: []uint64{1, 3}},
		"unknown version":      {payload: edit(t, valid, "type", "authbus.session.ended.v2"), reason: events.ReasonUnknownVersion, deliveries: []uint64{1, 3}},
		"invalid":              {payload: edit(t, valid, "id", ""), reason: events.ReasonInvalid, deliveries: []uint64{1, 3}},
		"refused by handler":   {verdict: bad(func() error { return fmt.Errorf("row 2: %w", events.ErrPoison) }), reason: events.ReasonRefused, deliveries: []uint64{1, 2, 3}},
		"failed too often":     {verdict: bad(func() error { return fail }), maxTries: 2, reason: events.ReasonTries, deliveries: []uint64{1, 2, 2, 3}},
		"handler panics on it": {verdict: bad(func() error { panic("boom") }), reason: events.ReasonPanic, deliveries: []uint64{1, 2, 2, 2, 3}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := eventstest.NewBroker(t)
			js := b.Streams(t)
			publish(t, js, 1, 1)
			if tc.payload == nil {
				publish(t, js, 2, 2)
			} else if _, err := js.Publish(t.Context(), "auth.events.session.ended.u2", tc.payload); err != nil {
				t.Fatal(err)
			}
			publish(t, js, 3, 3)

			r := newRecorder(tc.verdict)
			reports := make(chan events.Poison, 10)
			sub := subscribe(t, b.Connect(t), events.Subscription{
				Durable: "poisoned", MaxTries: tc.maxTries, RetryMin: time.Millisecond,
				OnPoison: func(p events.Poison) { reports <- p },
			}, r.handle)

			if got := r.await(t, len(tc.deliveries)); !slices.Equal(got, tc.deliveries) {
				t.Errorf("delivered %v, want %v", got, tc.deliveries)
			}
			st := awaitStats(t, sub, func(st events.Stats) bool { return st.Handled == 2 })
			if st.Poison != 1 {
				t.Errorf("counted %d poison messages, want 1", st.Poison)
			}
			p := <-reports
			if p.Reason != tc.reason || p.StreamSequence != 2 || p.Subject != "auth.events.session.ended.u2" || p.Err == nil {
				t.Errorf("reported %+v, want reason %q of message 2", p, tc.reason)
			}
			sub.Close()
			awaitSettled(t, js, "poisoned")
		})
	}
}

// awaitSettled waits until the broker has nothing left for a durable. It hears
// acknowledgements some time after they were sent.
func awaitSettled(t *testing.T, js jetstream.JetStream, durable string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		c, err := js.Consumer(t.Context(), events.StreamEvents, durable)
		if err != nil {
			t.Fatal(err)
		}
		info := c.CachedInfo()
		if info.NumAckPending == 0 && info.NumPending == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the broker still has %d pending and %d unacknowledged", info.NumPending, info.NumAckPending)
		}
	}
}

func TestOnPoisonMayPanic(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	js := b.Streams(t)
	if _, err := js.Publish(t.Context(), "auth.events.x", nil); err != nil {
		t.Fatal(err)
	}
	publish(t, js, 1, 1)
	r := newRecorder(nil)
	sub := subscribe(t, b.Connect(t), events.Subscription{OnPoison: func(events.Poison) { panic("boom") }}, r.handle)
	r.await(t, 1)
	awaitStats(t, sub, func(st events.Stats) bool { return st.Poison == 1 && st.Panics == 1 && st.Handled == 1 })
}

func TestErrorsAreRetriedWithoutEnd(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	publish(t, b.Streams(t), 1, 1)
	r := newRecorder(func(events.Event, int) error { return errors.New("database is away") })
	sub := subscribe(t, b.Connect(t), events.Subscription{RetryMin: time.Millisecond, RetryMax: time.Millisecond}, r.handle)
	r.await(t, 12)
	if st := sub.Stats(); st.Poison != 0 {
		t.Errorf("%d events were given up", st.Poison)
	}
}

func TestSlowHandlerIsNotRepeated(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	js := b.Streams(t)
	publish(t, js, 1, 2)
	const ackWait = time.Second // less would be lost on a machine that is busy
	r := newRecorder(func(e events.Event, _ int) error {
		if e.Sequence == 1 {
			<-time.After(5 * ackWait / 2) // the point: longer than the broker would wait
		}
		return nil
	})
	sub := subscribe(t, b.Connect(t), events.Subscription{AckWait: ackWait}, r.handle)
	if got := r.await(t, 2); !slices.Equal(got, upTo(1, 2)) {
		t.Errorf("delivered %v, want 1 and 2 once", got)
	}
	awaitStats(t, sub, func(st events.Stats) bool { return st.Handled == 2 })
}

func TestDurableResumes(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	js := b.Streams(t)
	publish(t, js, 1, 6)

	first := newRecorder(nil)
	o := events.Subscription{Durable: "audit", FromSequence: 2}
	sub := subscribe(t, b.Connect(t), o, func(ctx context.Context, e events.Event) error {
		if e.Sequence == 5 {
			first.calls <- e
			<-ctx.Done() // closed in the middle of the fifth
			return ctx.Err()
		}
		return first.handle(ctx, e)
	})
	if got := first.await(t, 4); !slices.Equal(got, upTo(2, 5)) {
		t.Fatalf("delivered %v", got)
	}
	sub.Close()

	began := time.Now()
	o.FromSequence = 1 // of no consequence: the durable has its place
	o.Types = []events.Type{events.TypeSessionEnded}
	second := newRecorder(nil)
	subscribe(t, b.Connect(t), o, second.handle)
	if got := second.await(t, 2); !slices.Equal(got, upTo(5, 6)) {
		t.Errorf("delivered %v after the restart, want what was not settled: 5 and 6", got)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("resuming took %v: the event was not given back", took)
	}
}

func TestSharedDurableStaysInOrder(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	js := b.Streams(t)
	r := newRecorder(func(_ events.Event, delivery int) error {
		if delivery == 1 {
			return errors.New("once more")
		}
		return nil
	})
	for range 3 {
		subscribe(t, b.Connect(t), events.Subscription{Durable: "shared", RetryMin: time.Millisecond}, r.handle)
	}
	publish(t, js, 1, 20)
	var want []uint64
	for seq := uint64(1); seq <= 20; seq++ {
		want = append(want, seq, seq)
	}
	if got := r.await(t, 40); !slices.Equal(got, want) {
		t.Errorf("three processes were delivered %v", got)
	}
}

func TestCloseWaitsForTheHandler(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	publish(t, b.Streams(t), 1, 1)
	entered, returned := make(chan struct{}), false
	sub := subscribe(t, b.Connect(t), events.Subscription{}, func(ctx context.Context, _ events.Event) error {
		close(entered)
		<-ctx.Done()
		returned = true
		return nil
	})
	<-entered
	sub.Close()
	if !returned {
		t.Error("Close returned before the handler")
	}
	sub.Close() // once more is harmless
}

func TestCloseForgetsThePlaceWithoutDurable(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	js := b.Streams(t)
	sub := subscribe(t, b.Connect(t), events.Subscription{}, newRecorder(nil).handle)
	sub.Close()
	stream, err := js.Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	for name := range stream.ConsumerNames(t.Context()).Name() {
		t.Errorf("consumer %s is left behind", name)
	}
}

func TestSubscribeRefuses(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	nc := b.Connect(t)
	none := func(context.Context, events.Event) error { return nil }
	if _, err := events.Subscribe(t.Context(), nc, events.Subscription{}, none); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("without the stream: %v", err)
	}
	b.Streams(t)
	tests := map[string]events.Subscription{
		"two starts":             {FromNow: true, FromSequence: 1},
		"an unknown type":        {Types: []events.Type{"session.begun"}},
		"a durable with a space": {Durable: "my audit"},
		"a negative pause":       {RetryMin: -1},
		"a negative wait":        {AckWait: -1},
		"a negative limit":       {MaxTries: -1},
		"pauses that shrink":     {RetryMin: time.Hour, RetryMax: time.Second},
	}
	for name, o := range tests {
		t.Run(name, func(t *testing.T) {
			sub, err := events.Subscribe(t.Context(), nc, o, none)
			if err == nil {
				sub.Close()
				t.Error("was accepted")
			}
		})
	}
}

func TestBrokerRestart(t *testing.T) {
	t.Parallel()
	for name, durable := range map[string]string{"with a durable": "audit", "without": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := eventstest.NewBroker(t)
			js := b.Streams(t)
			seen := eventstest.Collect(t, b.Connect(t), events.Subscription{Durable: durable, Log: quiet()})
			publish(t, js, 1, 3)
			seen.AwaitCount(t, 3)
			for round := range uint64(2) {
				b.Stop()
				b.Start()
				b.AwaitConnected(t, js.Conn())
				publish(t, js, 4+3*round, 6+3*round)
				wantSequences(t, seen.AwaitCount(t, int(6+3*round)), upTo(1, 6+3*round))
			}
		})
	}
}

func TestConsumerDeletedUnderneath(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	js := b.Streams(t)
	r := newRecorder(nil)
	sub := subscribe(t, b.Connect(t), events.Subscription{Durable: "audit"}, r.handle)
	publish(t, js, 1, 3)
	r.await(t, 3)
	awaitStats(t, sub, func(st events.Stats) bool { return st.Handled == 3 })
	if err := js.DeleteConsumer(t.Context(), events.StreamEvents, "audit"); err != nil {
		t.Fatal(err)
	}
	publish(t, js, 4, 5)
	if got := r.await(t, 2); !slices.Equal(got, upTo(4, 5)) {
		t.Errorf("delivered %v, want 4 and 5", got)
	}
	if sub.Stats().Interruptions == 0 {
		t.Error("the interruption was not counted")
	}
}

func TestStreamMadeAnew(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	js := b.Streams(t)
	r := newRecorder(nil)
	subscribe(t, b.Connect(t), events.Subscription{Durable: "audit", FromSequence: 5}, r.handle)
	publish(t, js, 1, 9)
	r.await(t, 5)
	if err := js.DeleteStream(t.Context(), events.StreamEvents); err != nil {
		t.Fatal(err)
	}
	b.Streams(t)
	// The new stream is shorter than the place that the subscriber had reached.
	publish(t, js, 10, 12)
	if got := r.await(t, 3); !slices.Equal(got, upTo(10, 12)) {
		t.Errorf("delivered %v, want all that the new stream holds", got)
	}
}

func TestConnectionClosedEndsTheSubscription(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	b.Streams(t)
	nc := b.Connect(t)
	sub := subscribe(t, nc, events.Subscription{Durable: "audit"}, newRecorder(nil).handle)
	nc.Close()
	sub.Close()
}
