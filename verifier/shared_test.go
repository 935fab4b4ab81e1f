package verifier

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

// testSecret is the secret of that name, the same each time.
func testSecret(t testing.TB, name string) token.Secret {
	t.Helper()
	b := sha256.Sum256([]byte("a shared secret for tests: " + name))
	s, err := token.NewSecret(b[:])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConfigurationsOfSharedSecretsThatCannotBeRight(t *testing.T) {
	secret, other := testSecret(t, "current"), testSecret(t, "previous")
	feed := []events.FeedKey{{ID: "f", Public: testFeedPublic}}
	asSecret, err := token.NewSecret(testFeedPublic)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"a secret", func(c *Config) { c.SharedSecret = secret }, ""},
		{"two secrets", func(c *Config) { c.SharedSecret, c.PreviousSharedSecret = secret, other }, ""},
		{"a secret and pinned feed keys", func(c *Config) { c.SharedSecret, c.FeedKeys = secret, feed }, ""},
		{"a secret and a URL", func(c *Config) { c.SharedSecret, c.JWKSURL = secret, "http://localhost/" }, ""},
		{"a secret and public keys", func(c *Config) {
			c.SharedSecret, c.FeedKeys = secret, feed
			c.Keys = []token.Key{{ID: testKID, Alg: token.AlgEdDSA, Public: testKey.Public()}}
		}, "Config.Keys cannot be combined with SharedSecret: shared secrets and public keys are never mixed"},
		{"only a previous secret", func(c *Config) { c.PreviousSharedSecret = secret }, "Config.PreviousSharedSecret needs SharedSecret"},
		{"the same secret twice", func(c *Config) { c.SharedSecret, c.PreviousSharedSecret = secret, testSecret(t, "current") }, "Config.PreviousSharedSecret must differ"},
		{"a feed key as secret", func(c *Config) { c.SharedSecret, c.FeedKeys = asSecret, feed }, "Config.SharedSecret must not be a public key"},
		{"a secret in Mode Remote", func(c *Config) { c.SharedSecret, c.Mode = secret, Remote }, "Config.SharedSecret is for Mode Local"},
		{"feed keys alone", func(c *Config) { c.FeedKeys = feed }, "Config.Keys and FeedKeys must be given together"},
		{"feed keys and a URL", func(c *Config) { c.SharedSecret, c.FeedKeys, c.JWKSURL = secret, feed, "http://localhost/" }, "Config.JWKSURL cannot be combined"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Config{Issuer: testIssuer, Audience: testAudience, NATS: &nats.Conn{}}
			tt.change(&c)
			_, err := c.withDefaults()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v; want %q", err, tt.want)
			}
		})
	}
}

// sharedVerifier starts a verifier of two secrets, and a log that signs with the
// current one.
func sharedVerifier(t *testing.T) (*Verifier, *memoryLog) {
	t.Helper()
	log := newMemoryLog()
	log.secret = testSecret(t, "current")
	v := newBubbleVerifier(t, log, func(c *Config) {
		c.SharedSecret, c.PreviousSharedSecret = testSecret(t, "current"), testSecret(t, "previous")
	})
	if err := v.awaitFresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return v, log
}

// signWith lets the log sign with another secret, or with its public key for the
// zero one, as after a restart: the version of the keys changes.
func (l *memoryLog) signWith(s token.Secret) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.secret = s
	l.keysVersion++
}

func TestSharedSecretsVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, log := sharedVerifier(t)
		defer v.Close()
		fetches := v.Stats().KeyFetches
		current := log.mint(t, "u", "s1", "j1")
		check(t, v, current, "accepted")
		check(t, v, current, "accepted")
		log.signWith(testSecret(t, "previous"))
		previous := log.mint(t, "u", "s2", "j2")
		check(t, v, previous, "accepted")
		log.signWith(testSecret(t, "stranger"))
		for range 10 {
			check(t, v, log.mint(t, "u", "s3", "j3"), "invalid token: unknown_kid")
		}
		log.signWith(token.Secret{})
		check(t, v, log.mint(t, "u", "s4", "j4"), "invalid token: alg_not_allowed")
		if n := v.Stats().KeyFetches; n != fetches {
			t.Errorf("tokens of unknown secrets caused %d fetches", n-fetches)
		}
		log.revoke(events.ScopeSession, "s1")
		check(t, v, current, "token revoked: revoked_session")
		check(t, v, previous, "accepted")
		log.revoke(events.ScopeKey, testSecret(t, "previous").ID())
		check(t, v, previous, "token revoked: revoked_key")
	})
}

