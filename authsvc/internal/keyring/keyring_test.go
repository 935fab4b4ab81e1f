package keyring_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authbus/authbus/authsvc/internal/keyring"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/authsvc/internal/store/storetest"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

const issuer = "https://auth.example.com"

// retireAfter is how long a key stays published after it has stopped signing: the
// longest lifetime of a token and the largest leeway.
const retireAfter = time.Hour + time.Minute

func master(t *testing.T, fill byte) keyring.MasterKey {
	t.Helper()
	key, err := keyring.ParseMasterKey(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// open opens a keyring on db; change may be nil.
func open(t *testing.T, db *store.DB, change func(*keyring.Config)) *keyring.Keyring {
	t.Helper()
	config := keyring.Config{Issuer: issuer, Master: master(t, 1)}
	if change != nil {
		change(&config)
	}
	k, err := keyring.Open(t.Context(), db, config)
	if err != nil {
		t.Fatalf("opening the keyring: %v", err)
	}
	return k
}

// run runs the keyring's schedule until the test ends.
func run(t *testing.T, k *keyring.Keyring) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("running the schedule: %v", err)
		}
	})
}

// signer returns the id of the key that signs now, after verifying what it signed.
func signer(t *testing.T, k *keyring.Keyring) string {
	t.Helper()
	now := time.Now()
	raw, err := k.SignToken(token.Claims{
		Issuer: issuer, Subject: "u_1", Audience: []string{"orders"}, ID: "t_1",
		IssuedAt: now.Unix(), ExpiresAt: now.Add(10 * time.Minute).Unix(),
	})
	if err != nil {
		t.Fatalf("signing: %v", err)
	}
	published, err := token.ParseJWKS(k.JWKS())
	if err != nil {
		t.Fatalf("parsing the published keys: %v", err)
	}
	claims, err := token.Profile{Issuer: issuer, Audience: "orders"}.Verify(raw, published, now)
	if err != nil {
		t.Fatalf("a token of the active key does not verify with the published keys: %v", err)
	}
	return claims.KeyID
}

// states returns the state of each key, oldest first.
func states(t *testing.T, k *keyring.Keyring) []string {
	t.Helper()
	infos, err := k.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, info := range infos {
		got = append(got, info.State)
	}
	return got
}

func wantStates(t *testing.T, k *keyring.Keyring, want ...string) {
	t.Helper()
	if got := states(t, k); !slices.Equal(got, want) {
		t.Errorf("keys are %v, want %v", got, want)
	}
}

// recorded returns the types of the events so far.
func recorded(t *testing.T, db *store.DB) []events.Type {
	t.Helper()
	rows, err := db.Reader(t.Context()).PendingEvents(1000)
	if err != nil {
		t.Fatal(err)
	}
	var types []events.Type
	for _, row := range rows {
		e, err := events.Decode(row.Document)
		if err != nil {
			t.Fatalf("event %d: %v", row.Seq, err)
		}
		types = append(types, e.Data.Type())
	}
	return types
}

func wantEvents(t *testing.T, db *store.DB, want ...events.Type) {
	t.Helper()
	if got := recorded(t, db); !slices.Equal(got, want) {
		t.Errorf("events are %v, want %v", got, want)
	}
}

func TestOpenCreatesKeysOnce(t *testing.T) {
	for _, alg := range []string{"EdDSA", "ES256", "RS256"} {
		t.Run(alg, func(t *testing.T) {
			db := storetest.SQLite(t)
			k := open(t, db, func(c *keyring.Config) { c.Algorithm = alg })
			kid := signer(t, k)
			wantStates(t, k, "active")
			wantEvents(t, db, events.TypeKeyPublished, events.TypeKeyActivated)

			again := open(t, db, func(c *keyring.Config) { c.Algorithm = alg })
			if got := signer(t, again); got != kid {
				t.Errorf("after reopening %s signs, not %s", got, kid)
			}
			if got, want := again.FeedKeys()[0].ID, k.FeedKeys()[0].ID; got != want {
				t.Errorf("after reopening the feed key is %s, not %s", got, want)
			}
		})
	}
}

