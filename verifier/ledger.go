package verifier

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/authbus/authbus/events"
)

// ledger is what the verifier knows of the revocation log: the three layers that
// decide about a token, and how far they reach.
//
// Its order of writing is the heart of it. A record is marked first, then the
// generation grows, then its details are kept, then the watermark moves, then
// freshness is proved. Readers go the other way: freshness, generation, marks. So
// whoever sees a proof sees every mark that it speaks of.
type ledger struct {
	named    *marks // tokens, sessions, keys and certificates
	users    *marks // users, each with its latest revision
	everyone atomic.Pointer[events.Revocation]
	// details are the records themselves. The cache is lossy by design, so it may
	// say what a mark means and never that there is none.
	details *ristretto.Cache[string, events.Revocation]
	ending  sync.RWMutex // held for reading while details is used
	ended   bool         // guarded by ending
	limit   int64

	// generation changes with everything that may change a verdict. It starts at 1.
	generation atomic.Uint64
	applied    atomic.Uint64 // the watermark, for readers
	proved     atomic.Pointer[time.Time]
	// reopened says that the log was replaced, or went back, during this
	// verifier's life: then the authority may know less than the marks do.
	reopened atomic.Bool
	swept    atomic.Int64 // marks that expired before this Unix second are gone

	mu        sync.Mutex
	epoch     string        // guarded by mu
	watermark watermark     // guarded by mu
	dark      uint64        // a revision that was not understood; guarded by mu
	moved     chan struct{} // closed when the watermark moves; guarded by mu
}

// clockMargin is how much longer than its expiry a mark is kept, for clocks that
// are corrected. The authority keeps its rows as much longer.
const clockMargin = 5 * time.Minute

// longestMark bounds how long a mark is kept. Tokens live for an hour at most,
// certificates for events.MaxCertificateLifetime.
const longestMark = 7 * 24 * time.Hour

// errFull says that a record did not fit; it counts as not applied.
var errFull = errors.New("more live revocations than Config.MaxRevocations")

func newLedger(details, limit int64) (*ledger, error) {
	cache, err := ristretto.NewCache(&ristretto.Config[string, events.Revocation]{
		NumCounters:        10 * details,
		MaxCost:            details,
		BufferItems:        64,
		IgnoreInternalCost: true, // so that MaxCost counts records
	})
	if err != nil {
		return nil, fmt.Errorf("creating the cache of revoked ids: %w", err)
	}
	l := &ledger{
		named: newMarks(false), users: newMarks(true),
		details: cache, limit: limit, moved: make(chan struct{}),
	}
	l.generation.Store(1)
	return l, nil
}

// close ends the cache, which must not be used any longer then.
func (l *ledger) close() {
	l.ending.Lock()
	defer l.ending.Unlock()
	if !l.ended {
		l.ended = true
		l.details.Close()
	}
}

// kinds of names in the mark sets.
const (
	kindToken   = 't'
	kindSession = 's'
	kindKey     = 'k'
	kindUser    = 'u'
	kindCert    = 'c'
)

// apply takes a record in. Doing so again, or in another order, changes nothing
// more.
func (l *ledger) apply(r events.Revocation) error {
	if _, err := l.mark(r); err != nil {
		return err
	}
	// Even if the mark was there: whoever has put it there may not have come to
	// this line yet, and the watermark must not move before the generation.
	l.generation.Add(1)
	l.keep(r)
	l.reach(r.Epoch, r.Rev, r.Rev)
	return nil
}

// learn takes in a record that the authority named in an answer. It says nothing
// about how far the log has been followed.
func (l *ledger) learn(r events.Revocation) {
	// Without room the answer still stands.
	if changed, err := l.mark(r); err == nil && changed {
		l.generation.Add(1)
	}
	l.keep(r)
}

// mark makes the record count for verdicts, and reports whether that is new.
func (l *ledger) mark(r events.Revocation) (changed bool, err error) {
	now := time.Now()
	expires := time.Unix(r.ExpiresAt, 0).Add(clockMargin)
	if expires.Before(now) {
		// Should this clock be ahead and be set back, what the record covers stays expired.
		l.raiseSwept(r.ExpiresAt + 1)
		return false, nil
	}
	// Nothing lives for a week, and the numbers of minutes wrap after a few.
	if latest := now.Add(longestMark); expires.After(latest) {
		expires = latest
	}
	switch r.Scope {
	case events.ScopeToken:
		return l.insert(l.named, kindToken, r, expires)
	case events.ScopeSession:
		return l.insert(l.named, kindSession, r, expires)
	case events.ScopeKey:
		return l.insert(l.named, kindKey, r, expires)
	case events.ScopeUser:
		return l.insert(l.users, kindUser, r, expires)
	case events.ScopeCert:
		return l.insert(l.named, kindCert, r, expires)
	case events.ScopeEveryone:
		return l.raiseEveryone(r), nil
	}
	return false, nil
}

// insert marks the id of a record, if it is marked already or there is room.
func (l *ledger) insert(set *marks, kind byte, r events.Revocation, expires time.Time) (changed bool, err error) {
	if l.named.count.Load()+l.users.count.Load() >= l.limit {
		if _, marked := set.lookup(kind, r.ID); !marked {
			return false, errFull
		}
	}
	return set.insert(kind, r.ID, r.Rev, expires), nil
}

// raiseEveryone notes the latest record that reaches everyone. It needs no
// expiry: what it covers by then has expired.
func (l *ledger) raiseEveryone(r events.Revocation) bool {
	for {
		old := l.everyone.Load()
		if old != nil && old.Rev >= r.Rev {
			return false
		}
		if l.everyone.CompareAndSwap(old, &r) {
			return true
		}
	}
}

