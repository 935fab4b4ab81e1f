package verifier

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/authbus/authbus/verifier/token"
)

// errKnownSecret: an Ed25519 key is 32 bytes that look random, and public.
var errKnownSecret = errors.New("a shared secret is the public key of the feed")

// checkShared checks what concerns shared secrets.
func (c *Config) checkShared(check func(ok bool, field, want string)) {
	shared := !c.SharedSecret.IsZero()
	check(shared || c.PreviousSharedSecret.IsZero(), "PreviousSharedSecret", "needs SharedSecret")
	check(!shared || c.SharedSecret.ID() != c.PreviousSharedSecret.ID(), "PreviousSharedSecret", "must differ from SharedSecret")
	check(!shared || len(c.Keys) == 0, "Keys", "cannot be combined with SharedSecret: "+token.ErrMixed.Error())
	for _, k := range c.FeedKeys {
		check(!c.SharedSecret.Is(k.Public) && !c.PreviousSharedSecret.Is(k.Public), "SharedSecret", "must not be a public key: it is one of FeedKeys")
	}
}

// secrets returns the set of the shared secrets, or nil where there are none.
func (c *Config) secrets() (*token.KeySet, error) {
	if c.SharedSecret.IsZero() {
		return nil, nil
	}
	secrets := []token.Secret{c.SharedSecret}
	if !c.PreviousSharedSecret.IsZero() {
		secrets = append(secrets, c.PreviousSharedSecret)
	}
	return token.NewSecretSet(secrets...)
}

// warnShared says at start what a shared secret means.
func (c *Config) warnShared() {
	if !c.SharedSecret.IsZero() {
		c.Logger.Warn("tokens are verified with a shared secret: whoever holds it can mint tokens for everyone", "kid", c.SharedSecret.ID())
	}
}

// withSecrets puts the shared secrets in the place of the fetched keys for
// tokens, of which there must be none: an authority that publishes some signs
// with them, and then the secrets are good for forgery only.
func (s *keyState) withSecrets(c *Config, secrets *token.KeySet) error {
	if n := s.tokens.Len(); n > 0 {
		return fmt.Errorf("%w: the authority publishes public keys for tokens (%d)", token.ErrMixed, n)
	}
	if isFeedKey(c.SharedSecret, s.feed) || isFeedKey(c.PreviousSharedSecret, s.feed) {
		return errKnownSecret
	}
	s.tokens = secrets
	return nil
}

func isFeedKey(secret token.Secret, feed map[string]ed25519.PublicKey) bool {
	for _, public := range feed {
		if secret.Is(public) {
			return true
		}
	}
	return false
}
