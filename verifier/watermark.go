package verifier

import "slices"

// watermark follows a log whose records arrive in any order: it is the highest
// revision up to which every record has been applied.
type watermark struct {
	applied uint64
	// ahead holds what has arrived above applied+1: disjoint, in order, with gaps
	// between them.
	ahead []interval
}

// interval is the revisions from lo to hi, both included.
type interval struct{ lo, hi uint64 }

// maxAhead bounds the intervals kept. With more gaps than that, the highest are
// forgotten and fetched again: the records themselves stay applied.
const maxAhead = 1024

// add notes that the revisions lo to hi have been applied.
func (w *watermark) add(lo, hi uint64) {
	if hi <= w.applied {
		return
	}
	if lo <= w.applied+1 {
		w.applied = hi
		w.absorb()
		return
	}
	w.insert(interval{lo, hi})
	if len(w.ahead) > maxAhead {
		w.ahead = w.ahead[:maxAhead]
	}
}

// absorb moves the watermark over the intervals that it has reached.
func (w *watermark) absorb() {
	n := 0
	for n < len(w.ahead) && w.ahead[n].lo <= w.applied+1 {
		w.applied = max(w.applied, w.ahead[n].hi)
		n++
	}
	w.ahead = slices.Delete(w.ahead, 0, n)
}

// insert merges v with the intervals that it touches.
func (w *watermark) insert(v interval) {
	from, _ := slices.BinarySearchFunc(w.ahead, v.lo, func(x interval, lo uint64) int {
		if x.hi+1 < lo {
			return -1
		}
		return 1
	})
	to := from
	for to < len(w.ahead) && w.ahead[to].lo <= v.hi+1 {
		v.lo = min(v.lo, w.ahead[to].lo)
		v.hi = max(v.hi, w.ahead[to].hi)
		to++
	}
	w.ahead = slices.Replace(w.ahead, from, to, v)
}

// seen reports whether revision rev has been applied.
func (w *watermark) seen(rev uint64) bool {
	if rev <= w.applied {
		return true
	}
	_, found := slices.BinarySearchFunc(w.ahead, rev, func(x interval, rev uint64) int {
		switch {
		case x.hi < rev:
			return -1
		case x.lo > rev:
			return 1
		}
		return 0
	})
	return found
}
