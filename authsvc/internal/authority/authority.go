package authority

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/authbus/authbus/authsvc/internal/keyring"
	"github.com/authbus/authbus/authsvc/internal/password"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

// Authority decides about accounts, sessions and tokens.
type Authority struct {
	config Config
	db     *store.DB
	keys   *keyring.Keyring
	hasher *password.Hasher
	policy password.Policy
	feed   Feed
	log    *slog.Logger
}

// Feed publishes revocations that are committed.
type Feed interface {
	// Deliver publishes the record at once, and says whether the stream has it. It
	// takes no longer than a second, and what it could not publish the relay does.
	Deliver(ctx context.Context, record events.Revocation) Delivery
}

// New returns an authority on the database. A nil feed leaves all revocations to
// the relay: their delivery is [Pending].
func New(config Config, db *store.DB, keys *keyring.Keyring, hasher *password.Hasher, feed Feed) (*Authority, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	if db == nil || keys == nil || hasher == nil {
		return nil, errors.New("configuring the authority: database, keyring and hasher are required")
	}
	return &Authority{config: config, db: db, keys: keys, hasher: hasher, feed: feed, log: config.Logger}, nil
}

// emit records an event about what tx does.
func (a *Authority) emit(tx *store.Tx, data events.Data) error {
	return tx.Emit(a.config.Issuer, data)
}

// acknowledge brings a committed record to the bus. The caller may have gone
// away meanwhile; the record is published all the same.
func (a *Authority) acknowledge(ctx context.Context, record events.Revocation, actor string) Ack {
	ack := Ack{Epoch: record.Epoch, Rev: record.Rev, Delivery: Pending}
	if a.feed != nil {
		ack.Delivery = a.feed.Deliver(context.WithoutCancel(ctx), record)
	}
	a.log.InfoContext(ctx, "revoked", "scope", string(record.Scope), "id", record.ID, "rev", record.Rev,
		"reason", record.Reason, "actor", actor, "delivery", string(ack.Delivery))
	return ack
}

// Sweep removes what is over: expired revocations, sessions long dead, sealed
// refresh tokens after their grace, old counts of failures. The node calls it
// about once a minute; nothing breaks if it never does.
func (a *Authority) Sweep(ctx context.Context) error {
	now := time.Now()
	_, err := a.db.Purge(ctx, store.Retention{
		SessionsEnded:  now.Add(-knownFor),
		SessionsUnused: now.Add(-a.config.SessionIdle - knownFor),
		Rotated:        now.Add(-a.config.RefreshGrace),
		Throttles:      now.Add(-forgetAfter),
	})
	if err != nil {
		return fmt.Errorf("sweeping the database: %w", err)
	}
	return nil
}
