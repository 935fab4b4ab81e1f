package verifier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/authbus/authbus/verifier/token"
)

// remote is a verifier of Mode Remote: what needs no asking it refuses, and about
// everything else it asks the authority, every time.
type remote struct {
	config   Config
	profile  token.Profile
	oracle   oracle
	desk     *desk
	breaker  *breaker
	patrol   *patrol
	counters *counters
	lifetime context.Context // until Close
	answered atomic.Pointer[time.Time]
}

// oracle is a way to ask the authority about a whole token.
type oracle interface {
	// ask returns the authority's answer. Its error is an [*askError]; ctx has a
	// deadline.
	ask(ctx context.Context, raw string) (answer, error)
	close()
}

// answer is the authority's word on a token.
type answer struct {
	active bool
	claims []byte // where active, a JSON object with the claims
	reason string // why not active; may be empty
}

// askError says why there is no answer.
type askError struct {
	reason string // a Reason constant that goes with ErrUnavailable
	err    error
	// alive: the authority did answer, if only that this question is not one.
	alive bool
}

func (e *askError) Error() string { return e.err.Error() }
func (e *askError) Unwrap() error { return e.err }

// maxAnswer bounds the claims in an answer, in bytes. Those of the longest token
// have 12 KiB, and JSON may spell a character in six.
const maxAnswer = 96 << 10

// trialToken is a token that no authority can call active.
const trialToken = "authbus.trial.token" //nolint:gosec // and so not a credential

var (
	errClosed = &Error{Err: ErrUnavailable, Reason: ReasonClosed, Detail: "the verifier has been closed"}
	// errFollowsNoLog answers what only the revocation log can.
	errFollowsNoLog = &Error{Err: ErrUnavailable, Reason: ReasonNotFresh, Detail: "Mode Remote follows no revocation log"}
	// errGullible: whoever accepts a token that cannot exist accepts anything.
	errGullible = errors.New("the authority calls a token active that cannot be one")
)

// newRemote is New in Mode Remote.
func newRemote(ctx context.Context, c Config) (*Verifier, error) {
	v := newRemoteVerifier()
	o, err := newOracle(v.stopped, c, &v.counters)
	if err == nil {
		err = v.assembleRemote(c, o)
	}
	if err != nil {
		v.stop()
		return nil, err
	}
	if err := v.remote.awaitAnswer(ctx); err != nil {
		v.Close()
		return nil, err
	}
	v.running.Go(func() { v.remote.patrol.run(v.stopped) })
	return v, nil
}

// newRemoteVerifier has nothing but a lifetime and counters.
func newRemoteVerifier() *Verifier {
	v := &Verifier{}
	v.stopped, v.stop = context.WithCancel(context.Background())
	return v
}

// assembleRemote builds the parts, of which none runs yet.
func (v *Verifier) assembleRemote(c Config, o oracle) error {
	profile, err := token.Profile{
		Issuer: c.Issuer, Audience: c.Audience, Leeway: c.Leeway, MaxLifetime: c.MaxLifetime,
	}.Normalize()
	if err != nil {
		return fmt.Errorf("verifier: %w", err)
	}
	c.ClientSecret = "" // the oracle has it: a verifier that is printed has not
	v.config = c
	r := &remote{config: c, profile: profile, oracle: o, counters: &v.counters, lifetime: v.stopped}
	r.breaker = &breaker{changed: r.noteBreaker}
	r.desk = newDesk(c.MaxAsks, r.consult, func() { v.counters.askShared.Add(1) })
	r.patrol = newPatrol(r)
	v.remote = r
	return nil
}

func newOracle(lifetime context.Context, c Config, n *counters) (oracle, error) {
	if c.IntrospectionURL != "" {
		return newIntrospector(c), nil
	}
	return newBusOracle(lifetime, c, n)
}

// awaitAnswer returns once the authority has answered a question.
func (r *remote) awaitAnswer(ctx context.Context) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := r.try(ctx)
		var failed *askError
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errGullible), errors.As(err, &failed) && failed.reason == ReasonClientRefused:
			return fmt.Errorf("verifier: %w", err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("verifier: no answer from the authority yet (%w): %w", err, ctx.Err())
		}
	}
}

