package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

const (
	// relayBatch is how many messages are on their way at once.
	relayBatch = 256
	// relayDelay keeps the relay away from revocations that their author may be
	// publishing at this moment.
	relayDelay = 2 * deliverWait

	leaseName  = "relay"
	leaseTime  = 10 * time.Second
	leaseRenew = 3 * time.Second
)

// lease is this process's hold on the task of relaying.
type lease struct {
	holder string
	until  time.Time // by our clock; zero while another process has it
	next   time.Time // when to ask the database again
}

// eventCursor is the last sequence of AUTH_EVENTS, as far as we know.
type eventCursor struct {
	seq   uint64
	known bool
}

// relay publishes what waits in the database, if this process holds the lease.
// A lease that is held twice, after a long pause, does no harm: see publishEvents.
func (p *Publisher) relay(ctx context.Context) error {
	leads, err := p.holdLease(ctx)
	if err == nil && leads {
		err = errors.Join(p.relayRevocations(ctx), p.relayEvents(ctx))
	}
	if err != nil && ctx.Err() == nil {
		p.metrics.relayErrors.Inc()
		p.often.Do(func() { p.log.Warn("relaying to the bus failed; trying again", "error", err) })
	}
	return err
}

func (p *Publisher) holdLease(ctx context.Context) (bool, error) {
	now := time.Now()
	if now.Before(p.lease.next) {
		return now.Before(p.lease.until), nil
	}
	if p.lease.until.IsZero() && p.heldElsewhere(ctx, now) {
		return false, nil
	}
	var held bool
	err := p.db.Write(ctx, func(tx *store.Tx) (err error) {
		held, err = tx.AcquireLease(leaseName, p.lease.holder, leaseTime)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("holding the relay's lease: %w", err)
	}
	if !held || p.lease.until.IsZero() {
		p.lastEvent.known = false // others have published, or may have
	}
	p.lease.next, p.lease.until = now, time.Time{}
	p.metrics.leading.Set(0)
	if held {
		p.lease.next, p.lease.until = now.Add(leaseRenew), now.Add(leaseTime)
		p.metrics.leading.Set(1)
	}
	return held, nil
}

// heldElsewhere reads before holdLease writes: the other replicas look often and
// leave no trace in the database.
func (p *Publisher) heldElsewhere(ctx context.Context, now time.Time) bool {
	l, err := p.db.Reader(ctx).Lease(leaseName)
	return err == nil && l.Holder != p.lease.holder && now.Before(l.Until)
}

func (p *Publisher) releaseLease(ctx context.Context) {
	if p.lease.until.IsZero() {
		return
	}
	err := p.db.Write(ctx, func(tx *store.Tx) error { return tx.ReleaseLease(leaseName, p.lease.holder) })
	if err != nil {
		p.log.Warn("releasing the relay's lease failed; it runs out by itself", "error", err)
	}
	p.lease.until = time.Time{}
}

// relayRevocations publishes the revocations whose author could not.
func (p *Publisher) relayRevocations(ctx context.Context) error {
	for {
		batch, err := p.db.Reader(ctx).Undelivered(relayBatch)
		if err != nil {
			return err
		}
		full, before := len(batch) == relayBatch, time.Now().Add(-relayDelay).UnixMilli()
		for i, r := range batch {
			if r.At > before { // records are in order, and the later ones are younger still
				batch, full = batch[:i], false
				break
			}
		}
		if err := p.publishRecords(ctx, batch); err != nil {
			return err
		}
		p.metrics.relayed.WithLabelValues("revocation").Add(float64(len(batch)))
		if !full {
			return nil
		}
	}
}

// publishRecords publishes records, at most relayBatch of them, and marks those
// that the stream has.
func (p *Publisher) publishRecords(ctx context.Context, records []events.Revocation) error {
	type sent struct {
		rev uint64
		ack jetstream.PubAckFuture
	}
	var waiting []sent
	var errs []error
	for _, r := range records {
		msg, err := p.message(r)
		if err == nil {
			var ack jetstream.PubAckFuture
			if ack, err = p.js.PublishMsgAsync(msg, toFeed()...); err == nil {
				waiting = append(waiting, sent{r.Rev, ack})
			}
		}
		errs = appendError(errs, err)
	}
	for _, s := range waiting {
		_, err := await(ctx, s.ack)
		if errs = appendError(errs, err); err == nil {
			p.mark(s.rev)
		}
	}
	if len(errs) > 0 {
		return errors.Join(p.flushMarks(ctx),
			fmt.Errorf("publishing %d of %d revocations: %w", len(errs), len(records), errs[0]))
	}
	return p.flushMarks(ctx)
}

func appendError(errs []error, err error) []error {
	if err != nil {
		errs = append(errs, err)
	}
	return errs
}

// relayEvents empties the outbox.
func (p *Publisher) relayEvents(ctx context.Context) error {
	for {
		batch, err := p.db.Reader(ctx).PendingEvents(relayBatch)
		if err != nil || len(batch) == 0 {
			return err
		}
		n, publishErr := p.publishEvents(ctx, batch)
		if n > 0 {
			through := batch[n-1].Seq
			err = p.db.Write(ctx, func(tx *store.Tx) error { return tx.MarkPublished(through) })
			p.metrics.relayed.WithLabelValues("event").Add(float64(n))
		}
		if err := errors.Join(publishErr, err); err != nil {
			return err
		}
	}
}

// publishEvents publishes events in order and returns how many the stream has.
// Each goes out on the condition that it follows the stream's last message.
func (p *Publisher) publishEvents(ctx context.Context, batch []store.OutboxEvent) (int, error) {
	if !p.lastEvent.known {
		if err := p.findLastEvent(ctx); err != nil {
			return 0, err
		}
	}
	n := 0
	for n < len(batch) {
		// Alone, until it is clear where the new ones begin: a repeated message
		// takes no place in the stream.
		ack, err := p.sendEvents(ctx, batch[n:n+1])
		if err != nil {
			return n, err
		}
		n++
		if !ack.repeated {
			break
		}
	}
	rest, err := p.sendEvents(ctx, batch[n:])
	return n + rest.count, err
}

// outcome is how many events of a batch the stream has, and whether it had one of
// them before.
type outcome struct {
	count    int
	repeated bool
}

// sendEvents publishes all of batch at once, each on the condition that the
// stream holds the one before it, and stops counting at the first that failed.
func (p *Publisher) sendEvents(ctx context.Context, batch []store.OutboxEvent) (outcome, error) {
	acks, err := p.startEvents(batch)
	var done outcome
	for _, ack := range acks {
		got, ackErr := await(ctx, ack)
		if ackErr != nil {
			// Which message is the last one is no longer known.
			p.lastEvent.known = false
			return done, fmt.Errorf("publishing event %d: %w", batch[done.count].Seq, ackErr)
		}
		done.count++
		done.repeated = done.repeated || got.Duplicate
		p.lastEvent.seq = max(p.lastEvent.seq, got.Sequence)
	}
	return done, err
}

func (p *Publisher) startEvents(batch []store.OutboxEvent) ([]jetstream.PubAckFuture, error) {
	acks := make([]jetstream.PubAckFuture, 0, len(batch))
	for i, e := range batch {
		msg, err := eventMessage(e.Subject, e.Document)
		if err != nil {
			return acks, err
		}
		ack, err := p.js.PublishMsgAsync(msg,
			jetstream.WithExpectStream(events.StreamEvents), jetstream.WithRetryAttempts(0),
			jetstream.WithExpectLastSequence(p.lastEvent.seq+uint64(i)))
		if err != nil {
			p.lastEvent.known = false
			return acks, fmt.Errorf("publishing event %d: %w", e.Seq, err)
		}
		acks = append(acks, ack)
	}
	return acks, nil
}

func (p *Publisher) findLastEvent(ctx context.Context) error {
	stream, err := p.js.Stream(ctx, events.StreamEvents)
	if err != nil {
		return fmt.Errorf("looking at %s: %w", events.StreamEvents, err)
	}
	p.lastEvent = eventCursor{seq: stream.CachedInfo().State.LastSeq, known: true}
	return nil
}

// await waits for the stream's acknowledgement of one message.
func await(ctx context.Context, ack jetstream.PubAckFuture) (*jetstream.PubAck, error) {
	select {
	case got := <-ack.Ok():
		return got, nil
	case err := <-ack.Err():
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(2 * ackTimeout): // a connection closed under us answers nothing
		return nil, nats.ErrTimeout
	}
}
