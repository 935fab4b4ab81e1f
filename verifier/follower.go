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
	// useless says that the keys are good for none of the tokens that are signed now.
	useless bool
	// authorityTime is the authority's clock at the last proof: how far back to
	// read the stream after a long absence.
	authorityTime time.Time
}

const (
	// minPause is the shortest pause between two rounds, whoever asks for one.
	minPause = 20 * time.Millisecond
	// maxSkew is how far this clock may be from the authority's. Behind by more,
	// tokens could outlive their revocations here; ahead by more, and corrected
	// later, revocations would have expired too early.
	maxSkew = clockMargin - time.Minute
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
	// Kicks cannot make a log that is out of reach be asked without pause.
	timer.Reset(minPause + time.Duration(min(failures, 5))*100*time.Millisecond)
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
		age, fresh := f.ledger.staleness(time.Now())
		if !f.proved && fresh && age <= f.config.MaxStale { // reading it may have taken longer
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
	if errors.Is(err, events.ErrForgedReply) {
		_ = f.keys.demand(ctx) // there may be a new feed key; the next round tells
	}
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
	// Before the proof: a key that was killed is to be gone before its record expires.
	if err := f.keys.follow(ctx, reply.Keys); err != nil {
		return err
	}
	if err := f.ledger.prove(began, reply.Rev); err != nil {
		return err
	}
	f.authorityTime = time.UnixMilli(reply.Now)
	return f.checkKeys()
}

// checkKeys keeps New waiting while no new token could be accepted. Later that is
// told, once, and such tokens cannot be decided about: see unknownKey.
func (f *follower) checkKeys() error {
	err := f.keys.current.Load().useless()
	switch {
	case err != nil && !f.proved:
		return err
	case err != nil && !f.useless:
		f.config.Logger.Error("no token that the authority signs now is good here", "error", err)
	}
	f.useless = err != nil
	return nil
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

// checkClock refuses to go on with a clock so far from the authority's that tokens
// could be alive on one side whose revocations are forgotten on the other.
func (f *follower) checkClock(reply events.FreshReply) error {
	behind := time.Until(time.UnixMilli(reply.Now))
	if behind.Abs() <= maxSkew {
		return nil
	}
	f.ledger.disprove()
	f.alarm("this machine's clock is far from the authority's", "behind", behind)
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

func (f *follower) alarm(what string, args ...any) {
	f.counters.alarm(f.config.Logger, what, args...)
}
