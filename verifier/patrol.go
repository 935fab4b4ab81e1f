package verifier

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/authbus/authbus/verifier/token"
)

// patrol watches tokens in Mode Remote, where nobody tells of a revocation: it asks
// about each watched token once in Config.ProbeInterval, or as often as a quarter
// of Config.MaxAsks allows. It is one goroutine, with helpers for the time of a
// round. However slow the rounds are, and whatever becomes of them, no watch goes on
// for Config.MaxStale without an answer.
type patrol struct {
	interval time.Duration
	maxStale time.Duration
	helpers  int
	leeway   time.Duration
	decide   func(ctx context.Context, raw string, patient bool) (*Claims, error)

	mu      sync.Mutex
	watched map[string]*watchedToken // by token; guarded by mu
	took    time.Duration            // from question to answer, the last time; guarded by mu
	closed  bool                     // guarded by mu
}

// watchedToken is one token and all contexts that depend on it.
type watchedToken struct {
	raw     string
	expires time.Time
	ends    map[*context.CancelCauseFunc]struct{} // guarded by patrol.mu
	asked   time.Time                             // when the last question began whose answer was good; guarded by patrol.mu
	stale   *time.Timer                           // ends all, MaxStale after asked
	// unanswered counts the rounds in a row in which it could not be decided about.
	// Only the round that looks at the token uses it.
	unanswered int
}

func newPatrol(r *remote) *patrol {
	return &patrol{
		interval: r.config.ProbeInterval, maxStale: r.config.MaxStale, helpers: max(1, r.config.MaxAsks/4),
		leeway: r.config.Leeway, decide: r.decide, watched: make(map[string]*watchedToken),
	}
}

// watch is Watch.
func (p *patrol) watch(ctx context.Context, claims *Claims) (context.Context, context.CancelFunc) {
	watched, end := context.WithCancelCause(ctx)
	cancel := func() { end(context.Canceled) }
	if claims.presented == nil {
		end(unavailable(ReasonUnwatchable, "the claims did not come from Verify in Mode Remote"))
		return watched, cancel
	}
	recent, err := p.recent(ctx, claims)
	if err == nil && !p.add(recent, &end) {
		err = errClosed
	}
	if err != nil {
		end(err)
		return watched, cancel
	}
	expiry := time.AfterFunc(time.Until(claims.Expiry().Add(p.leeway)), func() {
		end(&Error{Err: ErrExpired, Reason: string(token.ReasonExpired)})
	})
	context.AfterFunc(watched, func() {
		expiry.Stop()
		p.remove(claims.presented.raw, &end)
	})
	return watched, cancel
}

// recent asks about claims that are older than an interval, so that a watch begins
// with what is known now. Its error is the cause to end with.
func (p *patrol) recent(ctx context.Context, claims *Claims) (*Claims, error) {
	if ageOf(claims.presented.asked, time.Now()) <= p.interval {
		return claims, nil
	}
	again, err := p.decide(ctx, claims.presented.raw, true)
	if err != nil {
		return nil, causeOf(err, claims.Expiry(), time.Now())
	}
	return again, nil
}

func (p *patrol) add(claims *Claims, end *context.CancelCauseFunc) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	raw := claims.presented.raw
	w := p.watched[raw]
	if w == nil {
		w = &watchedToken{raw: raw, expires: claims.Expiry(), ends: make(map[*context.CancelCauseFunc]struct{})}
		w.stale = time.AfterFunc(p.maxStale, func() { p.end(w, p.noneForTooLong()) })
		p.watched[raw] = w
	}
	w.ends[end] = struct{}{}
	p.confirm(w, claims.presented.asked)
	return true
}

// confirm notes that the answer to a question was good. p.mu is held.
func (p *patrol) confirm(w *watchedToken, asked time.Time) {
	if len(w.ends) > 0 && asked.After(w.asked) {
		w.asked = asked
		w.stale.Reset(time.Until(asked.Add(p.maxStale)))
	}
}

