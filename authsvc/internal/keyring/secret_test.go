package keyring_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authbus/authbus/authsvc/internal/keyring"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/authsvc/internal/store/storetest"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

func secret(t *testing.T, name string) token.Secret {
	t.Helper()
	b := sha256.Sum256([]byte("a shared secret for tests: " + name))
	s, err := token.NewSecret(b[:])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sharing configures secrets by their names; previous may be empty.
func sharing(t *testing.T, current, previous string) func(*keyring.Config) {
	t.Helper()
	return func(c *keyring.Config) {
		c.Secret = secret(t, current)
		if previous != "" {
			c.PreviousSecret = secret(t, previous)
		}
	}
}

// sign signs a token, and returns it with the id of its key.
func sign(t *testing.T, k *keyring.Keyring) string {
	t.Helper()
	raw, err := k.SignToken(someClaims())
	if err != nil {
		t.Fatalf("signing: %v", err)
	}
	return raw
}

func someClaims() token.Claims {
	now := time.Now()
	return token.Claims{
		Issuer: issuer, Subject: "u_1", Audience: []string{"orders"}, ID: "t_1",
		IssuedAt: now.Unix(), ExpiresAt: now.Add(10 * time.Minute).Unix(),
	}
}

// accepts reports whether a keyring's own keys verify the token, and by which key.
func accepts(k *keyring.Keyring, raw string) (kid string, ok bool) {
	claims, err := token.Profile{Issuer: issuer, Audience: "orders"}.Verify(raw, k.KeySet(), time.Now())
	if err != nil {
		return "", false
	}
	return claims.KeyID, true
}

func mayMint(t *testing.T, k *keyring.Keyring, db *store.DB) error {
	t.Helper()
	return db.Write(t.Context(), k.MayMint)
}

// wantMixedStates is wantStates of a key pair and secrets, which may be equally old
// by a clock of milliseconds.
func wantMixedStates(t *testing.T, k *keyring.Keyring, want ...string) {
	t.Helper()
	if got := states(t, k); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		t.Errorf("keys are %v, want %v in any order", got, want)
	}
}

func TestASharedSecretSigns(t *testing.T) {
	db := storetest.SQLite(t)
	k := open(t, db, sharing(t, "one", ""))
	kid, ok := accepts(k, sign(t, k))
	if !ok || kid != secret(t, "one").ID() {
		t.Errorf("signed by %q", kid)
	}
	if string(k.JWKS()) != `{"keys":[]}` {
		t.Errorf("published: %s", k.JWKS())
	}
	if len(k.FeedKeys()) != 1 || !events.VerifySignature(events.FeedKeys(k.FeedKeys()), k.SignFeed("s", []byte("x")), "s", []byte("x")) {
		t.Error("the feed is not signed")
	}
	if signing, killed := k.SharedSecrets(); signing != kid || killed != nil {
		t.Errorf("told of secrets: %q, %v", signing, killed)
	}
	if err := mayMint(t, k, db); err != nil {
		t.Error(err)
	}
	wantStates(t, k, "active")
	wantEvents(t, db, events.TypeKeyActivated)
	if _, err := k.Rotate(t.Context()); !errors.Is(err, keyring.ErrNotRotated) {
		t.Errorf("rotating: %v", err)
	}
	again := open(t, db, sharing(t, "one", ""))
	wantStates(t, again, "active")
	wantEvents(t, db, events.TypeKeyActivated)
	if again.Version() != k.Version() {
		t.Error("opening it again changed something")
	}
}

// TestTheDatabaseHoldsNoSecret in any form.
func TestTheDatabaseHoldsNoSecret(t *testing.T) {
	db := storetest.SQLite(t)
	k := open(t, db, sharing(t, "one", "two"))
	rows, err := db.Reader(t.Context()).Keys()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if row.Alg == "HS256" && (row.SealedPrivate != nil || string(row.Public) != row.KID) {
			t.Errorf("the row holds %q and %x", row.Public, row.SealedPrivate)
		}
	}
	infos, err := k.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := json.Marshal(infos)
	if err != nil || !strings.Contains(string(doc), "hs_") {
		t.Errorf("%s, %v", doc, err)
	}
}