// try asks about a token that cannot be good, to see whether there is an answer.
func (r *remote) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.config.RequestTimeout)
	defer cancel()
	a, err := r.oracle.ask(ctx, trialToken)
	if err == nil && a.active {
		err = errGullible
	}
	if err == nil {
		r.note(time.Now())
	}
	return err
}

// verify is Verify: the outcome is there within RequestTimeout.
func (r *remote) verify(ctx context.Context, raw string) (*Claims, error) {
	claims, err := r.decide(ctx, raw, false)
	if err == nil {
		r.counters.accepted[0].Add(1)
	}
	return claims, err
}

// decide is verify without the counting.
func (r *remote) decide(ctx context.Context, raw string, patient bool) (*Claims, error) {
	if r.lifetime.Err() != nil {
		return nil, errClosed
	}
	if raw == "" {
		return nil, &Error{Err: ErrNoToken, Reason: ReasonNoToken}
	}
	if err := token.Screen(raw); err != nil {
		return nil, refusal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, r.config.RequestTimeout)
	defer cancel()
	return r.desk.verdict(ctx, raw, patient)
}

// consult asks the authority, once, for everybody who waits at the desk.
func (r *remote) consult(raw string) (*Claims, error) {
	admitted, trial := r.breaker.enter(time.Now())
	if !admitted {
		why := "the authority has failed repeatedly"
		if last := r.counters.waiting.Load(); last != nil {
			why += ": " + *last
		}
		return nil, unavailable(ReasonBreakerOpen, why)
	}
	r.counters.asked.Add(1)
	ctx, cancel := context.WithTimeout(r.lifetime, r.config.RequestTimeout)
	defer cancel()
	asked := time.Now()
	a, err := r.oracle.ask(ctx, raw)
	now := time.Now()
	var claims *Claims
	if err == nil {
		claims, err = r.judge(&presented{raw, asked}, a, now)
	}
	return claims, r.settle(err, now, trial)
}

// settle tells breaker and counters how a question ended, and makes the error one
// of Verify.
func (r *remote) settle(err error, now time.Time, trial bool) error {
	var failed *askError
	if !errors.As(err, &failed) {
		r.note(now)
		r.breaker.answered()
		return err
	}
	r.counters.askFailed.Add(1)
	text := failed.Error()
	r.counters.waiting.Store(&text)
	switch {
	case r.lifetime.Err() != nil:
		r.breaker.failed(now, trial)
		return errClosed
	case failed.alive:
		r.breaker.answered()
	default:
		r.breaker.failed(now, trial)
	}
	switch failed.reason {
	case ReasonClientRefused:
		r.counters.alarm(r.config.Logger, "the authority refuses this service's credentials", "error", text)
	case ReasonBadAnswer:
		r.counters.alarm(r.config.Logger, "an answer is not the authority's word on the token", "error", text)
	}
	return unavailable(failed.reason, text)
}

// note remembers that the authority answered.
func (r *remote) note(now time.Time) {
	r.answered.Store(&now)
	r.counters.waiting.Store(nil)
}

// judge makes a verdict of an answer.
func (r *remote) judge(p *presented, a answer, now time.Time) (*Claims, error) {
	if !a.active {
		return nil, refusedBecause(a.reason)
	}
	own, err := r.profile.VerifyVouched(p.raw, now)
	if err != nil {
		return nil, refusal(err)
	}
	said, err := token.ReadClaims(a.claims)
	if err != nil {
		return nil, &askError{reason: ReasonBadAnswer, err: err}
	}
	if claim := r.disagreement(own, said); claim != "" {
		return nil, &askError{reason: ReasonBadAnswer, err: fmt.Errorf("answer and token differ in %s", claim)}
	}
	// Who the bearer is stands in both. What the bearer may do is the authority's
	// to say, which may say less than the token (RFC 7662 §2.2).
	own.Scope, own.Roles = said.Scope, said.Roles
	return &Claims{Claims: *own, presented: p}, nil
}

