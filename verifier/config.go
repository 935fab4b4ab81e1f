package verifier

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

// Config says what a verifier trusts and how it behaves. Issuer, Audience and
// NATS are required (IntrospectionURL can stand for NATS in Mode [Remote]); the
// zero value of every other field is its default.
type Config struct {
	// Mode says who decides about tokens; default [Local].
	Mode Mode
	// Issuer is the exact iss claim of the tokens to accept.
	Issuer string
	// Audience is this service's name in the aud claim.
	Audience string
	// NATS is a connection to the bus. The verifier does not close it.
	NATS *nats.Conn

	// IntrospectionURL is the authority's introspection endpoint (RFC 7662), for
	// Mode [Remote] without NATS. It is an https URL; http is for this machine only.
	IntrospectionURL string
	// ClientID and ClientSecret are this service's credentials there. They are left
	// out where the certificate of HTTPClient says who it is (RFC 8705 §2).
	ClientID     string
	ClientSecret ClientSecret

	// Name is this service's name in the authority's list of verifiers; default Audience.
	Name string
	// MaxStale is the bound B, the age at which the verifier no longer accepts on
	// its own; default 30 s, at least 2 s. Mode [Remote] never accepts on its own: there
	// it is how long a watched context outlives the last good answer at most.
	MaxStale time.Duration
	// Stale says what happens beyond MaxStale; default [Ask].
	Stale StalePolicy
	// AcceptGrace is how long [Accept] goes on accepting beyond MaxStale. It is
	// required with Accept and refused without.
	AcceptGrace time.Duration

	// Leeway is the tolerance for exp, nbf and iat; default 10 s, at most 60 s.
	Leeway time.Duration
	// MaxLifetime is the longest exp − iat accepted; default and at most 1 h.
	MaxLifetime time.Duration

	// JWKSURL fetches the keys of tokens and feed from the authority's JWKS
	// document instead of from the bus. It is an https URL; http is for this machine only.
	JWKSURL string
	// HTTPClient fetches JWKSURL and asks IntrospectionURL, each within RequestTimeout to
	// the last byte of the answer; default one that keeps as many connections as it
	// needs. What it asks IntrospectionURL is never sent on to where a redirect points.
	HTTPClient *http.Client
	// Keys and FeedKeys, given together, are the only keys ever trusted; none are
	// fetched. Take a key that was killed out of here within the hour: its
	// revocation lasts as long as the tokens that its owner had signed.
	Keys     []token.Key
	FeedKeys []events.FeedKey
	// SharedSecret verifies tokens of an authority that signs with the same secret
	// (HS256), in place of public keys, with which it is never mixed: it cannot be
	// combined with Keys, and an authority that publishes keys for tokens is
	// refused. The keys of the feed are fetched all the same, and with them the names
	// of secrets that were killed, which are no longer accepted. With FeedKeys nothing
	// is fetched: then neither is noticed, and a secret that was killed is to be taken
	// out of here within the hour. Whoever holds the secret can mint tokens for everyone.
	SharedSecret token.Secret
	// PreviousSharedSecret is accepted as well, while one replaces the other.
	PreviousSharedSecret token.Secret
	// KeyRefresh is the shortest time between two fetches on account of tokens
	// with an unknown kid; default 5 s. Published changes are noticed by other
	// means, within about a second.
	KeyRefresh time.Duration

	// TokenCacheBytes bounds the memory of the cache of verified tokens; default 64 MiB,
	// at most 64 GiB.
	TokenCacheBytes int64
	// RevokedDetails bounds how many revoked ids are kept with their details; the
	// others cost a request when a token with such an id is seen. Default 65,536, at most
	// 16,777,216.
	RevokedDetails int64
	// MaxRevocations bounds the live revocations held, at about 11 bytes each (22
	// for users); default 20 million. Beyond it the verifier is no longer fresh.
	MaxRevocations int64
	// MaxAsks bounds the requests about tokens under way at once; default 256.
	// Beyond it tokens that need one are refused with [ErrUnavailable]. In Mode
	// [Remote] that is one for each token asked about.
	MaxAsks int

	// ProbeInterval is the pause between two proofs of freshness, and in Mode
	// [Remote] between two questions about a watched token; default 1 s, at most a
	// third of MaxStale.
	ProbeInterval time.Duration
	// RequestTimeout bounds each request to the authority; default 2 s, at most MaxStale.
	RequestTimeout time.Duration
	// Logger receives alarms and changes of state; default slog.Default().
	Logger *slog.Logger
}

// minStale is the smallest bound that probes and requests fit into.
const minStale = 2 * time.Second

// StalePolicy says what a verifier does that cannot prove its freshness.
type StalePolicy int

// The stale policies.
const (
	// Ask asks the authority about each token and refuses with [ErrUnavailable]
	// if there is no answer.
	Ask StalePolicy = iota
	// Reject refuses with [ErrUnavailable] without asking.
	Reject
	// Accept asks and, if there is no answer, goes on accepting for
	// Config.AcceptGrace beyond the bound. Claims.Stale, a metric and a log line
	// tell of each. It gives up the bound for availability.
	Accept
)

