package verifier

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/events"
)

const (
	// liveGrace is how long records that are already committed may take to
	// arrive on the feed before they are fetched.
	liveGrace = 50 * time.Millisecond
	// pageLimit is the most records asked for at once.
	pageLimit = 2000
	// hopLimit is the most records of the page that is tried before the stream is
	// read: few, because a whole fleet may start at once.
	hopLimit = 250
	// bulkFrom is the number of missing records from which the stream is read
	// instead of the database.
	bulkFrom = 5000
	// bulkJitter spreads the readers of a fleet that starts at once.
	bulkJitter = 2 * time.Second
)

// complete brings the watermark up to the reply's revision.
func (f *follower) complete(ctx context.Context, reply events.FreshReply) error {
	f.ledger.reach(reply.Epoch, 0, reply.Floor-1) // what is below the floor has expired
	_, applied, _ := f.ledger.position()
	missing := reply.Rev - min(reply.Rev, applied)
	if missing >= bulkFrom {
		// Most of them may have expired: the record of a certificate holds the floor
		// down for days. A page skips those, and may be all there is.
		if err := f.repair(ctx, reply.Epoch, applied, hopLimit); err != nil {
			return err
		}
		_, applied, _ = f.ledger.position()
		missing = reply.Rev - min(reply.Rev, applied)
	}
	if missing >= bulkFrom {
		f.readHistory(ctx)
	} else if missing > 0 && f.proved {
		f.awaitLive(ctx, reply.Rev)
	}
	for {
		_, applied, _ := f.ledger.position()
		if applied >= reply.Rev {
			return nil
		}
		if err := f.repair(ctx, reply.Epoch, applied, pageLimit); err != nil {
			return err
		}
	}
}

// awaitLive gives records that are on their way the time to arrive.
func (f *follower) awaitLive(ctx context.Context, rev uint64) {
	timer := time.NewTimer(liveGrace)
	defer timer.Stop()
	for {
		_, applied, moved := f.ledger.position()
		if applied >= rev {
			return
		}
		select {
		case <-moved:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// readHistory reads the stream, which spares the authority's database. Whatever
// it does not bring is fetched by range.
func (f *follower) readHistory(ctx context.Context) {
	var since time.Time
	if !f.authorityTime.IsZero() {
		since = f.authorityTime.Add(-clockMargin)
	}
	timer := time.NewTimer(rand.N(bulkJitter))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return
	}
	err := f.authority.history(ctx, since, func(msg *nats.Msg) { f.receive(msg, fromHistory) })
	if err != nil && ctx.Err() == nil {
		f.config.Logger.Info("reading the log from the authority instead of the stream", "error", err)
	}
}

// repair fetches one page of the log after a revision and applies it.
func (f *follower) repair(ctx context.Context, epoch string, after uint64, limit int) error {
	page, err := f.authority.page(ctx, events.RangeRequest{Epoch: epoch, After: after, Limit: limit})
	if err != nil {
		return err
	}
	if page.Epoch != epoch {
		return errors.New("the log changed while it was read")
	}
	if page.After > after || page.Through <= after {
		return fmt.Errorf("the authority's page %d–%d does not continue after %d", page.After, page.Through, after)
	}
	whole := true
	for _, raw := range page.Records {
		r, err := events.DecodeRevocation(raw)
		if err == nil {
			err = f.apply(r)
		}
		if err != nil {
			whole = false
			f.reject(epoch, err)
			continue
		}
		f.counters.repaired.Add(1)
	}
	if !whole {
		return errors.New("the log holds records that cannot be applied")
	}
	f.ledger.reach(page.Epoch, page.After+1, page.Through)
	return nil
}

// reject notes a genuine record that could not be applied.
func (f *follower) reject(epoch string, err error) {
	var unknown *events.NotUnderstoodError
	switch {
	case errors.As(err, &unknown):
		f.counters.notUnderstood.Add(1)
		f.ledger.darken(unknown.Epoch, unknown.Rev)
		f.alarm("a revocation was not understood: not fresh until it has expired", "error", err)
	case errors.Is(err, errFull):
		f.ledger.disprove()
		f.alarm("a revocation does not fit", "error", err)
	default:
		f.counters.malformed.Add(1)
		f.ledger.disprove()
		f.alarm("a signed revocation cannot be read", "epoch", epoch, "error", err)
	}
}