func TestFeedSignatureVerifies(t *testing.T) {
	k := open(t, storetest.SQLite(t), nil)
	const subject, payload = "auth.revocations.user", "{}"
	header := k.SignFeed(subject, []byte(payload))
	keys := map[string]ed25519.PublicKey{}
	for _, key := range k.FeedKeys() {
		keys[key.ID] = key.Public
	}
	if !events.VerifySignature(keys, header, subject, []byte(payload)) {
		t.Error("the feed's signature does not verify with the published keys")
	}
	if bytes.Contains(k.JWKS(), []byte(header.Get(events.HeaderKey))) {
		t.Error("the feed key is among the keys for tokens")
	}
}

func TestOpenRefusesAnotherMasterKey(t *testing.T) {
	db := storetest.SQLite(t)
	open(t, db, nil)
	before := recorded(t, db)
	_, err := keyring.Open(t.Context(), db, keyring.Config{Issuer: issuer, Master: master(t, 2)})
	if !errors.Is(err, keyring.ErrWrongMasterKey) {
		t.Fatalf("opening with another master key: %v, want ErrWrongMasterKey", err)
	}
	if after := recorded(t, db); len(after) != len(before) {
		t.Errorf("the refused start left events: %v", after[len(before):])
	}
}

func TestOpenRefusesAKeyMovedToAnotherName(t *testing.T) {
	db := storetest.SQLite(t)
	k := open(t, db, nil)
	if _, err := k.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := db.Write(t.Context(), func(tx *store.Tx) error {
		rows, err := tx.Keys()
		if err != nil {
			return err
		}
		rows[0].SealedPrivate, rows[1].SealedPrivate = rows[1].SealedPrivate, rows[0].SealedPrivate
		return errors.Join(tx.UpdateKey(rows[0]), tx.UpdateKey(rows[1]))
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keyring.Open(t.Context(), db, keyring.Config{Issuer: issuer, Master: master(t, 1)}); err == nil {
		t.Error("keys whose private halves were exchanged in the database were opened")
	}
}

func TestRotationKeepsOldTokensAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := storetest.SQLite(t)
		k := open(t, db, nil)
		run(t, k)
		old := signer(t, k)
		time.Sleep(time.Second) // keys are listed in order of creation
		info, err := k.Rotate(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if again, err := k.Rotate(t.Context()); err != nil || again.KID != info.KID {
			t.Errorf("rotating again before the overlap is over: %v, %v; want the same key", again, err)
		}
		wantStates(t, k, "active", "published")
		if k.KeySet().Len() != 2 {
			t.Errorf("%d keys are published, want 2", k.KeySet().Len())
		}

		time.Sleep(119 * time.Second)
		if got := signer(t, k); got != old {
			t.Error("the new key signs before its overlap is over")
		}
		time.Sleep(3 * time.Second)
		if got := signer(t, k); got != info.KID {
			t.Error("the new key does not sign after its overlap")
		}
		wantStates(t, k, "retiring", "active")
		if _, published := k.KeySet().Lookup(old); !published {
			t.Error("the old key is not published any more, and tokens of it are alive")
		}
		time.Sleep(retireAfter)
		wantStates(t, k, "retired", "active")
		if _, published := k.KeySet().Lookup(old); published {
			t.Error("the retired key is published")
		}
		wantEvents(t, db, events.TypeKeyPublished, events.TypeKeyActivated,
			events.TypeKeyPublished, events.TypeKeyActivated, events.TypeKeyRetired)
		wantPrivateHalves(t, db, 2) // of the active key and the feed's
	})
}

// wantPrivateHalves checks how many private keys the database still holds.
func wantPrivateHalves(t *testing.T, db *store.DB, want int) {
	t.Helper()
	rows, err := db.Reader(t.Context()).Keys()
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for _, row := range rows {
		if row.SealedPrivate != nil {
			got++
		}
	}
	if got != want {
		t.Errorf("the database holds %d private keys, want %d", got, want)
	}
}

func TestKeysRotateByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := open(t, storetest.SQLite(t), func(c *keyring.Config) { c.ReloadEvery = time.Minute })
		run(t, k)
		first := signer(t, k)
		time.Sleep(30*24*time.Hour - time.Minute)
		if got := signer(t, k); got != first {
			t.Error("the key rotated before its time")
		}
		time.Sleep(5 * time.Minute)
		if got := signer(t, k); got == first {
			t.Error("the key did not rotate after 30 days")
		}
		wantStates(t, k, "retiring", "active")
	})
}

func TestReplicasAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := storetest.SQLite(t)
		one, two := open(t, db, nil), open(t, db, nil)
		run(t, one)
		run(t, two)
		if _, err := one.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if one.Version() != two.Version() || two.KeySet().Len() != 2 {
			t.Error("the other replica has not seen the new key after two seconds")
		}
		time.Sleep(2 * time.Minute)
		if signer(t, one) != signer(t, two) {
			t.Error("two replicas sign with different keys")
		}
		wantEvents(t, db, events.TypeKeyPublished, events.TypeKeyActivated,
			events.TypeKeyPublished, events.TypeKeyActivated)
	})
}

func TestKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := storetest.SQLite(t)
		k, other := open(t, db, nil), open(t, db, nil)
		run(t, other)
		old := signer(t, k)
		time.Sleep(time.Second) // keys are listed in order of creation
		record, err := k.Kill(t.Context(), old, "u_admin", "leaked")
		if err != nil {
			t.Fatal(err)
		}
		if record.Scope != events.ScopeKey || record.ID != old || record.Rev != 1 {
			t.Errorf("the record is %+v", record)
		}
		if got := signer(t, k); got == old {
			t.Error("the killed key still signs")
		}
		if _, published := k.KeySet().Lookup(old); published {
			t.Error("the killed key is still published")
		}
		wantStates(t, k, "killed", "active")
		wantPrivateHalves(t, db, 2)
		wantEvents(t, db, events.TypeKeyPublished, events.TypeKeyActivated,
			events.TypeKeyRevoked, events.TypeKeyPublished, events.TypeKeyActivated)

		if err := other.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		if signer(t, other) != signer(t, k) {
			t.Error("another replica does not sign with the new key after catching up")
		}
		if again, err := k.Kill(t.Context(), old, "u_admin", "again"); err != nil || again.Rev != 2 {
			t.Errorf("killing again: %+v, %v; want one more record", again, err)
		}
		wantStates(t, k, "killed", "active")
	})
}

func TestKillRefuses(t *testing.T) {
	k := open(t, storetest.SQLite(t), nil)
	if _, err := k.Kill(t.Context(), "k_none", "u_admin", ""); !errors.Is(err, keyring.ErrUnknownKey) {
		t.Errorf("killing an unknown key: %v", err)
	}
	if _, err := k.Kill(t.Context(), k.FeedKeys()[0].ID, "u_admin", ""); !errors.Is(err, keyring.ErrFeedKey) {
		t.Errorf("killing the feed key: %v", err)
	}
}

// A record that comes back from the stream after a restore can kill the active
// key behind the keyring's back.
func TestRunReplacesAKeyThatARecordKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := storetest.SQLite(t)
		k := open(t, db, nil)
		run(t, k)
		old := signer(t, k)
		err := db.Write(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Revoke(events.ScopeKey, old, time.Now().Add(time.Hour), "leaked", "restore")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if got := signer(t, k); got == old {
			t.Error("the killed key still signs")
		}
		wantStates(t, k, "killed", "active")
	})
}

func TestAnotherAlgorithmTakesOverAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := storetest.SQLite(t)
		open(t, db, nil)
		time.Sleep(time.Second) // keys are listed in order of creation
		k := open(t, db, func(c *keyring.Config) { c.Algorithm = "ES256" })
		run(t, k)
		wantStates(t, k, "active", "published")
		time.Sleep(2*time.Minute + 2*time.Second)
		key, _ := k.KeySet().Lookup(signer(t, k))
		if key.Alg != token.AlgES256 {
			t.Errorf("%s signs, want ES256", key.Alg)
		}
	})
}

func TestOpenNamesTheFieldThatIsWrong(t *testing.T) {
	db := storetest.SQLite(t)
	good := keyring.Config{Issuer: issuer, Master: master(t, 1)}
	for name, change := range map[string]func(*keyring.Config){
		"Issuer":      func(c *keyring.Config) { c.Issuer = "" },
		"Master":      func(c *keyring.Config) { c.Master = keyring.MasterKey{} },
		"Algorithm":   func(c *keyring.Config) { c.Algorithm = "HS256" },
		"Overlap":     func(c *keyring.Config) { c.Overlap = -1 },
		"RotateEvery": func(c *keyring.Config) { c.RotateEvery = time.Second },
		"ReloadEvery": func(c *keyring.Config) { c.ReloadEvery = -1 },
	} {
		config := good
		change(&config)
		if _, err := keyring.Open(t.Context(), db, config); err == nil || !bytes.Contains([]byte(err.Error()), []byte(name)) {
			t.Errorf("a wrong %s: %v, want an error that names it", name, err)
		}
	}
}
