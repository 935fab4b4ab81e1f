package authority_test

import (
	"testing"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/password"
	"github.com/authbus/authbus/authsvc/internal/store/storetest"
	"github.com/authbus/authbus/events"
)

// databases runs a benchmark on both databases, with passwords hashed as in
// production.
func databases(b *testing.B, run func(b *testing.B, w *world)) {
	b.Helper()
	b.Run("SQLite", func(b *testing.B) { run(b, newWorld(b, nil)) })
	b.Run("PostgreSQL", func(b *testing.B) { run(b, newWorldAt(b, storetest.Postgres(b), nil)) })
}

func BenchmarkLogin(b *testing.B) {
	databases(b, func(b *testing.B, w *world) {
		b.Helper()
		hasher, err := password.NewHasher(password.HasherConfig{Waiting: 10_000})
		w.must(err)
		w.Authority, err = authority.New(w.config, w.db, w.keys, hasher, nil)
		w.must(err)
		w.register("alice")
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				w.login("alice")
			}
		})
	})
}

// BenchmarkLoginWithoutHashing is the rest of a login.
func BenchmarkLoginWithoutHashing(b *testing.B) {
	databases(b, func(b *testing.B, w *world) {
		b.Helper()
		w.register("alice")
		b.SetParallelism(32)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				w.login("alice")
			}
		})
	})
}

func BenchmarkRefresh(b *testing.B) {
	databases(b, func(b *testing.B, w *world) {
		b.Helper()
		w.register("alice")
		b.SetParallelism(32)
		b.RunParallel(func(p *testing.PB) {
			tokens := w.login("alice")
			for p.Next() {
				tokens = w.refresh(tokens.RefreshToken)
			}
		})
	})
}

func BenchmarkRevoke(b *testing.B) {
	databases(b, func(b *testing.B, w *world) {
		b.Helper()
		admin := w.admin()
		b.SetParallelism(32)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				_, err := w.Revoke(w.ctx(), admin, authority.RevokeRequest{Scope: events.ScopeToken, ID: "t_1", Reason: "bench"})
				if err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	databases(b, func(b *testing.B, w *world) {
		b.Helper()
		w.register("alice")
		raw := w.login("alice").AccessToken.Reveal()
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				if _, err := w.Authenticate(w.ctx(), raw); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
