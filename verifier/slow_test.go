package verifier

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

// slowLog is a log whose answers take their time, or fail one by one.
type slowLog struct {
	*memoryLog
	keysTake, statusTakes, pageTakes atomic.Int64 // nanoseconds
	keysFail, freshFails             atomic.Bool
	probes                           atomic.Int64
}

func (s *slowLog) keys(ctx context.Context, trusted map[string]ed25519.PublicKey) (events.KeysReply, error) {
	time.Sleep(time.Duration(s.keysTake.Load()))
	if s.keysFail.Load() {
		return events.KeysReply{}, errPartition
	}
	return s.memoryLog.keys(ctx, trusted)
}

func (s *slowLog) status(ctx context.Context, t events.TokenRef) (events.StatusReply, error) {
	reply, err := s.memoryLog.status(ctx, t)
	time.Sleep(time.Duration(s.statusTakes.Load()))
	return reply, err
}

func (s *slowLog) fresh(ctx context.Context, req events.FreshRequest) (events.FreshReply, error) {
	s.probes.Add(1)
	if s.freshFails.Load() {
		return events.FreshReply{}, errPartition
	}
	return s.memoryLog.fresh(ctx, req)
}

func (s *slowLog) page(ctx context.Context, req events.RangeRequest) (events.RangeReply, error) {
	time.Sleep(time.Duration(s.pageTakes.Load()))
	return s.memoryLog.page(ctx, req)
}

// withSlowLog runs a test with a verifier that hears nothing live.
func withSlowLog(t *testing.T, change func(*Config), test func(t *testing.T, v *Verifier, s *slowLog)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &slowLog{memoryLog: newMemoryLog()}
		v := newBubbleVerifier(t, s, change)
		defer v.Close()
		if err := v.awaitFresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		test(t, v, s)
	})
}

// forgetKeys makes every kid unknown.
func forgetKeys(v *Verifier) {
	state := *v.keys.current.Load()
	state.tokens = &token.KeySet{}
	v.keys.current.Store(&state)
}

// TestASlowFetchOfKeysDoesNotStretchTheBound: the proof grows old meanwhile.
func TestASlowFetchOfKeysDoesNotStretchTheBound(t *testing.T) {
	withSlowLog(t, func(c *Config) { c.MaxStale = 10 * time.Second; c.Stale = Reject }, func(t *testing.T, v *Verifier, s *slowLog) {
		forgetKeys(v)
		m := s.mint(t, "u", "s", "j")
		s.freshFails.Store(true)
		s.revoke(events.ScopeSession, "s")
		time.Sleep(8 * time.Second)
		s.keysTake.Store(int64(9 * time.Second))
		check(t, v, m, "token state unavailable: not_fresh")
	})
}

// TestALateAnswerIsNone: it would say what was true before the bound.
func TestALateAnswerIsNone(t *testing.T) {
	withSlowLog(t, func(c *Config) { c.MaxStale = 2 * time.Second }, func(t *testing.T, v *Verifier, s *slowLog) {
		m := s.mint(t, "u", "s", "j")
		s.freshFails.Store(true)
		time.Sleep(4 * time.Second)
		s.statusTakes.Store(int64(3 * time.Second))
		check(t, v, m, "token state unavailable: no_answer")
	})
}

func TestTheGraceIsOverWhenAskingTookTooLong(t *testing.T) {
	withSlowLog(t, func(c *Config) { c.MaxStale, c.Stale, c.AcceptGrace = 10*time.Second, Accept, time.Second },
		func(t *testing.T, v *Verifier, s *slowLog) {
			m := s.mint(t, "u", "s", "j")
			s.freshFails.Store(true)
			s.set(true, true)
			for v.Stats().Staleness < 10500*time.Millisecond {
				time.Sleep(100 * time.Millisecond)
			}
			s.statusTakes.Store(int64(2 * time.Second))
			check(t, v, m, "token state unavailable: no_answer")
		})
}

// TestAnAnswerFromAnotherLogIsNone: the database was restored a moment ago, and no
// probe has told yet.
func TestAnAnswerFromAnotherLogIsNone(t *testing.T) {
	for _, c := range []struct {
		name  string
		epoch string
		rev   uint64
	}{{"another epoch", "E2", 1 << 32}, {"the same, gone back", "E1", 0}} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
				dead := log.mint(t, "u", "s1", "j1")
				log.revoke(events.ScopeSession, "s1")
				v.ledger.details.Wait()
				v.ledger.details.Clear()
				log.mu.Lock()
				log.epoch, log.rev, log.records, log.revocations = c.epoch, c.rev, nil, nil
				log.mu.Unlock()
				check(t, v, dead, "token revoked: revoked")
				time.Sleep(2 * time.Second)
				check(t, v, dead, "token revoked: revoked")
			})
		})
	}
}