// killSecret does what the authority does: the record, and the name for good.
func (l *memoryLog) killSecret(s token.Secret) {
	l.revoke(events.ScopeKey, s.ID())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.killed = append(l.killed, s.ID())
	l.keysVersion++
}

// TestAKilledSecretStaysDead when the record that killed it has expired: whoever
// has it goes on minting.
func TestAKilledSecretStaysDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, log := sharedVerifier(t)
		defer v.Close()
		log.signWith(testSecret(t, "previous"))
		before := log.mint(t, "u", "s", "j1")
		check(t, v, before, "accepted")
		log.killSecret(testSecret(t, "previous"))
		check(t, v, before, "token revoked: revoked_key")
		time.Sleep(2 * time.Hour)
		check(t, v, log.mint(t, "u", "s", "j2"), "token revoked: revoked_key")
		log.signWith(testSecret(t, "current"))
		time.Sleep(3 * time.Second)
		check(t, v, log.mint(t, "u", "s", "j3"), "accepted")

		// One that starts now has never seen the record.
		again := newBubbleVerifier(t, log, func(c *Config) {
			c.SharedSecret, c.PreviousSharedSecret = testSecret(t, "current"), testSecret(t, "previous")
		})
		defer again.Close()
		if err := again.awaitFresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(t, again, log.mint(t, "u", "s", "j4"), "accepted")
		log.mu.Lock()
		log.secret = testSecret(t, "previous")
		log.mu.Unlock()
		check(t, again, log.mint(t, "u", "s", "j5"), "token revoked: revoked_key")
	})
}

// TestAVerifierWaitsForKeysThatAreGood for the tokens that the authority signs.
func TestAVerifierWaitsForKeysThatAreGood(t *testing.T) {
	secret, other := testSecret(t, "current"), testSecret(t, "previous")
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"without a secret", nil, "publishes no keys for tokens"},
		{"with another secret", func(c *Config) { c.SharedSecret = other }, "signs with the shared secret " + secret.ID()},
		{"with one that is not ready to be replaced", func(c *Config) {
			c.SharedSecret, c.PreviousSharedSecret = other, testSecret(t, "third")
		}, "signs with the shared secret " + secret.ID()},
		{"with a killed secret", func(c *Config) { c.SharedSecret = testSecret(t, "killed") }, "have been killed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newMemoryLog()
				log.secret = secret
				log.killSecret(testSecret(t, "killed"))
				v := newBubbleVerifier(t, log, tt.change)
				defer v.Close()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := v.awaitFresh(ctx); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("starting: %v; want %q", err, tt.want)
				}
				if tt.change == nil {
					log.signWith(token.Secret{})
				} else {
					log.signWith(v.config.SharedSecret)
				}
				log.mu.Lock()
				log.killed = nil
				log.mu.Unlock()
				if err := v.awaitFresh(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestKeysThatAreNoLongerGoodAreReported, once each time.
func TestKeysThatAreNoLongerGoodAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		log.secret = testSecret(t, "current")
		var out bytes.Buffer
		v := newBubbleVerifier(t, log, func(c *Config) {
			c.SharedSecret, c.Logger = testSecret(t, "current"), slog.New(slog.NewTextHandler(&out, nil))
		})
		if err := v.awaitFresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			log.signWith(testSecret(t, "previous"))
			time.Sleep(time.Minute)
			log.signWith(testSecret(t, "current"))
			time.Sleep(time.Minute)
		}
		v.Close()
		if n := strings.Count(out.String(), "no token that the authority signs now is good here"); n != 2 {
			t.Errorf("reported %d times: %s", n, out.String())
		}
	})
}

