package node

import (
	"errors"
	"fmt"

	"github.com/authbus/authbus/authsvc/internal/keyring"
	"github.com/authbus/authbus/verifier/token"
)

// SharedSecret is the Config.Signing that signs with a secret which every
// verifier has as well, in place of a key of which they have the public half.
const SharedSecret = "shared-secret"

// checkSecrets checks which of the fields about secrets are given. What they hold
// is checked when they are read.
func (c *Config) checkSecrets(check func(ok bool, field, want string)) {
	current, previous := c.Secret != "" || c.SecretFile != "", c.PreviousSecret != "" || c.PreviousSecretFile != ""
	if c.Signing == SharedSecret {
		check((c.Secret == "") != (c.SecretFile == ""), "Secret", "exactly one of Secret and SecretFile is required with shared-secret")
	} else {
		check(!current, "Secret", "only goes with Signing shared-secret: "+token.ErrMixed.Error())
		check(!previous, "PreviousSecret", "only goes with Signing shared-secret: "+token.ErrMixed.Error())
	}
	check(c.PreviousSecret == "" || c.PreviousSecretFile == "", "PreviousSecret", "at most one of PreviousSecret and PreviousSecretFile")
}

// readSecrets reads them.
func (c *Config) readSecrets() (err error) {
	if c.Signing != SharedSecret {
		return nil
	}
	if c.secret, err = readSecret("Secret", c.Secret, c.SecretFile); err != nil {
		return err
	}
	if c.previousSecret, err = readSecret("PreviousSecret", c.PreviousSecret, c.PreviousSecretFile); err != nil {
		return err
	}
	if !c.secret.IsZero() && c.previousSecret.ID() == c.secret.ID() {
		return errors.New("PreviousSecret: must differ from Secret")
	}
	return nil
}

// readSecret reads what is given; nothing gives the zero Secret.
func readSecret(field, text, path string) (s token.Secret, err error) {
	switch {
	case text != "":
		s, err = token.ParseSecret(text)
	case path != "":
		s, err = token.ReadSecretFile(path)
	}
	if err != nil {
		return token.Secret{}, fmt.Errorf("%s: %w", field, err)
	}
	return s, nil
}

// keyring is the configuration of the signing keys.
func (c *Config) keyring(master keyring.MasterKey) keyring.Config {
	k := keyring.Config{
		Issuer: c.Issuer, Master: master, Algorithm: c.Signing, Secret: c.secret, PreviousSecret: c.previousSecret,
		Overlap: c.KeyOverlap, RotateEvery: c.KeyRotation, Logger: c.Log,
	}
	if c.Signing == SharedSecret {
		k.Algorithm = ""
		c.Log.Warn("tokens are signed with a shared secret: whoever holds it, every verifier included, can mint tokens for everyone",
			"kid", c.secret.ID(), "previous", c.previousSecret.ID())
	}
	return k
}