func TestKeysThatCannotBeFetchedAreNotUnknown(t *testing.T) {
	withSlowLog(t, nil, func(t *testing.T, v *Verifier, s *slowLog) {
		forgetKeys(v)
		s.keysFail.Store(true)
		m := s.mint(t, "u", "s", "j")
		for range 3 {
			check(t, v, m, "token state unavailable: keys_unknown")
		}
		s.keysFail.Store(false)
		time.Sleep(6 * time.Second)
		check(t, v, m, "accepted")
	})
}

// TestTokensOfANewKeyWaitForTheSameFetch instead of being refused.
func TestTokensOfANewKeyWaitForTheSameFetch(t *testing.T) {
	withSlowLog(t, nil, func(t *testing.T, v *Verifier, s *slowLog) {
		forgetKeys(v)
		s.keysTake.Store(int64(10 * time.Millisecond))
		before := v.Stats().KeyFetches
		var wg sync.WaitGroup
		for i := range 5 {
			m := s.mint(t, "u", "s", fmt.Sprint(i))
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				check(t, v, m, "accepted")
			})
		}
		wg.Wait()
		if n := v.Stats().KeyFetches - before; n != 1 {
			t.Errorf("%d fetches, want 1", n)
		}
	})
}

// TestKicksDoNotFloodTheAuthority: a token from ahead asks for a round each time.
func TestKicksDoNotFloodTheAuthority(t *testing.T) {
	withSlowLog(t, nil, func(t *testing.T, v *Verifier, s *slowLog) {
		s.commit(events.Revocation{Version: 2, Epoch: "E1", Rev: 1, Scope: "planet", ID: "earth", ExpiresAt: time.Now().Add(loggedOut).Unix()})
		time.Sleep(5 * time.Second)
		m := s.mint(t, "u", "s", "j")
		before := s.probes.Load()
		for range 1000 {
			check(t, v, m, "accepted")
			time.Sleep(10 * time.Millisecond)
		}
		if n := s.probes.Load() - before; n > 30 {
			t.Errorf("%d probes in 10 s", n)
		}
	})
}

// TestNewReturnsOnlyWhenFresh: reading the log took longer than the bound.
func TestNewReturnsOnlyWhenFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowLog{memoryLog: newMemoryLog()}
		s.revoke(events.ScopeSession, "s")
		s.pageTakes.Store(int64(5 * time.Second))
		v := newBubbleVerifier(t, s, func(c *Config) { c.MaxStale = 2 * time.Second })
		defer v.Close()
		if err := v.awaitFresh(t.Context()); err != nil || !v.Stats().Fresh {
			t.Errorf("%v, stats: %+v", err, v.Stats())
		}
	})
}

func TestAMarkIsKeptHoweverLongItLives(t *testing.T) {
	l := newTestLedger(t)
	if err := l.apply(record(1, 400*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	l.sweep(time.Now())
	if _, marked := l.named.lookup(kindSession, "s"); !marked {
		t.Error("the mark is gone")
	}
}

// TestAClockThatWasAheadRevivesNothing: the record looked expired here.
func TestAClockThatWasAheadRevivesNothing(t *testing.T) {
	l := newTestLedger(t)
	r := record(1, -10*time.Minute)
	if err := l.apply(r); err != nil {
		t.Fatal(err)
	}
	if l.swept.Load() <= r.ExpiresAt {
		t.Error("what the record covers would be accepted if the clock went back")
	}
}

// TestAMarkBySomebodyElseStillCounts: another goroutine has set the mark and not
// told of it yet.
func TestAMarkBySomebodyElseStillCounts(t *testing.T) {
	l := newTestLedger(t)
	before := l.generation.Load()
	r := record(1, time.Hour)
	l.named.insert(kindSession, r.ID, 0, time.Unix(r.ExpiresAt, 0))
	if err := l.apply(r); err != nil {
		t.Fatal(err)
	}
	if l.applied.Load() != 1 || l.generation.Load() == before {
		t.Error("the watermark has moved and the generation has not")
	}
}

func TestALedgerMayBeClosedWhileItIsUsed(t *testing.T) {
	for range 50 {
		l := newTestLedger(t)
		var wg sync.WaitGroup
		for g := range 3 {
			wg.Go(func() {
				for n := range 200 {
					r := record(uint64(g*200+n+1), time.Hour)
					if err := l.apply(r); err != nil && !errors.Is(err, errFull) {
						t.Error(err)
					}
					l.look(events.TokenRef{JTI: "j", SID: r.ID, Sub: "u", KID: "k"})
				}
			})
		}
		l.close()
		wg.Wait()
	}
}

func newTestLedger(t *testing.T) *ledger {
	t.Helper()
	l, err := newLedger(64, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	l.open("E1", 1)
	return l
}

func record(rev uint64, life time.Duration) events.Revocation {
	return events.Revocation{
		Version: 1, Epoch: "E1", Rev: rev, Scope: events.ScopeSession, ID: "s", ExpiresAt: time.Now().Add(life).Unix(),
	}
}
