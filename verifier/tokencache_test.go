package verifier

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// TestTokenCacheNeverMixesTokensUp and never exceeds its bound.
func TestTokenCacheNeverMixesTokensUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newTokenCache(rapid.Int64Range(2000, 40_000).Draw(t, "limit"))
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			raw := fmt.Sprint(rapid.IntRange(0, 60).Draw(t, "token"), strings.Repeat("x", rapid.IntRange(0, 500).Draw(t, "length")))
			got := c.get(raw)
			if got != nil && got.raw != raw {
				t.Fatalf("got %q for %q", got.raw, raw)
			}
			switch {
			case got == nil:
				c.put(&cachedToken{raw: raw})
			case rapid.IntRange(0, 5).Draw(t, "remove?") == 0:
				c.remove(got)
				if c.get(raw) != nil {
					t.Fatalf("%q is still there", raw)
				}
			}
			var held int64
			for i := range c.sets {
				for j := range c.sets[i] {
					if e := c.sets[i][j].Load(); e != nil {
						held += e.cost
					}
				}
			}
			if held != c.bytes.Load() || held > c.limit {
				t.Fatalf("%d bytes held, %d counted, %d allowed", held, c.bytes.Load(), c.limit)
			}
		}
	})
}

// TestTokenCacheUnderLoad is for the race detector, and for the bound with many writers.
func TestTokenCacheUnderLoad(t *testing.T) {
	c := newTokenCache(64 << 10)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 20_000 {
				raw := fmt.Sprint((i*7 + g) % 300)
				if e := c.get(raw); e == nil {
					c.put(&cachedToken{raw: raw})
				} else if i%11 == 0 {
					c.remove(e)
				}
			}
		})
	}
	wg.Wait()
	if got := c.bytes.Load(); got < 0 || got > c.limit {
		t.Errorf("%d bytes counted, %d allowed", got, c.limit)
	}
}
