package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/authbus/authbus/verifier"
)

// bound knows how much of the verifier's bound was left before something was learned.
// Once it has been learned the verifier may be fresh again, which says nothing about how
// long ago it happened: nobody has heard of it since the last proof before that.
type bound struct {
	verifier *verifier.Verifier
	maxStale time.Duration
	done     chan struct{} // closed when the goroutine has ended

	mu             sync.Mutex
	before, latest time.Time // of the proofs known at the last two looks; guarded by mu
}

// boundEvery is the pause between two looks. What is learned now has not been in the
// proof of the look before the last, which is at least as old.
const boundEvery = time.Second

// startBound starts a bound, which ends with lifetime; close waits.
func startBound(lifetime context.Context, v *verifier.Verifier, maxStale time.Duration) *bound {
	b := &bound{verifier: v, maxStale: maxStale, done: make(chan struct{})}
	b.look(time.Now(), v.Stats().Staleness)
	go b.run(lifetime)
	return b
}

func (b *bound) close() { <-b.done }

func (b *bound) run(lifetime context.Context) {
	defer close(b.done)
	tick := time.NewTicker(boundEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.look(time.Now(), b.verifier.Stats().Staleness)
		case <-lifetime.Done():
			return
		}
	}
}

// look notes the age of the latest proof, -1 without one.
func (b *bound) look(now time.Time, staleness time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.before = b.latest
	if staleness >= 0 {
		b.latest = now.Add(-staleness)
	}
	if b.before.IsZero() { // nobody has been let in before the first look
		b.before = b.latest
	}
}

// left is how long what was learned just now may go without effect, and not more than 0
// where it may not.
func (b *bound) left(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.before.IsZero() {
		return 0
	}
	// By the clock that says more: the monotonic one stands still while the machine sleeps.
	age := max(now.Sub(b.before), time.Duration(now.UnixNano()-b.before.UnixNano()))
	return b.maxStale - age
}
