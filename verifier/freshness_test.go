package verifier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"github.com/authbus/authbus/events"
)

// check fails the test unless the token's verdict is as wanted.
func check(t *testing.T, v *Verifier, m minted, want string) {
	t.Helper()
	if _, err := v.Verify(t.Context(), m.raw); verdict(err) != want {
		t.Errorf("got %q, want %q", verdict(err), want)
	}
}

func TestEachScopeRevokesWhatItNames(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		for _, c := range []struct {
			scope events.Scope
			id    string
			want  string
		}{
			{events.ScopeToken, "j1", "token revoked: revoked_token"},
			{events.ScopeSession, "s1", "token revoked: revoked_session"},
			{events.ScopeUser, "u1", "token revoked: revoked_user"},
			{events.ScopeEveryone, "", "token revoked: revoked_everyone"},
		} {
			hit, miss := log.mint(t, "u1", "s1", "j1"), log.mint(t, "u2", "s2", "j2")
			hit.raw, miss.raw = log.mint(t, "u1"+string(c.scope), "s1"+string(c.scope), "j1"+string(c.scope)).raw,
				log.mint(t, "u2"+string(c.scope), "s2"+string(c.scope), "j2"+string(c.scope)).raw
			check(t, v, hit, "accepted")
			id := c.id
			if id != "" {
				id += string(c.scope)
			}
			log.revoke(c.scope, id)
			v.ledger.details.Wait()
			check(t, v, hit, c.want)
			if c.scope != events.ScopeEveryone {
				check(t, v, miss, "accepted")
			}
			check(t, v, log.mint(t, "u2", "s9", "j9"+string(c.scope)), "accepted")
		}
		again := log.mint(t, "u1user", "s3", "j3")
		check(t, v, again, "accepted")
		log.revoke(events.ScopeKey, testKID)
		v.ledger.details.Wait()
		check(t, v, again, "token revoked: revoked_key")
	})
}

// TestWhoLogsInAgainIsAccepted is P4: the token minted right after "log out
// everywhere" works, without a request once the record has arrived.
func TestWhoLogsInAgainIsAccepted(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		old := log.mint(t, "u", "s1", "j1")
		check(t, v, old, "accepted")
		log.revoke(events.ScopeUser, "u")
		check(t, v, log.mint(t, "u", "s2", "j2"), "accepted")
		if log.asked != 0 {
			t.Errorf("%d requests, want none", log.asked)
		}
		v.ledger.details.Wait()
		check(t, v, old, "token revoked: revoked_user")
	})
}

// TestATokenFromAheadIsConfirmed: its rev says that the verifier has not heard of
// everything that was committed before it was minted.
func TestATokenFromAheadIsConfirmed(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		log.set(false, true)
		log.revoke(events.ScopeUser, "u")
		check(t, v, log.mint(t, "u", "s", "j"), "accepted")
		if log.asked != 1 {
			t.Errorf("%d requests, want 1", log.asked)
		}
		time.Sleep(time.Second) // the kick has the record fetched
		check(t, v, log.mint(t, "u", "s", "j2"), "accepted")
		if log.asked != 1 {
			t.Errorf("%d requests after the repair, want 1", log.asked)
		}
	})
}

// TestALostRecordIsNoticedWithinASecond: no connection fails, one message is gone.
func TestALostRecordIsNoticedWithinASecond(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		m := log.mint(t, "u", "s", "j")
		log.set(false, true)
		log.revoke(events.ScopeSession, "s")
		check(t, v, m, "accepted") // the bound allows it
		time.Sleep(1200 * time.Millisecond)
		v.ledger.details.Wait()
		check(t, v, m, "token revoked: revoked_session")
	})
}

func TestStalePolicies(t *testing.T) {
	const bound = 10 * time.Second
	for _, c := range []struct {
		name                         string
		policy                       StalePolicy
		grace                        time.Duration
		cutWithin, cutBeyond, beyond string
	}{
		{"ask", Ask, 0, "accepted", "token state unavailable: no_answer", "token state unavailable: no_answer"},
		{"reject", Reject, 0, "accepted", "token state unavailable: not_fresh", "token state unavailable: not_fresh"},
		{"accept", Accept, 20 * time.Second, "accepted", "accepted", "token state unavailable: no_answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(cfg *Config) { cfg.MaxStale, cfg.Stale, cfg.AcceptGrace = bound, c.policy, c.grace },
				func(t *testing.T, v *Verifier, log *memoryLog) {
					m := log.mint(t, "u", "s", "j")
					check(t, v, m, "accepted")
					log.set(true, true)
					log.revoke(events.ScopeSession, "elsewhere")
					time.Sleep(bound - 2*time.Second)
					check(t, v, m, c.cutWithin)
					time.Sleep(4 * time.Second)
					check(t, v, m, c.cutBeyond)
					if c.policy == Accept {
						claims, _ := v.Verify(t.Context(), m.raw)
						if !claims.Stale || v.Stats().AcceptedStale != 2 {
							t.Errorf("stale acceptance is not told: %+v", claims)
						}
					}
					time.Sleep(20 * time.Second)
					check(t, v, m, c.beyond)
					log.set(false, false)
					time.Sleep(2 * time.Second)
					check(t, v, m, "accepted")
				})
		})
	}
}

