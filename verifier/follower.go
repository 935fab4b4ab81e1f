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

// follower keeps the ledger complete and proves its freshness. It is one
// goroutine that makes rounds: ask for the read index, fetch what is missing,
// prove.
type follower struct {
	config    Config
	authority authority
	ledger    *ledger
	keys      *keyring
	counters  *counters
	apply     func(events.Revocation) error
	receive   func(msg *nats.Msg, from *source)
	instance  string

	kicked chan struct{}
	first  chan struct{} // closed after the first proof
	proved bool
	// authorityTime is the authority's clock at the last proof: how far back to
	// read the stream after a long absence.
	authorityTime time.Time
}

const (
	// liveGrace is how long records that are already committed may take to
	// arrive on the feed before they are fetched.
	liveGrace = 50 * time.Millisecond
	// pageLimit is the most records asked for at once.
	pageLimit = 2000
	// bulkFrom is the number of missing records from which the stream is read
	// instead of the database.
	bulkFrom = 5000
	// bulkJitter spreads the readers of a fleet that starts at once.
	bulkJitter = 2 * time.Second
	// minPause is the shortest pause between two rounds, whoever asks for one.
	minPause = 20 * time.Millisecond
	// maxBehind is how far this clock may be behind the authority's. Beyond it
	// tokens could outlive their revocations here.
	maxBehind = clockMargin - time.Minute
)

func newFollower(v *Verifier) *follower {
	return &follower{
		config: v.config, authority: v.authority, ledger: v.ledger, keys: v.keys,
		counters: &v.counters, apply: v.apply, receive: v.receive, instance: newInstance(),
		kicked: make(chan struct{}, 1), first: make(chan struct{}),
	}
}

// kick asks for a round soon.
func (f *follower) kick() {
	select {
	case f.kicked <- struct{}{}:
	default:
	}
}

func (f *follower) run(ctx context.Context) {
	failures := 0
	for {
		err := f.round(ctx)
		if ctx.Err() != nil {
			return
		}
		f.report(err)
		if err != nil {
			failures++
		} else {
			failures = 0
		}
		if !f.pause(ctx, failures) {
			return
		}
	}
}

// pause waits for the next round: the probe interval with some jitter, less
// after the first failures, and cut short by a kick.
func (f *follower) pause(ctx context.Context, failures int) bool {
	wait := f.config.ProbeInterval
	if failures > 0 && failures < 4 {
		wait = min(wait, 100*time.Millisecond<<(failures-1))
	}
	wait += time.Duration((rand.Float64() - 0.5) * 0.2 * float64(wait))
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-f.kicked:
	case <-ctx.Done():
		return false
	}
	timer.Reset(minPause)
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// report notes the outcome of a round for Stats, and logs when it changes.
func (f *follower) report(err error) {
	if err == nil {
		if old := f.counters.waiting.Swap(nil); old != nil && f.proved {
			f.config.Logger.Info("verifier can prove its freshness again")
		}
		if !f.proved {
			f.proved = true
			close(f.first)
		}
		return
	}
	f.counters.probesFailed.Add(1)
	text := err.Error()
	if old := f.counters.waiting.Swap(&text); old == nil {
		f.config.Logger.Warn("verifier cannot prove its freshness", "error", text, "max_stale", f.config.MaxStale)
	}
}

// round makes the ledger fresh as of its beginning, or says why it could not.
func (f *follower) round(ctx context.Context) error {
	if len(f.keys.feed()) == 0 {
		if err := f.keys.refresh(ctx); err != nil {
			return err
		}
	}
	epoch, applied, _ := f.ledger.position()
	f.counters.probes.Add(1)
	began := time.Now() // before the request: what it proves, it proves as of here
	reply, err := f.authority.fresh(ctx, f.probe(began, epoch, applied))
	if err != nil {
		return err
	}
	if err := f.checkClock(reply); err != nil {
		return err
	}
	f.orient(reply, epoch, applied)
	if err := f.complete(ctx, reply); err != nil {
		return err
	}
	if err := f.ledger.prove(began, reply.Rev); err != nil {
		return err
	}
	f.authorityTime = time.UnixMilli(reply.Now)
	return f.keys.follow(ctx, reply.Keys)
}

func (f *follower) probe(now time.Time, epoch string, applied uint64) events.FreshRequest {
	req := events.FreshRequest{
		Verifier: f.config.Name, Instance: f.instance, Epoch: epoch, Applied: applied,
		StaleMS: -1, MaxStaleMS: f.config.MaxStale.Milliseconds(),
	}
	if age, ok := f.ledger.staleness(now); ok {
		req.StaleMS = max(0, age.Milliseconds())
	}
	return req
}

// checkClock refuses to go on with a clock so far behind the authority's that
// tokens could be alive here whose revocations are forgotten there.
func (f *follower) checkClock(reply events.FreshReply) error {
	behind := time.Until(time.UnixMilli(reply.Now))
	if behind <= maxBehind {
		return nil
	}
	f.ledger.disprove()
	f.alarm("this machine's clock is far behind the authority's", "behind", behind)
	return fmt.Errorf("this machine's clock is %s behind the authority's", behind.Round(time.Second))
}

// orient notices that the log is another one than a moment ago, or shorter: the
// authority's database has been replaced or restored. Then everything is fetched
// anew, and what is known stays in force.
func (f *follower) orient(reply events.FreshReply, epoch string, applied uint64) {
	switch {
	case epoch == "":
		f.ledger.open(reply.Epoch, reply.Floor)
	case reply.Epoch != epoch:
		f.counters.epochChanges.Add(1)
		f.alarm("the authority has opened another revocation log", "was", epoch, "is", reply.Epoch)
		f.ledger.open(reply.Epoch, reply.Floor)
	case reply.Rev < applied:
		f.counters.epochChanges.Add(1)
		f.alarm("the revocation log has gone back", "was", applied, "is", reply.Rev)
		f.ledger.open(reply.Epoch, reply.Floor)
	}
}

// complete brings the watermark up to the reply's revision.
func (f *follower) complete(ctx context.Context, reply events.FreshReply) error {
	f.ledger.reach(reply.Epoch, 0, reply.Floor-1) // what is below the floor has expired
	_, applied, _ := f.ledger.position()
	if missing := reply.Rev - min(reply.Rev, applied); missing >= bulkFrom {
		f.readHistory(ctx)
	} else if missing > 0 && f.proved {
		f.awaitLive(ctx, reply.Rev)
	}
	for {
		_, applied, _ := f.ledger.position()
		if applied >= reply.Rev {
			return nil
		}
		if err := f.repair(ctx, reply.Epoch, applied); err != nil {
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
func (f *follower) repair(ctx context.Context, epoch string, after uint64) error {
	page, err := f.authority.page(ctx, events.RangeRequest{Epoch: epoch, After: after, Limit: pageLimit})
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

// alarm tells operators of something that should not happen. The same alarm in a
// row is counted and logged once.
func (f *follower) alarm(what string, args ...any) {
	f.counters.alarms.Add(1)
	if old := f.counters.lastAlarm.Swap(&what); old == nil || *old != what {
		f.config.Logger.Error("verifier alarm: "+what, args...)
	}
}
