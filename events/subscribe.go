package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Handler is called with one event at a time. Returning nil settles the event;
// an error has it delivered again after a pause, before any later event; an
// error that wraps [ErrPoison] gives it up at once. ctx ends when the subscriber
// is closed: a handler that blocks must heed it, and must not call Close itself.
type Handler func(ctx context.Context, e Event) error

// ErrPoison is for handlers to return, wrapped or plain, for an event that no
// repetition will make them accept: it is terminated, counted and reported.
var ErrPoison = errors.New("event cannot be handled")

// Subscription says which events to deliver, from where on, and what to do with
// those that fail. The zero value delivers every event that the stream holds,
// forgets its place when closed, and repeats without end an event whose handler
// returns errors.
type Subscription struct {
	// Durable names the place in the stream that the broker keeps for this
	// subscriber, so that it goes on there after a restart. Processes that use
	// the same name share the events among them, still one at a time and in
	// order. Empty means that the place is forgotten on Close. A durable that exists
	// and has these options is taken as it is, so a subscriber that may not create
	// consumers can be given one ([StreamOptions.Subscribers]).
	Durable string

	// Types are the types to deliver; empty means all.
	Types []Type
	// Sub delivers only events about this user; empty means about anyone or no one.
	Sub string

	// FromTime, FromSequence and FromNow say where to start; at most one may be
	// set. They are for the first time: a durable that exists goes on where it
	// was. With none of them it starts with the oldest event that the stream holds.
	//
	// FromTime starts with the first event that was published at or after it.
	FromTime time.Time
	// FromSequence starts with the first event whose Event.Sequence is not below it.
	FromSequence uint64
	// FromNow starts with the next event to be published.
	FromNow bool

	// MaxTries makes an event poison after that many deliveries; 0 means that it
	// is delivered until the handler takes it, because errors mostly mean that
	// something else is out of order for a while.
	MaxTries int
	// RetryMin is the pause after the first error; it doubles with each up to
	// RetryMax. 0 means 1 second, and 1 minute for RetryMax.
	RetryMin, RetryMax time.Duration
	// AckWait is how long the broker waits for a subscriber that has died before
	// it delivers its event again; 0 means 30 seconds. A handler may take longer.
	AckWait time.Duration

	// OnPoison is called with each poison message before it is terminated; nil
	// means that it is logged only. It is called from the handler's goroutine.
	OnPoison func(Poison)
	// Log receives errors, poison and interruptions; nil means slog.Default().
	Log *slog.Logger
}

// The defaults of Subscription.
const (
	defaultRetryMin = time.Second
	defaultRetryMax = time.Minute
	defaultAckWait  = 30 * time.Second
)

func (o Subscription) withDefaults() (Subscription, error) {
	starts := 0
	for _, set := range []bool{!o.FromTime.IsZero(), o.FromSequence > 0, o.FromNow} {
		if set {
			starts++
		}
	}
	if starts > 1 {
		return o, errors.New("more than one of FromTime, FromSequence and FromNow is set")
	}
	for _, t := range o.Types {
		if _, known := kinds()[t]; !known {
			return o, fmt.Errorf("type %q is not in the contract", t)
		}
	}
	o.RetryMin = cmp.Or(o.RetryMin, defaultRetryMin)
	o.RetryMax = cmp.Or(o.RetryMax, max(defaultRetryMax, o.RetryMin))
	o.AckWait = cmp.Or(o.AckWait, defaultAckWait)
	if o.RetryMin < 0 || o.RetryMax < o.RetryMin || o.AckWait < 0 || o.MaxTries < 0 {
		return o, errors.New("RetryMin, AckWait or MaxTries is negative, or RetryMax is below RetryMin")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o, nil
}

// subjects returns the subjects that the consumer filters by.
func (o Subscription) subjects() []string {
	if len(o.Types) == 0 {
		if o.Sub == "" {
			return []string{SubjectEvents}
		}
		// Every type has two tokens.
		return []string{eventRoot + "*.*." + subjectToken(o.Sub)}
	}
	subjects := make([]string, len(o.Types))
	for i, t := range o.Types {
		subjects[i] = eventRoot + string(t) + ".*"
		if o.Sub != "" {
			subjects[i] = SubjectOf(t, o.Sub)
		}
	}
	return subjects
}

// pause returns how long an event rests after its nth delivery has failed.
func (o Subscription) pause(n uint64) time.Duration {
	d := o.RetryMin
	for ; n > 1 && d < o.RetryMax; n-- {
		d *= 2
	}
	return min(d, o.RetryMax)
}

// Subscribe delivers events to handler until the subscriber is closed. The
// package doc has the delivery contract. ctx bounds Subscribe itself; its values
// are passed on to the handler.
//
// It fails if the stream AUTH_EVENTS does not exist. Afterwards nothing ends the
// subscription but Close or the end of the connection: it outlasts a broker that
// restarts, and a consumer or stream that is deleted and created again.
func Subscribe(ctx context.Context, nc *nats.Conn, o Subscription, handler Handler) (*Subscriber, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("subscribing to events: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("subscribing to events: %w", err)
	}
	s := &Subscriber{nc: nc, place: place{js: js, opts: o}, opts: o, handler: handler, done: make(chan struct{})}
	consumer, err := s.place.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("subscribing to events: %w", err)
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	go s.run(running, consumer) // ends, and is waited for, in Close
	return s, nil
}
