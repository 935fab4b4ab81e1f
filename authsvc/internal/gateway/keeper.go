package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/dgraph-io/ristretto/v2"
	"golang.org/x/sync/singleflight"

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
	// writeTries is how often a refreshed session is written until it is: the
	// refresh token in the vault has been used.
	writeTries = 3
	// retryRefresh is how soon a refresh is tried again that failed.
	retryRefresh = 2 * time.Second
)

// keeper knows the sessions behind opaque tokens, with JWTs that still live.
type keeper struct {
	lifetime context.Context // of the gateway: whoever asked first may leave before the others
	vault    *vault.Vault
	auth     *client.Client
	log      *slog.Logger
	// cache may lose entries, and may keep one that has been deleted: the JWT in it
	// is verified on every request.
	cache   *ristretto.Cache[string, kept]
	flight  singleflight.Group
	renewed *proxy.Limiter // by token
}

// kept is a cached session. The cache compares hashes, so the token is here too.
type kept struct {
	token   vault.Token
	session vault.Session
}

func newKeeper(lifetime context.Context, v *vault.Vault, auth *client.Client, size int64, log *slog.Logger) (*keeper, error) {
	cache, err := ristretto.NewCache(&ristretto.Config[string, kept]{
		NumCounters: 10 * size, MaxCost: size, BufferItems: 64,
		IgnoreInternalCost: true, // so that MaxCost counts sessions
	})
	if err != nil {
		return nil, fmt.Errorf("creating the cache of sessions: %w", err)
	}
	return &keeper{
		lifetime: lifetime, vault: v, auth: auth, log: log, cache: cache, renewed: proxy.NewLimiter(int(size)),
	}, nil
}

func (k *keeper) close() { k.cache.Close() }

// cached returns the session behind a token if it is known here and its JWT needs
// no refresh.
func (k *keeper) cached(t vault.Token) (vault.Session, bool) {
	found, ok := k.cache.Get(t.Name())
	return found.session, ok && found.token == t && time.Now().Unix() < found.session.RefreshAt
}

// open returns the session behind a token.
func (k *keeper) open(ctx context.Context, t vault.Token) (vault.Session, error) {
	if s, ok := k.cached(t); ok {
		return s, nil
	}
	return k.once(ctx, "open", t, func(e vault.Entry) bool { return time.Now().Unix() >= e.RefreshAt })
}

// renewals bounds how often a session is renewed, so that what renewing does not
// heal costs the auth service little.
var renewals = routes.Rate{Requests: 1, Per: time.Second, Burst: 3}

// errRenewed says that a session was renewed too often, and not again.
var errRenewed = errors.New("the session was renewed several times a moment ago")

// renew returns the session behind a token with another JWT than old: one that the
// vault has already, or a new one.
func (k *keeper) renew(ctx context.Context, t vault.Token, old string) (vault.Session, error) {
	s, err := k.once(ctx, "renew", t, func(e vault.Entry) bool {
		return e.Access == old && k.renewed.Allow("renew", t.Name(), renewals) == 0
	})
	if err == nil && s.Access == old {
		return vault.Session{}, errRenewed
	}
	return s, err
}

// once loads the session, one time for all who ask for the same at the same time.
func (k *keeper) once(ctx context.Context, what string, t vault.Token, stale func(vault.Entry) bool) (vault.Session, error) {
	whose := peerOf(ctx)
	done := k.flight.DoChan(what+" "+t.Name(), func() (any, error) {
		ctx, cancel := context.WithTimeout(withPeer(k.lifetime, whose), loadTimeout)
		defer cancel()
		return k.load(ctx, t, stale)
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
func (k *keeper) load(ctx context.Context, t vault.Token, stale func(vault.Entry) bool) (vault.Session, error) {
	entry, err := k.vault.Get(ctx, t)
	switch {
	case errors.Is(err, vault.ErrNotFound):
		k.cache.Del(t.Name())
		return vault.Session{}, errEnded
	case err != nil:
		return vault.Session{}, err
	case !stale(entry):
		return k.keep(t, entry.Session), nil
	}
	tokens, err := k.auth.Refresh(ctx, wire.RefreshRequest{RefreshToken: wire.Secret(entry.Refresh), ClientID: entry.ClientID})
	switch {
	case client.HasCode(err, "invalid_grant"):
		return vault.Session{}, errors.Join(errEnded, k.forget(ctx, t))
	case err != nil && time.Now().Unix() < entry.ExpiresAt:
		k.log.Warn("refreshing a session failed; it goes on with the token that it has", "session", entry.Session, "error", err)
		s := entry.Session
		s.RefreshAt = time.Now().Add(retryRefresh).Unix()
		return k.keep(t, s), nil
	case err != nil:
		return vault.Session{}, fmt.Errorf("refreshing a session: %w", err)
	}
	return k.write(ctx, t, entry, behind(tokens, entry.ClientID, time.Now()))
}

// write keeps what a refresh gave. Another replica may have been first: the auth
// service then gave both the same refresh token, so either's session serves.
func (k *keeper) write(ctx context.Context, t vault.Token, old vault.Entry, s vault.Session) (vault.Session, error) {
	var err error
	for range writeTries {
		_, err = k.vault.Replace(ctx, t, old, s)
		if err == nil || errors.Is(err, vault.ErrConflict) {
			return k.keep(t, s), nil
		}
	}
	// The session lives on here; the vault has a refresh token that was used.
	k.log.Error("a refreshed session could not be kept: it ends with this process", "session", s, "error", err)
	return k.keep(t, s), nil
}

func (k *keeper) keep(t vault.Token, s vault.Session) vault.Session {
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
	k.cache.Del(t.Name())
	return k.vault.Delete(ctx, t)
}

// behind is what stands behind the opaque token from now on.
func behind(tokens wire.Tokens, clientID string, now time.Time) vault.Session {
	life := time.Duration(tokens.ExpiresIn) * time.Second
	return vault.Session{
		Access: tokens.AccessToken, Refresh: tokens.RefreshToken, ClientID: clientID, Sub: tokens.Sub, SID: tokens.SID,
		RefreshAt: now.Add(life * 3 / 4).Unix(), ExpiresAt: now.Add(life).Unix(),
	}
}
