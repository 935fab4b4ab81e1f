package proxy

import (
	"container/list"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/authbus/authbus/authsvc/internal/gateway/routes"
)

// Limiter counts the requests of clients. It remembers a bounded number of them
// and forgets whom it has not seen for longest: a client that many others have
// pushed out begins again with a full burst.
type Limiter struct {
	max int

	mu      sync.Mutex
	clients map[limited]*list.Element // guarded by mu
	seen    *list.List                // guarded by mu; of *client, the latest first
}

// limited is who is limited, and where.
type limited struct{ rule, client string }

type client struct {
	limited
	rate    routes.Rate
	limiter *rate.Limiter
}

// NewLimiter returns a Limiter that remembers up to maxClients clients.
func NewLimiter(maxClients int) *Limiter {
	return &Limiter{max: maxClients, clients: make(map[limited]*list.Element), seen: list.New()}
}

// Allow counts a request of the client against the limit named rule. It returns 0
// or, without counting it, how long the client has to wait.
func (l *Limiter) Allow(rule, client string, limit routes.Rate) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	reservation := l.client(limited{rule, client}, limit).limiter.ReserveN(now, 1)
	if wait = reservation.DelayFrom(now); wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}

// Wait returns how long the client would have to wait, as Allow does, but counts nothing.
func (l *Limiter) Wait(rule, client string, limit routes.Rate) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := limited{rule, client}
	if l.clients[key] == nil {
		return 0
	}
	now := time.Now()
	reservation := l.client(key, limit).limiter.ReserveN(now, 1)
	defer reservation.CancelAt(now)
	return reservation.DelayFrom(now)
}

// client returns what is known of the client, and makes room for it.
func (l *Limiter) client(key limited, limit routes.Rate) *client {
	if known := l.clients[key]; known != nil {
		l.seen.MoveToFront(known)
		if c := known.Value.(*client); c.rate == limit {
			return c
		}
		l.seen.Remove(known) // the rule has changed
	} else if l.seen.Len() >= l.max {
		oldest := l.seen.Back()
		delete(l.clients, l.seen.Remove(oldest).(*client).limited)
	}
	every := rate.Limit(float64(limit.Requests) / limit.Per.Seconds())
	c := &client{key, limit, rate.NewLimiter(every, max(limit.Burst, 1))}
	l.clients[key] = l.seen.PushFront(c)
	return c
}