// keep offers the record's details to the cache, which may lose them.
func (l *ledger) keep(r events.Revocation) {
	l.ending.RLock()
	defer l.ending.RUnlock()
	if r.Scope == events.ScopeEveryone || l.ended {
		return
	}
	ttl := time.Until(time.Unix(r.ExpiresAt, 0).Add(clockMargin))
	l.details.SetWithTTL(detailKey(r.Scope, r.ID), r, 1, max(ttl, time.Second))
}

func detailKey(scope events.Scope, id string) string { return string(scope) + ":" + id }

// finding is what the layers say about a token.
type finding int

const (
	findClean   finding = iota // nothing covers it
	findRevoked                // the record covers it
	findMarked                 // a mark says so, and the details are lost
	findMarkedUser
)

// look is the decision of layer 5 from what is known here, without freshness.
func (l *ledger) look(t events.TokenRef) (events.Revocation, finding) {
	if r := l.everyone.Load(); r != nil && r.Covers(t) {
		return *r, findRevoked
	}
	found := findClean
	for _, name := range [...]struct {
		kind  byte
		scope events.Scope
		id    string
	}{
		{kindToken, events.ScopeToken, t.JTI},
		{kindSession, events.ScopeSession, t.SID},
		{kindKey, events.ScopeKey, t.KID},
	} {
		if _, marked := l.named.lookup(name.kind, name.id); !marked || name.id == "" {
			continue
		}
		if r, ok := l.detail(name.scope, name.id, t); ok {
			return r, findRevoked
		}
		found = findMarked
	}
	if rev, marked := l.users.lookup(kindUser, t.Sub); marked && t.Rev < rev {
		if r, ok := l.detail(events.ScopeUser, t.Sub, t); ok {
			return r, findRevoked
		}
		if found == findClean {
			found = findMarkedUser
		}
	}
	return events.Revocation{}, found
}

// killed reports whether a live record names the key.
func (l *ledger) killed(kid string) bool {
	_, marked := l.named.lookup(kindKey, kid)
	return marked
}

// detail returns the record kept under a name if it covers the token. One that
// does not is out of date, and says nothing.
func (l *ledger) detail(scope events.Scope, id string, t events.TokenRef) (events.Revocation, bool) {
	l.ending.RLock()
	defer l.ending.RUnlock()
	if l.ended {
		return events.Revocation{}, false
	}
	r, ok := l.details.Get(detailKey(scope, id))
	return r, ok && r.Covers(t)
}

// reach notes that every record of epoch with lo <= rev <= hi has been applied.
// Those of another epoch say nothing about the watermark.
func (l *ledger) reach(epoch string, lo, hi uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if epoch != l.epoch {
		return
	}
	before := l.watermark.applied
	l.watermark.add(lo, hi)
	if l.watermark.applied == before {
		return
	}
	l.applied.Store(l.watermark.applied)
	if l.dark <= l.watermark.applied {
		l.dark = 0
	}
	close(l.moved)
	l.moved = make(chan struct{})
}

// seen reports whether the record has been applied already.
func (l *ledger) seen(epoch string, rev uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return epoch == l.epoch && l.watermark.seen(rev)
}

// position returns the epoch and the watermark, and a channel that is closed
// when the watermark moves on.
func (l *ledger) position() (epoch string, applied uint64, moved <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch, l.watermark.applied, l.moved
}

// open begins to follow another log, of which everything below floor has
// expired. What is known of the old one stays in force.
func (l *ledger) open(epoch string, floor uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proved.Store(nil)
	if l.epoch != "" {
		l.reopened.Store(true)
	}
	l.epoch, l.watermark, l.dark = epoch, watermark{applied: floor - 1}, 0
	l.applied.Store(floor - 1)
	l.generation.Add(1)
	close(l.moved)
	l.moved = make(chan struct{})
}

// darken takes the freshness away: the record rev was not understood. It stays
// away until the watermark has passed rev, that is, until rev has expired.
func (l *ledger) darken(epoch string, rev uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if epoch == l.epoch && !l.watermark.seen(rev) {
		l.dark = max(l.dark, rev)
	}
	l.proved.Store(nil)
}

// prove makes the ledger fresh as of at, when the log was at rev.
func (l *ledger) prove(at time.Time, rev uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.dark != 0:
		return fmt.Errorf("record %d was not understood", l.dark)
	case l.watermark.applied < rev:
		return fmt.Errorf("applied through %d of %d", l.watermark.applied, rev)
	}
	l.proved.Store(&at)
	return nil
}

// disprove takes the freshness away until the next proof.
func (l *ledger) disprove() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proved.Store(nil)
}

// staleness returns the age of the last proof; ok is false without one.
func (l *ledger) staleness(now time.Time) (age time.Duration, ok bool) {
	at := l.proved.Load()
	if at == nil {
		return 0, false
	}
	return ageOf(*at, now), true
}

// ageOf is the time since at, by the monotonic or the wall clock, whichever says
// more: the monotonic clock stands still while the machine is suspended, and the
// wall clock may be set back.
func ageOf(at, now time.Time) time.Duration {
	return max(now.Sub(at), time.Duration(now.UnixNano()-at.UnixNano()))
}

func (l *ledger) raiseSwept(to int64) {
	for {
		old := l.swept.Load()
		if to <= old || l.swept.CompareAndSwap(old, to) {
			return
		}
	}
}

// sweep drops the marks that have expired. From then on tokens that old are
// refused, even if the clock should go back.
func (l *ledger) sweep(now time.Time) {
	l.raiseSwept(now.Add(-clockMargin).Unix())
	l.named.sweep(now)
	l.users.sweep(now)
}
