package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/authbus/authbus/verifier"
)

// state is what is known of a target's health.
type state struct {
	mu        sync.Mutex
	healthy   bool // guarded by mu
	good, bad int  // guarded by mu; checks in a row
}

func (s *state) isHealthy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.healthy
}

// record takes the result of a check, and reports whether it has changed anything.
func (s *state) record(err error, healthy, unhealthy int) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.good = 0
		s.bad++
		changed = s.healthy && s.bad >= unhealthy
	} else {
		s.bad = 0
		s.good++
		changed = !s.healthy && s.good >= healthy
	}
	s.healthy = s.healthy != changed
	return changed
}

// connectFailed takes a target out at once to which a request could not connect:
// the next checks bring it back.
func (t *target) connectFailed(b *pool, err error) {
	if t.record(err, b.upstream.Health.Healthy, 1) {
		b.tell(t, err)
	}
}

// tell says that a target's health has changed.
func (b *pool) tell(t *target, err error) {
	b.show(t, err == nil)
	if err == nil {
		b.log.Info("an upstream's URL is healthy again", "upstream", b.upstream.Name, "url", t.url.String())
		return
	}
	b.log.Warn("an upstream's URL is not healthy and gets no requests", "upstream", b.upstream.Name, "url", t.url.String(), "error", err)
}

// startChecks checks every target until the pool leaves the table.
func (b *pool) startChecks() {
	ctx, stop := context.WithCancel(b.ctx)
	b.stop = stop
	b.shown.Lock()
	b.listed = true
	b.shown.Unlock()
	for _, t := range b.targets {
		b.show(t, true)
		b.checks.Go(func() { b.check(ctx, t) })
	}
}

// check is the goroutine of one target, which startChecks begins.
func (b *pool) check(ctx context.Context, t *target) {
	h := b.upstream.Health
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-next.C:
		case <-ctx.Done():
			return
		}
		err := b.probe(ctx, t)
		if ctx.Err() != nil {
			return
		}
		undecided := errors.Is(err, verifier.ErrUnavailable) // which is no fault of the target's
		if !undecided && t.record(err, h.Healthy, h.Unhealthy) {
			b.tell(t, err)
		}
		// Gateways that have started together do not go on checking together.
		next.Reset(h.Interval*9/10 + rand.N(h.Interval/5+1))
	}
}

// probe checks a target once.
func (b *pool) probe(ctx context.Context, t *target) error {
	ctx, cancel := context.WithTimeout(ctx, b.upstream.Health.Timeout)
	defer cancel()
	if b.upstream.Health.Path == "" {
		return b.connect(ctx, t)
	}
	at := url.URL{Scheme: t.url.Scheme, Host: t.url.Host, Path: b.upstream.Health.Path}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "authsvc-gateway")
	res, err := b.requests.RoundTrip(r)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end, or given up
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s answers %s", b.upstream.Health.Path, res.Status)
	}
	// A connection is used again only if its answer was read.
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, maxReplay))
	return err
}

// connect connects to a target as a request would: one that cannot prove who it is
// is no better than one that is away, and would go up and down otherwise.
func (b *pool) connect(ctx context.Context, t *target) error {
	var dialer interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	} = &net.Dialer{}
	if t.url.Scheme == "https" {
		dialer = &tls.Dialer{Config: b.handshake}
	}
	conn, err := dialer.DialContext(ctx, "tcp", t.url.Host)
	if err != nil {
		return err
	}
	return conn.Close()
}
