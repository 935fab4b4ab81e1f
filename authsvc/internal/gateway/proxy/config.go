package proxy

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/authbus/authbus/verifier/mtls"
)

// Config configures a Proxy. The zero value of each field is its default.
type Config struct {
	// TLS is how to connect to upstreams with https whose host name says who they
	// are; default: the system's roots.
	TLS *tls.Config
	// Identity is what the gateway proves to upstreams with a SPIFFE id, and judges
	// theirs by; nil refuses such upstreams. It must outlive the Proxy.
	Identity *mtls.Source
	// Cookie is the name of the gateway's own cookie, which no service sees or
	// sets; default "__Host-session".
	Cookie string
	// HoldsSecret reports whether a text has a secret of the client's in it. A request
	// that would take one to a service, elsewhere than in its body, is refused, because
	// services log what they are sent; default: nothing is a secret.
	HoldsSecret func(text string) bool
	// TrustedProxies are the networks whose X-Forwarded-For and
	// X-Forwarded-Proto are believed; default none.
	TrustedProxies []netip.Prefix
	// Drain is how long a request may go on after its upstream has left the
	// table; default 1 min.
	Drain time.Duration
	// MaxClients bounds how many clients are told apart for rate limits; default 65,536.
	MaxClients int
	// Logger takes what happens; nil means slog.Default().
	Logger *slog.Logger
	// Registry takes the metrics; default: none.
	Registry prometheus.Registerer
}

// withDefaults returns the configuration with every default in place, or says
// which field is wrong.
func (c Config) withDefaults() (Config, error) {
	c.Cookie = cmp.Or(c.Cookie, "__Host-session")
	c.Drain = cmp.Or(c.Drain, time.Minute)
	c.MaxClients = cmp.Or(c.MaxClients, 1<<16)
	if c.TLS == nil {
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	var wrong []error
	check := func(ok bool, field, want string) {
		if !ok {
			wrong = append(wrong, fmt.Errorf("proxy: Config.%s %s", field, want))
		}
	}
	check(isToken(c.Cookie), "Cookie", "must be the name of a cookie")
	check(c.Drain > 0, "Drain", "must be positive")
	check(c.MaxClients > 0, "MaxClients", "must be positive")
	return c, errors.Join(wrong...)
}

// isToken reports whether the text is a token (RFC 9110 §5.6.2) of letters,
// digits, hyphens and underscores.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isPlain(c) && c != '_' {
			return false
		}
	}
	return s != ""
}

// isPlain reports whether the byte is a letter, a digit or a hyphen.
func isPlain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-'
}
