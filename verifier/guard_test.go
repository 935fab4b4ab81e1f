package verifier

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authbus/authbus/events"
)

// endOf waits until the context ends, and returns how long that took.
func endOf(ctx context.Context) time.Duration {
	began := time.Now()
	<-ctx.Done()
	return time.Since(began)
}

// TestAWatchEndsBeforeTheBound, and not long before: what it does not know of it does
// not vouch for.
func TestAWatchEndsBeforeTheBound(t *testing.T) {
	for _, c := range []struct {
		stale        StalePolicy
		grace, bound time.Duration
	}{
		{Ask, 0, 30 * time.Second},
		{Reject, 0, 30 * time.Second},
		{Accept, time.Minute, 90 * time.Second},
	} {
		t.Run(fmt.Sprint(c.bound, c.stale), func(t *testing.T) {
			change := func(conf *Config) { conf.Stale, conf.AcceptGrace = c.stale, c.grace }
			inBubble(t, change, func(t *testing.T, v *Verifier, log *memoryLog) {
				ctx, cancel := watched(t, v, log.mint(t, "u", "s", "j"))
				defer cancel()
				log.set(true, true)
				log.revoke(events.ScopeSession, "s")
				took := endOf(ctx)
				if !errors.Is(context.Cause(ctx), ErrUnavailable) || took > c.bound || took < c.bound-2500*time.Millisecond {
					t.Errorf("it ended after %v with %v, want just before %v", took, context.Cause(ctx), c.bound)
				}
			})
		})
	}
}

// TestManyWatchesOfASilentAuthorityEndBeforeTheBound: that each question takes its time
// is not added up.
func TestManyWatchesOfASilentAuthorityEndBeforeTheBound(t *testing.T) {
	withSlowLog(t, nil, func(t *testing.T, v *Verifier, s *slowLog) {
		var all []context.Context
		for i := range 1000 {
			ctx, cancel := watched(t, v, s.mint(t, "u", "s", fmt.Sprint("j", i)))
			defer cancel()
			all = append(all, ctx)
		}
		s.set(true, true)
		s.statusTakes.Store(int64(2 * time.Second))
		began := time.Now()
		for _, ctx := range all {
			<-ctx.Done()
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("the last ended after %v", took)
		}
		time.Sleep(2 * time.Second) // the last questions end
	})
}

// TestWatchesGoOnWhileTheAuthorityVouchesForThem, at two questions a bound for each,
// and end when it no longer does.
func TestWatchesGoOnWhileTheAuthorityVouchesForThem(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		const watches = 100
		var all []context.Context
		for i := range watches {
			ctx, cancel := watched(t, v, log.mint(t, "u", fmt.Sprint("s", i), fmt.Sprint("j", i)))
			defer cancel()
			all = append(all, ctx)
		}
		v.ledger.darken("E1", 100) // so that no probe makes it fresh again
		log.set(false, true)
		began := log.questions()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		for i, ctx := range all {
			if ctx.Err() != nil {
				t.Fatalf("watch %d: %v", i, context.Cause(ctx))
			}
		}
		if asked := log.questions() - began; asked > 21*watches {
			t.Errorf("%d questions about %d watches in ten bounds", asked, watches)
		}
		log.revoke(events.ScopeSession, "s7")
		if took := endOf(all[7]); took > 30*time.Second || !errors.Is(context.Cause(all[7]), ErrRevoked) {
			t.Errorf("it ended after %v with %v", took, context.Cause(all[7]))
		}
		if all[8].Err() != nil {
			t.Errorf("another ended: %v", context.Cause(all[8]))
		}
	})
}

