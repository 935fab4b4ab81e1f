package verifier

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authbus/authbus/events"
)

// watched verifies a token and watches it.
func watched(t *testing.T, v *Verifier, m minted) (context.Context, context.CancelFunc) {
	t.Helper()
	claims, err := v.Verify(t.Context(), m.raw)
	if err != nil {
		t.Fatal(err)
	}
	return v.Watch(t.Context(), claims)
}

func TestAWatchedContextEndsWithItsToken(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(v *Verifier, log *memoryLog)
		want error
	}{
		{"the session is revoked", func(_ *Verifier, log *memoryLog) { log.revoke(events.ScopeSession, "s") }, ErrRevoked},
		{"the user is logged out everywhere", func(_ *Verifier, log *memoryLog) { log.revoke(events.ScopeUser, "u") }, ErrRevoked},
		{"everyone is logged out", func(_ *Verifier, log *memoryLog) { log.revoke(events.ScopeEveryone, "") }, ErrRevoked},
		{"the key is killed", func(_ *Verifier, log *memoryLog) { log.revoke(events.ScopeKey, testKID) }, ErrRevoked},
		{"the token expires", func(*Verifier, *memoryLog) { time.Sleep(time.Hour + 11*time.Second) }, ErrExpired},
		{"nobody can tell any longer", func(_ *Verifier, log *memoryLog) { log.set(true, true); time.Sleep(36 * time.Second) }, ErrUnavailable},
		{"the verifier is closed", func(v *Verifier, _ *memoryLog) { v.Close() }, ErrUnavailable},
		{"another session is revoked", func(_ *Verifier, log *memoryLog) { log.revoke(events.ScopeSession, "other") }, nil},
		{"the bus is silent and the authority answers", func(_ *Verifier, log *memoryLog) { log.set(false, true); time.Sleep(time.Minute) }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
				ctx, cancel := watched(t, v, log.mint(t, "u", "s", "j"))
				defer cancel()
				c.do(v, log)
				synctest.Wait()
				if cause := context.Cause(ctx); !errors.Is(cause, c.want) {
					t.Errorf("the cause is %v, want %v", cause, c.want)
				}
				cancel()
				synctest.Wait()
				if n := v.Stats().Watches; n != 0 {
					t.Errorf("%d watches left", n)
				}
			})
		})
	}
}

// TestAWatchOfARevokedTokenHasEndedAlready: the record came between Verify and Watch.
func TestAWatchOfARevokedTokenHasEndedAlready(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		claims, err := v.Verify(t.Context(), log.mint(t, "u", "s", "j").raw)
		if err != nil {
			t.Fatal(err)
		}
		log.revoke(events.ScopeSession, "s")
		ctx, cancel := v.Watch(t.Context(), claims)
		defer cancel()
		if !errors.Is(context.Cause(ctx), ErrRevoked) {
			t.Errorf("the cause is %v", context.Cause(ctx))
		}
	})
}
