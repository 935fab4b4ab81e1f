package verifier

import (
	"testing"

	"pgregory.net/rapid"
)

// TestWatermarkAgreesWithASet adds intervals in random order and compares with
// the plain definition.
func TestWatermarkAgreesWithASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Uint64Range(0, 50).Draw(t, "start")
		w, applied := watermark{applied: start}, map[uint64]bool{}
		for rev := range start + 1 {
			applied[rev] = true
		}
		for range rapid.IntRange(1, 60).Draw(t, "records") {
			lo := rapid.Uint64Range(1, 200).Draw(t, "lo")
			hi := lo + rapid.SampledFrom([]uint64{0, 0, 0, 1, 7}).Draw(t, "more")
			w.add(lo, hi)
			for rev := lo; rev <= hi; rev++ {
				applied[rev] = true
			}
			want := uint64(0)
			for applied[want+1] {
				want++
			}
			if w.applied != want {
				t.Fatalf("after %d–%d the watermark is %d, want %d (ahead: %v)", lo, hi, w.applied, want, w.ahead)
			}
			for rev := range uint64(220) {
				if w.seen(rev) != applied[rev] {
					t.Fatalf("seen(%d) = %v, want %v (ahead: %v)", rev, w.seen(rev), applied[rev], w.ahead)
				}
			}
		}
	})
}

// TestWatermarkForgetsOnlyTheHighest checks the bound on gaps.
func TestWatermarkForgetsOnlyTheHighest(t *testing.T) {
	var w watermark
	for i := range uint64(maxAhead + 100) {
		w.add(2*i+2, 2*i+2)
	}
	if len(w.ahead) != maxAhead {
		t.Fatalf("%d intervals kept, want %d", len(w.ahead), maxAhead)
	}
	w.add(1, 2*maxAhead)
	if want := uint64(2 * maxAhead); w.applied != want {
		t.Fatalf("the watermark is %d, want %d", w.applied, want)
	}
}
