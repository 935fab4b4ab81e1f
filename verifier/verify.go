package verifier

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unsafe"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

// Verify returns the claims of a token that is genuine, meant for this audience,
// alive and not revoked. Every other outcome is an [*Error] that wraps
// [ErrNoToken], [ErrInvalid], [ErrExpired], [ErrRevoked] or [ErrUnavailable].
//
// ctx bounds what may have to be asked of the authority: the keys, or the state
// of the token. Where it ends first, the outcome is ErrUnavailable.
func (v *Verifier) Verify(ctx context.Context, raw string) (*Claims, error) {
	if v.remote != nil {
		claims, err := v.remote.verify(ctx, raw)
		if err != nil {
			return nil, v.refused(err)
		}
		return claims, nil
	}
	now := time.Now()
	t := v.tokens.get(raw)
	if t == nil {
		var err error
		if t, err = v.admit(ctx, raw, now); err != nil {
			return nil, v.refused(err)
		}
		now = time.Now() // keys may have been fetched meanwhile
	}
	// Freshness before generation, so that whatever the proof speaks of has had
	// its effect on the generation that is compared.
	fresh := v.freshAt(now)
	if fresh && t.clean.Load() == v.ledger.generation.Load() && v.alive(t, now) == nil {
		v.accepted(t)
		return &t.claims, nil
	}
	claims, err := v.judge(ctx, t, now, fresh)
	if err != nil {
		return nil, v.refused(err)
	}
	v.accepted(t)
	if claims.Stale {
		v.acceptedStale(t)
	}
	return claims, nil
}

// admit does what is done once for each token: strict parse, signature, claims.
func (v *Verifier) admit(ctx context.Context, raw string, now time.Time) (*cachedToken, error) {
	if v.stopped.Err() != nil {
		return nil, errClosed
	}
	if raw == "" {
		return nil, &Error{Err: ErrNoToken, Reason: ReasonNoToken}
	}
	claims, err := v.profile.Verify(raw, v.keys.tokens(), now)
	if refused, ok := errors.AsType[*token.Error](err); ok && refused.Reason == token.ReasonUnknownKID && !v.keys.shared {
		if err := v.keys.demand(ctx); err != nil {
			return nil, unavailable(ReasonKeysUnknown, err.Error())
		}
		claims, err = v.profile.Verify(raw, v.keys.tokens(), now)
	}
	if err != nil {
		return nil, v.unknownKey(raw, err, now)
	}
	v.counters.verified.Add(1)
	raw = strings.Clone(raw)
	t := &cachedToken{raw: raw, claims: Claims{Claims: *claims, presented: &presented{raw: raw}}, ref: claims.Ref()}
	v.tokens.put(t)
	return t, nil
}

// alive checks the token's time. A token from before the last sweep of marks
// counts as expired even if the clock has been set back since.
func (v *Verifier) alive(t *cachedToken, now time.Time) error {
	if t.claims.ExpiresAt+int64(v.config.Leeway/time.Second) < v.ledger.swept.Load() {
		return &Error{Err: ErrExpired, Reason: string(token.ReasonExpired), Detail: "the clock has gone back"}
	}
	return v.profile.CheckTime(&t.claims.Claims, now)
}

func (v *Verifier) freshAt(now time.Time) bool { return v.provedWithin(v.config.MaxStale, now) }

// provedWithin reports whether the last proof of freshness is that young.
func (v *Verifier) provedWithin(d time.Duration, now time.Time) bool {
	age, ok := v.ledger.staleness(now)
	return ok && age <= d
}

// judge does what is done on every call, when the fast path did not settle it.
func (v *Verifier) judge(ctx context.Context, t *cachedToken, now time.Time, fresh bool) (*Claims, error) {
	if v.stopped.Err() != nil {
		return nil, errClosed
	}
	if err := v.alive(t, now); err != nil {
		v.tokens.remove(t)
		return nil, asError(err)
	}
	generation := v.ledger.generation.Load() // before every look-up that it stands for
	if v.keys.mixed.Load() {
		return nil, v.mixedKeys()
	}
	if r := t.revoked.Load(); r != nil {
		return nil, revokedBy(*r)
	}
	r, found := v.ledger.look(t.ref)
	if _, known := v.keys.tokens().Lookup(t.claims.KeyID); !known && found != findRevoked {
		v.tokens.remove(t)
		return nil, v.withdrawn(t.claims.KeyID)
	}
	switch {
	case found == findRevoked:
		covering := r // r itself stays off the heap when nothing is found
		t.revoked.Store(&covering)
		return nil, revokedBy(covering)
	case found != findClean:
		return v.resolve(ctx, t, found, generation)
	case v.config.Stale == Reject && !fresh:
		return nil, v.notFresh(now)
	case t.ref.Rev > v.ledger.applied.Load():
		// Minted after something that has not been applied yet.
		v.follower.kick()
		return v.confirm(ctx, t, generation)
	case !fresh:
		return v.confirm(ctx, t, generation)
	}
	t.clean.Store(generation)
	return &t.claims, nil
}

