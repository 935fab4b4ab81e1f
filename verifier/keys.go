package verifier

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"golang.org/x/time/rate"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

// keyring holds the public keys, and fetches them when they have changed.
type keyring struct {
	lifetime context.Context // of the verifier: whoever came first may leave before the others
	issuer   string
	fetch    func(ctx context.Context) (*keyState, error) // nil for static keys
	current  atomic.Pointer[keyState]
	flights  flights
	// onDemand bounds the fetches that tokens with an unknown kid can cause.
	onDemand *rate.Limiter
	fetching atomic.Int64 // fetches that somebody waits for
	failed   atomic.Bool  // the last fetch did
	shared   bool         // tokens are verified with shared secrets, which are not fetched
	mixed    atomic.Bool  // and the authority publishes public keys for them
	counters *counters
	// changed is called after other keys have come into force.
	changed func()
}

// keyState is one version of the keys.
type keyState struct {
	tokens  *token.KeySet
	feed    map[string]ed25519.PublicKey
	version uint64
	// Of shared secrets, as far as the authority told: the kid of the one that signs,
	// and those of the ones that were killed.
	signing string
	killed  []string
}

func newKeyring(lifetime context.Context, c Config, a authority, n *counters, changed func()) (*keyring, error) {
	k := &keyring{
		lifetime: lifetime, issuer: c.Issuer, counters: n, changed: changed,
		onDemand: rate.NewLimiter(rate.Every(c.KeyRefresh), 1),
	}
	set, err := token.NewKeySet(c.Keys...)
	if err != nil {
		return nil, fmt.Errorf("verifier: Config.Keys: %w", err)
	}
	if k.shared = !c.SharedSecret.IsZero(); k.shared {
		if set, err = token.NewSecretSet(c.secrets()...); err != nil {
			return nil, fmt.Errorf("verifier: Config.SharedSecret: %w", err)
		}
	}
	k.current.Store(&keyState{tokens: set, feed: events.FeedKeys(c.FeedKeys)})
	switch {
	case len(c.FeedKeys) > 0:
	case c.JWKSURL != "":
		k.fetch = func(ctx context.Context) (*keyState, error) { return fetchJWKS(ctx, &c) }
	default:
		k.fetch = func(ctx context.Context) (*keyState, error) { return k.askBus(ctx, a) }
	}
	if fetch := k.fetch; fetch != nil && k.shared {
		k.fetch = func(ctx context.Context) (*keyState, error) {
			state, err := fetch(ctx)
			if err == nil {
				err = state.withSecrets(&c)
			}
			if err != nil {
				return nil, err
			}
			return state, nil
		}
	}
	return k, nil
}

// tokens is the current set of token keys.
func (k *keyring) tokens() *token.KeySet { return k.current.Load().tokens }

// feed is the current set of feed keys.
func (k *keyring) feed() map[string]ed25519.PublicKey { return k.current.Load().feed }

// refresh fetches the keys; callers at the same time share one fetch.
func (k *keyring) refresh(ctx context.Context) error {
	if k.fetch == nil {
		return nil
	}
	_, err := k.fetched(ctx)
	return err
}

// fetched is refresh, and returns what the fetch has brought into force.
func (k *keyring) fetched(ctx context.Context) (*keyState, error) {
	k.fetching.Add(1)
	defer k.fetching.Add(-1)
	done := k.flights.join("", func() (any, error) {
		k.counters.keyFetches.Add(1)
		state, err := k.fetch(k.lifetime)
		k.failed.Store(err != nil)
		k.mix(err)
		if err != nil {
			return nil, err
		}
		k.current.Store(state)
		k.changed()
		return state, nil
	})
	select {
	case r := <-done:
		if r.Err != nil {
			return nil, fmt.Errorf("fetching keys: %w", r.Err)
		}
		return r.Val.(*keyState), nil // the flight returns nothing else
	case <-ctx.Done():
		return nil, fmt.Errorf("fetching keys: %w", ctx.Err())
	}
}

// mix notes whether the last fetch found shared secrets and public keys mixed.
// Any other failure says nothing about that.
func (k *keyring) mix(err error) {
	if mixed := errors.Is(err, token.ErrMixed); mixed || err == nil {
		if k.mixed.Swap(mixed) != mixed {
			k.changed()
		}
	}
}

// demand fetches the keys because a token names an unknown kid, or waits for a
// fetch that is under way. Where that was done a moment ago, the kid counts as
// unknown, or the keys do if it failed.
func (k *keyring) demand(ctx context.Context) error {
	switch {
	case k.fetch == nil:
		return nil
	case k.fetching.Load() > 0 || k.onDemand.Allow():
		return k.refresh(ctx)
	case k.failed.Load():
		return errors.New("fetching keys failed a moment ago")
	}
	return nil
}

// follow fetches the keys if the authority has published others than are known.
func (k *keyring) follow(ctx context.Context, version uint64) error {
	if k.fetch == nil || k.current.Load().version == version {
		return nil
	}
	k.flights.forget("") // one that is under way may have begun before they were published
	state, err := k.fetched(ctx)
	if err != nil {
		return err
	}
	if state.version == 0 {
		// A JWKS document has no version: remember which one made us look.
		named := *state
		named.version = version
		k.current.CompareAndSwap(state, &named) // what has replaced it meanwhile will be looked at again
	}
	return nil
}

func (k *keyring) askBus(ctx context.Context, a authority) (*keyState, error) {
	reply, err := a.keys(ctx, k.feed())
	if err != nil {
		return nil, err
	}
	if reply.Issuer != k.issuer {
		return nil, fmt.Errorf("the authority on the bus issues as %q, not as %q", reply.Issuer, k.issuer)
	}
	set, err := token.ParseJWKS(reply.JWKS)
	if err != nil {
		return nil, err
	}
	return &keyState{
		tokens: set, feed: events.FeedKeys(reply.Feed), version: reply.Keys,
		signing: reply.SharedSecret, killed: reply.KilledSecrets,
	}, nil
}

// maxJWKS bounds a JWKS document, in bytes.
const maxJWKS = 256 << 10

// fetchJWKS reads token keys and feed keys from the authority's JWKS document: the
// feed keys are its member "authbus_feed" (RFC 7517 §5 allows others), and
// "authbus_killed_secrets" names shared secrets that are dead. RequestTimeout bounds
// it, however patient the client is.
func fetchJWKS(ctx context.Context, c *Config) (state *keyState, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.RequestTimeout)
	defer cancel()
	url := c.JWKSURL
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	// Something has just changed: what a cache has kept is from before (RFC 9111 §5.2.1.4).
	req.Header.Set("Cache-Control", "no-cache")
	resp, err := c.HTTPClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, resp.Status)
	}
	doc, err := io.ReadAll(io.LimitReader(resp.Body, maxJWKS))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", url, err)
	}
	set, err := token.ParseJWKS(doc)
	if err != nil {
		return nil, err
	}
	var more struct {
		Feed   []events.FeedKey `json:"authbus_feed"`
		Killed []string         `json:"authbus_killed_secrets"`
	}
	if err := json.Unmarshal(doc, &more); err != nil {
		return nil, fmt.Errorf("reading the members of authbus in %s: %w", url, err)
	}
	if len(more.Feed) == 0 {
		return nil, fmt.Errorf("%s has no authbus_feed keys", url)
	}
	return &keyState{tokens: set, feed: events.FeedKeys(more.Feed), killed: more.Killed}, nil
}
