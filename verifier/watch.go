package verifier

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

// Watch returns a context that ends when the token of the claims dies, for
// whatever outlives the request that brought it: a WebSocket, a stream, a job.
// Its cause ([context.Cause]) is then an [*Error] that wraps [ErrRevoked],
// [ErrExpired] or, where the token's state could not be decided any longer,
// [ErrUnavailable]. It also ends with ctx, and with cancel, which must be called.
//
// In Mode [Remote] the authority is asked about each watched token once in
// Config.ProbeInterval, and the claims must come from this verifier. Where they are
// older than that, Watch asks before it returns, for Config.RequestTimeout at most.
func (v *Verifier) Watch(ctx context.Context, claims *Claims) (watched context.Context, cancel context.CancelFunc) {
	if v.remote != nil {
		return v.remote.patrol.watch(ctx, claims)
	}
	w := &watch{token: &cachedToken{claims: *claims, ref: claims.Ref()}}
	watched, cancel = v.watch(ctx, w)
	expiry := time.AfterFunc(time.Until(claims.Expiry().Add(v.config.Leeway)), func() {
		w.end(&Error{Err: ErrExpired, Reason: string(token.ReasonExpired)})
	})
	context.AfterFunc(watched, func() { expiry.Stop() })
	return watched, cancel
}

// watch begins to watch what w names.
func (v *Verifier) watch(ctx context.Context, w *watch) (context.Context, context.CancelFunc) {
	watched, end := context.WithCancelCause(ctx)
	w.end = end
	v.watches.add(w)
	context.AfterFunc(watched, func() { v.watches.remove(w) })
	// After joining, so that no revocation falls between look and watch.
	if err := v.inspect(w); err != nil {
		end(err)
	}
	return watched, func() { end(context.Canceled) }
}

// watch is one context that depends on a token, or on a certificate.
type watch struct {
	token       *cachedToken // nil where it depends on a certificate
	certificate string
	end         context.CancelCauseFunc
	// unanswered counts how often in a row guard could not decide. Only guard uses it.
	unanswered int
}

// patience is how often in a row guard may fail to decide about a watch. One lost
// reply is no reason to end every connection.
const patience = 3

// inspect judges what is watched as if it had just been presented.
func (v *Verifier) inspect(w *watch) error {
	if w.token == nil {
		return v.CheckCertificate(w.certificate)
	}
	ctx, cancel := context.WithTimeout(v.stopped, v.config.RequestTimeout)
	defer cancel()
	now := time.Now()
	_, err := v.judge(ctx, w.token, now, v.freshAt(now))
	return err
}

// guardEvery is how often guard looks.
func (v *Verifier) guardEvery() time.Duration { return min(answerLife, v.config.MaxStale/4) }

// guard looks at everything watched once a second, or more often where MaxStale is
// small. While freshness cannot be proved, when no record may come to tell of a
// revocation, it judges it again, and asks about one token at a time.
func (v *Verifier) guard(ctx context.Context) {
	tick := time.NewTicker(v.guardEvery())
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, w := range v.watches.all() {
			if ctx.Err() != nil {
				return
			}
			v.guardOne(w)
		}
	}
}

// guardOne ends a watch whose token is over, by a clock that goes on while the
// machine sleeps, or that can no longer be decided about.
func (v *Verifier) guardOne(w *watch) {
	now := time.Now()
	if w.token == nil {
		v.guardCertificate(w, now)
		return
	}
	if err := v.alive(w.token, now); err != nil {
		w.end(asError(err))
		return
	}
	if v.freshAt(now) && !v.keys.mixed.Load() {
		w.unanswered = 0
		return
	}
	err := v.inspect(w)
	if errors.Is(err, ErrUnavailable) {
		w.unanswered++
		if w.unanswered < patience {
			return
		}
	} else {
		w.unanswered = 0
	}
	if err != nil {
		w.end(err)
	}
}

// guardCertificate ends the watch of a certificate that will not be known to be good
// until the next look. Nobody is asked about certificates, so there is no answer to
// have patience for.
func (v *Verifier) guardCertificate(w *watch, now time.Time) {
	if v.freshAt(now.Add(v.guardEvery())) {
		return
	}
	err := v.CheckCertificate(w.certificate)
	if err == nil {
		err = v.notFresh(now)
	}
	w.end(err)
}

// watches are the contexts to end, by what a revocation may name.
type watches struct {
	mu     sync.Mutex
	byName map[watchName]map[*watch]struct{} // guarded by mu
	every  map[*watch]struct{}               // guarded by mu
}

type watchName struct {
	scope events.Scope
	id    string
}

func newWatches() *watches {
	return &watches{byName: make(map[watchName]map[*watch]struct{}), every: make(map[*watch]struct{})}
}

// names lists what a record may say to hit what is watched.
func (w *watch) names() []watchName {
	if w.token == nil {
		return []watchName{{events.ScopeCert, w.certificate}}
	}
	t := w.token.ref
	return []watchName{
		{events.ScopeToken, t.JTI},
		{events.ScopeSession, t.SID},
		{events.ScopeUser, t.Sub},
		{events.ScopeKey, t.KID},
	}
}

// covered reports whether the record ends what is watched.
func (w *watch) covered(r events.Revocation) bool {
	if w.token == nil {
		return r.Scope == events.ScopeCert && r.ID == w.certificate
	}
	return r.Covers(w.token.ref)
}

func (s *watches) add(w *watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.every[w] = struct{}{}
	for _, name := range w.names() {
		if s.byName[name] == nil {
			s.byName[name] = make(map[*watch]struct{})
		}
		s.byName[name][w] = struct{}{}
	}
}

func (s *watches) remove(w *watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.every, w)
	for _, name := range w.names() {
		delete(s.byName[name], w)
		if len(s.byName[name]) == 0 {
			delete(s.byName, name)
		}
	}
}

// revoke ends what the record covers.
func (s *watches) revoke(r events.Revocation) {
	for _, w := range s.hit(r) {
		w.end(revokedBy(r))
	}
}

// hit collects under the lock, so that nothing is called while it is held.
func (s *watches) hit(r events.Revocation) []*watch {
	s.mu.Lock()
	defer s.mu.Unlock()
	named := s.every
	if r.Scope != events.ScopeEveryone {
		named = s.byName[watchName{r.Scope, r.ID}]
	}
	var hit []*watch
	for w := range named {
		if w.covered(r) {
			hit = append(hit, w)
		}
	}
	return hit
}

func (s *watches) all() []*watch {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*watch, 0, len(s.every))
	for w := range s.every {
		all = append(all, w)
	}
	return all
}

func (s *watches) count() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(len(s.every))
}

func (s *watches) endAll(cause error) {
	for _, w := range s.all() {
		w.end(cause)
	}
}
