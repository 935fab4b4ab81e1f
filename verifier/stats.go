package verifier

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// Stats is a snapshot of a verifier. Counters count since New. In Mode [Remote],
// which follows no log, what speaks of one is zero.
type Stats struct {
	Mode Mode
	// Epoch and Applied say how far the verifier has followed which log.
	Epoch   string
	Applied uint64
	// Fresh says whether it may accept on its own now; Staleness is the age of
	// the last proof, -1 without one, and Waiting why the last attempt at a proof
	// failed, empty if it succeeded.
	//
	// In Mode [Remote], Fresh says whether it would ask now: it is false only while
	// its circuit breaker is open. Staleness is then the age of the authority's last
	// answer, whose absence may just mean that there was no question, and Waiting
	// why the last question got none.
	Fresh     bool
	Staleness time.Duration
	Waiting   string

	Revocations      int64 // marks held
	RevocationBytes  int64 // memory of the marks
	CachedTokenBytes int64 // memory of the cache of verified tokens
	Watches          int64 // connections watched now

	Accepted      uint64 // tokens accepted
	AcceptedStale uint64 // of those, beyond the bound (policy Accept)
	Verified      uint64 // tokens whose signature was verified: not seen before
	Invalid       uint64 // refused with ErrInvalid
	Expired       uint64 // refused with ErrExpired
	Revoked       uint64 // refused with ErrRevoked
	Unavailable   uint64 // refused with ErrUnavailable
	Asked         uint64 // requests about tokens
	AskFailed     uint64 // of those, without an answer
	AskShared     uint64 // tokens decided by a request that another call had made (Mode Remote)
	BreakerOpened uint64 // times the circuit breaker opened (Mode Remote)

	LiveRecords     uint64 // applied from the live feed
	RepairedRecords uint64 // applied from pages of the log
	BulkRecords     uint64 // applied from the stream's history
	Repeated        uint64 // received again, and skipped
	BadSignature    uint64 // not signed by a feed key: dropped
	NotUnderstood   uint64 // signed and not understood: see ErrUnavailable
	Malformed       uint64 // signed and unreadable
	Dropped         uint64 // lost on the way in because the handler was slow

	Probes       uint64 // requests for the read index
	ProbesFailed uint64 // of those, without proof
	EpochChanges uint64 // the authority began another log: a restored database
	KeyFetches   uint64
	Alarms       uint64 // events that an operator should look at; each is logged
	LastAlarm    string
}

// counters are the counts behind Stats. Accepted, the only one on the fast path,
// is striped, so that cores do not wait for each other.
type counters struct {
	accepted [16]paddedCounter

	acceptedStale, verified, invalid, expired, revoked, unavailable, asked, askFailed atomic.Uint64
	askShared, breakerOpened                                                          atomic.Uint64
	live, repaired, bulk, repeated, badSignature, notUnderstood, malformed            atomic.Uint64
	probes, probesFailed, epochChanges, keyFetches, alarms                            atomic.Uint64
	lastAlarm, waiting                                                                atomic.Pointer[string]
}

// alarm tells operators of something that should not happen. The same alarm in a
// row is counted and logged once.
func (n *counters) alarm(log *slog.Logger, what string, args ...any) {
	n.alarms.Add(1)
	if old := n.lastAlarm.Swap(&what); old == nil || *old != what {
		log.Error("verifier alarm: "+what, args...)
	}
}

// paddedCounter has a cache line of its own.
type paddedCounter struct {
	atomic.Uint64
	_ [56]byte
}

// Stats returns a snapshot. It is cheap enough to be called on every scrape.
func (v *Verifier) Stats() Stats {
	if v.remote != nil {
		return v.remote.stats()
	}
	n := &v.counters
	epoch, applied, _ := v.ledger.position()
	s := Stats{
		Epoch: epoch, Applied: applied, Staleness: -1,
		Revocations:      v.ledger.named.count.Load() + v.ledger.users.count.Load(),
		RevocationBytes:  v.ledger.named.bytes() + v.ledger.users.bytes(),
		CachedTokenBytes: v.tokens.bytes.Load(), Watches: v.watches.count(),
		AcceptedStale: n.acceptedStale.Load(), Verified: n.verified.Load(), Invalid: n.invalid.Load(),
		Expired: n.expired.Load(), Revoked: n.revoked.Load(), Unavailable: n.unavailable.Load(),
		Asked: n.asked.Load(), AskFailed: n.askFailed.Load(),
		LiveRecords: n.live.Load(), RepairedRecords: n.repaired.Load(), BulkRecords: n.bulk.Load(),
		Repeated: n.repeated.Load(), BadSignature: n.badSignature.Load(), NotUnderstood: n.notUnderstood.Load(),
		Malformed: n.malformed.Load(),
		Probes:    n.probes.Load(), ProbesFailed: n.probesFailed.Load(), EpochChanges: n.epochChanges.Load(),
		KeyFetches: n.keyFetches.Load(), Alarms: n.alarms.Load(),
	}
	if v.feed != nil {
		s.Dropped = v.feed.dropped()
	}
	for i := range n.accepted {
		s.Accepted += n.accepted[i].Load()
	}
	if age, ok := v.ledger.staleness(time.Now()); ok {
		s.Staleness, s.Fresh = age, age <= v.config.MaxStale
	}
	if p := n.waiting.Load(); p != nil {
		s.Waiting = *p
	}
	if p := n.lastAlarm.Load(); p != nil {
		s.LastAlarm = *p
	}
	return s
}
