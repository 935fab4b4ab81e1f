package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
)

// A refresh token works once: whoever shows it again, later than the auth service's
// grace of some seconds, looks like a thief, and the session ends. So what a refresh
// gave must not be lost on its way into the vault, and a refresh whose answer was
// lost must be repeated in time, whether or not the client comes back.

const (
	// maxMending bounds the sessions that are unsaved or unsure, or may be in a moment.
	// Beyond it nothing is refreshed but what is unsure.
	maxMending = 1024
	// The pause before a session is written again; it doubles.
	firstPause, lastPause = 100 * time.Millisecond, 10 * time.Second
)

// insistAfter are the pauses before a refresh is repeated whose outcome is unknown,
// within the 10 s that the auth service gives by default.
var insistAfter = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}

// errUnsaved says that a session is not refreshed because the vault does not take
// what the last refresh gave.
var errUnsaved = errors.New("the vault has not taken the last refresh yet")

// mayRefresh reports whether a refresh may go wrong now. If so, refreshed must be called
// once it is known whether it has.
func (k *keeper) mayRefresh(t vault.Token) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, unsure := k.unsure[t] // to be repeated, however much there is to mend
	if !unsure && len(k.unsaved)+len(k.unsure)+k.refreshing >= maxMending {
		return false
	}
	k.refreshing++
	return true
}

func (k *keeper) refreshed() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refreshing--
}

// stopMending waits for what has ended with lifetime.
func (k *keeper) stopMending() {
	k.mu.Lock()
	k.stopped = true
	k.mu.Unlock()
	k.mending.Wait()
}

// notSaved returns a session that the vault has an older state of.
func (k *keeper) notSaved(t vault.Token) (vault.Session, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.unsaved[t]
	return s, ok
}

// save writes what a refresh gave in place of old. If the vault does not take it now,
// it goes on trying.
func (k *keeper) save(ctx context.Context, t vault.Token, old vault.Entry, s vault.Session) {
	err := k.replace(ctx, t, old, s)
	if err == nil {
		return
	}
	k.log.Warn("a refreshed session could not be kept yet", "session", s, "error", err)
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.stopped {
		k.unsaved[t] = s
		k.counters.unsaved.Set(float64(len(k.unsaved)))
		k.mending.Go(func() { k.goOnSaving(t, old, s) })
	}
}

// replace writes s in place of old. Another replica may have been first, or this one,
// without having heard of it: the auth service gave both the same refresh token, so
// either's session serves.
func (k *keeper) replace(ctx context.Context, t vault.Token, old vault.Entry, s vault.Session) error {
	_, err := k.vault.Replace(ctx, t, old, s)
	if errors.Is(err, vault.ErrConflict) {
		return nil
	}
	return err
}

func (k *keeper) goOnSaving(t vault.Token, old vault.Entry, s vault.Session) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		if !k.pause(pause) {
			k.log.Error("a refreshed session could not be kept: it ends with this process", "session", s)
			return
		}
		if k.replace(k.lifetime, t, old, s) == nil {
			k.saved(t, s)
			return
		}
	}
}

// saved notes that the vault has s, or what somebody else has put in its place.
func (k *keeper) saved(t vault.Token, s vault.Session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.unsaved[t] == s { // and not what a later refresh gave
		delete(k.unsaved, t)
	}
	k.counters.unsaved.Set(float64(len(k.unsaved)))
}

// insist repeats a refresh whose outcome is unknown, until the session has another
// JWT than old.
func (k *keeper) insist(ctx context.Context, t vault.Token, old string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, already := k.unsure[t]; already || k.stopped {
		return
	}
	k.unsure[t] = struct{}{}
	whose := peerOf(ctx)
	k.mending.Go(func() {
		k.goOnRefreshing(withPeer(k.lifetime, whose), t, old)
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.unsure, t)
	})
}

func (k *keeper) goOnRefreshing(ctx context.Context, t vault.Token, old string) {
	for _, pause := range insistAfter {
		if !k.pause(pause) {
			return
		}
		s, err := k.once(ctx, "insist", t, func(ctx context.Context) (vault.Session, error) {
			return k.load(ctx, t, func(s vault.Session) bool { return s.Access == old })
		})
		if errors.Is(err, errEnded) || err == nil && s.Access != old {
			return
		}
	}
}

// pause reports whether the gateway still runs after the time.
func (k *keeper) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-k.lifetime.Done():
		return false
	}
}
