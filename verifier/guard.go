package verifier

import (
	"context"
	"errors"
	"sync"
	"time"
)

// guardEvery is how often guard looks: what is watched may end up to three times that
// before the bound is reached.
func (v *Verifier) guardEvery() time.Duration { return min(answerLife, v.config.MaxStale/10) }

// guard looks at everything watched. It waits for nobody, so that no watch outlives
// the bound because there are many, or because the authority is slow: inquire asks.
func (v *Verifier) guard(ctx context.Context) {
	tick := time.NewTicker(v.guardEvery())
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			for _, w := range v.watches.all() {
				if w.begun.Load() {
					v.guardOne(w, time.Now())
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

// guardOne ends a watch whose token is over, by a clock that goes on while the machine
// sleeps, or of which too little will be known before the next look.
func (v *Verifier) guardOne(w *watch, now time.Time) {
	w.known = v.knownAt(w)
	// Twice, because the next look may be late, on a machine that is busy.
	over := ageOf(w.known, now.Add(2*v.guardEvery())) > v.watchBound(w)
	if w.token == nil {
		if over {
			w.end(v.notFresh(now))
		}
		return
	}
	if err := v.alive(w.token, now); err != nil {
		w.end(asError(err))
		return
	}
	switch {
	case v.keys.mixed.Load():
		w.end(v.mixedKeys())
	case over:
		w.end(v.notFresh(now))
	}
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

// watchBound is how long a watch may go on without being known to be good.
func (v *Verifier) watchBound(w *watch) time.Duration {
	if w.token != nil && v.config.Stale == Accept {
		return v.config.MaxStale + v.config.AcceptGrace
	}
	return v.config.MaxStale
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
