package verifier

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"unicode"
)

// Mode says who decides about tokens.
type Mode int

// The modes.
const (
	// Local decides in the service, with public keys and the revocations from the bus.
	Local Mode = iota
	// Remote has the authority decide about every token: over Config.NATS, or over
	// HTTP at Config.IntrospectionURL. See the package comment.
	Remote
)

// String is "local" or "remote".
func (m Mode) String() string {
	switch m {
	case Local:
		return "local"
	case Remote:
		return "remote"
	}
	return fmt.Sprintf("Mode(%d)", int(m))
}

// ClientSecret is a secret that shows itself in no log and no message.
type ClientSecret string

const redacted = "[redacted]"

// String hides the secret.
func (ClientSecret) String() string { return redacted }

// GoString hides the secret.
func (ClientSecret) GoString() string { return redacted }

// LogValue hides the secret.
func (ClientSecret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the secret.
func (ClientSecret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// checkFunc notes a field that cannot be right.
type checkFunc = func(ok bool, field, want string)

// checkMode checks what the modes demand and exclude. A field that says what is
// trusted is never ignored in silence; bounds and intervals that a mode has no
// use for are.
func (c *Config) checkMode(check checkFunc) {
	check(c.NATS == nil || !c.NATS.IsClosed(), "NATS", "must not be closed")
	switch c.Mode {
	case Local:
		check(c.NATS != nil, "NATS", "is required")
		check(c.IntrospectionURL == "", "IntrospectionURL", "is for Mode Remote")
		check(c.ClientID == "", "ClientID", "is for Mode Remote")
		check(c.ClientSecret == "", "ClientSecret", "is for Mode Remote")
	case Remote:
		check((c.NATS != nil) != (c.IntrospectionURL != ""), "NATS", "or IntrospectionURL is required in Mode Remote, and not both")
		check(len(c.Keys) == 0, "Keys", "is for Mode Local: in Mode Remote the authority verifies signatures")
		check(c.SharedSecret.IsZero() && c.PreviousSharedSecret.IsZero(), "SharedSecret", "is for Mode Local: in Mode Remote the authority verifies signatures")
		check(c.Stale == Ask, "Stale", "is for Mode Local: Mode Remote always asks")
		c.checkTransport(check)
	default:
		check(false, "Mode", "must be Local or Remote")
	}
}

// checkTransport checks the fields for one way of asking in Mode Remote.
func (c *Config) checkTransport(check checkFunc) {
	if c.IntrospectionURL == "" {
		check(c.ClientID == "", "ClientID", "is for IntrospectionURL")
		check(c.ClientSecret == "", "ClientSecret", "is for IntrospectionURL")
		return
	}
	check(len(c.FeedKeys) == 0, "FeedKeys", "is for answers over NATS")
	check(c.JWKSURL == "", "JWKSURL", "is for Mode Local, and for answers over NATS")
	secure, err := checkEndpoint(c.IntrospectionURL)
	if err != nil {
		check(false, "IntrospectionURL", err.Error())
		return
	}
	const clean = "must hold no control character, such as the end of a line"
	check(!strings.ContainsFunc(c.ClientID, unicode.IsControl), "ClientID", clean)
	check(!strings.ContainsFunc(string(c.ClientSecret), unicode.IsControl), "ClientSecret", clean)
	check(c.ClientSecret == "" || c.ClientID != "", "ClientID", "is required with ClientSecret")
	check(c.ClientSecret != "" || c.HTTPClient != nil && secure, "ClientSecret",
		"is required, unless HTTPClient has a certificate and IntrospectionURL is https")
}

// checkEndpoint reports whether the URL is https. Tokens and secrets cross a
// network only encrypted, so http must not leave the machine.
func checkEndpoint(endpoint string) (secure bool, err error) {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil, strings.ContainsFunc(endpoint, unicode.IsSpace):
		return false, errors.New("must be a URL") // the parser's error repeats what may hold a secret
	case u.User != nil:
		return false, errors.New("must hold no user or password: they would be logged")
	case u.Host == "" || u.Fragment != "":
		return false, errors.New("must be an absolute URL without a fragment")
	case u.Scheme == "https":
		return true, nil
	case u.Scheme == "http" && loopback(u.Hostname()):
		return false, nil
	}
	return false, errors.New("must be https; http is for the loopback address only")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
