package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// revoked tells the mutual TLS of the auth service which certificates are revoked,
// by the database and not by the bus: it is the one who knows. All are read once a
// second, and at once when one is revoked here; the table is short, because records
// live no longer than certificates.
type revoked struct {
	list func(context.Context) ([]string, error)
	log  *slog.Logger
	wake chan struct{}

	lifetime context.Context
	stop     context.CancelFunc
	done     chan struct{}

	mu      sync.Mutex
	ids     map[string]bool                // guarded by mu
	asOf    time.Time                      // when ids was asked for; guarded by mu
	watches map[*certificateWatch]struct{} // guarded by mu
}

// certificateWatch is one connection's.
type certificateWatch struct {
	id  string
	end context.CancelCauseFunc
}

const (
	revokedEvery = time.Second
	// revokedStale is how old the list may be: less than the bound of verifiers. A
	// database that cannot be read for so long closes the connections.
	revokedStale   = 15 * time.Second
	revokedTimeout = 5 * time.Second
)

var (
	errCertificateRevoked = errors.New("the certificate is revoked")
	errRevokedUnknown     = errors.New("whether the certificate is revoked cannot be told: the database cannot be read")
)

func newRevoked(list func(context.Context) ([]string, error), log *slog.Logger) *revoked {
	r := &revoked{
		list: list, log: log, wake: make(chan struct{}, 1), done: make(chan struct{}),
		watches: make(map[*certificateWatch]struct{}),
	}
	r.lifetime, r.stop = context.WithCancel(context.Background())
	r.read()
	go r.run() // Close ends it and waits
	return r
}

// Close stops reading and waits for it.
func (r *revoked) Close() {
	r.stop()
	<-r.done
}

// Wake has the list read now.
func (r *revoked) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *revoked) run() {
	defer close(r.done)
	tick := time.NewTicker(revokedEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-r.wake:
		case <-r.lifetime.Done():
			return
		}
		r.read()
		r.judge(time.Now())
	}
}

func (r *revoked) read() {
	ctx, cancel := context.WithTimeout(r.lifetime, revokedTimeout)
	defer cancel()
	asOf := time.Now()
	list, err := r.list(ctx)
	if err != nil {
		if r.lifetime.Err() == nil {
			r.log.Warn("reading the revoked certificates", "error", err)
		}
		return
	}
	ids := make(map[string]bool, len(list))
	for _, id := range list {
		ids[id] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids, r.asOf = ids, asOf
}

// judge ends what is over.
func (r *revoked) judge(now time.Time) {
	r.mu.Lock()
	ended := make(map[*certificateWatch]error)
	for w := range r.watches {
		if err := r.check(w.id, now); err != nil {
			ended[w] = err
		}
	}
	r.mu.Unlock()
	for w, err := range ended {
		w.end(err)
	}
}

// check needs mu.
func (r *revoked) check(id string, now time.Time) error {
	switch {
	case r.ids[id]:
		return errCertificateRevoked
	// Elapsed time by both clocks: the monotonic one stops while the machine sleeps.
	case r.asOf.IsZero(), now.Sub(r.asOf) > revokedStale, now.Round(0).Sub(r.asOf.Round(0)) > revokedStale:
		return errRevokedUnknown
	default:
		return nil
	}
}

// CheckCertificate implements mtls.Revocations.
func (r *revoked) CheckCertificate(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.check(id, time.Now()); err != nil {
		return fmt.Errorf("certificate %.16s…: %w", id, err)
	}
	return nil
}

// WatchCertificate implements mtls.Revocations.
func (r *revoked) WatchCertificate(ctx context.Context, id string) (watched context.Context, cancel context.CancelFunc) {
	watched, end := context.WithCancelCause(ctx)
	w := &certificateWatch{id: id, end: end}
	r.mu.Lock()
	r.watches[w] = struct{}{}
	err := r.check(id, time.Now()) // after joining, so that nothing falls between
	r.mu.Unlock()
	context.AfterFunc(watched, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watches, w)
	})
	if err != nil {
		end(err)
	}
	return watched, func() { end(context.Canceled) }
}