// TestSecretsReplaceEachOther without a gap: the new one is accepted before it signs.
func TestSecretsReplaceEachOther(t *testing.T) {
	db := storetest.SQLite(t)
	first := open(t, db, sharing(t, "old", ""))
	old := sign(t, first)
	prepared := open(t, db, sharing(t, "old", "new"))
	swapped := open(t, db, sharing(t, "new", "old"))
	young := sign(t, swapped)
	for name, k := range map[string]*keyring.Keyring{"prepared": prepared, "swapped": swapped} {
		for _, raw := range []string{old, young} {
			if _, ok := accepts(k, raw); !ok {
				t.Errorf("%s: a token is refused", name)
			}
		}
	}
	states := func(k *keyring.Keyring) map[string]string {
		infos, err := k.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		byKID := map[string]string{}
		for _, info := range infos {
			byKID[info.KID] = info.State
		}
		return byKID
	}
	if got := states(swapped); got[secret(t, "new").ID()] != "active" || got[secret(t, "old").ID()] != "accepted" {
		t.Errorf("states after the swap: %v", got)
	}
	if got := states(prepared); got[secret(t, "new").ID()] != "accepted" || got[secret(t, "old").ID()] != "active" {
		t.Errorf("states of a replica before the swap: %v", got)
	}
	done := open(t, db, sharing(t, "new", ""))
	if _, ok := accepts(done, old); ok {
		t.Error("a token of the old secret is accepted after it has gone")
	}
	if got := states(done); got[secret(t, "old").ID()] != "retired" {
		t.Errorf("states at the end: %v", got)
	}
}

// TestAKilledSecretStaysDead: its tokens die, nothing is signed, and a restart is
// refused until another one is configured, also after the record has expired.
func TestAKilledSecretStaysDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := storetest.SQLite(t)
		k, replica := open(t, db, sharing(t, "one", "two")), open(t, db, sharing(t, "one", "two"))
		run(t, replica)
		raw := sign(t, k)
		kid := secret(t, "one").ID()
		version := k.Version()
		record, err := k.Kill(t.Context(), kid, "u_admin", "leaked")
		if err != nil || record.Scope != events.ScopeKey || record.ID != kid {
			t.Fatalf("%+v, %v", record, err)
		}
		// The replica does not know yet, and asks in the transaction.
		if err := mayMint(t, replica, db); !errors.Is(err, keyring.ErrKilledSecret) {
			t.Errorf("the replica may mint: %v", err)
		}
		time.Sleep(2 * time.Second)
		for name, k := range map[string]*keyring.Keyring{"itself": k, "a replica": replica} {
			if _, ok := accepts(k, raw); ok {
				t.Errorf("%s accepts a token of the killed secret", name)
			}
			if raw, err := k.SignToken(someClaims()); raw != "" || !errors.Is(err, keyring.ErrKilledSecret) {
				t.Errorf("%s signs with the killed secret: %v", name, err)
			}
			if err := mayMint(t, k, db); !errors.Is(err, keyring.ErrKilledSecret) {
				t.Errorf("%s may mint: %v", name, err)
			}
			if signing, killed := k.SharedSecrets(); signing != "" || !slices.Equal(killed, []string{kid}) {
				t.Errorf("%s tells of secrets: %q, %v", name, signing, killed)
			}
		}
		if k.Version() == version {
			t.Error("verifiers are not told to look")
		}
		time.Sleep(3 * time.Hour)
		_, err = keyring.Open(t.Context(), db, keyring.Config{Issuer: issuer, Master: master(t, 1), Secret: secret(t, "one")})
		if !errors.Is(err, keyring.ErrKilledSecret) || !strings.Contains(err.Error(), kid) || !strings.Contains(err.Error(), "configure another") {
			t.Errorf("opening with the killed secret: %v", err)
		}
		next := open(t, db, sharing(t, "three", "one"))
		if _, ok := accepts(next, raw); ok {
			t.Error("accepted as the previous one")
		}
		if kid, ok := accepts(next, sign(t, next)); !ok || kid != secret(t, "three").ID() {
			t.Errorf("the next one does not sign: %q", kid)
		}
		if signing, killed := next.SharedSecrets(); signing != secret(t, "three").ID() || !slices.Equal(killed, []string{kid}) {
			t.Errorf("told of secrets: %q, %v", signing, killed)
		}
	})
}