// endOverdue ends what the timers have not, which stand still while the machine sleeps.
func (p *patrol) endOverdue(now time.Time) {
	var overdue []*watchedToken
	p.mu.Lock()
	for _, w := range p.watched {
		if ageOf(w.asked, now) > p.maxStale {
			overdue = append(overdue, w)
		}
	}
	p.mu.Unlock()
	for _, w := range overdue {
		p.end(w, p.noneForTooLong())
	}
}

func (p *patrol) noneForTooLong() error {
	return unavailable(ReasonNotFresh, "the authority has not answered for "+p.maxStale.String())
}

func (p *patrol) remove(raw string, end *context.CancelCauseFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.watched[raw]
	if w == nil {
		return
	}
	delete(w.ends, end)
	if len(w.ends) == 0 {
		w.stale.Stop()
		delete(p.watched, raw)
	}
}

// run makes rounds until ctx ends. The intervals vary a little, so that services
// that started together do not ask together.
func (p *patrol) run(ctx context.Context) {
	for {
		timer := time.NewTimer(p.interval + time.Duration((rand.Float64()-0.5)*0.2*float64(p.interval)))
		select {
		case <-timer.C:
			p.round(ctx)
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// round looks at every watched token once.
func (p *patrol) round(ctx context.Context) {
	p.endOverdue(time.Now())
	inParallel(p.all(), p.helpers, func(w *watchedToken) { p.look(ctx, w) })
}

// patience is how often in a row patrol may fail to decide about a token. One lost
// answer is no reason to end every connection.
const patience = 3

// look ends the watches of a token that is over, or that could not be decided
// about several times.
func (p *patrol) look(ctx context.Context, w *watchedToken) {
	if ctx.Err() != nil || !p.due(w) {
		return
	}
	claims, err := p.decide(ctx, w.raw, true)
	switch {
	case err == nil:
		w.unanswered = 0
		p.mu.Lock()
		p.confirm(w, claims.presented.asked)
		p.took = time.Since(claims.presented.asked)
		p.mu.Unlock()
		return
	case errors.Is(err, ErrUnavailable):
		if w.unanswered++; w.unanswered < patience {
			return
		}
	}
	p.end(w, causeOf(err, w.expires, time.Now()))
}

// causeOf says what became of a token that was good: whatever the authority says, it
// has expired or was revoked.
func causeOf(err error, expires, now time.Time) error {
	if !errors.Is(err, ErrInvalid) {
		return err
	}
	if !now.Before(expires) {
		return &Error{Err: ErrExpired, Reason: string(token.ReasonExpired)}
	}
	detail := "it is no longer active"
	var refused *Error
	if errors.As(err, &refused) && refused.Reason != ReasonInactive {
		detail = refused.Reason
	}
	return &Error{Err: ErrRevoked, Reason: ReasonRevokedElsewhere, Detail: detail}
}

// end collects under the lock, so that nothing is called while it is held.
func (p *patrol) end(w *watchedToken, cause error) {
	p.mu.Lock()
	ends := make([]context.CancelCauseFunc, 0, len(w.ends))
	for end := range w.ends {
		ends = append(ends, *end)
	}
	p.mu.Unlock()
	for _, end := range ends {
		end(cause)
	}
}

// due reports whether it makes sense to ask about the token: somebody still watches
// it, and the answer can come before its time is over. Where there are more tokens
// than can be asked about, some end; if each were asked about too late, all would.
func (p *patrol) due(w *watchedToken) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(w.ends) > 0 && time.Until(w.asked.Add(p.maxStale)) > min(2*p.took, p.maxStale/4)
}

// all returns the watched tokens, first the one that was asked about longest ago.
func (p *patrol) all() []*watchedToken {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := slices.Collect(maps.Values(p.watched))
	slices.SortFunc(all, func(a, b *watchedToken) int { return a.asked.Compare(b.asked) })
	return all
}

func (p *patrol) count() (n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.watched {
		n += int64(len(w.ends))
	}
	return n
}

// close ends every watch, and those that are still to come.
func (p *patrol) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	for _, w := range p.all() {
		p.end(w, errClosed)
	}
}
