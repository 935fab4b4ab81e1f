package verifier

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

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

// secrets returns the shared secrets, the current one first.
func (c *Config) secrets() []token.Secret {
	var all []token.Secret
	for _, s := range []token.Secret{c.SharedSecret, c.PreviousSharedSecret} {
		if !s.IsZero() {
			all = append(all, s)
		}
	}
	return all
}

// warnShared says at start what a shared secret means.
func (c *Config) warnShared() {
	if !c.SharedSecret.IsZero() {
		c.Logger.Warn("tokens are verified with a shared secret: whoever holds it can mint tokens for everyone", "kid", c.SharedSecret.ID())
	}
}

// withSecrets puts the shared secrets in the place of the fetched keys for
// tokens, of which there must be none: an authority that publishes some signs
// with them, and then the secrets are good for forgery only. One that was killed is
// left out for good: the record in the log, which ends the tokens that there are,
// expires, and whoever holds the secret can mint new ones.
func (s *keyState) withSecrets(c *Config) (err error) {
	if n := s.tokens.Len(); n > 0 {
		return fmt.Errorf("%w: the authority publishes public keys for tokens (%d)", token.ErrMixed, n)
	}
	if isFeedKey(c.SharedSecret, s.feed) || isFeedKey(c.PreviousSharedSecret, s.feed) {
		return errKnownSecret
	}
	alive := slices.DeleteFunc(c.secrets(), func(secret token.Secret) bool { return slices.Contains(s.killed, secret.ID()) })
	s.tokens, err = token.NewSecretSet(alive...)
	return err
}

// useless says why no token that the authority signs now is good with these keys,
// or nil. A verifier that starts waits until that has changed, rather than telling
// everybody to log in again.
func (s *keyState) useless() error {
	_, known := s.tokens.Lookup(s.signing)
	switch {
	case s.tokens.Len() == 0 && s.tokens.Shared():
		return errors.New("the shared secrets that are configured here have been killed")
	case s.tokens.Len() == 0:
		return errors.New("the authority publishes no keys for tokens: it signs with a shared secret, and none is configured here")
	case s.signing != "" && !known:
		return fmt.Errorf("the authority signs with the shared secret %s, which is not configured here", s.signing)
	}
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