// TestAKilledPreviousSecretIsNamed: it is refused as it should be, and to have it
// configured still is a mistake that nobody would see. It does not keep the service
// from starting: after a kill, current and previous may have to go one by one.
func TestAKilledPreviousSecretIsNamed(t *testing.T) {
	db := storetest.SQLite(t)
	first, log := watched(t, db, "new", "old")
	if strings.Contains(log.String(), "killed") {
		t.Errorf("before: %s", log)
	}
	kid := secret(t, "old").ID()
	if _, err := first.Kill(t.Context(), kid, "u_admin", "leaked"); err != nil {
		t.Fatal(err)
	}
	k, log := watched(t, db, "new", "old")
	if text := log.String(); !strings.Contains(text, "level=WARN") || !strings.Contains(text, "has been killed") || !strings.Contains(text, kid) {
		t.Errorf("the log says %q", text)
	}
	if _, ok := accepts(k, sign(t, k)); !ok {
		t.Error("the current one does not sign")
	}
	_, err := keyring.Open(t.Context(), db, keyring.Config{
		Issuer: issuer, Master: master(t, 1), Secret: secret(t, "old"), PreviousSecret: secret(t, "new"),
	})
	if !errors.Is(err, keyring.ErrKilledSecret) {
		t.Errorf("as the current one: %v", err)
	}
}

// TestASecretRevokedBeforeItWasSeen is dead from the beginning, and stays so.
func TestASecretRevokedBeforeItWasSeen(t *testing.T) {
	db := storetest.SQLite(t)
	open(t, db, nil)
	err := db.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Revoke(events.ScopeKey, secret(t, "one").ID(), tx.Now().Add(time.Hour), "leaked", "u_admin")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = keyring.Open(t.Context(), db, keyring.Config{Issuer: issuer, Master: master(t, 1), Secret: secret(t, "one")})
	if !errors.Is(err, keyring.ErrKilledSecret) {
		t.Errorf("opening: %v", err)
	}
	rows, err := db.Reader(t.Context()).Keys()
	if err != nil || !slices.ContainsFunc(rows, func(k store.SigningKey) bool {
		return k.KID == secret(t, "one").ID() && k.State == store.KeyKilled
	}) {
		t.Errorf("not written down as killed: %v, %v", rows, err)
	}
}

// TestFromKeyPairsToASecretAndBack leaves both as they were.
func TestFromKeyPairsToASecretAndBack(t *testing.T) {
	db := storetest.SQLite(t)
	pairs := open(t, db, nil)
	byPair := sign(t, pairs)
	kid, _ := accepts(pairs, byPair)
	before := pairs.Version()

	shared := open(t, db, sharing(t, "one", ""))
	bySecret := sign(t, shared)
	if _, ok := accepts(shared, byPair); ok {
		t.Error("a token of a key pair is accepted with a secret")
	}
	if shared.Version() == before {
		t.Error("verifiers are not told to look")
	}
	wantMixedStates(t, shared, "suspended", "active")
	if record, err := shared.Kill(t.Context(), secret(t, "two").ID(), "u", "r"); !errors.Is(err, keyring.ErrUnknownKey) {
		t.Errorf("killed a secret that was never here: %v, %v", record, err)
	}

	back := open(t, db, nil)
	if got, ok := accepts(back, byPair); !ok || got != kid {
		t.Error("the token of the key pair is not accepted any more")
	}
	if _, ok := accepts(back, bySecret); ok {
		t.Error("a token of the secret is accepted with key pairs")
	}
	if got, _ := accepts(back, sign(t, back)); got != kid {
		t.Errorf("signed by %s, want %s", got, kid)
	}
	wantMixedStates(t, back, "active", "retired")
	if back.Version() == shared.Version() {
		t.Error("verifiers are not told to look")
	}
	// And once more, which has to be noticed as well.
	if again := open(t, db, sharing(t, "one", "")); again.Version() == back.Version() {
		t.Error("verifiers are not told to look the second time")
	}
}

