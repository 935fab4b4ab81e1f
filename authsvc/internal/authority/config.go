package authority

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/authbus/authbus/authsvc/internal/field"
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
	var wrong field.Checks
	wrong.Add("Issuer", token.CheckIssuer(c.Issuer))
	for i, audience := range c.Audiences {
		wrong.Want(validAudience(audience), "Audiences", fmt.Sprintf("%q is not the name of a service", audience))
		wrong.Want(!slices.Contains(c.Audiences[:i], audience), "Audiences", fmt.Sprintf("%q is there twice", audience))
	}
	wrong.Want(c.MaxSessionsPerUser >= 1, "MaxSessionsPerUser", "must be at least 1")
	within := func(name string, value, lowest, most time.Duration) {
		wrong.Want(value >= lowest && value <= most, name, fmt.Sprintf("%v is not within %v and %v", value, lowest, most))
	}
	within("AccessLifetime", c.AccessLifetime, time.Second, token.LifetimeCap)
	within("RefreshGrace", c.RefreshGrace, time.Millisecond, graceCap)
	within("SessionAbsolute", c.SessionAbsolute, time.Second, 10*365*24*time.Hour)
	within("SessionIdle", c.SessionIdle, time.Second, c.SessionAbsolute)
	within("AdminMaxAge", c.AdminMaxAge, time.Second, c.SessionAbsolute)
	return wrong.Err()
}
