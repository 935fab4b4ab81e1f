package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/dgraph-io/ristretto/v2"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/gateway/proxy"
	"github.com/authbus/authbus/authsvc/internal/gateway/routes"
	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

// errEnded says that there is no session behind a token, or none any longer. Every
// other error of the keeper means that it cannot be told now.
var errEnded = errors.New("the session has ended")

// Bounds of a look behind a token, which several requests may wait for.
const (
	loadTimeout = 5 * time.Second
	// maxLooks is how many look into the vault at once; more wait for their turn.
	maxLooks = 128
	// retryRefresh is how soon a refresh is tried again that failed.
	retryRefresh = 2 * time.Second
)

// keeper knows the sessions behind opaque tokens, with JWTs that still live.
type keeper struct {
	lifetime context.Context // of the gateway: whoever asked first may leave before the others
	vault    *vault.Vault
	auth     *client.Client
	log      *slog.Logger
	quiet    *rate.Sometimes // for what may be said about every session at once
	damaged  *rate.Sometimes // for entries that do not open, which should not drown in the rest
	counters *counters
	// cache may lose entries, and may keep one that has been deleted: the JWT in it
	// is verified on every request.
	cache   *ristretto.Cache[string, kept] // nil once closed; guarded by closing
	flight  singleflight.Group
	renewed *proxy.Limiter // by token
	looks   chan struct{}  // as many as look into the vault
	// closing is held for reading while cache is used, which must not be closed then.
	closing sync.RWMutex

	mending    sync.WaitGroup // goroutines that end with lifetime; added to under mu
	mu         sync.Mutex
	stopped    bool                          // guarded by mu; nothing is mended any more
	unsaved    map[vault.Token]vault.Session // guarded by mu; refreshed, and not in the vault yet
	unsure     map[vault.Token]struct{}      // guarded by mu; perhaps refreshed
	refreshing int                           // guarded by mu; refreshes under way
}

// kept is a cached session. The cache compares hashes, so the token is here too.
type kept struct {
	token   vault.Token
	session vault.Session
}

// newKeeper returns a keeper that ends with lifetime and must be closed then.
func newKeeper(lifetime context.Context, v *vault.Vault, auth *client.Client, c Config, m *counters) (*keeper, error) {
	size := c.CachedSessions
	cache, err := ristretto.NewCache(&ristretto.Config[string, kept]{
		NumCounters: 10 * size, MaxCost: size, BufferItems: 64,
		IgnoreInternalCost: true, // so that MaxCost counts sessions
	})
	if err != nil {
		return nil, fmt.Errorf("creating the cache of sessions: %w", err)
	}
	return &keeper{
		lifetime: lifetime, vault: v, auth: auth, log: c.Log, counters: m, cache: cache,
		quiet:   &rate.Sometimes{First: 1, Interval: time.Second},
		damaged: &rate.Sometimes{First: 1, Interval: time.Second},
		renewed: proxy.NewLimiter(int(size)), looks: make(chan struct{}, maxLooks),
		unsaved: make(map[vault.Token]vault.Session), unsure: make(map[vault.Token]struct{}),
	}, nil
}

// close waits for what has ended with lifetime.
func (k *keeper) close() {
	k.stopMending()
	k.closing.Lock()
	defer k.closing.Unlock()
	k.cache.Close()
	k.cache = nil // which knows nothing
}

// cached returns the session behind a token if it is known here and its JWT needs
// no refresh.
func (k *keeper) cached(t vault.Token) (vault.Session, bool) {
	s, ok := k.known(t)
	return s, ok && !due(s)
}

// known returns the session behind a token if it is known here.
func (k *keeper) known(t vault.Token) (vault.Session, bool) {
	k.closing.RLock()
	defer k.closing.RUnlock()
	found, ok := k.cache.Get(t.Name())
	return found.session, ok && found.token == t
}

