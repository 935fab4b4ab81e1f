package node

import (
	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/authsvc/internal/keyring"
	"github.com/authbus/authbus/verifier/token"
)

// SharedSecret is the Config.Signing that signs with a secret which every
// verifier has as well, in place of a key of which they have the public half.
const SharedSecret = "shared-secret"

// readSecrets reads the shared secrets, which only go with signing by one.
func (c *Config) readSecrets(wrong *field.Checks) {
	if c.Signing != SharedSecret {
		for _, given := range []struct{ name, value string }{
			{"Secret", c.Secret},
			{"SecretFile", c.SecretFile},
			{"PreviousSecret", c.PreviousSecret},
			{"PreviousSecretFile", c.PreviousSecretFile},
		} {
			wrong.Want(given.value == "", given.name, "only goes with signing by shared-secret: "+token.ErrMixed.Error())
		}
		return
	}
	wrong.Want(c.Secret != "" || c.SecretFile != "", "SecretFile", "with shared-secret, a file with the secret or the secret as text is required")
	c.secret = keyring.ReadSecret(wrong, "Secret", c.Secret, c.SecretFile)
	c.previousSecret = keyring.ReadSecret(wrong, "PreviousSecret", c.PreviousSecret, c.PreviousSecretFile)
	wrong.Want(c.secret.IsZero() || c.previousSecret.ID() != c.secret.ID(), "PreviousSecret", "must differ from the current one")
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
