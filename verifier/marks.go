package verifier

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// marks is a set of fingerprints of what is revoked: the layer that makes a miss
// mean "not revoked". It never forgets a mark before its time and never drops an
// insert. Very rarely it claims one that is not there; then the caller asks.
//
// A mark is one word: 48 bits of a keyed hash and the minute at which it expires.
// With the 8 bits that choose the shard, 56 bits of the hash take part: a look-up
// among ten million marks errs with a chance of 1.4e-10, and an error costs one
// request.
//
// Look-ups are wait-free. They read words, atomically, from tables that only ever
// gain marks; a table that is too full, or full of expired marks, is replaced by
// a copy. So a look-up that begins after an insert has returned finds the mark.
type marks struct {
	seed   maphash.Seed // secret to this process: nobody can aim at a slot
	shards [markShards]markShard
	count  atomic.Int64
}

type markShard struct {
	mu    sync.Mutex // held by writers
	used  int        // slots taken in table; guarded by mu
	table atomic.Pointer[markTable]
}

// markTable is open-addressed with linear probing; an empty slot is 0.
type markTable struct {
	words []atomic.Uint64
	// revs holds the highest revision of each mark in a set that keeps them.
	revs []atomic.Uint64
}

const (
	markShards   = 256
	minMarkSlots = 8
	// A table is copied into one half as large again at 80 % load: about 12 bytes a mark.
	maxLoadNum, maxLoadDen = 4, 5

	expiryBits = 16
	hashBits   = 48
)

// newMarks returns an empty set. With revs, each mark keeps the highest revision
// that it was inserted with.
func newMarks(revs bool) *marks {
	m := &marks{seed: maphash.MakeSeed()}
	for i := range m.shards {
		m.shards[i].table.Store(newMarkTable(minMarkSlots, revs))
	}
	return m
}

func newMarkTable(slots int, revs bool) *markTable {
	t := &markTable{words: make([]atomic.Uint64, slots)}
	if revs {
		t.revs = make([]atomic.Uint64, slots)
	}
	return t
}

// locate splits the hash of a name of the given kind into shard and fingerprint.
func (m *marks) locate(kind byte, id string) (*markShard, uint64) {
	// Mixing the kind in by multiplication keeps this free of allocation.
	h := maphash.String(m.seed, id) ^ uint64(kind)*0x9e3779b97f4a7c15
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	h ^= h >> 32
	print := h & (1<<hashBits - 1)
	if print == 0 {
		print = 1 // 0 would read as an empty slot
	}
	return &m.shards[h>>(64-8)], print
}

// lookup reports whether the name is marked, and the highest revision of the
// mark in a set that keeps revisions.
func (m *marks) lookup(kind byte, id string) (rev uint64, marked bool) {
	shard, print := m.locate(kind, id)
	t := shard.table.Load()
	i, word := t.find(print)
	if word == 0 {
		return 0, false
	}
	if t.revs != nil {
		rev = t.revs[i].Load()
	}
	return rev, true
}

// find returns the slot of print and its word, or the empty slot where it would
// go and 0. It ends because a table is never full.
func (t *markTable) find(print uint64) (int, uint64) {
	hi, _ := bits.Mul64(print<<(64-hashBits), uint64(len(t.words)))
	for i := int(hi); ; i++ {
		if i == len(t.words) {
			i = 0
		}
		word := t.words[i].Load()
		if word == 0 || word>>expiryBits == print {
			return i, word
		}
	}
}

// insert marks the name until expires at least, and reports whether that is new:
// a name that was not marked, or a higher revision.
func (m *marks) insert(kind byte, id string, rev uint64, expires time.Time) bool {
	shard, print := m.locate(kind, id)
	shard.mu.Lock()
	defer shard.mu.Unlock()

	t := shard.table.Load()
	if (shard.used+1)*maxLoadDen > len(t.words)*maxLoadNum {
		t = shard.replace(t, len(t.words)*3/2, func(uint64) bool { return true })
	}
	minute := minuteOf(expires)
	i, word := t.find(print)
	if word != 0 {
		if later(minute, uint16(word)) {
			t.words[i].Store(print<<expiryBits | uint64(minute))
		}
		return t.raise(i, rev)
	}
	t.raise(i, rev) // before the word: whoever sees the mark sees its revision
	t.words[i].Store(print<<expiryBits | uint64(minute))
	shard.used++
	m.count.Add(1)
	return true
}

// raise sets the revision of a slot unless it is higher already.
func (t *markTable) raise(i int, rev uint64) bool {
	if t.revs == nil || rev <= t.revs[i].Load() {
		return false
	}
	t.revs[i].Store(rev)
	return true
}

// replace puts a copy of t that holds the marks to keep in its place. The caller
// holds the lock of the shard.
func (s *markShard) replace(t *markTable, slots int, keep func(word uint64) bool) *markTable {
	next := newMarkTable(slots, t.revs != nil)
	s.used = 0
	for i := range t.words {
		word := t.words[i].Load()
		if word == 0 || !keep(word) {
			continue
		}
		j, _ := next.find(word >> expiryBits)
		if t.revs != nil {
			next.revs[j].Store(t.revs[i].Load())
		}
		next.words[j].Store(word)
		s.used++
	}
	s.table.Store(next)
	return next
}

// sweep drops the marks that expired before now. It holds one shard at a time,
// and only writers wait for it.
func (m *marks) sweep(now time.Time) {
	minute := minuteOf(now)
	live := func(word uint64) bool { return !later(minute, uint16(word)) }
	for i := range m.shards {
		m.shards[i].sweep(live, &m.count)
	}
}

func (s *markShard) sweep(live func(word uint64) bool, count *atomic.Int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.table.Load()
	expired := 0
	for i := range t.words {
		if word := t.words[i].Load(); word != 0 && !live(word) {
			expired++
		}
	}
	if expired == 0 {
		return
	}
	slots := max(minMarkSlots, (s.used-expired)*3/2)
	s.replace(t, slots, live)
	count.Add(-int64(expired))
}

// bytes returns what the tables occupy.
func (m *marks) bytes() int64 {
	var n int64
	for i := range m.shards {
		t := m.shards[i].table.Load()
		n += int64(len(t.words)+len(t.revs)) * 8
	}
	return n
}

// minuteOf numbers minutes modulo 2^16, about 45 days.
func minuteOf(t time.Time) uint16 {
	return uint16(t.Unix() / 60)
}

// later reports whether minute a is after minute b, which holds across the wrap
// for minutes less than 22 days apart.
func later(a, b uint16) bool { return int16(a-b) > 0 }