// withDefaults returns the configuration with every default in place, or says
// which field is wrong.
func (c Config) withDefaults() (Config, error) {
	c.Name = cmp.Or(c.Name, c.Audience)
	c.MaxStale = cmp.Or(c.MaxStale, 30*time.Second)
	c.Leeway = cmp.Or(c.Leeway, 10*time.Second)
	c.MaxLifetime = cmp.Or(c.MaxLifetime, time.Hour)
	c.KeyRefresh = cmp.Or(c.KeyRefresh, 5*time.Second)
	c.TokenCacheBytes = cmp.Or(c.TokenCacheBytes, 64<<20)
	c.RevokedDetails = cmp.Or(c.RevokedDetails, 1<<16)
	c.MaxRevocations = cmp.Or(c.MaxRevocations, 20_000_000)
	c.MaxAsks = cmp.Or(c.MaxAsks, 256)
	c.ProbeInterval = cmp.Or(c.ProbeInterval, min(time.Second, max(c.MaxStale, minStale)/3))
	c.RequestTimeout = cmp.Or(c.RequestTimeout, 2*time.Second)
	if c.HTTPClient == nil && c.IntrospectionURL == "" {
		c.HTTPClient = &http.Client{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, c.validate()
}

// validate names every field that cannot be right.
func (c *Config) validate() error {
	var wrong []error
	check := func(ok bool, field, want string) {
		if !ok {
			wrong = append(wrong, fmt.Errorf("verifier: Config.%s %s", field, want))
		}
	}
	c.checkNames(check)
	c.checkMode(check)
	c.checkTimes(check)
	c.checkKeys(check)
	c.checkShared(check)
	check(c.TokenCacheBytes > 0 && c.TokenCacheBytes <= 64<<30, "TokenCacheBytes", "must be between 1 and 64 GiB")
	check(c.RevokedDetails > 0 && c.RevokedDetails <= 1<<24, "RevokedDetails", "must be between 1 and 16,777,216")
	check(c.MaxRevocations > 0, "MaxRevocations", "must be positive")
	check(c.MaxAsks > 0, "MaxAsks", "must be positive")
	return errors.Join(wrong...)
}

// checkNames checks the names, which are compared byte by byte with what others say:
// a space too many, and no token is ever good.
func (c *Config) checkNames(check checkFunc) {
	if err := token.CheckIssuer(c.Issuer); err != nil {
		check(false, "Issuer", err.Error())
	}
	check(c.Audience != "", "Audience", "is required")
	checkName(check, "Audience", c.Audience, 256)
	if c.Name != c.Audience || len(c.Name) > 128 { // the default: what is wrong with it has been said
		checkName(check, "Name", c.Name, 128)
	}
}

func checkName(check checkFunc, field, name string, longest int) {
	check(len(name) <= longest, field, fmt.Sprintf("must be at most %d bytes long", longest))
	check(isClean(name), field, "must have no space at either end, no control character, and be UTF-8")
}

func isClean(name string) bool {
	return utf8.ValidString(name) && strings.TrimSpace(name) == name && !strings.ContainsFunc(name, unicode.IsControl)
}

// checkTimes checks the bounds and intervals. What is measured by MaxStale is not
// measured by one that is wrong.
func (c *Config) checkTimes(check checkFunc) {
	check(c.MaxStale >= minStale, "MaxStale", "must be at least 2 s")
	check(c.Stale >= Ask && c.Stale <= Accept, "Stale", "must be Ask, Reject or Accept")
	check(c.AcceptGrace >= 0, "AcceptGrace", "must not be negative")
	check(c.AcceptGrace < 0 || (c.Stale == Accept) == (c.AcceptGrace > 0), "AcceptGrace", "is required with Accept, and only there")
	check(c.Leeway > 0 && c.Leeway <= token.LeewayCap, "Leeway", "must be between 0 and 60 s")
	check(c.MaxLifetime > 0 && c.MaxLifetime <= token.LifetimeCap, "MaxLifetime", "must be between 0 and 1 h")
	check(c.KeyRefresh > 0, "KeyRefresh", "must be positive")
	bound := max(c.MaxStale, minStale)
	check(c.ProbeInterval > 0 && c.ProbeInterval <= bound/3, "ProbeInterval", "must be positive and at most a third of MaxStale")
	check(c.RequestTimeout > 0 && c.RequestTimeout <= bound, "RequestTimeout", "must be positive and at most MaxStale")
}

// checkKeys checks where the public keys come from. The keys themselves are checked
// where they are used, but for those of the feed.
func (c *Config) checkKeys(check checkFunc) {
	check((len(c.Keys) > 0) == (len(c.FeedKeys) > 0) || !c.SharedSecret.IsZero() || c.Mode == Remote, "Keys", "and FeedKeys must be given together")
	check(len(c.Keys) == 0 && len(c.FeedKeys) == 0 || c.JWKSURL == "", "JWKSURL", "cannot be combined with Keys or FeedKeys")
	if c.JWKSURL != "" {
		_, err := checkEndpoint(c.JWKSURL)
		check(err == nil, "JWKSURL", fmt.Sprint(err))
	}
	check(c.HTTPClient == nil || c.HTTPClient.Timeout >= 0, "HTTPClient", "must have a Timeout that is not negative")
	known := make(map[string]bool, len(c.FeedKeys))
	for _, k := range c.FeedKeys {
		check(k.ID != "" && !known[k.ID], "FeedKeys", "must have each an ID of its own")
		check(len(k.Public) == ed25519.PublicKeySize, "FeedKeys", "must be Ed25519 keys of 32 bytes")
		known[k.ID] = true
	}
}

// newInstance names this process among those of its service.
func newInstance() string { return rand.Text()[:12] }
