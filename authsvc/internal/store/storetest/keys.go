package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

func keysVersion(t *testing.T, db *store.DB) uint64 {
	t.Helper()
	return get[store.ReadIndex](t)(db.Reader(t.Context()).ReadIndex()).KeysVersion
}

func testKeyLife(t *testing.T, db *store.DB) {
	key := store.SigningKey{
		KID: "k_1", Purpose: store.KeyForTokens, Alg: "EdDSA", Public: []byte{0, 1, 0xff}, SealedPrivate: []byte{2, 0},
		State: store.KeyPublished,
	}
	write(t, db, func(tx *store.Tx) error {
		key.CreatedAt, key.ChangedAt, key.ActivateAt = tx.Now(), tx.Now(), tx.Now().Add(time.Minute)
		return tx.AddKey(key)
	})
	r := db.Reader(t.Context())
	expect(t, "key", key)(r.Key("k_1"))
	expect(t, "keys", []store.SigningKey{key})(r.Keys())
	if v := keysVersion(t, db); v != 1 {
		t.Errorf("version %d after one change", v)
	}
	write(t, db, func(tx *store.Tx) error {
		key.State, key.ChangedAt, key.RetireAt = store.KeyActive, tx.Now(), tx.Now().Add(time.Hour)
		return tx.UpdateKey(key)
	})
	expect(t, "active key", key)(r.Key("k_1"))
	write(t, db, func(tx *store.Tx) error {
		key.State, key.ChangedAt, key.SealedPrivate = store.KeyRetired, tx.Now(), nil
		return tx.UpdateKey(key)
	})
	expect(t, "retired key", key)(r.Key("k_1"))
	if v := keysVersion(t, db); v != 3 {
		t.Errorf("version %d after three changes", v)
	}
	if _, err := r.Key("k_x"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("unknown key: %v", err)
	}
	err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.UpdateKey(store.SigningKey{KID: "k_x", State: store.KeyActive}) })
	if !errors.Is(err, store.ErrNotFound) || keysVersion(t, db) != 3 {
		t.Errorf("change of an unknown key: %v, version %d", err, keysVersion(t, db))
	}
}

func testKeyKilled(t *testing.T, db *store.DB) {
	write(t, db, func(tx *store.Tx) error {
		return tx.AddKey(store.SigningKey{
			KID: "k_1", Purpose: store.KeyForFeed, Alg: "EdDSA", Public: []byte{1}, SealedPrivate: []byte{2}, State: store.KeyActive,
		})
	})
	revoke(t, db, events.ScopeKey, "k_1")
	killed := get[store.SigningKey](t)(db.Reader(t.Context()).Key("k_1"))
	if killed.State != store.KeyKilled || killed.SealedPrivate != nil || keysVersion(t, db) != 2 {
		t.Errorf("killed key %+v, version %d", killed, keysVersion(t, db))
	}
	killed.State = store.KeyActive
	if err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.UpdateKey(killed) }); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a killed key was brought back: %v", err)
	}
	revoke(t, db, events.ScopeKey, "k_1") // again: a record, and no change
	if v := keysVersion(t, db); v != 2 {
		t.Errorf("version %d after killing again", v)
	}
}
