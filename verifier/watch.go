package verifier

import (
	"context"
	"sync"
	"sync/atomic"
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
// It ends before what is known of the token is older than Config.MaxStale (and
// Config.AcceptGrace, with [Accept]): since the last proof of freshness, or since the
// authority was asked about it, which it is when half of that time is over.
//
// In Mode [Remote] the authority is asked about each watched token once in
// Config.ProbeInterval, and the claims must come from this verifier. Where they are
// older than that, Watch asks before it returns, for Config.RequestTimeout at most. Where
// three questions in a row have no answer the context ends, with ErrUnavailable: at the
// latest 3 × (1.1 × Config.ProbeInterval + Config.RequestTimeout) after the last good
// one, if a quarter of Config.MaxAsks is enough to ask about all in time, and never
// later than Config.MaxStale.
func (v *Verifier) Watch(ctx context.Context, claims *Claims) (watched context.Context, cancel context.CancelFunc) {
	if v.remote != nil {
		return v.remote.patrol.watch(ctx, claims)
	}
	w := &watch{token: v.known(claims)}
	watched, cancel = v.watch(ctx, w)
	expiry := time.AfterFunc(time.Until(claims.Expiry().Add(v.config.Leeway)), func() {
		w.end(&Error{Err: ErrExpired, Reason: string(token.ReasonExpired)})
	})
	context.AfterFunc(watched, func() { expiry.Stop() })
	return watched, cancel
}

// known returns the token that the claims came with, if it is at hand, so that what
// has been asked about it is not asked again.
func (v *Verifier) known(claims *Claims) *cachedToken {
	ref := claims.Ref()
	if claims.presented != nil {
		// By look-up: the claims may be another verifier's, or changed since.
		if t := v.tokens.get(claims.presented.raw); t != nil && t.ref == ref {
			return t
		}
	}
	return &cachedToken{claims: *claims, ref: ref}
}

// watch begins to watch what w names.
func (v *Verifier) watch(ctx context.Context, w *watch) (context.Context, context.CancelFunc) {
	watched, end := context.WithCancelCause(ctx)
	w.end, w.ended, w.known = end, watched.Done(), v.knownAt(w)
	v.watches.add(w)
	context.AfterFunc(watched, func() { v.watches.remove(w) })
	// After joining, so that no revocation falls between look and watch.
	if err := v.inspect(w); err != nil {
		end(err)
	} else {
		v.begin(w)
	}
	return watched, func() { end(context.Canceled) }
}

// watch is one context that depends on a token, or on a certificate.
type watch struct {
	token       *cachedToken // nil where it depends on a certificate
	certificate string
	end         context.CancelCauseFunc
	ended       <-chan struct{}
	// known is when it was last known to be good. Only whoever begins the watch uses it,
	// and guard once begun is set: so guard ends nothing that is being asked about.
	known time.Time
	begun atomic.Bool
}

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

// watches are the contexts to end, by what a revocation may name.
type watches struct {
	hurry  chan struct{} // tells guard to look earlier than at lookAt
	lookAt atomic.Int64  // when guard looks next, in Unix nanoseconds

	mu     sync.Mutex
	byName map[watchName]map[*watch]struct{} // guarded by mu
	every  map[*watch]struct{}               // guarded by mu
}

type watchName struct {
	scope events.Scope
	id    string
}

func newWatches() *watches {
	return &watches{
		hurry: make(chan struct{}, 1), byName: make(map[watchName]map[*watch]struct{}), every: make(map[*watch]struct{}),
	}
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