// TestAStaleVerifierAsks: the bus is silent but the authority answers requests.
func TestAStaleVerifierAsks(t *testing.T) {
	inBubble(t, func(c *Config) { c.MaxStale = 5 * time.Second }, func(t *testing.T, v *Verifier, log *memoryLog) {
		dead, alive := log.mint(t, "u", "s1", "j1"), log.mint(t, "u", "s2", "j2")
		check(t, v, dead, "accepted")
		log.set(true, true)
		time.Sleep(6 * time.Second)
		log.revoke(events.ScopeSession, "s1")
		v.ledger.darken("E1", 100) // so that no probe makes it fresh again
		log.set(false, true)
		time.Sleep(2 * time.Second) // a probe, whose jitter may make it later than the interval
		v.ledger.details.Wait()
		asked := log.asked
		check(t, v, dead, "token revoked: revoked_session")
		check(t, v, alive, "accepted")
		check(t, v, alive, "accepted") // within the life of the answer
		if got := log.asked - asked; got != 1 {
			t.Errorf("%d requests for the living token, want 1 (the dead one was repaired)", got)
		}
	})
}

// TestKeysThatCannotBeFetchedTakeFreshnessAway: one that was killed may be among
// those that are known, and its record does not last.
func TestKeysThatCannotBeFetchedTakeFreshnessAway(t *testing.T) {
	for policy, want := range map[StalePolicy]string{Reject: "token state unavailable: not_fresh", Ask: "accepted"} {
		inBubble(t, func(c *Config) { c.Stale = policy }, func(t *testing.T, v *Verifier, log *memoryLog) {
			change := func(cut bool) {
				log.mu.Lock()
				defer log.mu.Unlock()
				log.keysCut = cut
				log.keysVersion++
			}
			m := log.mint(t, "u", "s", "j")
			change(true)
			time.Sleep(25 * time.Second)
			check(t, v, m, "accepted")
			if log.asked > 0 {
				t.Error("asked before the bound")
			}
			time.Sleep(10 * time.Second)
			check(t, v, m, want)
			if policy == Ask && log.asked == 0 {
				t.Error("accepted without asking")
			}
			change(false)
			time.Sleep(3 * time.Second)
			check(t, v, m, "accepted")
			if !v.Stats().Fresh {
				t.Error("not fresh again")
			}
		})
	}
}

// TestAStaleVerifierAsksNoMoreForWatches: whoever watches each request, as a gateway
// does, costs the authority no more than who only verifies.
func TestAStaleVerifierAsksNoMoreForWatches(t *testing.T) {
	inBubble(t, func(c *Config) { c.MaxStale = 5 * time.Second }, func(t *testing.T, v *Verifier, log *memoryLog) {
		m := log.mint(t, "u", "s", "j")
		v.ledger.darken("E1", 100) // so that no probe makes it fresh again
		time.Sleep(6 * time.Second)
		asked := log.asked
		for range 50 {
			claims, err := v.Verify(t.Context(), m.raw)
			if err != nil {
				t.Fatal(err)
			}
			watched, cancel := v.Watch(t.Context(), claims)
			if watched.Err() != nil {
				t.Fatal(context.Cause(watched))
			}
			cancel()
		}
		if got := log.asked - asked; got != 1 {
			t.Errorf("%d requests for one token, want 1", got)
		}
	})
}

// TestAWatchJudgesTheClaimsItIsGiven, also where they are not those of a token that
// has been seen.
func TestAWatchJudgesTheClaimsItIsGiven(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		m := log.mint(t, "u", "s", "j")
		claims, err := v.Verify(t.Context(), m.raw)
		if err != nil {
			t.Fatal(err)
		}
		altered := *claims
		altered.SessionID = "another"
		log.revoke(events.ScopeSession, "another")
		v.ledger.details.Wait()
		watched, cancel := v.Watch(t.Context(), &altered)
		defer cancel()
		if watched.Err() == nil {
			t.Error("the watch is of other claims than it was given")
		}
		same, cancel := v.Watch(t.Context(), claims)
		defer cancel()
		if same.Err() != nil {
			t.Error(context.Cause(same))
		}
	})
}

