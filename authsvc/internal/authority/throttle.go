package authority

import (
	"encoding/hex"
	"errors"
	"time"

	"github.com/authbus/authbus/authsvc/internal/store"
)

// knownFor is how long an address stays known after a user's session was used
// from it.
const knownFor = 30 * 24 * time.Hour

// buckets are what the failures of one try at a password are counted against.
type buckets struct {
	// account is the account's own. From an address that the user is known to use
	// it is another one than from anywhere else: strangers who fail on purpose
	// lock out strangers.
	account string
	// address is the network's; empty where the address is known or missing.
	address string
}

// bucketsOf finds the buckets of a try at the account sub, which is empty where
// there is none; login is then what was tried.
func bucketsOf(r *store.Reader, sub, login, address string, now time.Time) (buckets, error) {
	known, err := r.KnownAddress(sub, address, now.Add(-knownFor))
	if err != nil {
		return buckets{}, err
	}
	switch {
	case sub == "":
		// Not the name itself: people type passwords into the wrong field.
		sum := Secret(login).hash()
		return buckets{account: "login:" + hex.EncodeToString(sum[:16]), address: addressBucket(address)}, nil
	case known && address != "":
		return buckets{account: "known:" + sub + ":" + address}, nil
	}
	return buckets{account: "account:" + sub, address: addressBucket(address)}, nil
}

func addressBucket(address string) string {
	if n := network(address); n != "" {
		return "address:" + n
	}
	return ""
}

// blockedFor returns how long a bucket still allows no try; 0 if it does.
func blockedFor(r *store.Reader, bucket string, now time.Time) (time.Duration, error) {
	if bucket == "" {
		return 0, nil
	}
	t, err := r.Throttle(bucket)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return max(0, t.BlockedUntil.Sub(now)), nil
}

// countFailure counts one more failure against each bucket.
func countFailure(tx *store.Tx, buckets ...string) error {
	for _, bucket := range buckets {
		if bucket == "" {
			continue
		}
		t, err := tx.Throttle(bucket)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if tx.Now().Sub(t.UpdatedAt) > forgetAfter {
			t.Failures = 0
		}
		t.Bucket = bucket
		t.Failures++
		t.BlockedUntil = time.Time{}
		if wait := pause(t.Failures); wait > 0 {
			t.BlockedUntil = tx.Now().Add(wait)
		}
		if err := tx.SetThrottle(t); err != nil {
			return err
		}
	}
	return nil
}

func throttled(wait time.Duration, reason string) error {
	return &Error{
		Code: CodeThrottled, Message: "too many failures: try again later",
		RetryAfter: wait, Reason: reason,
	}
}