// disagreement names the claim in which the answer speaks of another token. What
// is not a standard claim, an authority need not repeat.
func (r *remote) disagreement(own, said *token.Claims) string {
	differ := func(own, said string) bool { return said != "" && said != own }
	differNumber := func(own, said int64) bool { return said != 0 && said != own }
	switch {
	case said.Issuer != own.Issuer:
		return "iss"
	case !slices.Contains(said.Audience, r.profile.Audience):
		return "aud"
	case said.Subject != own.Subject:
		return "sub"
	case said.ID != own.ID:
		return "jti"
	case said.ExpiresAt != own.ExpiresAt:
		return "exp"
	case said.IssuedAt != own.IssuedAt:
		return "iat"
	case differNumber(own.NotBefore, said.NotBefore):
		return "nbf"
	case differ(own.SessionID, said.SessionID):
		return "sid"
	case differ(own.ClientID, said.ClientID):
		return "client_id"
	case differNumber(own.AuthTime, said.AuthTime):
		return "auth_time"
	case said.Rev != 0 && said.Rev != own.Rev:
		return "rev"
	}
	return ""
}

// refusedBecause turns the authority's reason into the refusal that Mode Local
// has for it.
func refusedBecause(reason string) error {
	switch reason {
	case "":
		return &Error{Err: ErrInvalid, Reason: ReasonInactive, Detail: "the authority says so"}
	case string(token.ReasonExpired):
		return &Error{Err: ErrExpired, Reason: reason}
	case ReasonRevokedKey:
		return &Error{Err: ErrRevoked, Reason: reason, Detail: "the authority says so"}
	case "revoked", "account_inactive": // an account that is switched off is a revocation of its user
		return &Error{Err: ErrRevoked, Reason: ReasonRevokedElsewhere, Detail: reason}
	}
	if !isWord(reason) {
		return &Error{Err: ErrInvalid, Reason: ReasonInactive, Detail: "for a reason that is no word"}
	}
	return &Error{Err: ErrInvalid, Reason: reason, Detail: "the authority says so"}
}

// isWord reports whether a reason is fit for metrics and logs.
func isWord(reason string) bool {
	for _, c := range []byte(reason) {
		if (c < 'a' || c > 'z') && c != '_' {
			return false
		}
	}
	return len(reason) <= 64
}

func (r *remote) noteBreaker(open bool, pause time.Duration) {
	if !open {
		r.config.Logger.Info("the authority answers again")
		return
	}
	r.counters.breakerOpened.Add(1)
	args := []any{"pause", pause}
	if why := r.counters.waiting.Load(); why != nil {
		args = append(args, "error", *why)
	}
	r.config.Logger.Warn("the authority does not answer: not asking it for a moment", args...)
}

// stats is Stats.
func (r *remote) stats() Stats {
	n, now := r.counters, time.Now()
	s := Stats{
		Mode: Remote, Fresh: r.lifetime.Err() == nil && !r.breaker.isOpen(now), Staleness: -1,
		Watches: r.patrol.count(), Accepted: n.accepted[0].Load(),
		Invalid: n.invalid.Load(), Expired: n.expired.Load(), Revoked: n.revoked.Load(), Unavailable: n.unavailable.Load(),
		Asked: n.asked.Load(), AskFailed: n.askFailed.Load(), AskShared: n.askShared.Load(),
		BreakerOpened: n.breakerOpened.Load(), KeyFetches: n.keyFetches.Load(), Alarms: n.alarms.Load(),
	}
	if at := r.answered.Load(); at != nil {
		s.Staleness = now.Sub(*at)
	}
	if p := n.waiting.Load(); p != nil {
		s.Waiting = *p
	}
	if p := n.lastAlarm.Load(); p != nil {
		s.LastAlarm = *p
	}
	return s
}

// close ends the asking, and waits until it has ended. The lifetime is over.
func (r *remote) close() {
	r.desk.close()
	r.patrol.close()
	r.oracle.close()
}
