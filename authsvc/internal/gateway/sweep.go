package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier"
)

// sweeper removes sessions from memory, and from the vault where they have ended: when
// a revocation tells of them, so that their tokens need not lie around until somebody
// asks, and when one was refused as revoked, so that nobody waits for that. What it hears
// needs no signature, and may be as old as the log, which is told again when its stream
// was lost: it says where to look, and the verifier what to remove. Nothing is decided by
// it, because the JWT is verified on every request; so what it misses does not matter.
type sweeper struct {
	keeper   *keeper
	verifier *verifier.Verifier
	feed     *nats.Subscription
	done     chan struct{} // closed when the goroutine has ended

	wake chan struct{} // holds one while there is something to sweep
	mu   sync.Mutex
	heard
}

// heard is what there is to do since the last sweep; guarded by mu.
type heard struct {
	sessions, users map[string]struct{} // named by revocations
	all             bool
	rev             uint64                        // of the latest of them
	refused         map[vault.Token]vault.Session // revoked, and shown all the same
}

const (
	// sweepPause is between hearing and sweeping. It lets the verifier apply what was
	// heard, and one sweep serve many revocations.
	sweepPause = 100 * time.Millisecond
	// maxPauses bounds how long the verifier is waited for, in pauses.
	maxPauses = 20
	// maxHeard is how many sessions or users are told apart in one sweep, and how many
	// refused ones are removed.
	maxHeard = 10_000
)

// startSweeper starts a sweeper, which ends with the keeper's lifetime; close waits.
func startSweeper(nc *nats.Conn, k *keeper, v *verifier.Verifier) (*sweeper, error) {
	s := &sweeper{keeper: k, verifier: v, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	s.take()
	var err error
	s.feed, err = nc.Subscribe(events.SubjectRevocations, func(m *nats.Msg) { s.hear(m.Data) })
	if err != nil {
		return nil, fmt.Errorf("listening for revocations: %w", err)
	}
	go s.run()
	return s, nil
}

func (s *sweeper) close() {
	_ = s.feed.Unsubscribe() // the connection may be closed already
	<-s.done
}

func (s *sweeper) hear(payload []byte) {
	r, err := events.DecodeRevocation(payload)
	if err != nil {
		return // the verifier counts those
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.Scope {
	case events.ScopeSession:
		s.sessions[r.ID] = struct{}{}
	case events.ScopeUser:
		s.users[r.ID] = struct{}{}
	case events.ScopeEveryone, events.ScopeKey:
		s.all = true
	default:
		return
	}
	s.rev = max(s.rev, r.Rev)
	s.all = s.all || len(s.sessions)+len(s.users) > maxHeard
	if s.all {
		clear(s.sessions)
		clear(s.users)
	}
	s.rouse()
}

// remove has a session removed that was refused as revoked.
func (s *sweeper) remove(refused kept) {
	s.keeper.drop(refused.token)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.refused) < maxHeard { // whoever shows it again has it removed then
		s.refused[refused.token] = refused.session
	}
	s.rouse()
}

func (s *sweeper) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take returns what was heard, and begins anew.
func (s *sweeper) take() heard {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.heard
	s.heard = heard{
		sessions: make(map[string]struct{}), users: make(map[string]struct{}), refused: make(map[vault.Token]vault.Session),
	}
	return h
}

// any reports whether a revocation was heard.
func (h heard) any() bool { return h.all || len(h.sessions)+len(h.users) > 0 }

func (h heard) names(session vault.Session) bool {
	_, bySession := h.sessions[session.SID]
	_, byUser := h.users[session.Sub]
	return h.all || bySession || byUser
}

func (s *sweeper) run() {
	defer close(s.done)
	for {
		select {
		case <-s.wake:
		case <-s.keeper.lifetime.Done():
			return
		}
		if !s.keeper.pause(sweepPause) {
			return
		}
		due := s.take()
		if due.any() {
			s.follow(due.rev)
			s.sweepAll(s.keeper.all(due.names))
		}
		for token, session := range due.refused {
			s.forget(kept{token, session})
		}
	}
}

// follow waits until the verifier has applied what was heard, but not for ever: whoever
// invents a revocation must not stop the sweeping.
func (s *sweeper) follow(rev uint64) {
	for range maxPauses {
		if s.verifier.Stats().Applied >= rev || !s.keeper.pause(sweepPause) {
			return
		}
	}
}

// sweepAll removes those of the sessions that the verifier refuses. If it can decide about
// none now, each request will.
func (s *sweeper) sweepAll(found []kept) {
	for _, named := range found {
		if err := s.sweep(named); err != nil && !over(err) {
			return
		}
	}
}

// sweep removes a session if the verifier refuses it, and returns why. All sessions of a
// user may have been named to end all but this one, which then is in the vault still.
func (s *sweeper) sweep(found kept) error {
	ctx, cancel := context.WithTimeout(s.keeper.lifetime, loadTimeout)
	defer cancel()
	_, err := s.verifier.Verify(ctx, found.session.Access)
	if err == nil || !over(err) {
		return err
	}
	s.keeper.drop(found.token)
	s.keeper.counters.dropped.Inc()
	if refused, ok := errors.AsType[*verifier.Error](err); ok && refused.Reason == verifier.ReasonRevokedSession {
		s.forget(found)
	}
	return err
}

func (s *sweeper) forget(ended kept) {
	ctx, cancel := context.WithTimeout(s.keeper.lifetime, loadTimeout)
	defer cancel()
	if err := s.keeper.forget(ctx, ended.token); err != nil { // it stays revoked without
		s.keeper.quiet.Do(func() {
			s.keeper.log.Warn("a revoked session stays in the vault until it expires", "session", ended.session, "error", err)
		})
	}
}