// open returns the session behind a token. Where it cannot be renewed now it goes on
// with the JWT that it has, as long as that lives.
func (k *keeper) open(ctx context.Context, t vault.Token) (vault.Session, error) {
	if s, ok := k.cached(t); ok {
		return s, nil
	}
	return k.once(ctx, "open", t, func(ctx context.Context) (vault.Session, error) {
		s, err := k.load(ctx, t, due)
		if err == nil || errors.Is(err, errEnded) {
			return s, err
		}
		s, ok := k.known(t)
		if has, stuck := errors.AsType[*stuck](err); stuck {
			s, ok = has.session, true
		}
		if !ok || time.Now().Unix() >= s.ExpiresAt {
			return vault.Session{}, err
		}
		k.quiet.Do(func() {
			k.log.Warn("a session cannot be renewed now; it goes on with the token that it has", "session", s, "error", err)
		})
		s.RefreshAt = time.Now().Add(retryRefresh).Unix()
		return k.keep(t, s), nil
	})
}

// due reports whether it is time for another JWT.
func due(s vault.Session) bool { return time.Now().Unix() >= s.RefreshAt }

// renewals bounds how often a session is renewed, so that what renewing does not
// heal costs the auth service little.
var renewals = routes.Rate{Requests: 1, Per: time.Second, Burst: 3}

// errRenewed says that a session was renewed too often, and not again.
var errRenewed = errors.New("the session was renewed several times a moment ago")

// renew returns the session behind a token with another JWT than old: one that the
// vault has already, or a new one.
func (k *keeper) renew(ctx context.Context, t vault.Token, old string) (vault.Session, error) {
	s, err := k.once(ctx, "renew", t, func(ctx context.Context) (vault.Session, error) {
		return k.load(ctx, t, func(s vault.Session) bool {
			return (s.Access == old || due(s)) && k.renewed.Allow("renew", t.Name(), renewals) == 0
		})
	})
	if err == nil && s.Access == old {
		return vault.Session{}, errRenewed
	}
	return s, err
}

// once loads the session, one time for all who ask for the same at the same time.
func (k *keeper) once(ctx context.Context, what string, t vault.Token, load func(context.Context) (vault.Session, error)) (vault.Session, error) {
	whose := peerOf(ctx)
	done := k.flight.DoChan(what+" "+t.Name(), func() (any, error) {
		ctx, cancel := context.WithTimeout(withPeer(k.lifetime, whose), loadTimeout)
		defer cancel()
		return load(ctx)
	})
	select {
	case r := <-done:
		if r.Err != nil {
			return vault.Session{}, r.Err
		}
		return r.Val.(vault.Session), nil // load returns nothing else
	case <-ctx.Done():
		return vault.Session{}, ctx.Err()
	}
}

// load reads the session from the vault, and refreshes it if it is stale.
func (k *keeper) load(ctx context.Context, t vault.Token, stale func(vault.Session) bool) (vault.Session, error) {
	if s, ok := k.notSaved(t); ok {
		if stale(s) {
			return vault.Session{}, &stuck{s, errUnsaved}
		}
		return k.keep(t, s), nil
	}
	entry, err := k.look(ctx, t)
	switch {
	case errors.Is(err, vault.ErrNotFound), errors.Is(err, vault.ErrDamaged):
		k.drop(t)
		return vault.Session{}, errEnded
	case err != nil:
		return vault.Session{}, err
	case !stale(entry.Session):
		return k.keep(t, entry.Session), nil
	}
	s, err := k.refresh(ctx, t, entry)
	if err != nil && !errors.Is(err, errEnded) {
		err = &stuck{entry.Session, err}
	}
	return s, err
}

// stuck says that a session could not be refreshed.
type stuck struct {
	session vault.Session
	err     error
}

func (s *stuck) Error() string { return "refreshing a session: " + s.err.Error() }

func (s *stuck) Unwrap() error { return s.err }