// resolve decides about a token that a mark names, where the record is lost.
func (v *Verifier) resolve(ctx context.Context, t *cachedToken, found finding, generation uint64) (*Claims, error) {
	marked := events.Revocation{Scope: "unknown", Reason: "its record is not at hand"}
	if v.ledger.reopened.Load() {
		// The authority may have forgotten what the mark stands for.
		return nil, revokedBy(marked)
	}
	answer, err := v.ask(ctx, t, generation)
	if err == nil {
		return v.obey(t, answer)
	}
	if found == findMarkedUser {
		return nil, noAnswer(err)
	}
	return nil, revokedBy(marked)
}

// confirm has the authority decide about a token that nothing known here covers.
func (v *Verifier) confirm(ctx context.Context, t *cachedToken, generation uint64) (*Claims, error) {
	answer, err := v.ask(ctx, t, generation)
	if err == nil {
		return v.obey(t, answer)
	}
	age, proved := v.ledger.staleness(time.Now()) // asking took its time
	if v.config.Stale == Accept && proved && age <= v.config.MaxStale+v.config.AcceptGrace &&
		t.ref.Rev <= v.ledger.applied.Load() {
		stale := t.claims
		stale.Stale = true
		return &stale, nil
	}
	return nil, noAnswer(err)
}

// ask returns the authority's word on the token: a recent one if nothing was
// learned since, or a new one.
func (v *Verifier) ask(ctx context.Context, t *cachedToken, generation uint64) (*answered, error) {
	if a := t.asked.Load(); a != nil && a.generation == generation && ageOf(a.at, time.Now()) < answerLife {
		return a, nil
	}
	epoch, applied, _ := v.ledger.position()
	a, err := v.asker.ask(ctx, t.ref, generation)
	if err != nil {
		return nil, err
	}
	if a.reply.Epoch != epoch || a.reply.Rev < applied {
		// Whoever answers knows another log than the one followed here, or less of it.
		v.follower.kick()
		return nil, errOtherLog
	}
	if ageOf(a.at, time.Now()) > v.config.MaxStale {
		return nil, errLate
	}
	t.asked.Store(a)
	return a, nil
}

// obey does as the authority says, and remembers the records that it names, which end
// what else they cover.
func (v *Verifier) obey(t *cachedToken, a *answered) (*Claims, error) {
	var covering *events.Revocation
	for i, r := range a.reply.Records {
		v.ledger.learn(r)
		v.watches.revoke(r)
		if r.Covers(t.ref) {
			covering = &a.reply.Records[i]
		}
	}
	switch {
	case covering != nil:
		t.revoked.Store(covering)
		return nil, revokedBy(*covering)
	case !a.reply.Active:
		return nil, revokedBy(events.Revocation{Scope: "unknown", Reason: "the authority says so"})
	}
	return &t.claims, nil
}

func (v *Verifier) mixedKeys() error {
	return unavailable(ReasonMixedKeys, token.ErrMixed.Error()+": the authority publishes public keys for tokens")
}

func (v *Verifier) notFresh(now time.Time) error {
	if age, ok := v.ledger.staleness(now); ok {
		return unavailable(ReasonNotFresh, fmt.Sprintf("last proof of freshness %s ago", age.Round(time.Millisecond)))
	}
	return unavailable(ReasonNotFresh, "no proof of freshness")
}

func noAnswer(err error) error {
	if errors.Is(err, errOverloaded) {
		return unavailable(ReasonOverloaded, err.Error())
	}
	return unavailable(ReasonNoAnswer, err.Error())
}

// asError makes a refusal of the token package one of this package.
func asError(err error) error {
	if _, own := errors.AsType[*Error](err); own {
		return err
	}
	return refusal(err)
}

func (v *Verifier) accepted(t *cachedToken) {
	// Addresses of entries differ enough above their alignment to spread the stripes.
	stripe := uintptr(unsafe.Pointer(t)) >> 8 % uintptr(len(v.counters.accepted)) //nolint:gosec // only a number: never turned back
	v.counters.accepted[stripe].Add(1)
}

func (v *Verifier) acceptedStale(t *cachedToken) {
	age, _ := v.ledger.staleness(time.Now())
	v.counters.acceptedStale.Add(1)
	v.config.Logger.Warn("accepted a token beyond the staleness bound",
		"jti", t.ref.JTI, "sub", t.ref.Sub, "age", age, "max_stale", v.config.MaxStale)
}

// refused counts a refusal.
func (v *Verifier) refused(err error) error {
	switch {
	case errors.Is(err, ErrInvalid):
		v.counters.invalid.Add(1)
	case errors.Is(err, ErrExpired):
		v.counters.expired.Add(1)
	case errors.Is(err, ErrRevoked):
		v.counters.revoked.Add(1)
	case errors.Is(err, ErrUnavailable):
		v.counters.unavailable.Add(1)
	}
	return err
}
