package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

// epochGap is how far revisions jump with a new epoch: above every one that may
// have been given out after the last that is known.
const epochGap = 1 << 32

// maxJumps bounds how often the jump is repeated for a database that was put
// back more than once; a forged event far ahead must not use up the numbers.
const maxJumps = 16

// check reconciles if that has not been done, or if a look at the streams and
// the head says that it must be done again.
func (p *Publisher) check(ctx context.Context) {
	why, err := p.whyReconcile(ctx)
	if err == nil && why != "" {
		p.log.Info("comparing the database with the bus", "because", why)
		err = p.reconcile(ctx)
		p.metrics.reconciled.WithLabelValues(result(err)).Inc()
	}
	switch {
	case ctx.Err() != nil:
	case err == nil:
		if p.Ready() != nil {
			p.setReady()
		}
	case p.Ready() != nil:
		p.setUnready(fmt.Errorf("%w: %w", ErrNotReconciled, err))
		p.often.Do(func() { p.log.Warn("not ready: cannot compare the database with the bus", "error", err) })
	default:
		// An outage of the bus stops nothing once they have been compared.
		p.often.Do(func() { p.log.Warn("looking at the streams failed; trying again", "error", err) })
	}
}

func result(err error) string {
	if err != nil {
		return "failed"
	}
	return "done"
}

// whyReconcile returns a reason to reconcile, or none.
func (p *Publisher) whyReconcile(ctx context.Context) (string, error) {
	if err := p.Ready(); err != nil {
		if p.feed.created.IsZero() {
			return "this process has just started", nil
		}
		return "the last attempt failed", nil
	}
	known := p.committed.Load() // before the database is asked: it goes on meanwhile
	index, err := p.db.Reader(ctx).ReadIndex()
	if err != nil {
		return "", err
	}
	if index.Rev < known {
		err := fmt.Errorf("%w: it went back from revision %d to %d", ErrNotReconciled, known, index.Rev)
		p.setUnready(err)
		p.log.Error("the database went back in time", "known", known, "found", index.Rev)
		return err.Error(), nil
	}
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	for _, name := range []string{events.StreamEvents, events.StreamRevocations} {
		stream, err := p.js.Stream(ctx, name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			return "the stream " + name + " is gone", nil
		case err != nil:
			return "", fmt.Errorf("looking at %s: %w", name, err)
		case name == events.StreamRevocations:
			return p.changed(stream.CachedInfo()), nil
		}
	}
	return "", nil
}

// changed says how the feed is not the stream that we know.
func (p *Publisher) changed(info *jetstream.StreamInfo) string {
	switch {
	case !info.Created.Equal(p.feed.created):
		return "the feed was created anew"
	case info.State.LastSeq < p.feed.last:
		return "the feed has lost messages"
	}
	p.feed.last = info.State.LastSeq
	return ""
}

// reconcile makes database and streams say the same. It may be repeated at any
// time. ctx has no deadline, so that each request has the client library's own: a
// cluster that is starting up leaves requests without an answer.
func (p *Publisher) reconcile(ctx context.Context) error {
	if err := CheckServer(p.nc); err != nil {
		return err
	}
	if err := p.ensureStreams(ctx); err != nil {
		return err
	}
	before, err := p.db.Reader(ctx).ReadIndex()
	if err != nil {
		return err
	}
	feed, err := p.readFeed(ctx, before.Rev)
	if err != nil {
		return err
	}
	lacking, err := p.compare(ctx, feed)
	if err != nil {
		return err
	}
	if err := p.takeBack(ctx, feed); err != nil {
		return err
	}
	if err := p.refill(ctx, lacking); err != nil {
		return err
	}
	p.feed = feed.feedState
	p.lastEvent.known = false
	return nil
}

// compare returns the live records that the feed lacks, and adds to feed.ahead
// what it has in place of a record of the database: the database wrote other
// ones after it had been put back.
func (p *Publisher) compare(ctx context.Context, feed *feedLog) ([]events.Revocation, error) {
	var lacking []events.Revocation
	now := time.Now()
	for r, err := range p.db.AllLive(ctx, 0) {
		if err != nil {
			return nil, err
		}
		e := entry{r.Rev, p.prints.of(r)}
		if _, ok := feed.have[e]; ok {
			delete(feed.have, e)
		} else if !r.Expired(now) {
			lacking = append(lacking, r)
		}
	}
	return lacking, p.addForks(ctx, feed)
}