// TestKeysThatAreNoLongerGoodCannotDecide about the tokens that the authority signs
// now: a new login would not help. What no such token can be is refused as ever.
func TestKeysThatAreNoLongerGoodCannotDecide(t *testing.T) {
	current, previous, stranger := testSecret(t, "current"), testSecret(t, "previous"), testSecret(t, "stranger")
	const undecided, unknown, other = "token state unavailable: wrong_keys", "invalid token: unknown_kid", "invalid token: alg_not_allowed"
	for _, tt := range []struct {
		name     string
		own      token.Secret // of the verifier
		before   token.Secret // signs when it starts
		turn     func(*memoryLog)
		byNext   string // what is said of tokens of the authority as it is then
		byOther  string // of those of an unknown secret
		byPublic string // of those of a key that it never had
		ofOld    string // of those from before
	}{
		{"the authority goes on with another secret", current, current, func(l *memoryLog) { l.signWith(previous) }, undecided, undecided, other, "accepted"},
		{"the secret was killed", current, current, func(l *memoryLog) { l.killSecret(current); l.signWith(previous) }, undecided, undecided, other, "token revoked: revoked_key"},
		{"the authority goes on with key pairs", current, current, func(l *memoryLog) { l.signWith(token.Secret{}) }, "token state unavailable: mixed_keys", unknown, "token state unavailable: mixed_keys", "token state unavailable: mixed_keys"},
		{"the authority goes on with a secret", token.Secret{}, token.Secret{}, func(l *memoryLog) { l.signWith(previous) }, undecided, undecided, unknown, unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newMemoryLog()
				log.secret = tt.before
				v := newBubbleVerifier(t, log, func(c *Config) { c.SharedSecret = tt.own })
				defer v.Close()
				if err := v.awaitFresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				old := log.mint(t, "u", "s", "j1")
				check(t, v, old, "accepted")
				tt.turn(log)
				time.Sleep(5 * time.Second)
				next := log.mint(t, "u", "s", "j2")
				check(t, v, next, tt.byNext)
				check(t, v, old, tt.ofOld)
				check(t, v, signedBy(t, stranger, "", testAudience), tt.byOther)
				check(t, v, signedBy(t, token.Secret{}, "unknown", testAudience), tt.byPublic)

				// What cannot be one of the authority's, with whatever keys.
				for _, s := range []token.Secret{stranger, {}} {
					if _, err := v.Verify(t.Context(), signedBy(t, s, "unknown", "billing").raw); !errors.Is(err, ErrInvalid) {
						t.Errorf("a token for others: %v", err)
					}
				}
				if _, err := v.Verify(t.Context(), "x"+next.raw); !errors.Is(err, ErrInvalid) {
					t.Errorf("a malformed token: %v", err)
				}
				if !tt.own.IsZero() && !strings.Contains(tt.name, "killed") {
					forged := signedBy(t, tt.own, "", testAudience).raw
					flipped := byte('A')
					if forged[len(forged)-10] == 'A' {
						flipped = 'B'
					}
					forged = forged[:len(forged)-10] + string(flipped) + forged[len(forged)-9:]
					if _, err := v.Verify(t.Context(), forged); !errors.Is(err, ErrInvalid) {
						t.Errorf("a bad signature: %v", err)
					}
				}

				log.signWith(tt.before) // where that is dead, a thief
				time.Sleep(5 * time.Second)
				if strings.Contains(tt.name, "killed") {
					check(t, v, log.mint(t, "u", "s", "j3"), "token revoked: revoked_key")
					return
				}
				check(t, v, log.mint(t, "u", "s", "j3"), "accepted")
				if tt.own.IsZero() {
					check(t, v, signedBy(t, stranger, "", testAudience), other)
				} else {
					check(t, v, signedBy(t, stranger, "", testAudience), unknown)
				}
			})
		})
	}
}

