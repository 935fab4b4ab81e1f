package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// forgottenAfter is when the broker drops a consumer without a durable name
// whose subscriber has gone without closing it.
const forgottenAfter = 5 * time.Minute

// place is where a subscription stands in the stream: the consumer at the
// broker, and what is needed to make it again where it was lost. Only the
// subscriber's goroutine uses it once Subscribe has returned.
type place struct {
	js   jetstream.JetStream
	opts Subscription

	consumer string    // name at the broker; empty before the first open
	created  time.Time // of the stream, which tells a stream made anew
	settled  uint64    // stream sequence of the last event done with
	from     uint64    // events with a lower Event.Sequence are passed over
}

// open finds the consumer or makes it.
func (p *place) open(ctx context.Context) (jetstream.Consumer, error) {
	stream, err := p.js.Stream(ctx, StreamEvents)
	if err != nil {
		return nil, fmt.Errorf("looking up stream %s: %w", StreamEvents, err)
	}
	if created := stream.CachedInfo().Created; !created.Equal(p.created) {
		if !p.created.IsZero() {
			// Its sequences count anew, and everything in it may be unheard.
			p.settled, p.from = 0, 0
			p.opts.FromTime, p.opts.FromSequence, p.opts.FromNow = time.Time{}, 0, false
		}
		p.created = created
	}
	c, err := p.find(ctx, stream)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		c, err = p.create(ctx, stream)
	}
	if errors.Is(err, jetstream.ErrConsumerExists) {
		c, err = p.find(ctx, stream) // another process was first
	}
	if err != nil {
		return nil, fmt.Errorf("opening consumer: %w", err)
	}
	p.consumer = c.CachedInfo().Name
	return c, nil
}

// find returns the consumer that exists, brought to these options except for
// where it starts, which the broker does not let anyone change. One that has them
// already is left alone, so that the right to change it is not needed.
func (p *place) find(ctx context.Context, stream jetstream.Stream) (jetstream.Consumer, error) {
	name := cmp.Or(p.opts.Durable, p.consumer)
	if name == "" {
		return nil, jetstream.ErrConsumerNotFound
	}
	c, err := stream.Consumer(ctx, name)
	if err != nil {
		return nil, err
	}
	has, wants := c.CachedInfo().Config, p.config()
	wants.Name = name
	wants.DeliverPolicy, wants.OptStartSeq, wants.OptStartTime = has.DeliverPolicy, has.OptStartSeq, has.OptStartTime
	if suits(has, wants) {
		return c, nil
	}
	return stream.UpdateConsumer(ctx, wants)
}

// suits reports whether a consumer has what config asks for.
func suits(has, wants jetstream.ConsumerConfig) bool {
	return has.Durable == wants.Durable && has.AckPolicy == wants.AckPolicy && has.AckWait == wants.AckWait &&
		has.MaxDeliver == wants.MaxDeliver && has.MaxAckPending == wants.MaxAckPending &&
		has.InactiveThreshold == wants.InactiveThreshold && slices.Equal(filters(has), filters(wants))
}

// filters are the subjects of a consumer, a lone one of which may stand in either field.
func filters(c jetstream.ConsumerConfig) []string {
	if c.FilterSubject != "" {
		return []string{c.FilterSubject}
	}
	return slices.Sorted(slices.Values(c.FilterSubjects))
}

func (p *place) create(ctx context.Context, stream jetstream.Stream) (jetstream.Consumer, error) {
	c := p.config()
	switch {
	case p.settled > 0:
		c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, p.settled+1
	case !p.opts.FromTime.IsZero():
		from := p.opts.FromTime
		c.DeliverPolicy, c.OptStartTime = jetstream.DeliverByStartTimePolicy, &from
	case p.opts.FromSequence > 0:
		start, err := p.search(ctx, stream)
		if err != nil {
			return nil, err
		}
		p.from = p.opts.FromSequence
		c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, start
	case p.opts.FromNow:
		c.DeliverPolicy = jetstream.DeliverNewPolicy
	}
	created, err := stream.CreateConsumer(ctx, c)
	if err == nil && p.opts.FromNow {
		// Should the consumer be lost, "now" is still this moment.
		p.opts.FromNow, p.settled = false, created.CachedInfo().Delivered.Stream
	}
	return created, err
}

// config is the consumer's configuration but for where it starts.
func (p *place) config() jetstream.ConsumerConfig {
	c := jetstream.ConsumerConfig{
		Name:           p.opts.Durable,
		Durable:        p.opts.Durable,
		DeliverPolicy:  jetstream.DeliverAllPolicy,
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        p.opts.AckWait,
		FilterSubjects: p.opts.subjects(),
		MaxDeliver:     -1,
		// More than one in flight could overtake one that has to be repeated,
		// above all when this process dies and another takes its place.
		MaxAckPending: 1,
	}
	if p.opts.Durable == "" {
		c.InactiveThreshold = forgottenAfter
	}
	return c
}

// search finds the stream sequence to start from for FromSequence, by bisection:
// the stream is in the order of Event.Sequence. What cannot be read does not
// count as passed, so that the search can only err towards too early a start,
// and the subscriber passes over the rest.
func (p *place) search(ctx context.Context, stream jetstream.Stream) (uint64, error) {
	state := stream.CachedInfo().State
	first := max(state.FirstSeq, 1)
	if state.LastSeq < first {
		return first, nil
	}
	var failed error
	n := sort.Search(int(state.LastSeq-first+1), func(i int) bool {
		msg, err := stream.GetMsg(ctx, first+uint64(i))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return false // aged out meanwhile
		}
		if err != nil {
			failed = err
			return true
		}
		e, err := Decode(msg.Data)
		return err != nil || e.Sequence >= p.opts.FromSequence
	})
	if failed != nil {
		return 0, fmt.Errorf("searching sequence %d: %w", p.opts.FromSequence, failed)
	}
	return first + uint64(n), nil
}

// forget deletes a consumer that has no durable name.
func (p *place) forget(ctx context.Context) error {
	if p.opts.Durable != "" {
		return nil
	}
	return p.js.DeleteConsumer(ctx, StreamEvents, p.consumer)
}
