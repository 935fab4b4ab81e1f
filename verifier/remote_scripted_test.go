package verifier

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
)

// scriptedOracle answers inside a bubble, after a while, by what was revoked at the
// time when the question was sent.
type scriptedOracle struct {
	mu       sync.Mutex
	takes    time.Duration
	revoked  map[string]bool
	fails    error
	asked    int
	underway int
	most     int // questions under way at once
	answers  func(raw string) answer
}

var errScripted = &askError{reason: ReasonNoAnswer, err: errors.New("the oracle is silent")}

func (o *scriptedOracle) ask(ctx context.Context, raw string) (answer, error) {
	o.mu.Lock()
	revoked, fails, takes, answers := o.revoked[raw], o.fails, o.takes, o.answers
	o.asked++
	o.underway++
	o.most = max(o.most, o.underway)
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		o.underway--
		o.mu.Unlock()
	}()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return answer{}, &askError{reason: ReasonNoAnswer, err: ctx.Err()}
	}
	switch {
	case fails != nil:
		return answer{}, fails
	case raw == trialToken:
		return answer{}, nil
	case revoked:
		return answer{reason: "revoked"}, nil
	case answers != nil:
		return answers(raw), nil
	}
	return answer{active: true, claims: payloadOf(raw)}, nil
}

func (o *scriptedOracle) close() {}

func (o *scriptedOracle) set(change func(o *scriptedOracle)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(o)
}

func (o *scriptedOracle) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked
}

func payloadOf(raw string) []byte {
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	if err != nil {
		panic(err)
	}
	return payload
}

// remotely runs a test with a remote verifier of a scripted oracle, in a bubble.
func remotely(t *testing.T, change func(*Config), test func(t *testing.T, v *Verifier, o *scriptedOracle, log *memoryLog)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := Config{
			Mode: Remote, Issuer: testIssuer, Audience: testAudience, NATS: &nats.Conn{}, // never used
			Logger: slog.New(slog.DiscardHandler),
		}
		if change != nil {
			change(&c)
		}
		c, err := c.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		o := &scriptedOracle{revoked: make(map[string]bool), takes: 10 * time.Millisecond}
		v := newRemoteVerifier()
		if err := v.assembleRemote(c, o); err != nil {
			t.Fatal(err)
		}
		v.running.Go(func() { v.remote.patrol.run(v.stopped) })
		defer v.Close()
		test(t, v, o, newMemoryLog())
	})
}

// outcomeOf is the reason of a refusal, or "accepted".
func outcomeOf(err error) string {
	if refused, ok := errors.AsType[*Error](err); ok {
		return refused.Reason
	}
	if err != nil {
		return "not an *Error: " + err.Error()
	}
	return "accepted"
}

