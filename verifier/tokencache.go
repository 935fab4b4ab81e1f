package verifier

import (
	"hash/maphash"
	"sync/atomic"
	"unsafe"

	"github.com/authbus/authbus/events"
)

// tokenCache keeps tokens whose signature and claims have been verified, so that
// a token seen before costs a look-up. It is bounded in bytes. Only the whole
// token finds its entry: the hash chooses where to look and never decides.
//
// It is set-associative: a token may stand in any of the ways of one set, and a
// full set drops the entry that was not used since its last turn (second
// chance). Reads are wait-free.
type tokenCache struct {
	seed  maphash.Seed
	sets  []cacheSet
	limit int64
	bytes atomic.Int64
	hand  atomic.Uint64 // where evict looks next
}

const (
	cacheWays = 8
	// typicalTokenBytes sizes the table: with tokens of about that size, table
	// and limit are full at the same time.
	typicalTokenBytes = 1024
)

type cacheSet [cacheWays]atomic.Pointer[cachedToken]

// cachedToken is a verified token, and what is known of it.
type cachedToken struct {
	raw    string
	claims Claims
	ref    events.TokenRef
	cost   int64
	used   atomic.Bool

	// clean is the generation of the log at which nothing covered the token; 0
	// means never.
	clean atomic.Uint64
	// revoked is the record that covers it. There is no way back.
	revoked atomic.Pointer[events.Revocation]
	// asked is the authority's latest word that it is active.
	asked atomic.Pointer[answered]
}

func newTokenCache(limit int64) *tokenCache {
	sets := max(1, limit/typicalTokenBytes/cacheWays)
	return &tokenCache{seed: maphash.MakeSeed(), sets: make([]cacheSet, sets), limit: limit}
}

func (c *tokenCache) set(raw string) *cacheSet {
	return &c.sets[maphash.String(c.seed, raw)%uint64(len(c.sets))]
}

// get returns the entry of exactly this token, or nil.
func (c *tokenCache) get(raw string) *cachedToken {
	set := c.set(raw)
	for i := range set {
		if t := set[i].Load(); t != nil && t.raw == raw {
			if !t.used.Load() { // a plain load keeps the line shared between cores
				t.used.Store(true)
			}
			return t
		}
	}
	return nil
}

// put adds a token. Two goroutines that add the same one at once may leave two
// entries; either serves.
func (c *tokenCache) put(t *cachedToken) {
	t.cost = int64(unsafe.Sizeof(*t)) + 2*int64(len(t.raw)) // the claims repeat about what the token holds
	if t.cost > c.limit {
		return
	}
	set := c.set(t.raw)
	slot := set.victim()
	c.bytes.Add(t.cost)
	if old := slot.Swap(t); old != nil {
		c.bytes.Add(-old.cost)
	}
	for c.bytes.Load() > c.limit {
		c.evict(t)
	}
}

// victim returns an empty slot, or the first whose entry was not used since the
// last call found it used.
func (s *cacheSet) victim() *atomic.Pointer[cachedToken] {
	for i := range s {
		if s[i].Load() == nil {
			return &s[i]
		}
	}
	for i := range s {
		if t := s[i].Load(); t == nil || !t.used.Swap(false) {
			return &s[i]
		}
	}
	return &s[0]
}

// evict drops one entry other than keep, from wherever the hand points.
func (c *tokenCache) evict(keep *cachedToken) {
	set := &c.sets[c.hand.Add(1)%uint64(len(c.sets))]
	for i := range set {
		if t := set[i].Load(); t != nil && t != keep && !t.used.Swap(false) {
			c.drop(&set[i], t)
			return
		}
	}
}

// remove drops the entry of a token.
func (c *tokenCache) remove(t *cachedToken) {
	set := c.set(t.raw)
	for i := range set {
		if set[i].Load() == t {
			c.drop(&set[i], t)
		}
	}
}

func (c *tokenCache) drop(slot *atomic.Pointer[cachedToken], t *cachedToken) {
	if slot.CompareAndSwap(t, nil) {
		c.bytes.Add(-t.cost)
	}
}