// addForks looks again at the records of the feed that are not in the database.
func (p *Publisher) addForks(ctx context.Context, feed *feedLog) error {
	if len(feed.have) == 0 {
		return nil
	}
	stream, err := p.js.Stream(ctx, events.StreamRevocations)
	if err != nil {
		return fmt.Errorf("looking at %s: %w", events.StreamRevocations, err)
	}
	for _, seq := range feed.have {
		r, genuine, err := p.genuine(ctx, stream, seq)
		if err != nil {
			return fmt.Errorf("reading message %d of the feed: %w", seq, err)
		}
		if !genuine {
			feed.foreign++
			continue
		}
		known, err := p.known(ctx, r)
		if err != nil {
			return err
		}
		if !known {
			feed.forks = append(feed.forks, r)
		}
	}
	return nil
}

// known reports whether the database says the same as r under a later number,
// as it does once it has taken r back.
func (p *Publisher) known(ctx context.Context, r events.Revocation) (bool, error) {
	latest, err := p.db.Reader(ctx).Log(store.LogFilter{Scope: r.Scope, ID: r.ID, Limit: 1})
	if err != nil || len(latest) == 0 {
		return false, err
	}
	return latest[0].Rev >= r.Rev && latest[0].ExpiresAt >= r.ExpiresAt, nil
}

// takeBack puts what only the streams know into the database, in a new epoch.
func (p *Publisher) takeBack(ctx context.Context, feed *feedLog) error {
	lastEvent, err := p.lastEventSequence(ctx)
	if err != nil {
		return err
	}
	if feed.foreign > 0 {
		p.metrics.foreign.Add(float64(feed.foreign))
		p.log.Error("the feed holds messages that no known feed key has signed; they are ignored", "count", feed.foreign)
	}
	var was, is store.Head
	var missing int
	err = p.db.Write(ctx, func(tx *store.Tx) (err error) {
		was = tx.Head()
		missing, err = restore(tx, feed, lastEvent)
		is = tx.Head()
		return err
	})
	if err != nil {
		return fmt.Errorf("taking back what the bus knows: %w", err)
	}
	p.committed.Store(is.Rev)
	if is.Epoch != was.Epoch {
		p.metrics.takenBack.Add(float64(missing))
		p.log.Error("the database came from a backup: a new epoch begins", "old_epoch", was.Epoch, "old_rev", was.Rev,
			"epoch", is.Epoch, "rev", is.Rev, "taken_back", missing)
	}
	return nil
}

// restore looks again at what the database lacks, because another replica may
// have been faster or may just have written it.
func restore(tx *store.Tx, feed *feedLog, lastEvent uint64) (int, error) {
	head := tx.Head()
	lastKnown := head.Rev
	for _, r := range feed.ahead {
		lastKnown = max(lastKnown, r.Rev)
	}
	if lastKnown == head.Rev && lastEvent <= head.EventSeq && len(feed.forks) == 0 {
		return 0, nil
	}
	if err := tx.OpenEpoch(lastKnown + epochGap); err != nil {
		return 0, err
	}
	for i := 1; tx.Head().EventSeq <= lastEvent && i < maxJumps; i++ {
		if err := tx.OpenEpoch(tx.Head().Rev + epochGap); err != nil {
			return 0, err
		}
	}
	return tx.TakeBack(append(feed.ahead, feed.forks...))
}

// lastEventSequence returns the sequence number of the last event on the bus, 0
// where there is none. Events are kept far longer than revocations, so it tells
// of a backup even when the feed has nothing left to tell.
func (p *Publisher) lastEventSequence(ctx context.Context) (uint64, error) {
	stream, err := p.js.Stream(ctx, events.StreamEvents)
	if err != nil {
		return 0, fmt.Errorf("looking at %s: %w", events.StreamEvents, err)
	}
	last := stream.CachedInfo().State.LastSeq
	if last == 0 {
		return 0, nil
	}
	msg, err := stream.GetMsg(ctx, last)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the last event: %w", err)
	}
	event, err := events.Decode(msg.Data)
	if err != nil {
		p.log.Error("the last message among the events is none; it is ignored", "error", err)
		return 0, nil
	}
	return event.Sequence, nil
}

// refill publishes the records that the feed lacks.
func (p *Publisher) refill(ctx context.Context, lacking []events.Revocation) error {
	for len(lacking) > 0 {
		n := min(len(lacking), relayBatch)
		if err := p.publishRecords(ctx, lacking[:n]); err != nil {
			return err
		}
		p.metrics.republished.Add(float64(n))
		lacking = lacking[n:]
	}
	return nil
}
