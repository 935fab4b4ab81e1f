package keyring

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

// Keyring holds the keys of the database, opened.
type Keyring struct {
	config Config
	db     *store.DB
	ring   atomic.Pointer[ring]
	// reloading lets one goroutine at a time replace ring, so that an older one
	// never follows a newer one.
	reloading sync.Mutex
	conflict  string // with other replicas, as last reported; guarded by reloading
	// caughtUp is when CatchUp last looked, in Unix nanoseconds.
	caughtUp atomic.Int64
}

// Open loads the keys and creates the first ones where there are none. The error
// is [ErrWrongMasterKey] where they were sealed with another master key. ctx
// bounds only Open.
func Open(ctx context.Context, db *store.DB, config Config) (*Keyring, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	k := &Keyring{config: config, db: db}
	if err := k.start(ctx); err != nil {
		return nil, fmt.Errorf("opening the keyring: %w", err)
	}
	return k, nil
}

func (k *Keyring) start(ctx context.Context) error {
	rows, err := k.db.Reader(ctx).Keys()
	if err != nil {
		return err
	}
	// Before anything is added under a master key, the old ones must open with it.
	if len(rows) > 0 {
		if err := k.tryMaster(rows); err != nil {
			return err
		}
	}
	if len(feedKeys(rows)) == 0 {
		if err := k.addFeedKey(ctx); err != nil {
			return err
		}
	}
	if err := k.config.checkKnown(rows); err != nil {
		return err
	}
	if err := k.config.strangers(rows); err != nil {
		k.config.Logger.WarnContext(ctx, "signing is configured otherwise than it was until now, or than at other replicas", "error", err)
	}
	if err := k.adopt(ctx, rows); err != nil {
		return err
	}
	if _, err := k.advance(ctx, rows); err != nil {
		return err
	}
	if err := k.Reload(ctx); err != nil {
		return err
	}
	if !k.config.shared() && k.ring.Load().alg != k.config.alg() {
		_, err = k.Rotate(ctx)
	}
	return err
}

func (k *Keyring) tryMaster(rows []store.SigningKey) error {
	for _, row := range rows {
		if len(row.SealedPrivate) == 0 {
			continue
		}
		if _, err := privateKey(k.config.Master, row); err != nil {
			return err
		}
	}
	return nil
}

// addFeedKey adds the feed key, unless another replica was faster.
func (k *Keyring) addFeedKey(ctx context.Context) error {
	fresh, err := newKey(k.config.Master, store.KeyForFeed, token.AlgEdDSA)
	if err != nil {
		return err
	}
	fresh.State = store.KeyActive
	return k.db.Write(ctx, func(tx *store.Tx) error {
		rows, err := tx.Keys()
		if err != nil || len(feedKeys(rows)) > 0 {
			return err
		}
		return tx.AddKey(fresh)
	})
}

// advance carries out what is due by rows, if it still is when it may write. It
// reports whether anything was.
func (k *Keyring) advance(ctx context.Context, rows []store.SigningKey) (bool, error) {
	p := k.config.due(rows, time.Now())
	if p.empty() || k.config.shared() {
		return false, nil
	}
	var fresh store.SigningKey
	if p.publish {
		var err error
		if fresh, err = newKey(k.config.Master, store.KeyForTokens, k.config.alg()); err != nil {
			return false, err
		}
	}
	return true, k.db.Write(ctx, func(tx *store.Tx) error {
		now, err := tx.Keys()
		if err != nil {
			return err
		}
		p := k.config.due(now, tx.Now())
		if p.publish && fresh.KID == "" {
			return nil // others changed the keys in between: next time
		}
		return k.carryOut(tx, p, fresh)
	})
}

// Run keeps the keys up to date and carries out their schedule until ctx ends,
// and then returns nil. A step that fails is logged and tried again.
func (k *Keyring) Run(ctx context.Context) error {
	ticker := time.NewTicker(k.config.ReloadEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := k.tick(ctx); err != nil && ctx.Err() == nil {
			k.config.Logger.ErrorContext(ctx, "keeping signing keys up to date failed", "err", err)
		}
	}
}

