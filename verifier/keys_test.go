package verifier

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
)

// TestKeysThatHaveChangedAreNotThoseOfAnOlderFetch, which a token with an unknown kid
// may have begun a moment before.
func TestKeysThatHaveChangedAreNotThoseOfAnOlderFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var published atomic.Pointer[string]
		publish := func(kid string) { published.Store(&kid) }
		k := &keyring{
			lifetime: t.Context(), onDemand: rate.NewLimiter(rate.Every(time.Minute), 1), counters: &counters{}, changed: func() {},
			fetch: func(context.Context) (*keyState, error) { // as of a JWKS document: without a version
				kid := *published.Load()
				time.Sleep(time.Second)
				return &keyState{signing: kid}, nil
			},
		}
		k.current.Store(&keyState{version: 1})
		publish("old")
		go func() { _ = k.demand(t.Context()) }()
		time.Sleep(time.Second / 2)
		publish("new")
		for range 3 { // rounds of the follower
			if err := k.follow(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
		}
		if got := k.current.Load(); got.signing != "new" || got.version != 2 {
			t.Errorf("the %s keys count as version %d", got.signing, got.version)
		}
		if n := k.counters.keyFetches.Load(); n > 3 {
			t.Errorf("%d fetches", n)
		}
	})
}