// TestASuspendedKeyPairCanBeKilled, and the next key pair is made only when it is needed.
func TestASuspendedKeyPairCanBeKilled(t *testing.T) {
	db := storetest.SQLite(t)
	kid := signer(t, open(t, db, nil))
	shared := open(t, db, sharing(t, "one", ""))
	if _, err := shared.Kill(t.Context(), kid, "u_admin", "leaked"); err != nil {
		t.Fatal(err)
	}
	wantMixedStates(t, shared, "killed", "active")
	if next := signer(t, open(t, db, nil)); next == kid {
		t.Error("the killed key pair signs")
	}
	// A dead secret does not bring a key pair about either.
	pairs := open(t, db, nil)
	if _, err := pairs.Kill(t.Context(), secret(t, "one").ID(), "u_admin", "leaked"); err != nil {
		t.Fatal(err)
	}
	wantMixedStates(t, pairs, "killed", "killed", "active")
}

// TestAMemberOfAPublishedKeyIsNoSecret: pasted from the JWKS, it looks random.
func TestAMemberOfAPublishedKeyIsNoSecret(t *testing.T) {
	for alg, members := range map[string][]string{"EdDSA": {"x"}, "ES256": {"x", "y"}, "RS256": {"n"}} {
		db := storetest.SQLite(t)
		pairs := open(t, db, func(c *keyring.Config) { c.Algorithm = alg })
		var published struct{ Keys []map[string]string }
		if err := json.Unmarshal(pairs.JWKS(), &published); err != nil || len(published.Keys) != 1 {
			t.Fatalf("%s, %v", pairs.JWKS(), err)
		}
		texts := map[string]string{}
		for _, member := range members {
			texts[member] = published.Keys[0][member]
		}
		if alg == "ES256" {
			x, y := unbase64(t, texts["x"]), unbase64(t, texts["y"])
			texts["point"] = base64.RawURLEncoding.EncodeToString(slices.Concat(x, y))
			texts["compressed point"] = base64.RawURLEncoding.EncodeToString(slices.Concat([]byte{2 | y[31]&1}, x))
		}
		for member, text := range texts {
			s, err := token.ParseSecret(text)
			if err != nil {
				t.Fatalf("%s of %s: %v", member, alg, err)
			}
			_, err = keyring.Open(t.Context(), db, keyring.Config{Issuer: issuer, Master: master(t, 1), Secret: s})
			if err == nil || !strings.Contains(err.Error(), "is the public key "+published.Keys[0]["kid"]) {
				t.Errorf("%s of %s: %v", member, alg, err)
			}
		}
	}
}