func (k *Keyring) tick(ctx context.Context) error {
	loaded := k.ring.Load()
	index, err := k.db.Reader(ctx).ReadIndex()
	if err != nil {
		return err
	}
	rows := loaded.rows
	if index.KeysVersion != loaded.version {
		if rows, err = k.db.Reader(ctx).Keys(); err != nil {
			return err
		}
	}
	// Before loading: what others did may have left no key that signs.
	advanced, err := k.advance(ctx, rows)
	if err != nil {
		return fmt.Errorf("advancing the schedule of keys: %w", err)
	}
	if advanced || index.KeysVersion != loaded.version {
		return k.Reload(ctx)
	}
	return nil
}

// Reload reads the keys from the database.
func (k *Keyring) Reload(ctx context.Context) error {
	k.reloading.Lock()
	defer k.reloading.Unlock()
	var rows []store.SigningKey
	var version uint64
	err := k.db.Snapshot(ctx, func(r *store.Reader) error {
		index, err := r.ReadIndex()
		if err != nil {
			return err
		}
		version = index.KeysVersion
		rows, err = r.Keys()
		return err
	})
	if err != nil {
		return fmt.Errorf("reading signing keys: %w", err)
	}
	next, err := newRing(k.config, version, rows)
	if err != nil {
		return fmt.Errorf("loading signing keys: %w", err)
	}
	k.ring.Store(next)
	k.reportConflict(ctx, rows)
	return nil
}

// catchUpEvery bounds what tokens with made-up key ids can cost.
const catchUpEvery = 100 * time.Millisecond

// CatchUp looks whether another replica has changed the keys, for a kid that is
// not known: its token may be younger than what Run has last seen. It looks at
// most ten times a second.
func (k *Keyring) CatchUp(ctx context.Context) error {
	now, last := time.Now().UnixNano(), k.caughtUp.Load()
	if now-last < int64(catchUpEvery) || !k.caughtUp.CompareAndSwap(last, now) {
		return nil
	}
	index, err := k.db.Reader(ctx).ReadIndex()
	if err != nil || index.KeysVersion == k.Version() {
		return err
	}
	return k.Reload(ctx)
}

// Version is the keys version of what is loaded. It is the log head's as long as
// nothing has changed since.
func (k *Keyring) Version() uint64 { return k.ring.Load().version }

// JWKS returns the published keys as a JWK Set (RFC 7517 §5). Do not change it.
func (k *Keyring) JWKS() json.RawMessage { return k.ring.Load().jwks }

// KeySet returns the published keys, or the shared secrets that are alive.
func (k *Keyring) KeySet() *token.KeySet { return k.ring.Load().set }

// Killed reports whether the key, or the shared secret, of that kid was killed.
func (k *Keyring) Killed(kid string) bool { return killed(k.ring.Load().rows, kid) }

// FeedKeys returns the public keys of the feed.
func (k *Keyring) FeedKeys() []events.FeedKey { return slices.Clone(k.ring.Load().feedPublics) }

// SignToken signs an access token with the active key, or with the shared secret:
// then the error is [ErrKilledSecret] where that is dead.
func (k *Keyring) SignToken(c token.Claims) (string, error) {
	r := k.ring.Load()
	if !r.secret.IsZero() {
		if err := k.config.checkKilled(r.rows); err != nil {
			return "", err
		}
		return token.SignWithSecret(c, r.secret)
	}
	return token.Sign(c, r.kid, r.alg, r.signer)
}

// SignFeed returns the headers that prove that the authority said payload on
// subject. See [events.Sign].
func (k *Keyring) SignFeed(subject string, payload []byte) nats.Header {
	r := k.ring.Load()
	return events.Sign(r.feedKID, r.feed, subject, payload)
}
