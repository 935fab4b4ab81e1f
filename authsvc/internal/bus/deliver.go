package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

// deliverWait is how long whoever revokes waits for the stream.
const deliverWait = time.Second

// Deliver publishes a revocation that the database has committed and tells
// whether the stream has it. It returns within a second whatever happens; where
// it returns Pending, the relay goes on. Verifiers hear of the record even while
// JetStream does not work, because they listen on its subject.
func (p *Publisher) Deliver(ctx context.Context, r events.Revocation) authority.Delivery {
	p.raiseCommitted(r.Rev)
	delivery := p.deliver(ctx, r)
	p.metrics.revocations.WithLabelValues(string(delivery)).Inc()
	return delivery
}

func (p *Publisher) deliver(ctx context.Context, r events.Revocation) authority.Delivery {
	if p.Ready() != nil || !p.nc.IsConnected() {
		return authority.Pending
	}
	msg, err := p.message(r)
	if err != nil {
		p.log.Error("revocation cannot be published", "rev", r.Rev, "error", err)
		return authority.Pending
	}
	// The revocation is committed: that its author has gone changes nothing.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deliverWait)
	defer cancel()
	if _, err := p.js.PublishMsg(ctx, msg, toFeed()...); err != nil {
		p.log.Warn("revocation is pending", "rev", r.Rev, "error", err)
		return authority.Pending
	}
	p.mark(r.Rev)
	return authority.Delivered
}

// toFeed are the options of every publish on the feed. The client library's own
// retries would only repeat the message to those who listen on the subject.
func toFeed() []jetstream.PublishOpt {
	return []jetstream.PublishOpt{jetstream.WithExpectStream(events.StreamRevocations), jetstream.WithRetryAttempts(0)}
}

// raiseCommitted notes a revision that the database has committed.
func (p *Publisher) raiseCommitted(rev uint64) {
	for {
		known := p.committed.Load()
		if rev <= known || p.committed.CompareAndSwap(known, rev) {
			return
		}
	}
}

// mark has the database note, some time soon, that the stream has the records. If
// that is lost, the relay publishes them once more, which is harmless.
func (p *Publisher) mark(revs ...uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.marks = append(p.marks, revs...)
}

// flushMarks writes the marks, many in one transaction.
func (p *Publisher) flushMarks(ctx context.Context) error {
	p.mu.Lock()
	marks := p.marks
	p.marks = nil
	p.mu.Unlock()
	if len(marks) == 0 {
		return nil
	}
	if err := p.db.Write(ctx, func(tx *store.Tx) error { return tx.MarkDelivered(marks...) }); err != nil {
		p.mark(marks...)
		return fmt.Errorf("marking %d revocations delivered: %w", len(marks), err)
	}
	return nil
}