func unbase64(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// watched opens a keyring with the named secrets, none for key pairs, and keeps
// what it logs.
func watched(t *testing.T, db *store.DB, names ...string) (*keyring.Keyring, *bytes.Buffer) {
	t.Helper()
	out := &bytes.Buffer{}
	return open(t, db, func(c *keyring.Config) {
		c.Logger = slog.New(slog.NewTextHandler(out, nil))
		for i, to := range []*token.Secret{&c.Secret, &c.PreviousSecret}[:len(names)] {
			*to = secret(t, names[i])
		}
	}), out
}

// TestReplicasThatSignDifferentlySaySo: the one that starts, and the one that runs.
func TestReplicasThatSignDifferentlySaySo(t *testing.T) {
	for _, tt := range []struct {
		name            string
		running, starts []string
		atStart, later  string // kid named; empty where nothing is to be said
	}{
		{"the same secret", []string{"one"}, []string{"one"}, "", ""},
		{"different secrets", []string{"one"}, []string{"two"}, "one", "one"},
		{"made ready to be replaced", []string{"old"}, []string{"old", "new"}, "", ""},
		{"replaced where both know both", []string{"old", "new"}, []string{"new", "old"}, "", ""},
		{"replaced where one is not ready", []string{"old"}, []string{"new", "old"}, "", "new"},
		{"the old one dropped at last", []string{"new", "old"}, []string{"new"}, "", ""},
		{"the old one dropped while it signs", []string{"old", "new"}, []string{"new"}, "old", "old"},
		{"a secret beside key pairs", nil, []string{"one"}, "", "one"},
		{"key pairs beside a secret", []string{"one"}, nil, "one", "one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := storetest.SQLite(t)
			running, log := watched(t, db, tt.running...)
			log.Reset()
			_, starting := watched(t, db, tt.starts...)
			for range 3 { // one line is enough
				if err := running.Reload(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			for _, said := range []struct{ text, kid, level string }{
				{starting.String(), tt.atStart, "level=WARN"}, {log.String(), tt.later, "level=ERROR"},
			} {
				if said.kid == "" {
					if said.text != "" {
						t.Errorf("said %q", said.text)
					}
					continue
				}
				kid := secret(t, said.kid).ID()
				if strings.Count(said.text, "\n") != 1 || !strings.Contains(said.text, kid) || !strings.Contains(said.text, said.level) {
					t.Errorf("said %q, want one line with %s and %s", said.text, said.level, kid)
				}
			}
		})
	}
}

// TestReplicasOfDifferentSecrets refuse each other's tokens, and go on.
func TestReplicasOfDifferentSecrets(t *testing.T) {
	db := storetest.SQLite(t)
	one, two := open(t, db, sharing(t, "one", "")), open(t, db, sharing(t, "two", ""))
	if err := one.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	a, b := sign(t, one), sign(t, two)
	for _, tt := range []struct {
		k    *keyring.Keyring
		raw  string
		want bool
	}{{one, a, true}, {two, b, true}, {one, b, false}, {two, a, false}} {
		if _, ok := accepts(tt.k, tt.raw); ok != tt.want {
			t.Errorf("accepted: %v, want %v", ok, tt.want)
		}
	}
}

func TestOpenRefusesSecretsThatCannotBeRight(t *testing.T) {
	db := storetest.SQLite(t)
	pairs := open(t, db, nil)
	published, err := token.ParseJWKS(pairs.JWKS())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := token.NewSecret(pairs.FeedKeys()[0].Public)
	if err != nil || published.Len() != 1 {
		t.Fatal(err)
	}
	const both = "q0u8mT3fXk1Zr9Yw5VbN7cHs2LgJd6PaEoIiUvQxRyM=" // a master key, and a secret
	bothMaster, err := keyring.ParseMasterKey(both)
	if err != nil {
		t.Fatal(err)
	}
	bothSecret, err := token.ParseSecret(both)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*keyring.Config)
		want   string
	}{
		{"the master key", func(c *keyring.Config) { c.Master, c.Secret = bothMaster, bothSecret }, "is the master key"},
		{"the master key as the previous one", func(c *keyring.Config) {
			c.Master, c.Secret, c.PreviousSecret = bothMaster, secret(t, "one"), bothSecret
		}, "is the master key"},
		{"only a previous one", func(c *keyring.Config) { c.PreviousSecret = secret(t, "one") }, "PreviousSecret: needs Secret"},
		{"the same twice", func(c *keyring.Config) { c.Secret, c.PreviousSecret = secret(t, "one"), secret(t, "one") }, "PreviousSecret: must differ"},
		{"an algorithm of key pairs", func(c *keyring.Config) { c.Secret, c.Algorithm = secret(t, "one"), "EdDSA" }, "never mixed"},
		{"a public key of ours", func(c *keyring.Config) { c.Secret = raw }, "is the public key"},
		{"a public key of ours as the previous one", func(c *keyring.Config) { c.Secret, c.PreviousSecret = secret(t, "one"), raw }, "is the public key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := keyring.Config{Issuer: issuer, Master: master(t, 1)}
			tt.change(&c)
			if _, err := keyring.Open(t.Context(), db, c); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v; want %q", err, tt.want)
			}
		})
	}
}

func TestTheDeathOfASecretIsLogged(t *testing.T) {
	db := storetest.SQLite(t)
	var out bytes.Buffer
	k := open(t, db, func(c *keyring.Config) {
		c.Secret, c.Logger = secret(t, "one"), slog.New(slog.NewTextHandler(&out, nil))
	})
	if _, err := k.Kill(t.Context(), secret(t, "one").ID(), "u_admin", "leaked"); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.Contains(text, "configure another one") || !strings.Contains(text, secret(t, "one").ID()) {
		t.Errorf("logged %q", text)
	}
}
