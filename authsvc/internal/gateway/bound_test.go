package gateway

import (
	"testing"
	"time"
)

// TestWhatIsLeftOfTheBound is counted from the proof before the last look, because the
// latest may have come with what was learned.
func TestWhatIsLeftOfTheBound(t *testing.T) {
	b, began := bound{maxStale: 30 * time.Second}, time.Now()
	at := func(second int) time.Time { return began.Add(time.Duration(second) * time.Second) }
	want := func(what string, now int, left time.Duration) {
		t.Helper()
		if got := b.left(at(now)); got != left {
			t.Errorf("%s: %v, want %v", what, got, left)
		}
	}
	want("before any look", 0, 0)
	b.look(at(0), -1)
	b.look(at(1), -1)
	want("without a proof", 1, 0)
	b.look(at(2), 0)
	want("after the first", 2, 30*time.Second)
	b.look(at(3), time.Second)
	want("after two", 3, 29*time.Second)
	b.look(at(24), 22*time.Second) // nobody answers
	b.look(at(25), 23*time.Second)
	b.look(at(26), 0) // the proof that came with it
	want("where freshness comes back", 26, 6*time.Second)
	want("too late", 33, -time.Second)
}
