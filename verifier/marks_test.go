package verifier

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestMarksAgreeWithAMap drives the set and a plain map with the same random
// inserts, sweeps and steps of the clock.
func TestMarksAgreeWithAMap(t *testing.T) {
	type name struct {
		kind byte
		id   string
	}
	type want struct {
		rev     uint64
		expires time.Time
	}
	rapid.Check(t, func(t *rapid.T) {
		m, model := newMarks(true), map[name]want{}
		now := time.Unix(rapid.Int64Range(1, 4e9).Draw(t, "start"), 0)
		names := rapid.Custom(func(t *rapid.T) name {
			return name{rapid.SampledFrom([]byte("tsuk")).Draw(t, "kind"), fmt.Sprint(rapid.IntRange(0, 3000).Draw(t, "id"))}
		})
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			if rapid.IntRange(0, 20).Draw(t, "sweep?") == 0 {
				now = now.Add(time.Duration(rapid.IntRange(0, 50).Draw(t, "minutes")) * time.Minute)
				m.sweep(now)
				for n, w := range model {
					if w.expires.Unix()/60 < now.Unix()/60 {
						delete(model, n)
					}
				}
				continue
			}
			n, rev := names.Draw(t, "name"), rapid.Uint64Range(1, 100).Draw(t, "rev")
			expires := now.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "life")) * time.Minute)
			old, had := model[n]
			if isNew := m.insert(n.kind, n.id, rev, expires); isNew != (!had || rev > old.rev) {
				t.Fatalf("insert of %v with rev %d: new = %v; had %v", n, rev, isNew, old)
			}
			if old.expires.After(expires) {
				expires = old.expires
			}
			model[n] = want{max(rev, old.rev), expires}
		}
		for i := range 3000 {
			for _, kind := range []byte("tsuk") {
				n := name{kind, fmt.Sprint(i)}
				w, want := model[n]
				if rev, got := m.lookup(kind, n.id); got != want || rev != w.rev {
					t.Fatalf("%v: got %v with rev %d, want %v with rev %d", n, got, rev, want, w.rev)
				}
			}
		}
		if got := m.count.Load(); got != int64(len(model)) {
			t.Fatalf("count is %d, want %d", got, len(model))
		}
	})
}

// TestMarksSurviveTheWrapOfMinutes sweeps across the point where the 16 bits of
// the minute begin again.
func TestMarksSurviveTheWrapOfMinutes(t *testing.T) {
	wrap := time.Unix(60<<16*400, 0)
	m := newMarks(false)
	m.insert('t', "before", 0, wrap.Add(-2*time.Minute))
	m.insert('t', "after", 0, wrap.Add(2*time.Minute))
	m.sweep(wrap)
	if _, marked := m.lookup('t', "before"); marked {
		t.Error("a mark that expired before the wrap is still there")
	}
	if _, marked := m.lookup('t', "after"); !marked {
		t.Error("a mark that expires after the wrap is gone")
	}
}

// TestMarksAreNeverMissedWhileTablesGrow looks marks up from one goroutine as
// soon as another has inserted them.
func TestMarksAreNeverMissedWhileTablesGrow(t *testing.T) {
	m := newMarks(false)
	expires := time.Now().Add(time.Hour)
	inserted := make(chan int, 1024)
	go func() {
		defer close(inserted)
		for i := range 200_000 {
			m.insert('t', fmt.Sprint(i), 0, expires)
			inserted <- i
		}
	}()
	for i := range inserted {
		if _, marked := m.lookup('t', fmt.Sprint(i)); !marked {
			t.Fatalf("mark %d is missing", i)
		}
	}
}

// BenchmarkMarks measures the set at a million entries against a plain map.
func BenchmarkMarks(b *testing.B) {
	const n = 1_000_000
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("t_%026d", i)
	}
	expires := time.Now().Add(time.Hour)
	full, plain := newMarks(false), make(map[string]struct{})
	for _, id := range ids {
		full.insert('t', id, 0, expires)
		plain[id] = struct{}{}
	}
	b.Run("insert", func(b *testing.B) {
		b.ReportAllocs()
		m := newMarks(false)
		for i := 0; b.Loop(); i++ {
			if i%n == 0 {
				m = newMarks(false)
			}
			m.insert('t', ids[i%n], 0, expires)
		}
	})
	b.Run("miss", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			full.lookup('s', ids[i%n])
		}
		b.ReportMetric(float64(full.bytes())/n, "bytes/entry")
	})
	b.Run("hit", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			full.lookup('t', ids[i%n])
		}
	})
	b.Run("plain map, hit", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			_ = plain[ids[i%n]]
		}
	})
}
