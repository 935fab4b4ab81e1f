package verifier

import (
	"testing"
	"testing/synctest"
	"time"
)

// newTestBreaker counts how often it opens and closes.
func newTestBreaker() (b *breaker, opened, closed *int) {
	opened, closed = new(int), new(int)
	return &breaker{changed: func(open bool, _ time.Duration) {
		if open {
			*opened++
		} else {
			*closed++
		}
	}}, opened, closed
}

// open has it fail until it opens.
func openBreaker(t *testing.T, b *breaker) {
	t.Helper()
	for range breakerFailures {
		if admitted, trial := b.enter(time.Now()); !admitted || trial {
			t.Fatal("a closed breaker does not let pass")
		}
		b.failed(time.Now(), false)
	}
}

func TestTheBreakerOpensAfterFailuresInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, opened, closed := newTestBreaker()
		for range breakerFailures - 1 {
			b.failed(time.Now(), false)
		}
		b.answered()
		for range breakerFailures - 1 {
			b.failed(time.Now(), false)
		}
		if admitted, _ := b.enter(time.Now()); !admitted || *opened != 0 {
			t.Fatal("it opened though there was an answer in between")
		}
		b.failed(time.Now(), false)
		if admitted, _ := b.enter(time.Now()); admitted || !b.isOpen(time.Now()) || *opened != 1 {
			t.Fatal("it did not open")
		}
		time.Sleep(breakerFirstPause)
		admitted, trial := b.enter(time.Now())
		if !admitted || !trial {
			t.Fatal("nobody may try after the pause")
		}
		if again, _ := b.enter(time.Now()); again || !b.isOpen(time.Now()) {
			t.Error("two may try at once")
		}
		b.answered()
		if admitted, trial := b.enter(time.Now()); !admitted || trial || *closed != 1 {
			t.Error("an answer did not close it")
		}
	})
}

func TestThePausesOfTheBreakerDouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, opened, _ := newTestBreaker()
		openBreaker(t, b)
		want := breakerFirstPause
		for range 10 {
			began := time.Now()
			for {
				if admitted, trial := b.enter(time.Now()); admitted {
					if !trial {
						t.Fatal("admitted without a trial")
					}
					break
				}
				b.failed(time.Now(), false) // one that was asked before it opened: no news
				time.Sleep(time.Millisecond)
			}
			if took := time.Since(began); took > want+time.Millisecond || took < want*4/5 {
				t.Errorf("a pause of %v, want about %v", took, want)
			}
			b.failed(time.Now(), true)
			want = min(2*want, breakerLastPause)
		}
		if *opened != 1 {
			t.Errorf("it opened %d times in one outage", *opened)
		}
		b.answered() // of a question from before
		openBreaker(t, b)
		time.Sleep(breakerFirstPause)
		if admitted, _ := b.enter(time.Now()); !admitted {
			t.Error("a new outage does not begin with the first pause")
		}
	})
}