// signedBy is a token of a secret, or for the zero one of a key pair that is called kid.
func signedBy(t *testing.T, s token.Secret, kid, audience string) minted {
	t.Helper()
	now := time.Now().Unix()
	c := token.Claims{
		Issuer: testIssuer, Subject: "u", Audience: []string{audience}, ClientID: "test",
		ExpiresAt: now + 3600, IssuedAt: now, ID: "other", SessionID: "s", AuthTime: now,
	}
	raw, err := token.SignWithSecret(c, s)
	if s.IsZero() {
		raw, err = token.Sign(c, kid, token.AlgEdDSA, testKey)
	}
	if err != nil {
		t.Fatal(err)
	}
	return minted{raw, c.Ref()}
}

// TestAnAuthorityWithPublicKeysIsRefused: at the start, and when it changes later.
func TestAnAuthorityWithPublicKeysIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog() // publishes a key
		v := newBubbleVerifier(t, log, func(c *Config) { c.SharedSecret = testSecret(t, "current") })
		defer v.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := v.awaitFresh(ctx); err == nil || !strings.Contains(err.Error(), token.ErrMixed.Error()) {
			t.Errorf("starting: %v", err)
		}
		check(t, v, log.mint(t, "u", "s", "j"), "token state unavailable: mixed_keys")
		log.signWith(testSecret(t, "current"))
		if err := v.awaitFresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		m := log.mint(t, "u", "s", "j")
		check(t, v, m, "accepted")
		claims, err := v.Verify(t.Context(), m.raw)
		if err != nil {
			t.Fatal(err)
		}
		watched, stop := v.Watch(t.Context(), claims)
		defer stop()

		log.signWith(token.Secret{})
		time.Sleep(6 * time.Second)
		check(t, v, m, "token state unavailable: mixed_keys")
		if cause := context.Cause(watched); verdict(cause) != "token state unavailable: mixed_keys" {
			t.Errorf("what was watched ended with %v", cause)
		}
		log.signWith(testSecret(t, "current"))
		time.Sleep(3 * time.Second)
		check(t, v, m, "accepted")
	})
}

// TestAWatchEndsWithTheKey of its token, when the authority changes to a secret.
func TestAWatchEndsWithTheKey(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		ctx, cancel := watched(t, v, log.mint(t, "u", "s", "j"))
		defer cancel()
		log.signWith(testSecret(t, "current"))
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if cause := context.Cause(ctx); verdict(cause) != "token revoked: revoked_key" {
			t.Errorf("it ended with %v", verdict(cause))
		}
	})
}

func TestTheFeedKeyIsNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret, err := token.NewSecret(testFeedPublic)
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range []func(*Config){
			func(c *Config) { c.SharedSecret = secret },
			func(c *Config) { c.SharedSecret, c.PreviousSharedSecret = testSecret(t, "current"), secret },
		} {
			log := newMemoryLog()
			log.secret = testSecret(t, "current")
			v := newBubbleVerifier(t, log, change)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if err := v.awaitFresh(ctx); err == nil || !strings.Contains(err.Error(), errKnownSecret.Error()) {
				t.Errorf("starting: %v", err)
			}
			cancel()
			v.Close()
		}
	})
}

// TestAPublicKeyIsNoSecretHere: a verifier of public keys refuses what is signed
// with what it knows of them.
func TestAPublicKeyIsNoSecretHere(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		public, _ := testKey.Public().(ed25519.PublicKey)
		for _, known := range [][]byte{public, testFeedPublic} {
			secret, err := token.NewSecret(known)
			if err != nil {
				t.Fatal(err)
			}
			log.secret = secret
			check(t, v, log.mint(t, "u", "s", "j"), "invalid token: alg_not_allowed")
		}
	})
}

func TestSharedSecretsAreWarnedOf(t *testing.T) {
	var out bytes.Buffer
	c := Config{SharedSecret: testSecret(t, "current"), Logger: slog.New(slog.NewTextHandler(&out, nil))}
	c.warnShared()
	if text := out.String(); !strings.Contains(text, "can mint tokens for everyone") || !strings.Contains(text, c.SharedSecret.ID()) {
		t.Errorf("logged %q", text)
	}
	out.Reset()
	c.SharedSecret = token.Secret{}
	if c.warnShared(); out.Len() > 0 {
		t.Errorf("logged %q without a secret", out.String())
	}
}