// TestARecordThatIsNotUnderstoodTakesFreshnessAway, however it comes.
func TestARecordThatIsNotUnderstoodTakesFreshnessAway(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		t.Run(fmt.Sprintf("deaf=%v", deaf), func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
				m := log.mint(t, "u", "s", "j")
				check(t, v, m, "accepted")
				log.set(false, deaf)
				log.commit(events.Revocation{
					Version: 2, Epoch: "E1", Rev: 1, Scope: "planet", ID: "earth",
					ExpiresAt: time.Now().Add(loggedOut).Unix(),
				})
				time.Sleep(1200 * time.Millisecond)
				if s := v.Stats(); s.Fresh || s.Alarms == 0 || s.NotUnderstood == 0 {
					t.Errorf("stats: %+v", s)
				}
				check(t, v, m, "accepted") // the authority says so
				log.set(true, true)
				time.Sleep(2 * time.Second)
				check(t, v, m, "token state unavailable: no_answer")
				log.set(false, false)
				time.Sleep(loggedOut + clockMargin + time.Minute)
				if s := v.Stats(); !s.Fresh {
					t.Errorf("not fresh after the record has expired: %+v", s)
				}
			})
		})
	}
}

// TestUnsignedRecordsChangeNothing feeds what an attacker could put on the feed.
func TestUnsignedRecordsChangeNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		m := log.mint(t, "u", "s", "j")
		check(t, v, m, "accepted")
		before := v.ledger.generation.Load()
		good := events.Revocation{
			Version: 1, Epoch: "E1", Rev: 1, Scope: events.ScopeSession, ID: "s",
			ExpiresAt: time.Now().Add(loggedOut).Unix(),
		}
		payload, _ := json.Marshal(good)
		unsigned := feedMessage(good, payload)
		unsigned.Header = nil
		moved := feedMessage(good, payload)
		moved.Subject = events.RevocationSubject(events.ScopeUser)
		tampered := feedMessage(good, payload)
		tampered.Data = append([]byte(" "), payload...)
		stranger := feedMessage(good, payload)
		stranger.Header.Set(events.HeaderKey, "f_other")
		future := good
		future.Version = 2
		dark, _ := json.Marshal(future)
		unsignedFuture := feedMessage(future, dark)
		unsignedFuture.Header.Set(events.HeaderSignature, "AAAA")
		garbage := feedMessage(good, []byte("garbage"))
		garbage.Header = nil
		for _, msg := range []*nats.Msg{unsigned, moved, tampered, stranger, unsignedFuture, garbage} {
			v.receive(msg, fromFeed)
		}
		if got := v.Stats(); got.BadSignature != 6 || got.Alarms != 0 || !got.Fresh || v.ledger.generation.Load() != before {
			t.Errorf("stats: %+v", got)
		}
		check(t, v, m, "accepted")
	})
}

func TestAnotherLogIsFollowedFromItsFloor(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		dead := log.mint(t, "u", "s1", "j1")
		log.revoke(events.ScopeSession, "s1")
		check(t, v, dead, "token revoked: revoked_session")

		// The database was restored from a backup, without the record, and the
		// new epoch begins far above.
		log.mu.Lock()
		log.epoch, log.rev, log.records, log.revocations = "E2", 1<<32, nil, nil
		log.mu.Unlock()
		log.revoke(events.ScopeSession, "s2")
		time.Sleep(2 * time.Second)
		s := v.Stats()
		if s.Epoch != "E2" || s.Applied != 1<<32+1 || !s.Fresh || s.EpochChanges != 1 || s.Alarms != 1 {
			t.Errorf("stats: %+v", s)
		}
		v.ledger.details.Clear()
		check(t, v, minted{raw: dead.raw}, "token revoked: revoked_session")
		v.tokens = newTokenCache(1 << 20)
		check(t, v, dead, "token revoked: revoked") // P3, though the authority has forgotten
		check(t, v, log.mint(t, "u", "s3", "j3"), "accepted")
	})
}

