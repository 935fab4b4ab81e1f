package verifier

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/authbus/authbus/verifier/token"
)

// patrol watches tokens in Mode Remote, where nobody tells of a revocation: it asks
// about each watched token once in Config.ProbeInterval, or as often as a quarter
// of Config.MaxAsks allows. It is one goroutine, with helpers for the time of a
// round.
type patrol struct {
	interval time.Duration
	helpers  int
	leeway   time.Duration
	decide   func(ctx context.Context, raw string, patient bool) (*Claims, error)

	mu      sync.Mutex
	watched map[string]*watchedToken // by token; guarded by mu
	closed  bool                     // guarded by mu
}

// watchedToken is one token and all contexts that depend on it.
type watchedToken struct {
	raw     string
	expires time.Time
	ends    map[*context.CancelCauseFunc]struct{} // guarded by patrol.mu
	// unanswered counts the rounds in a row in which it could not be decided about.
	// Only the round that looks at the token uses it.
	unanswered int
}

func newPatrol(r *remote) *patrol {
	return &patrol{
		interval: r.config.ProbeInterval, helpers: max(1, r.config.MaxAsks/4), leeway: r.config.Leeway,
		decide: r.decide, watched: make(map[string]*watchedToken),
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
	if !p.add(claims, &end) {
		end(errClosed)
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
		p.watched[raw] = w
	}
	w.ends[end] = struct{}{}
	return true
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
	all := p.all()
	due := make(chan *watchedToken)
	var helpers sync.WaitGroup
	for range min(p.helpers, len(all)) {
		helpers.Go(func() {
			for w := range due {
				p.look(ctx, w)
			}
		})
	}
	for _, w := range all {
		due <- w // a helper that is told to stop still takes what there is, at once
	}
	close(due)
	helpers.Wait()
}

// look ends the watches of a token that is over, or that could not be decided
// about several times.
func (p *patrol) look(ctx context.Context, w *watchedToken) {
	if ctx.Err() != nil {
		return
	}
	_, err := p.decide(ctx, w.raw, true)
	if errors.Is(err, ErrUnavailable) {
		w.unanswered++
		if w.unanswered < patience {
			return
		}
	} else {
		w.unanswered = 0
	}
	if err != nil {
		p.end(w, w.cause(err, time.Now()))
	}
}

// cause says what became of a token that was good: whatever the authority says, it
// has expired or was revoked.
func (w *watchedToken) cause(err error, now time.Time) error {
	if !errors.Is(err, ErrInvalid) {
		return err
	}
	if !now.Before(w.expires) {
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

func (p *patrol) all() []*watchedToken {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*watchedToken, 0, len(p.watched))
	for _, w := range p.watched {
		all = append(all, w)
	}
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
