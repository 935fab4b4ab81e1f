package keyring

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/verifier/token"
)

// retireAfter is how long a token can be alive after its key has stopped signing.
const retireAfter = token.LifetimeCap + token.LeewayCap

// Config configures a [Keyring]. A zero value means the default.
type Config struct {
	// Issuer is the source of the events about keys. Required.
	Issuer string
	// Master seals the private keys. Required.
	Master MasterKey
	// Algorithm signs access tokens: EdDSA (default), ES256 or RS256 (3072 bits).
	// Where it is not that of the active key, Open starts a rotation.
	Algorithm string
	// Secret signs access tokens in place of the keys of the database (HS256), and
	// none of those is published then. Every replica must have the same. With a
	// PreviousSecret, its tokens are good as well.
	Secret, PreviousSecret token.Secret
	// Overlap is how long a new key is published before it signs. Default 2 min.
	Overlap time.Duration
	// RotateEvery is how long a key signs before another takes over. Default 30 days.
	RotateEvery time.Duration
	// ReloadEvery is how often Run looks for what other replicas changed. Default 1 s.
	ReloadEvery time.Duration
	// Logger hears of steps of the schedule that failed. Default: slog.Default.
	Logger *slog.Logger
}

func (c Config) alg() token.Alg { return token.Alg(c.Algorithm) }

func (c Config) withDefaults() (Config, error) {
	if c.Algorithm == "" && !c.shared() {
		c.Algorithm = string(token.AlgEdDSA)
	}
	if c.Overlap == 0 {
		c.Overlap = 2 * time.Minute
	}
	if c.RotateEvery == 0 {
		c.RotateEvery = 30 * 24 * time.Hour
	}
	if c.ReloadEvery == 0 {
		c.ReloadEvery = time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if err := c.check(); err != nil {
		return Config{}, fmt.Errorf("configuring the keyring: %w", err)
	}
	return c, nil
}

func (c Config) check() error {
	switch {
	case c.Issuer == "":
		return field.New("Issuer", "is required")
	case c.Master == MasterKey{}:
		return field.New("Master", "is required")
	case !c.shared() && !c.PreviousSecret.IsZero():
		return field.New("PreviousSecret", "needs Secret")
	case c.shared() && c.Secret.ID() == c.PreviousSecret.ID():
		return field.New("PreviousSecret", "must differ from Secret")
	case c.Secret.Is(c.Master.key[:]) || c.PreviousSecret.Is(c.Master.key[:]):
		return field.New("Secret", "is the master key: whoever verifies could open the signing keys")
	case c.shared() && c.Algorithm != "":
		return &field.Error{Field: "Algorithm", Err: fmt.Errorf("cannot be combined with Secret: %w", token.ErrMixed)}
	case !c.shared() && c.alg() != token.AlgEdDSA && c.alg() != token.AlgES256 && c.alg() != token.AlgRS256:
		return field.New("Algorithm", fmt.Sprintf("%q is not EdDSA, ES256 or RS256", c.Algorithm))
	case c.Overlap < 0:
		return field.New("Overlap", fmt.Sprintf("%v is negative", c.Overlap))
	case c.RotateEvery < c.Overlap:
		return field.New("RotateEvery", fmt.Sprintf("%v is shorter than the overlap of %v", c.RotateEvery, c.Overlap))
	case c.ReloadEvery < 0:
		return field.New("ReloadEvery", fmt.Sprintf("%v is negative", c.ReloadEvery))
	}
	return nil
}
