package verifier

import (
	"math/rand/v2"
	"sync"
	"time"
)

// breaker spares an authority that does not answer, and those who would wait for
// it: after some failures in a row nobody asks for a pause, then one asks. If that
// fails too, the next pause is twice as long, up to a bound; any answer ends it.
type breaker struct {
	// changed is called when it opens and when it closes, never under the lock.
	changed func(open bool, pause time.Duration)

	mu       sync.Mutex
	failures int           // in a row; guarded by mu
	pause    time.Duration // the current one, 0 while closed; guarded by mu
	until    time.Time     // its end; guarded by mu
	trying   bool          // somebody asks to see whether it can close; guarded by mu
}

const (
	breakerFailures   = 5 // in a row, to open
	breakerFirstPause = 200 * time.Millisecond
	breakerLastPause  = 10 * time.Second
)

// enter reports whether the authority may be asked now, and if so whether this is
// the one question that may close an open breaker. Whoever entered must call
// answered or failed.
func (b *breaker) enter(now time.Time) (admitted, trial bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.pause == 0:
		return true, false
	case b.trying || now.Before(b.until):
		return false, false
	}
	b.trying = true
	return true, true
}

// answered closes the breaker: there is an authority that answers, whoever asked.
func (b *breaker) answered() {
	b.mu.Lock()
	was := b.pause
	b.failures, b.pause, b.trying = 0, 0, false
	b.mu.Unlock()
	if was > 0 {
		b.changed(false, 0)
	}
}

// failed counts a question without an answer. Of those that were asked before the
// breaker opened no more is learned.
func (b *breaker) failed(now time.Time, trial bool) {
	b.mu.Lock()
	opened := false
	switch {
	case trial && b.pause > 0:
		b.trying = false
		b.open(now, min(2*b.pause, breakerLastPause))
	case b.pause == 0:
		b.failures++
		if opened = b.failures >= breakerFailures; opened {
			b.open(now, breakerFirstPause)
		}
	}
	pause := b.pause
	b.mu.Unlock()
	if opened {
		b.changed(true, pause)
	}
}

// open begins a pause, of which up to a fifth is taken off at random: services
// that lost the authority together do not all come back at once.
func (b *breaker) open(now time.Time, pause time.Duration) {
	b.pause = pause
	b.until = now.Add(pause - rand.N(pause/5))
}

// isOpen reports whether a question would be refused now for lack of answers.
func (b *breaker) isOpen(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pause > 0 && (b.trying || now.Before(b.until))
}