// TestALogThatWentBackIsReadAnew: a restored database that was not noticed.
func TestALogThatWentBackIsReadAnew(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		for i := range 10 {
			log.revoke(events.ScopeSession, fmt.Sprint("old", i))
		}
		time.Sleep(2 * time.Second)
		log.mu.Lock()
		log.rev, log.records, log.revocations = 5, log.records[:5], log.revocations[:5]
		log.mu.Unlock()
		time.Sleep(2 * time.Second)
		m := log.mint(t, "u", "new7", "j")
		log.set(false, true)
		log.revoke(events.ScopeSession, "new6")
		log.revoke(events.ScopeSession, "new7")
		time.Sleep(2 * time.Second)
		v.ledger.details.Wait()
		check(t, v, m, "token revoked: revoked_session")
		check(t, v, log.mint(t, "u", "old9", "j2"), "token revoked: revoked_session")
		if s := v.Stats(); s.Alarms == 0 || s.Applied != 7 {
			t.Errorf("stats: %+v", s)
		}
	})
}

func TestAClockFarOffIsNotFresh(t *testing.T) {
	for _, off := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
			log.mu.Lock()
			log.clock = off
			log.mu.Unlock()
			time.Sleep(2 * time.Second)
			if s := v.Stats(); s.Fresh || s.Alarms == 0 {
				t.Errorf("stats: %+v", s)
			}
		})
	}
}

// TestMarksWithoutDetails: the cache of details has lost everything.
func TestMarksWithoutDetails(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		session, user := log.mint(t, "u1", "s1", "j1"), log.mint(t, "u2", "s2", "j2")
		log.revoke(events.ScopeSession, "s1")
		log.revoke(events.ScopeUser, "u2")
		v.ledger.details.Wait()
		v.ledger.details.Clear()
		log.set(true, false)
		check(t, v, session, "token revoked: revoked")
		check(t, v, user, "token state unavailable: no_answer")
		log.set(false, false)
		time.Sleep(time.Second)
		check(t, v, session, "token revoked: revoked_session")
		check(t, v, user, "token revoked: revoked_user")
	})
}

func TestAgeIsTheGreaterOfBothClocks(t *testing.T) {
	at := time.Now()
	wall := func(d time.Duration) time.Time { return at.Round(0).Add(d) } // without the monotonic reading
	if got := ageOf(at, wall(time.Hour)); got != time.Hour {
		t.Errorf("after a suspension the age is %v, want 1h", got)
	}
	if got := ageOf(at, at.Add(time.Minute)); got != time.Minute {
		t.Errorf("the age is %v, want 1m", got)
	}
}

func TestATokenOlderThanTheSweepStaysExpired(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		m := log.mint(t, "u", "s", "j")
		check(t, v, m, "accepted")
		v.ledger.swept.Store(time.Now().Add(2 * time.Hour).Unix())
		check(t, v, m, "token expired: expired")
	})
}

func TestTokensExpireAndLeaveTheCache(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		m := log.mint(t, "u", "s", "j")
		check(t, v, m, "accepted")
		time.Sleep(time.Hour + 9*time.Second)
		check(t, v, m, "accepted")
		time.Sleep(2 * time.Second)
		check(t, v, m, "token expired: expired")
		if s := v.Stats(); s.CachedTokenBytes != 0 {
			t.Errorf("%d bytes cached", s.CachedTokenBytes)
		}
	})
}

func TestRevocationsExpire(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		log.revoke(events.ScopeSession, "s")
		log.revoke(events.ScopeUser, "u")
		time.Sleep(loggedOut)
		if s := v.Stats(); s.Revocations != 2 {
			t.Errorf("%d revocations held, want 2", s.Revocations)
		}
		time.Sleep(clockMargin + 3*time.Minute)
		if s := v.Stats(); s.Revocations != 0 || !s.Fresh {
			t.Errorf("stats: %+v", s)
		}
	})
}

func TestTooManyRevocationsEndFreshness(t *testing.T) {
	inBubble(t, func(c *Config) { c.MaxRevocations = 3 }, func(t *testing.T, v *Verifier, log *memoryLog) {
		for i := range 4 {
			log.revoke(events.ScopeSession, fmt.Sprint(i))
		}
		time.Sleep(2 * time.Second)
		if s := v.Stats(); s.Fresh || s.Revocations != 3 || s.Alarms == 0 {
			t.Errorf("stats: %+v", s)
		}
		check(t, v, log.mint(t, "u", "3", "j"), "token revoked: revoked_session") // asked
		before := log.mint(t, "u", "9", "j9")
		log.revoke(events.ScopeEveryone, "") // needs no room
		check(t, v, before, "token revoked: revoked_everyone")
	})
}

func TestNewWaitsAndSaysForWhat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		log.set(true, true)
		v := newBubbleVerifier(t, log, nil)
		defer v.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		err := v.awaitFresh(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || err.Error() !=
			"verifier: not fresh yet (fetching keys: partitioned): context deadline exceeded" {
			t.Errorf("got %v", err)
		}
	})
}

func TestAClosedVerifierDecidesNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		m := log.mint(t, "u", "s", "j")
		check(t, v, m, "accepted")
		v.Close()
		log.set(true, true)
		check(t, v, m, "token state unavailable: closed")
		v.Close() // again is harmless
	})
}

// step is one move of the world in TestTheBoundHolds.
type step struct {
	what string
	n    int
}

// TestTheBoundHolds is P1 and P4 as a property: whatever is cut, delayed or lost,
// no token is accepted that a record covers which was committed longer ago than
// the bound, and no token is refused as revoked that nothing covers.
func TestTheBoundHolds(t *testing.T) {
	const bound = 6 * time.Second
	steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{
			rapid.SampledFrom([]string{
				"session", "user", "token", "everyone", "cut", "deaf", "heal", "forget", "mint", "verify", "verify", "wait",
			}).Draw(t, "what"),
			rapid.IntRange(0, 5).Draw(t, "n"),
		}
	}), 5, 60)
	rapid.Check(t, func(rt *rapid.T) {
		script := steps.Draw(rt, "script")
		policy := rapid.SampledFrom([]StalePolicy{Ask, Reject}).Draw(rt, "policy")
		var broken error
		inBubble(t, func(c *Config) { c.MaxStale, c.Stale, c.RevokedDetails = bound, policy, 4 },
			func(t *testing.T, v *Verifier, log *memoryLog) { broken = playScript(t, v, log, script, bound) })
		if broken != nil {
			rt.Fatal(broken)
		}
	})
}

func playScript(t *testing.T, v *Verifier, log *memoryLog, script []step, bound time.Duration) error {
	var tokens []minted
	for i := range 6 {
		tokens = append(tokens, log.mint(t, fmt.Sprint("u", i%3), fmt.Sprint("s", i), fmt.Sprint("j", i)))
	}
	for i, s := range script {
		switch s.what {
		case "session":
			log.revoke(events.ScopeSession, fmt.Sprint("s", s.n))
		case "user":
			log.revoke(events.ScopeUser, fmt.Sprint("u", s.n))
		case "token":
			log.revoke(events.ScopeToken, fmt.Sprint("j", s.n))
		case "everyone":
			log.revoke(events.ScopeEveryone, "")
		case "cut":
			log.set(true, true)
		case "deaf":
			log.set(false, true)
		case "heal":
			log.set(false, false)
		case "forget":
			v.ledger.details.Clear()
		case "mint":
			tokens = append(tokens, log.mint(t, fmt.Sprint("u", s.n), fmt.Sprint("s", i, "-", s.n), fmt.Sprint("j", i, "-", s.n)))
		case "wait":
			time.Sleep(time.Duration(s.n*s.n) * 300 * time.Millisecond)
		case "verify":
			for _, m := range tokens {
				if err := judgeVerdict(t, v, log, m, bound); err != nil {
					return fmt.Errorf("step %d of %v: %w", i, script, err)
				}
			}
		}
	}
	return nil
}

// judgeVerdict compares one verdict with the log's own truth.
func judgeVerdict(t *testing.T, v *Verifier, log *memoryLog, m minted, bound time.Duration) error {
	now := time.Now()
	_, err := v.Verify(t.Context(), m.raw)
	log.mu.Lock()
	defer log.mu.Unlock()
	covered := false
	for i, r := range log.revocations {
		if !r.Covers(m.ref) {
			continue
		}
		covered = true
		if err == nil && now.Sub(log.committed[i]) > bound {
			return fmt.Errorf("token %+v accepted %v after record %d", m.ref, now.Sub(log.committed[i]), r.Rev)
		}
	}
	if errors.Is(err, ErrRevoked) && !covered {
		return fmt.Errorf("token %+v refused as revoked, and nothing covers it", m.ref)
	}
	return nil
}

// TestAnAnswerIsNotReusedAfterNews: the authority said "active" a moment ago, and
// since then a record has arrived whose details are lost.
func TestAnAnswerIsNotReusedAfterNews(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		log.set(false, true)
		log.revoke(events.ScopeSession, "other")
		m := log.mint(t, "u", "s", "j") // ahead of the watermark: asked about
		check(t, v, m, "accepted")
		log.set(false, false)
		log.revoke(events.ScopeSession, "s")
		v.ledger.details.Wait()
		v.ledger.details.Clear()
		check(t, v, m, "token revoked: revoked_session")
	})
}
