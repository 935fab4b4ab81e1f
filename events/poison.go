package events

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Why a message is poison beyond the reasons of [DecodeError]. The values are stable.
const (
	ReasonRefused = "refused" // the handler returned ErrPoison
	ReasonTries   = "tries"   // delivered Subscription.MaxTries times
	ReasonPanic   = "panic"   // the handler panicked on it three times
)

// maxPanics is how often the handler may panic on one event. A panic is mostly
// the event's fault, and repeating it for ever would be a crash loop.
const maxPanics = 3

// Poison is a message that was given up. It stays in the stream until it ages
// out, under StreamSequence.
type Poison struct {
	Subject        string
	StreamSequence uint64
	Payload        []byte
	// Reason is one of the Reason constants, Err the detail: a [*DecodeError],
	// or what the handler returned.
	Reason string
	Err    error
}

// panicError is what a handler's panic becomes.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("handler panicked: %v\n%s", e.value, e.stack) }

// panics counts the handler's panics on one message. The broker's own count
// would not do: it grows with errors too.
type panics struct {
	message uint64
	count   int
}

func (p *panics) add(message uint64) int {
	if p.message != message {
		p.message, p.count = message, 0
	}
	p.count++
	return p.count
}

// hopeless reports whether an event whose handler returned err is poison.
func (s *Subscriber) hopeless(meta *jetstream.MsgMetadata, err error) bool {
	var panicked *panicError
	switch {
	case errors.Is(err, ErrPoison):
		return true
	case errors.As(err, &panicked) && s.panics.add(meta.Sequence.Stream) >= maxPanics:
		return true
	}
	return s.opts.MaxTries > 0 && meta.NumDelivered >= uint64(s.opts.MaxTries)
}

// reasonFor names the reason for which a message that failed with err is poison.
func reasonFor(err error) string {
	var undecodable *DecodeError
	var panicked *panicError
	switch {
	case errors.As(err, &undecodable):
		return undecodable.Reason
	case errors.Is(err, ErrPoison):
		return ReasonRefused
	case errors.As(err, &panicked):
		return ReasonPanic
	}
	return ReasonTries
}

// terminate gives a message up: reports it, counts it, and tells the broker
// never to deliver it here again.
func (s *Subscriber) terminate(msg jetstream.Msg, meta *jetstream.MsgMetadata, err error) {
	reason := reasonFor(err)
	s.opts.Log.Error("poison message on the event stream", "durable", s.opts.Durable, "subject", msg.Subject(),
		"stream_sequence", meta.Sequence.Stream, "reason", reason, "error", err)
	s.report(Poison{
		Subject: msg.Subject(), StreamSequence: meta.Sequence.Stream,
		Payload: msg.Data(), Reason: reason, Err: err,
	})
	s.count(func(st *Stats) { st.Poison++; st.LastError = err })
	s.settle(msg.TermWithReason(reason), meta)
}

// report calls OnPoison. It has no second chance if it panics.
func (s *Subscriber) report(p Poison) {
	if s.opts.OnPoison == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			s.count(func(st *Stats) { st.Panics++ })
			s.opts.Log.Error("OnPoison panicked", "panic", v)
		}
	}()
	s.opts.OnPoison(p)
}
