package store_test

import (
	"context"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/authsvc/internal/store/storetest"
)

// benchmarkBoth runs a benchmark on a fresh database of each kind.
func benchmarkBoth(b *testing.B, bench func(b *testing.B, db *store.DB)) {
	b.Helper()
	b.Run("SQLite", func(b *testing.B) { bench(b, storetest.SQLite(b)) })
	b.Run("PostgreSQL", func(b *testing.B) { bench(b, storetest.Open(b, storetest.Postgres(b))) })
}

// BenchmarkRevoke is durable revocations with their events, one caller at a time
// and 64 at once: what group commit is for.
func BenchmarkRevoke(b *testing.B) {
	revoke := func(db *store.DB) error { return db.Write(context.Background(), emitAfterRevoking("u_a")) }
	benchmarkBoth(b, func(b *testing.B, db *store.DB) {
		b.Helper()
		b.Run("callers=1", func(b *testing.B) {
			for b.Loop() {
				if err := revoke(db); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "revocations/s")
		})
		b.Run("callers=64", func(b *testing.B) {
			b.SetParallelism(32) // times GOMAXPROCS
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := revoke(db); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "revocations/s")
		})
	})
}

// BenchmarkReadIndex is the one query that answers all freshness probes that wait.
func BenchmarkReadIndex(b *testing.B) {
	benchmarkBoth(b, func(b *testing.B, db *store.DB) {
		b.Helper()
		fill(b, db)
		for b.Loop() {
			if _, err := db.Reader(b.Context()).ReadIndex(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSessionState is what deciding about one token of one's own costs.
func BenchmarkSessionState(b *testing.B) {
	benchmarkBoth(b, func(b *testing.B, db *store.DB) {
		b.Helper()
		fill(b, db)
		for b.Loop() {
			if _, err := db.Reader(b.Context()).SessionState("s_a"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRange is a page of a thousand records for a verifier that starts.
func BenchmarkRange(b *testing.B) {
	benchmarkBoth(b, func(b *testing.B, db *store.DB) {
		b.Helper()
		fill(b, db)
		for b.Loop() {
			if page, err := db.Reader(b.Context()).Range(500, 1000); err != nil || len(page.Records) != 1000 {
				b.Fatal(err)
			}
		}
	})
}

// fill adds an account with a session, and 2,000 records.
func fill(b *testing.B, db *store.DB) {
	b.Helper()
	err := db.Write(b.Context(), func(tx *store.Tx) error {
		if err := tx.CreateAccount(store.Account{Sub: "u_a", Username: "alice", UsernameKey: "alice"}); err != nil {
			return err
		}
		if err := tx.CreateSession(store.Session{
			SID: "s_a", Sub: "u_a", ClientID: "first-party",
			CreatedAt: tx.Now(), LastUsedAt: tx.Now(), ExpiresAt: tx.Now(), AuthTime: tx.Now(),
		}); err != nil {
			return err
		}
		for range 2000 {
			if err := emitAfterRevoking("u_b")(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
