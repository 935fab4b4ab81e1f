package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
)

// adminHandler is what operators see.
func (g *Gateway) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := g.readyNow(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(g.registry, promhttp.HandlerOpts{}))
	return mux
}

// readyNow returns nil if requests should be sent to this gateway, and otherwise why not.
func (g *Gateway) readyNow(ctx context.Context) error {
	if g.ready.closing.Load() {
		return errors.New("the gateway is closing")
	}
	if s := g.verifier.Stats(); !s.Fresh {
		return errors.New("the verifier is not fresh: " + s.Waiting)
	}
	if err := g.ready.vaultAnswers(ctx); err != nil {
		return fmt.Errorf("the vault does not answer: %w", err)
	}
	return nil
}

const (
	// checkEvery is the pause between two looks at the vault, however many ask.
	checkEvery = time.Second
	// checkTimeout bounds one, but for the search for a lost bucket. Few probes have more
	// patience.
	checkTimeout = time.Second
)

// readiness is what /readyz needs to know.
type readiness struct {
	closing atomic.Bool
	vault   *vault.Vault

	mu      sync.Mutex // held during a look, for whose answer others wait
	checked time.Time  // guarded by mu
	outcome error      // of the last look; guarded by mu
}

// vaultAnswers returns what the last look at the vault has said, or looks.
func (r *readiness) vaultAnswers(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.checked) < checkEvery {
		return r.outcome
	}
	// The others want the answer, too, if whoever asks leaves.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	r.outcome = r.vault.Check(ctx)
	r.checked = time.Now()
	return r.outcome
}