// look reads the vault, when it is the caller's turn.
func (k *keeper) look(ctx context.Context, t vault.Token) (vault.Entry, error) {
	select {
	case k.looks <- struct{}{}:
		defer func() { <-k.looks }()
	case <-ctx.Done():
		return vault.Entry{}, fmt.Errorf("waiting to look into the vault: %w", ctx.Err())
	}
	entry, err := k.vault.Get(ctx, t)
	outcome := "found"
	switch {
	case errors.Is(err, vault.ErrNotFound):
		outcome = "unknown"
	case errors.Is(err, vault.ErrDamaged):
		outcome = "damaged"
		k.damaged.Do(func() {
			k.log.Error("an entry of the vault does not open: its session is over, and the entry stays until it expires",
				"key", t.Name()[:12]+"…", "error", err)
		})
	case err != nil:
		outcome = "failed"
	}
	k.counters.looks.WithLabelValues(outcome).Inc()
	return entry, err
}

// refresh has the auth service give another JWT, and a refresh token in place of the
// one that this uses up, and keeps them.
func (k *keeper) refresh(ctx context.Context, t vault.Token, entry vault.Entry) (vault.Session, error) {
	if !k.mayRefresh(t) {
		return vault.Session{}, errUnsaved
	}
	defer k.refreshed()
	tokens, err := k.auth.Refresh(ctx, wire.RefreshRequest{RefreshToken: wire.Secret(entry.Refresh), ClientID: entry.ClientID})
	if client.HasCode(err, "invalid_grant") {
		k.counters.refreshes.WithLabelValues("ended").Inc()
		return vault.Session{}, errors.Join(errEnded, k.forget(ctx, t))
	}
	if err != nil {
		k.counters.refreshes.WithLabelValues("failed").Inc()
		if said, refused := errors.AsType[*client.Problem](err); !refused || said.Status >= http.StatusInternalServerError {
			k.insist(ctx, t, entry.Access) // it may have been carried out
		}
		return vault.Session{}, err
	}
	k.counters.refreshes.WithLabelValues("renewed").Inc()
	s := behind(tokens, entry.ClientID, time.Now())
	k.save(ctx, t, entry, s)
	return k.keep(t, s), nil
}

// all returns the sessions in memory that are wanted.
func (k *keeper) all(wanted func(vault.Session) bool) (found []kept) {
	k.closing.RLock()
	defer k.closing.RUnlock()
	k.cache.IterValues(func(v kept) (stop bool) {
		if wanted(v.session) {
			found = append(found, v)
		}
		return false
	})
	return found
}

func (k *keeper) keep(t vault.Token, s vault.Session) vault.Session {
	k.closing.RLock()
	defer k.closing.RUnlock()
	k.cache.SetWithTTL(t.Name(), kept{token: t, session: s}, 1, time.Until(time.Unix(s.ExpiresAt, 0)))
	return s
}

// begin keeps a session that has just begun, and returns its token.
func (k *keeper) begin(ctx context.Context, tokens wire.Tokens, clientID string) (vault.Token, error) {
	t, s := vault.NewToken(), behind(tokens, clientID, time.Now())
	if _, err := k.vault.Create(ctx, t, s); err != nil {
		return vault.Token{}, err
	}
	k.keep(t, s)
	return t, nil
}

// forget removes what is known of a token.
func (k *keeper) forget(ctx context.Context, t vault.Token) error {
	k.drop(t)
	return k.vault.Delete(ctx, t)
}

// drop removes the session behind a token from memory.
func (k *keeper) drop(t vault.Token) {
	k.closing.RLock()
	defer k.closing.RUnlock()
	k.cache.Del(t.Name())
}

// behind is what stands behind the opaque token from now on.
func behind(tokens wire.Tokens, clientID string, now time.Time) vault.Session {
	life := time.Duration(tokens.ExpiresIn) * time.Second
	return vault.Session{
		Access: tokens.AccessToken, Refresh: tokens.RefreshToken, ClientID: clientID, Sub: tokens.Sub, SID: tokens.SID,
		RefreshAt: now.Add(life * 3 / 4).Unix(), ExpiresAt: now.Add(life).Unix(),
	}
}
