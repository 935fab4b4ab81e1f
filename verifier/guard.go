package verifier

import (
	"context"
	"errors"
	"sync"
	"time"
)

// guardEvery is how often guard looks at least: for what no timer tells, such as that
// the machine has slept.
func (v *Verifier) guardEvery() time.Duration { return min(answerLife, v.config.MaxStale/10) }

// guard ends what is watched in time. It waits for nobody, so that no watch outlives
// the bound because there are many, or because the authority is slow: inquire asks.
func (v *Verifier) guard(ctx context.Context) {
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-next.C:
		case <-v.watches.hurry:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		left := v.guardAll(now)
		v.watches.lookAt.Store(now.Add(left).UnixNano())
		next.Reset(left)
	}
}

// guardAll looks at everything watched, and returns how soon to look again: when the
// first watch would reach its bound, or one that begins meanwhile.
func (v *Verifier) guardAll(now time.Time) time.Duration {
	next := v.guardEvery()
	if proved := v.ledger.proved.Load(); proved != nil {
		for _, ofToken := range []bool{false, true} {
			if left := v.watchBound(ofToken) - ageOf(*proved, now); left > 0 {
				next = min(next, left)
			}
		}
	}
	for _, w := range v.watches.all() {
		if !w.begun.Load() {
			continue
		}
		if left := v.guardOne(w, now); left > 0 {
			next = min(next, left)
		}
	}
	return next
}

// begin hands a watch over to guard, which looks at it in time.
func (v *Verifier) begin(w *watch) {
	now := time.Now()
	left := v.guardOne(w, now)
	w.begun.Store(true)
	if now.Add(left).UnixNano() < v.watches.lookAt.Load() {
		select {
		case v.watches.hurry <- struct{}{}:
		default: // it is told already
		}
	}
}

// guardOne returns how long a watch may go on with what is known now, and ends it if
// that time or the token's own is over.
func (v *Verifier) guardOne(w *watch, now time.Time) time.Duration {
	w.known = v.knownAt(w)
	left := v.watchBound(w.token != nil) - ageOf(w.known, now)
	if w.token != nil {
		if err := v.alive(w.token, now); err != nil { // by a clock that goes on while the machine sleeps
			w.end(asError(err))
		} else if v.keys.mixed.Load() {
			w.end(v.mixedKeys())
		} else if _, known := v.keys.tokens().Lookup(w.token.claims.KeyID); !known {
			w.end(&Error{Err: ErrRevoked, Reason: ReasonRevokedKey, Detail: "the key has been withdrawn"})
		}
	}
	if left <= 0 {
		w.end(v.notFresh(now))
	}
	return left
}

// knownAt returns the last time at which what is watched is known to have been good:
// that of a proof of freshness, or of a question about it. That a proof was withdrawn
// changes nothing about the time that it spoke of.
func (v *Verifier) knownAt(w *watch) time.Time {
	at := w.known
	if proved := v.ledger.proved.Load(); proved != nil && proved.After(at) {
		at = *proved
	}
	if w.token != nil {
		if a := w.token.asked.Load(); a != nil && a.reply.Active && a.at.After(at) {
			at = a.at
		}
	}
	return at
}

// watchBound is how long the watch of a token, or of a certificate, may go on without
// being known to be good. It is a little below the bound, because whoever ends it may be a little late.
func (v *Verifier) watchBound(ofToken bool) time.Duration {
	bound := v.config.MaxStale
	if ofToken && v.config.Stale == Accept {
		bound += v.config.AcceptGrace
	}
	return bound - bound/100
}

// inquire asks the authority about every watched token when half of the bound has
// passed without proof of freshness: those that it vouches for go on. Nobody is asked
// about certificates, nor with Stale Reject.
func (v *Verifier) inquire(ctx context.Context) {
	if v.config.Stale == Reject {
		return
	}
	tick := time.NewTicker(v.guardEvery())
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if !v.provedWithin(v.config.MaxStale/2, time.Now()) {
				inParallel(v.watches.all(), max(1, v.config.MaxAsks/4), func(w *watch) { v.inquireAbout(ctx, w) })
			}
		case <-ctx.Done():
			return
		}
	}
}

// inquireAbout ends the watch of a token that is not good. Without an answer it is
// guard that ends it, in time.
func (v *Verifier) inquireAbout(ctx context.Context, w *watch) {
	select {
	case <-w.ended:
		return
	case <-ctx.Done():
		return
	default:
	}
	now := time.Now()
	if w.token == nil {
		return
	}
	if a := w.token.asked.Load(); a != nil && a.reply.Active && ageOf(a.at, now) < v.config.MaxStale/2 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, v.config.RequestTimeout)
	defer cancel()
	if _, err := v.judge(ctx, w.token, now, false); err != nil && !errors.Is(err, ErrUnavailable) {
		w.end(err)
	}
}

// inParallel does something with each of the items, and returns when all is done.
func inParallel[T any](items []T, helpers int, do func(T)) {
	waiting := make(chan T)
	var running sync.WaitGroup
	for range min(helpers, len(items)) {
		running.Go(func() {
			for item := range waiting {
				do(item)
			}
		})
	}
	for _, item := range items {
		waiting <- item
	}
	close(waiting)
	running.Wait()
}
