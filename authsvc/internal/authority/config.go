package authority

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/authbus/authbus/verifier/token"
)

// Audience is the auth service's own name in the aud claim. Every token carries it.
const Audience = "authsvc"

// DefaultClient is the client_id of a login that names none.
const DefaultClient = "first-party"

// Bounds that no configuration can lift.
const (
	// leewayCap is the largest difference of clocks that a verifier allows for.
	leewayCap = token.LeewayCap
	// longestToken is how long a token of unknown expiry can be alive.
	longestToken = token.LifetimeCap + leewayCap
	graceCap     = time.Minute
)

// Config configures an [Authority]. A zero value means the default.
type Config struct {
	// Issuer is the iss claim of every token: the service's public URL. Required.
	Issuer string
	// Audiences are the services that tokens are for; [Audience] is added where
	// it is missing. Default: authsvc, orders, billing.
	Audiences []string
	// AccessLifetime is how long an access token lives. Default 10 min, at most 1 h.
	AccessLifetime time.Duration
	// RefreshGrace is how long a rotated refresh token still answers with its
	// successor. Default 10 s, at most 1 min.
	RefreshGrace time.Duration
	// SessionIdle ends a session that was not refreshed for so long. Default 14 days.
	SessionIdle time.Duration
	// SessionAbsolute ends every session after so long. Default 90 days.
	SessionAbsolute time.Duration
	// MaxSessionsPerUser bounds a user's live sessions; a login above it ends
	// the oldest one. Default 100.
	MaxSessionsPerUser int
	// AdminMaxAge is how old the login of an admin may be. Default 12 h.
	AdminMaxAge time.Duration
	// Logger hears of what callers are not told. Default: slog.Default.
	Logger *slog.Logger
}

// withDefaults fills in the defaults and refuses what cannot be meant.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.AccessLifetime, 10*time.Minute)
	setDefault(&c.RefreshGrace, 10*time.Second)
	setDefault(&c.SessionIdle, 14*24*time.Hour)
	setDefault(&c.SessionAbsolute, 90*24*time.Hour)
	setDefault(&c.AdminMaxAge, 12*time.Hour)
	setDefault(&c.MaxSessionsPerUser, 100)
	if len(c.Audiences) == 0 {
		c.Audiences = []string{Audience, "orders", "billing"}
	}
	if !slices.Contains(c.Audiences, Audience) {
		c.Audiences = append([]string{Audience}, c.Audiences...)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if err := c.check(); err != nil {
		return Config{}, fmt.Errorf("configuring the authority: %w", err)
	}
	return c, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c Config) check() error {
	if err := checkIssuer(c.Issuer); err != nil {
		return err
	}
	for i, audience := range c.Audiences {
		if !validAudience(audience) {
			return fmt.Errorf("field Audiences: %q is not the name of a service", audience)
		}
		if slices.Contains(c.Audiences[:i], audience) {
			return fmt.Errorf("field Audiences: %q is there twice", audience)
		}
	}
	if c.MaxSessionsPerUser < 1 {
		return errors.New("field MaxSessionsPerUser: must be at least 1")
	}
	durations := []struct {
		name                string
		value, lowest, most time.Duration
	}{
		{"AccessLifetime", c.AccessLifetime, time.Second, token.LifetimeCap},
		{"RefreshGrace", c.RefreshGrace, 0, graceCap},
		{"SessionAbsolute", c.SessionAbsolute, time.Second, 10 * 365 * 24 * time.Hour},
		{"SessionIdle", c.SessionIdle, time.Second, c.SessionAbsolute},
		{"AdminMaxAge", c.AdminMaxAge, time.Second, c.SessionAbsolute},
	}
	for _, d := range durations {
		if d.value < d.lowest || d.value > d.most {
			return fmt.Errorf("field %s: %v is not within %v and %v", d.name, d.value, d.lowest, d.most)
		}
	}
	return nil
}

// checkIssuer wants a URL that others can compare byte by byte (RFC 8414 §2).
func checkIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	switch {
	case issuer == "":
		return errors.New("field Issuer: is required")
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("field Issuer: %q is not an http or https URL", issuer)
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil || strings.ContainsAny(issuer, "?#"):
		return fmt.Errorf("field Issuer: %q has a query, a fragment or a user", issuer)
	case strings.HasSuffix(issuer, "/"):
		return fmt.Errorf("field Issuer: %q has a slash at its end, where the paths of the API begin", issuer)
	}
	return nil
}