// TestAProofThatIsWithdrawnEndsNoWatch: the next one comes in a moment.
func TestAProofThatIsWithdrawnEndsNoWatch(t *testing.T) {
	inBubble(t, func(c *Config) { c.Stale = Reject }, func(t *testing.T, v *Verifier, log *memoryLog) {
		ctx, cancel := watched(t, v, log.mint(t, "u", "s", "j"))
		defer cancel()
		certificate, cancel := v.WatchCertificate(t.Context(), goodCert)
		defer cancel()
		log.set(true, false)
		v.ledger.disprove()
		time.Sleep(20 * time.Second)
		log.set(false, false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if ctx.Err() != nil || certificate.Err() != nil {
			t.Errorf("ended: %v, %v", context.Cause(ctx), context.Cause(certificate))
		}
	})
}

// TestAWatchThatBeginsLateEndsBeforeTheBound, too: it does not live until the next look
// at all of them.
func TestAWatchThatBeginsLateEndsBeforeTheBound(t *testing.T) {
	for stale, grace := range map[StalePolicy]time.Duration{Reject: 0, Accept: 10 * time.Second} {
		change := func(c *Config) { c.Stale, c.AcceptGrace = stale, grace }
		for early := range 10 {
			inBubble(t, change, func(t *testing.T, v *Verifier, log *memoryLog) {
				bound := v.watchBound(true)
				certificate, cancel := v.WatchCertificate(t.Context(), goodCert)
				defer cancel()
				claims, err := v.Verify(t.Context(), log.mint(t, "u", "s", "j").raw)
				if err != nil {
					t.Fatal(err)
				}
				log.set(true, true)
				proved := *v.ledger.proved.Load()
				time.Sleep(time.Until(proved.Add(bound - time.Duration(early)*100*time.Millisecond)))
				ctx, cancel := v.Watch(t.Context(), claims)
				defer cancel()
				<-ctx.Done()
				<-certificate.Done()
				if age := time.Since(proved); age > bound {
					t.Errorf("%v, begun %v before: it ended at %v, later than %v", stale, time.Duration(early)*100*time.Millisecond, age, bound)
				}
			})
		}
	}
}

// TestAWatchThatBeginsLateGoesOnIfTheAuthorityVouchesForIt before the bound is reached.
// Beyond the bound it is asked about before it begins: guard does not end it meanwhile.
func TestAWatchThatBeginsLateGoesOnIfTheAuthorityVouchesForIt(t *testing.T) {
	for age := 25 * time.Second; age < 33*time.Second; age += 300 * time.Millisecond {
		if age > 27*time.Second && age <= 30*time.Second {
			continue // the answer, a second or two later, is too late
		}
		withSlowLog(t, nil, func(t *testing.T, v *Verifier, s *slowLog) {
			claims, err := v.Verify(t.Context(), s.mint(t, "u", "s", "j").raw)
			if err != nil {
				t.Fatal(err)
			}
			s.statusTakes.Store(int64(1500 * time.Millisecond))
			s.freshFails.Store(true)
			time.Sleep(time.Until(v.ledger.proved.Load().Add(age)))
			ctx, cancel := v.Watch(t.Context(), claims)
			defer cancel()
			time.Sleep(time.Minute)
			synctest.Wait()
			if ctx.Err() != nil {
				t.Errorf("begun at %v: %v", age, context.Cause(ctx))
			}
			s.statusTakes.Store(0)
			time.Sleep(2 * time.Second) // the last questions end
		})
	}
}

// TestARecordThatAnAnswerNamesEndsWatches of all that it covers: nobody need ask about
// each of them.
func TestARecordThatAnAnswerNamesEndsWatches(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		one, another := log.mint(t, "u", "s", "j1"), log.mint(t, "u", "s", "j2")
		v.ledger.darken("E1", 100) // so that no probe makes it fresh again
		ctx, cancel := watched(t, v, one)
		defer cancel()
		log.set(false, true)
		log.revoke(events.ScopeSession, "s")
		check(t, v, another, "token revoked: revoked_session")
		synctest.Wait()
		if !errors.Is(context.Cause(ctx), ErrRevoked) {
			t.Errorf("the watch of the same session: %v", context.Cause(ctx))
		}
	})
}

// TestARecordThatDoesNotFitEndsWatches: that it cannot be kept is no reason to go on.
func TestARecordThatDoesNotFitEndsWatches(t *testing.T) {
	inBubble(t, func(c *Config) { c.MaxRevocations, c.Stale = 1, Reject }, func(t *testing.T, v *Verifier, log *memoryLog) {
		ctx, cancel := watched(t, v, log.mint(t, "u", "s", "j"))
		defer cancel()
		log.revoke(events.ScopeSession, "another")
		log.revoke(events.ScopeSession, "s")
		synctest.Wait()
		if !errors.Is(context.Cause(ctx), ErrRevoked) {
			t.Errorf("the watch that it names: %v", context.Cause(ctx))
		}
	})
}
