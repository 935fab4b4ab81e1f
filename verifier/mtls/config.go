package mtls

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/authbus/authbus/events"
)

// Config says which files hold the identity. CertFile, KeyFile and CAFile are
// required; the zero value of each other field is its default.
type Config struct {
	// CertFile is the service's certificate followed by the intermediate that
	// issued it, as PEM.
	CertFile string
	// KeyFile is the certificate's private key as PEM. Nobody but its owner may
	// change it, and nobody but its owner and group may read it.
	KeyFile string
	// CAFile holds the roots that peers are verified against, as PEM. Each of them can
	// vouch for every identity, of any trust domain.
	CAFile string
	// TrustDomain is the trust domain that names in allow lists belong to; default:
	// the certificate's own, and where it is given the certificate's must be it.
	TrustDomain string
	// ExpiryOnly does without revocations: a certificate is good until it expires.
	// Without it no peer is accepted before [Source.Enforce] has been called.
	ExpiryOnly bool
	// Logger takes what happens; nil means slog.Default().
	Logger *slog.Logger
}

// Files is the Config of the identity called name in the folder dir, as
// `authsvc ca issue NAME --out DIR` writes it: with dots for the name's slashes.
func Files(dir, name string) Config {
	name = strings.ReplaceAll(name, "/", ".")
	return Config{
		CertFile: filepath.Join(dir, name+".crt"), KeyFile: filepath.Join(dir, name+".key"),
		CAFile: filepath.Join(dir, "ca.crt"),
	}
}

func (c *Config) normalize() error {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	for _, required := range []struct{ field, value string }{
		{"CertFile", c.CertFile}, {"KeyFile", c.KeyFile}, {"CAFile", c.CAFile},
	} {
		if required.value == "" {
			return fmt.Errorf("mtls: Config.%s must be set", required.field)
		}
	}
	cert, key, roots := filepath.Clean(c.CertFile), filepath.Clean(c.KeyFile), filepath.Clean(c.CAFile)
	if cert == key || cert == roots || key == roots {
		return errors.New("mtls: Config.CertFile, KeyFile and CAFile must be three files: renewal replaces them one by one")
	}
	if c.TrustDomain == "" {
		return nil
	}
	if err := events.CheckTrustDomain(c.TrustDomain); err != nil {
		return fmt.Errorf("mtls: Config.TrustDomain must be a trust domain: %w", err)
	}
	return nil
}
