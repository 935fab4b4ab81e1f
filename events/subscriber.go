package events

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// A pull request waits at the broker for pullExpiry; a broker that is silent
	// for two heartbeats has lost it, or the consumer.
	pullExpiry    = 30 * time.Second
	pullHeartbeat = 5 * time.Second

	// reopenMin and reopenMax bound the pause between attempts to get the
	// consumer back.
	reopenMin = 50 * time.Millisecond
	reopenMax = 5 * time.Second

	// closeWait bounds what Close asks of the broker.
	closeWait = 2 * time.Second
)

// Subscriber is a subscription that runs. Its methods may be called from any
// goroutine; Close not from the handler.
type Subscriber struct {
	nc      *nats.Conn
	opts    Subscription
	place   place
	handler Handler
	cancel  context.CancelFunc
	done    chan struct{}
	panics  panics

	mu    sync.Mutex // guards stats
	stats Stats
}

// Stats counts what a subscriber has done since it was made.
type Stats struct {
	Handled       uint64 // events that the handler took
	Retries       uint64 // deliveries that failed and will be repeated
	Poison        uint64 // messages terminated
	Panics        uint64 // deliveries in which the handler panicked
	Interruptions uint64 // times the consumer had to be found or made again
	// LastSequence is the Event.Sequence of the last event handled.
	LastSequence uint64
	// LastError is the last error of the handler, a decoder or the broker.
	LastError error
}

// Stats returns the counts as of now.
func (s *Subscriber) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// count changes the statistics.
func (s *Subscriber) count(change func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.stats)
}

// Close ends the handler's context, waits until the handler has returned, and
// gives what is unhandled back to the broker, at once and not after AckWait.
func (s *Subscriber) Close() {
	s.cancel()
	<-s.done
}

// run is the subscriber's only goroutine: it delivers until ctx ends.
func (s *Subscriber) run(ctx context.Context, consumer jetstream.Consumer) {
	defer close(s.done)
	for consumer != nil {
		err := s.deliver(ctx, consumer)
		if ctx.Err() != nil {
			break
		}
		s.opts.Log.Warn("event subscription interrupted", "durable", s.opts.Durable, "error", err)
		s.count(func(st *Stats) { st.Interruptions++; st.LastError = err })
		consumer = s.reopen(ctx)
	}
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
	defer cancel()
	if s.nc.IsConnected() {
		_ = s.place.forget(bye)        // the broker does so itself in time
		_ = s.nc.FlushWithContext(bye) // what is not acknowledged comes again
	}
}

// deliver hands out messages until ctx ends or the consumer fails.
func (s *Subscriber) deliver(ctx context.Context, consumer jetstream.Consumer) error {
	messages, err := consumer.Messages(jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullHeartbeat))
	if err != nil {
		return fmt.Errorf("pulling events: %w", err)
	}
	defer giveBack(messages)
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("pulling events: %w", err)
		}
		s.process(ctx, msg)
	}
}

// giveBack returns what the broker has delivered and nobody has looked at.
func giveBack(messages jetstream.MessagesContext) {
	defer messages.Stop()
	messages.Drain()
	for {
		msg, err := messages.Next(jetstream.NextMaxWait(closeWait))
		if err != nil {
			return // all has been read, or the broker is away
		}
		_ = msg.Nak() // without it the broker waits for AckWait
	}
}

// reopen gets the consumer back, and returns nil when ctx or the connection ends
// first.
func (s *Subscriber) reopen(ctx context.Context) jetstream.Consumer {
	for pause := reopenMin; ; pause = min(2*pause, reopenMax) {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		if s.nc.IsClosed() {
			s.opts.Log.Error("event subscription ended: its connection is closed", "durable", s.opts.Durable)
			return nil
		}
		consumer, err := s.place.open(ctx)
		if err == nil {
			return consumer
		}
		s.count(func(st *Stats) { st.LastError = err })
	}
}

// process takes one message to its end: acknowledged, to be repeated, or terminated.
func (s *Subscriber) process(ctx context.Context, msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		s.opts.Log.Error("event without metadata", "subject", msg.Subject(), "error", err)
		return
	}
	e, err := Decode(msg.Data())
	switch {
	case err != nil:
		s.terminate(msg, meta, err)
	case e.Sequence < s.place.from:
		s.settle(msg.Ack(), meta)
	default:
		s.offer(ctx, msg, meta, e)
	}
}

// offer calls the handler and does what its verdict asks for.
func (s *Subscriber) offer(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata, e Event) {
	err := s.call(ctx, msg, e)
	switch {
	case err == nil:
		s.count(func(st *Stats) { st.Handled++; st.LastSequence = e.Sequence })
		s.settle(msg.Ack(), meta)
	case ctx.Err() != nil:
		_ = msg.Nak() // closing; without it the broker waits for AckWait
	case s.hopeless(meta, err):
		s.terminate(msg, meta, err)
	default:
		pause := s.opts.pause(meta.NumDelivered)
		s.opts.Log.Warn("event handler failed", "durable", s.opts.Durable, "type", e.Data.Type(),
			"sequence", e.Sequence, "tries", meta.NumDelivered, "retry_in", pause, "error", err)
		s.count(func(st *Stats) { st.Retries++; st.LastError = err })
		_ = msg.NakWithDelay(pause)
	}
}

// call runs the handler, tells the broker meanwhile that it is at work, and
// turns a panic into an error.
func (s *Subscriber) call(ctx context.Context, msg jetstream.Msg, e Event) (err error) {
	returned := make(chan struct{})
	var working sync.WaitGroup
	working.Go(func() { keepAlive(msg, s.opts.AckWait/3, returned) })
	defer working.Wait()
	defer close(returned)
	defer func() {
		if p := recover(); p != nil {
			s.count(func(st *Stats) { st.Panics++ })
			err = &panicError{value: p, stack: debug.Stack()}
		}
	}()
	return s.handler(ctx, e)
}

func keepAlive(msg jetstream.Msg, every time.Duration, returned <-chan struct{}) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-returned:
			return
		case <-ticker.C:
			_ = msg.InProgress() // at worst the event is delivered once more
		}
	}
}

// settle notes that an event is done with. Where the broker did not hear so, it
// delivers the event again.
func (s *Subscriber) settle(err error, meta *jetstream.MsgMetadata) {
	s.place.settled = meta.Sequence.Stream
	if err != nil {
		s.count(func(st *Stats) { st.LastError = err })
	}
}