// TestNobodySharesAnOlderQuestion: a revocation that was acknowledged before a call
// is seen by it, though a question about the token was under way.
func TestNobodySharesAnOlderQuestion(t *testing.T) {
	remotely(t, nil, func(t *testing.T, v *Verifier, o *scriptedOracle, log *memoryLog) {
		m := log.mint(t, "u", "s", "j")
		var early, late [50]string
		var callers sync.WaitGroup
		for i := range early {
			callers.Go(func() { _, err := v.Verify(t.Context(), m.raw); early[i] = outcomeOf(err) })
		}
		synctest.Wait() // one question is under way, for the first of them
		o.set(func(o *scriptedOracle) { o.revoked[m.raw] = true })
		for i := range late {
			callers.Go(func() { _, err := v.Verify(t.Context(), m.raw); late[i] = outcomeOf(err) })
		}
		callers.Wait()
		accepted := 0
		for i := range early {
			if early[i] == "accepted" {
				accepted++
			}
			if late[i] != ReasonRevokedElsewhere {
				t.Errorf("a call after the revocation: %s", late[i])
			}
		}
		if accepted != 1 {
			t.Errorf("%d of those that came before were accepted; only the first one's question was sent before", accepted)
		}
		if n := o.count(); n != 2 {
			t.Errorf("%d questions for 100 callers", n)
		}
		if s := v.Stats(); s.Asked+s.AskShared != 100 || s.Asked != 2 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// TestACallerWhoLeavesFailsNobody: neither the one whose call began a question, nor
// one of those who wait for it, takes it along; and whoever has left already asks nothing.
func TestACallerWhoLeavesFailsNobody(t *testing.T) {
	remotely(t, nil, func(t *testing.T, v *Verifier, o *scriptedOracle, log *memoryLog) {
		m := log.mint(t, "u", "s", "j")
		leaving, leave := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		call := func(ctx context.Context, want string) {
			callers.Go(func() {
				if _, err := v.Verify(ctx, m.raw); outcomeOf(err) != want {
					t.Errorf("%v, want %s", err, want)
				}
			})
			synctest.Wait()
		}
		call(leaving, ReasonNoAnswer) // begins the first question
		call(leaving, ReasonNoAnswer) // begins the second one
		call(t.Context(), "accepted") // shares it
		call(leaving, ReasonNoAnswer) // shares it
		began := time.Now()
		leave()
		synctest.Wait()
		if took := time.Since(began); took > 0 {
			t.Errorf("who has left still waits, for %v", took)
		}
		callers.Wait()
		if n := o.count(); n != 2 {
			t.Errorf("%d questions", n)
		}
		call(leaving, ReasonNoAnswer)
		time.Sleep(time.Second)
		if n := o.count(); n != 2 {
			t.Errorf("a caller who has left had a question asked: %d", n)
		}
		// A question for which nobody waits any longer is not asked.
		leaving, leave = context.WithCancel(t.Context())
		call(t.Context(), "accepted")
		call(leaving, ReasonNoAnswer)
		leave()
		callers.Wait()
		time.Sleep(time.Second)
		if n := o.count(); n != 3 {
			t.Errorf("%d questions", n)
		}
		if s := v.Stats(); s.BreakerOpened != 0 || s.AskFailed != 0 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// TestABreakerThatIsOpenSaysWhy: what is wrong can be read from every refusal.
func TestABreakerThatIsOpenSaysWhy(t *testing.T) {
	remotely(t, nil, func(t *testing.T, v *Verifier, o *scriptedOracle, log *memoryLog) {
		o.set(func(o *scriptedOracle) {
			o.fails = &askError{reason: ReasonClientRefused, err: errors.New("the endpoint answered 401")}
		})
		m := log.mint(t, "u", "s", "j")
		var err error
		for range breakerFailures + 1 {
			_, err = v.Verify(t.Context(), m.raw)
		}
		if outcomeOf(err) != ReasonBreakerOpen || !strings.Contains(err.Error(), "the endpoint answered 401") {
			t.Error(err)
		}
	})
}

// TestTheBreakerUnderACrowd: while it is open, and of a crowd that comes when the
// pause is over, one question reaches the authority.
func TestTheBreakerUnderACrowd(t *testing.T) {
	remotely(t, nil, func(t *testing.T, v *Verifier, o *scriptedOracle, log *memoryLog) {
		o.set(func(o *scriptedOracle) { o.fails = errScripted })
		for range breakerFailures {
			_, _ = v.Verify(t.Context(), log.mint(t, "u", "s", "j").raw)
		}
		time.Sleep(breakerFirstPause)
		o.set(func(o *scriptedOracle) { o.most = 0 })
		before := o.count()
		crowd := func() (counts map[string]int) {
			var outcomes [100]string
			var callers sync.WaitGroup
			for i := range outcomes {
				raw := log.mint(t, "u", "s", fmt.Sprint(i)).raw
				callers.Go(func() { _, err := v.Verify(t.Context(), raw); outcomes[i] = outcomeOf(err) })
			}
			callers.Wait()
			counts = map[string]int{}
			for _, outcome := range outcomes {
				counts[outcome]++
			}
			return counts
		}
		if got := crowd(); got[ReasonBreakerOpen] != 99 || got[ReasonNoAnswer] != 1 || o.count() != before+1 || o.most != 1 {
			t.Errorf("%v, %d questions", got, o.count()-before)
		}
		o.set(func(o *scriptedOracle) { o.fails = nil })
		time.Sleep(2 * breakerFirstPause)
		if got := crowd(); got["accepted"] != 1 || got[ReasonBreakerOpen] != 99 {
			t.Errorf("the crowd of the recovery: %v", got)
		}
		if got := crowd(); got["accepted"] != 100 {
			t.Errorf("afterwards: %v", got)
		}
	})
}

func TestQuestionsAreBounded(t *testing.T) {
	bound := func(c *Config) { c.MaxAsks = 8 }
	remotely(t, bound, func(t *testing.T, v *Verifier, o *scriptedOracle, log *memoryLog) {
		var outcomes sync.Map
		var callers sync.WaitGroup
		for i := range 100 {
			m := log.mint(t, "u", "s", fmt.Sprint(i))
			callers.Go(func() { _, err := v.Verify(t.Context(), m.raw); outcomes.Store(i, outcomeOf(err)) })
		}
		callers.Wait()
		counts := map[string]int{}
		outcomes.Range(func(_, outcome any) bool { counts[outcome.(string)]++; return true })
		if counts["accepted"] != 8 || counts[ReasonOverloaded] != 92 || o.most != 8 {
			t.Errorf("%v, %d at once", counts, o.most)
		}
		if _, err := v.Verify(t.Context(), log.mint(t, "u", "s", "later").raw); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// TestAnOracleThatHangs: every call ends within the deadline, the breaker opens,
// and the authority is left alone.
func TestAnOracleThatHangs(t *testing.T) {
	remotely(t, nil, func(t *testing.T, v *Verifier, o *scriptedOracle, log *memoryLog) {
		m := log.mint(t, "u", "s", "j")
		o.set(func(o *scriptedOracle) { o.takes = time.Hour })
		var callers sync.WaitGroup
		for range 200 {
			callers.Go(func() {
				began := time.Now()
				_, err := v.Verify(t.Context(), m.raw)
				if took := time.Since(began); !errors.Is(err, ErrUnavailable) || took > 2*time.Second {
					t.Errorf("%v after %v", err, took)
				}
			})
			time.Sleep(20 * time.Millisecond)
		}
		callers.Wait()
		for range breakerFailures {
			callers.Go(func() { _, _ = v.Verify(t.Context(), log.mint(t, "u", "s", fmt.Sprint(time.Now())).raw) })
			callers.Wait()
		}
		synctest.Wait() // the caller's time and the question's end at once
		if s := v.Stats(); s.Fresh || s.BreakerOpened != 1 {
			t.Fatalf("stats: %+v", s)
		}
		o.set(func(o *scriptedOracle) { o.takes, o.fails = 0, errScripted })
		before, began := o.count(), time.Now()
		for time.Since(began) < time.Minute {
			if _, err := v.Verify(t.Context(), m.raw); !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		if asked := o.count() - before; asked > 15 {
			t.Errorf("%d questions in a minute of failure", asked)
		}
		o.set(func(o *scriptedOracle) { o.fails = nil })
		time.Sleep(breakerLastPause)
		if _, err := v.Verify(t.Context(), m.raw); err != nil {
			t.Errorf("after the recovery: %v", err)
		}
		if s := v.Stats(); !s.Fresh || s.Waiting != "" {
			t.Errorf("stats: %+v", s)
		}
	})
}

// TestAQuestionThatIsRefusedOpensNoBreaker: whoever finds a token that the
// authority will not look at must not be able to stop the others.
func TestAQuestionThatIsRefusedOpensNoBreaker(t *testing.T) {
	remotely(t, nil, func(t *testing.T, v *Verifier, o *scriptedOracle, log *memoryLog) {
		odd, good := log.mint(t, "u", "s", "odd"), log.mint(t, "u", "s", "good")
		o.set(func(o *scriptedOracle) {
			o.fails = &askError{reason: ReasonNoAnswer, err: errors.New("400"), alive: true}
		})
		for range 10 * breakerFailures {
			if _, err := v.Verify(t.Context(), odd.raw); !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
		}
		o.set(func(o *scriptedOracle) { o.fails = nil })
		if _, err := v.Verify(t.Context(), good.raw); err != nil {
			t.Error(err)
		}
	})
}

func TestAnswersThatAreNotAboutTheToken(t *testing.T) {
	remotely(t, nil, func(t *testing.T, v *Verifier, o *scriptedOracle, log *memoryLog) {
		m, other := log.mint(t, "u", "s", "j"), log.mint(t, "eve", "s2", "j2")
		edited := func(from, to string) string {
			doc := strings.Replace(string(payloadOf(m.raw)), from, to, 1)
			if doc == string(payloadOf(m.raw)) {
				t.Fatalf("%s is not in %s", from, doc)
			}
			return doc
		}
		for title, doc := range map[string]string{
			"of another token":      string(payloadOf(other.raw)),
			"of another issuer":     edited(testIssuer, "https://evil.example"),
			"for another audience":  edited(`"`+testAudience+`"`, `"billing"`),
			"of another user":       edited(`"sub":"u"`, `"sub":"root"`),
			"of another session":    edited(`"sid":"s"`, `"sid":"t"`),
			"that lives longer":     edited(`"exp":`, `"exp":9`),
			"without an id":         edited(`"jti"`, `"jwt_id"`),
			"with a claim twice":    edited(`"sub":"u"`, `"sub":"u","sub":"root"`),
			"with a number as text": edited(`"sub":"u"`, `"sub":1`),
			"that is empty":         ``, "that is null": `null`, "that is a list": `[]`,
		} {
			o.set(func(o *scriptedOracle) {
				o.answers = func(string) answer { return answer{active: true, claims: []byte(doc)} }
			})
			_, err := v.Verify(t.Context(), m.raw)
			if got := outcomeOf(err); got != ReasonBadAnswer || !errors.Is(err, ErrUnavailable) {
				t.Errorf("an answer %s: %s", title, got)
			}
			o.set(func(o *scriptedOracle) { o.answers = nil })
			if _, err := v.Verify(t.Context(), m.raw); err != nil { // and keeps the breaker closed
				t.Fatal(err)
			}
		}
		if s := v.Stats(); s.Alarms == 0 {
			t.Errorf("stats: %+v", s)
		}
		// An authority may say less than the token, and then that counts.
		o.set(func(o *scriptedOracle) {
			o.answers = func(string) answer {
				return answer{active: true, claims: fmt.Appendf(nil, `{"iss":%q,"sub":"u","aud":%q,"jti":"j","exp":%d,"iat":%d,"scope":"read"}`,
					testIssuer, testAudience, m.ref.Exp, m.ref.Exp-3600)}
			}
		})
		claims, err := v.Verify(t.Context(), m.raw)
		if err != nil || claims.SessionID != "s" || !claims.HasScope("read") || len(claims.Roles) > 0 {
			t.Errorf("%+v, %v", claims, err)
		}
	})
}

// TestReasonsOfTheAuthority: what it says maps to the errors of Mode Local.
func TestReasonsOfTheAuthority(t *testing.T) {
	for reason, want := range map[string]struct {
		err    error
		reason string
	}{
		"":                 {ErrInvalid, ReasonInactive},
		"expired":          {ErrExpired, "expired"},
		"revoked":          {ErrRevoked, ReasonRevokedElsewhere},
		"account_inactive": {ErrRevoked, ReasonRevokedElsewhere},
		"revoked_key":      {ErrRevoked, ReasonRevokedKey},
		"bad_signature":    {ErrInvalid, "bad_signature"},
		"Bad\nreason":      {ErrInvalid, ReasonInactive},
	} {
		err := refusedBecause(reason)
		if !errors.Is(err, want.err) || outcomeOf(err) != want.reason {
			t.Errorf("%q: %v", reason, err)
		}
	}
}

func TestTheClockDecidesToo(t *testing.T) {
	remotely(t, nil, func(t *testing.T, v *Verifier, _ *scriptedOracle, log *memoryLog) {
		m := log.mint(t, "u", "s", "j")
		claims, err := v.Verify(t.Context(), m.raw)
		if err != nil {
			t.Fatal(err)
		}
		watched, cancel := v.Watch(t.Context(), claims)
		defer cancel()
		time.Sleep(time.Until(claims.Expiry()) + 11*time.Second)
		if !errors.Is(context.Cause(watched), ErrExpired) {
			t.Errorf("the watch: %v", context.Cause(watched))
		}
		// The authority still says that it is active.
		if _, err := v.Verify(t.Context(), m.raw); !errors.Is(err, ErrExpired) {
			t.Error(err)
		}
	})
}

// TestWatchesShareTheirQuestions: one question an interval for each token, and no
// more at once than a quarter of the bound.
func TestWatchesShareTheirQuestions(t *testing.T) {
	bound := func(c *Config) { c.MaxAsks = 16 }
	remotely(t, bound, func(t *testing.T, v *Verifier, o *scriptedOracle, log *memoryLog) {
		const tokens, each = 40, 5
		var all [tokens][each]context.Context
		var raws [tokens]string
		for i := range tokens {
			raws[i] = log.mint(t, "u", "s", fmt.Sprint(i)).raw
			claims, err := v.Verify(t.Context(), raws[i])
			if err != nil {
				t.Fatal(err)
			}
			for k := range each {
				ctx, cancel := v.Watch(t.Context(), claims)
				defer cancel()
				all[i][k] = ctx
			}
		}
		o.set(func(o *scriptedOracle) { o.most = 0 })
		before := o.count()
		time.Sleep(30 * time.Second)
		rounds := float64(o.count()-before) / tokens
		if rounds < 24 || rounds > 34 || o.most > 4 {
			t.Errorf("%.1f questions a token in 30 s, %d at once", rounds, o.most)
		}
		o.set(func(o *scriptedOracle) { o.revoked[raws[7]] = true })
		time.Sleep(2 * time.Second)
		for i := range all {
			for _, ctx := range all[i] {
				if ended := ctx.Err() != nil; ended != (i == 7) || ended && !errors.Is(context.Cause(ctx), ErrRevoked) {
					t.Errorf("token %d: %v", i, context.Cause(ctx))
				}
			}
		}
		o.set(func(o *scriptedOracle) { o.fails = errScripted })
		time.Sleep(1700 * time.Millisecond) // two rounds at most: an interval may be a tenth shorter
		if all[0][0].Err() != nil {
			t.Error("one or two lost answers ended a watch")
		}
		time.Sleep(5 * time.Second)
		if !errors.Is(context.Cause(all[0][0]), ErrUnavailable) {
			t.Errorf("without answers: %v", context.Cause(all[0][0]))
		}
		if n := v.Stats().Watches; n != 0 {
			t.Errorf("%d watches are left", n)
		}
	})
}

// TestAWatchEndsWithinTheBound: whatever the intervals and timeouts, no watch goes on
// for longer than MaxStale after the authority last said that its token is good.
func TestAWatchEndsWithinTheBound(t *testing.T) {
	for _, c := range []struct{ maxStale, probe, request, bound time.Duration }{
		{12 * time.Second, 4 * time.Second, 12 * time.Second, 12 * time.Second},
		{0, 0, 0, 9300 * time.Millisecond}, // by three lost answers: of 1 s and a tenth each, and 2 s
	} {
		t.Run(c.bound.String(), func(t *testing.T) {
			watchWithin(t, c.bound, func(to *Config) {
				to.MaxStale, to.ProbeInterval, to.RequestTimeout = c.maxStale, c.probe, c.request
			})
		})
	}
}

func watchWithin(t *testing.T, bound time.Duration, change func(*Config)) {
	t.Helper()
	remotely(t, change, func(t *testing.T, v *Verifier, o *scriptedOracle, log *memoryLog) {
		claims, err := v.Verify(t.Context(), log.mint(t, "u", "s", "j").raw)
		if err != nil {
			t.Fatal(err)
		}
		watched, cancel := v.Watch(t.Context(), claims)
		defer cancel()
		time.Sleep(time.Minute) // each answer counts anew
		if watched.Err() != nil {
			t.Fatal(context.Cause(watched))
		}
		o.set(func(o *scriptedOracle) { o.takes = time.Hour })
		began := time.Now()
		<-watched.Done()
		if took := time.Since(began); !errors.Is(context.Cause(watched), ErrUnavailable) || took > bound {
			t.Errorf("after %v: %v", took, context.Cause(watched))
		}
	})
}

// TestTooManyWatches: where a round takes longer than the bound, the watches that
// are not asked about in time end, rather than to go on unguarded.
func TestTooManyWatches(t *testing.T) {
	tight := func(c *Config) { c.MaxAsks, c.MaxStale = 4, 6*time.Second }
	remotely(t, tight, func(t *testing.T, v *Verifier, o *scriptedOracle, log *memoryLog) {
		for i := range 200 {
			claims, err := v.Verify(t.Context(), log.mint(t, "u", "s", fmt.Sprint(i)).raw)
			if err != nil {
				t.Fatal(err)
			}
			watched, cancel := v.Watch(t.Context(), claims)
			defer cancel()
			context.AfterFunc(watched, func() {
				if !errors.Is(context.Cause(watched), ErrUnavailable) && !errors.Is(context.Cause(watched), context.Canceled) {
					t.Error(context.Cause(watched))
				}
			})
		}
		o.set(func(o *scriptedOracle) { o.takes = 100 * time.Millisecond })
		time.Sleep(time.Minute)
		if n := v.Stats().Watches; n < 20 || n > 60 {
			t.Errorf("%d watches are left; with a quarter of MaxAsks, one question at a time, 50 can be asked about", n)
		}
	})
}

// TestWatchingWhatWasVerifiedLongAgo asks first, as Mode Local looks first.
func TestWatchingWhatWasVerifiedLongAgo(t *testing.T) {
	remotely(t, nil, func(t *testing.T, v *Verifier, o *scriptedOracle, log *memoryLog) {
		m := log.mint(t, "u", "s", "j")
		claims, err := v.Verify(t.Context(), m.raw)
		if err != nil {
			t.Fatal(err)
		}
		before := o.count()
		_, cancel := v.Watch(t.Context(), claims)
		cancel()
		if o.count() != before {
			t.Error("asked about what has just been verified")
		}
		time.Sleep(time.Minute)
		o.set(func(o *scriptedOracle) { o.revoked[m.raw] = true })
		watched, cancel := v.Watch(t.Context(), claims)
		defer cancel()
		if !errors.Is(context.Cause(watched), ErrRevoked) {
			t.Error(context.Cause(watched))
		}
	})
}

func TestARemoteVerifierThatIsClosed(t *testing.T) {
	remotely(t, nil, func(t *testing.T, v *Verifier, o *scriptedOracle, log *memoryLog) {
		m := log.mint(t, "u", "s", "j")
		claims, err := v.Verify(t.Context(), m.raw)
		if err != nil {
			t.Fatal(err)
		}
		watched, cancel := v.Watch(t.Context(), claims)
		defer cancel()
		o.set(func(o *scriptedOracle) { o.takes = time.Hour })
		var callers sync.WaitGroup
		for range 10 {
			callers.Go(func() {
				if _, err := v.Verify(t.Context(), m.raw); outcomeOf(err) != ReasonClosed {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		v.Close()
		callers.Wait()
		if took := time.Since(began); took > 0 {
			t.Errorf("Close took %v", took)
		}
		later, cancelLater := v.Watch(t.Context(), claims)
		defer cancelLater()
		_, err = v.Verify(t.Context(), m.raw)
		for what, err := range map[string]error{
			"the watch": context.Cause(watched), "a later watch": context.Cause(later), "a later call": err,
		} {
			if outcomeOf(err) != ReasonClosed {
				t.Errorf("%s: %v", what, err)
			}
		}
		if v.Stats().Fresh {
			t.Error("fresh though closed")
		}
	})
}

// TestPrintedClaimsHoldNoToken: claims go into logs.
func TestPrintedClaimsHoldNoToken(t *testing.T) {
	remotely(t, nil, func(t *testing.T, v *Verifier, _ *scriptedOracle, log *memoryLog) {
		m := log.mint(t, "u", "s", "j")
		claims, err := v.Verify(t.Context(), m.raw)
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		logger := slog.New(slog.NewJSONHandler(&text, nil))
		logger.Info("claims", "claims", claims, "value", *claims)
		fmt.Fprintf(&text, "%v %+v %#v %v %+v %#v", claims, claims, claims, *claims, *claims, *claims)
		if strings.Contains(text.String(), m.raw) || strings.Contains(text.String(), m.raw[:40]) {
			t.Errorf("the token is in %s", text.String())
		}
	})
}

// In Mode Remote nobody tells of revoked certificates: none is taken for good.
func TestAFollowerOfNoLogKnowsOfNoCertificate(t *testing.T) {
	remotely(t, nil, func(t *testing.T, v *Verifier, _ *scriptedOracle, _ *memoryLog) {
		if err := v.CheckCertificate("id"); !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
		watched, cancel := v.WatchCertificate(t.Context(), "id")
		defer cancel()
		if !errors.Is(context.Cause(watched), ErrUnavailable) {
			t.Error(context.Cause(watched))
		}
	})
}

// TestARemoteWatchThatSlept: a machine that was suspended has timers that stood still,
// and the bound is over by the other clock.
func TestARemoteWatchThatSlept(t *testing.T) {
	remotely(t, nil, func(t *testing.T, v *Verifier, o *scriptedOracle, log *memoryLog) {
		ctx, cancel := watched(t, v, log.mint(t, "u", "s", "j"))
		defer cancel()
		o.set(func(o *scriptedOracle) { o.fails = errScripted })
		p := v.remote.patrol
		p.mu.Lock()
		for _, w := range p.watched {
			w.asked = time.Now().Round(0).Add(-time.Hour) // without the monotonic reading
		}
		p.mu.Unlock()
		if took := endOf(ctx); took > 2*time.Second || !errors.Is(context.Cause(ctx), ErrUnavailable) {
			t.Errorf("it ended %v after waking, with %v", took, context.Cause(ctx))
		}
	})
}
