package gateway

import (
	"cmp"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/mtls"
	"github.com/authbus/authbus/verifier/token"
)

// Config configures a Gateway. Routes, Auth, Issuer and NATS are required; the
// zero value of every other field is its default.
type Config struct {
	// Listen is where clients connect; default 127.0.0.1:8000. Port 0 takes a free one.
	Listen string
	// CertFile and KeyFile, given together, serve it over TLS. They are read again
	// when the first one has changed: replace it last.
	CertFile, KeyFile string
	// AdminListen is where /healthz, /readyz and /metrics are served, for operators
	// only; default: nowhere. Ready is a gateway whose verifier is fresh and whose
	// vault answers, until it closes.
	AdminListen string

	// Routes is the file with the table of rules; see package routes.
	Routes string
	// Auth is the URL of the auth service. It should trust the gateway's
	// X-Forwarded-For (--trusted-proxies), so that it sees the clients' addresses.
	Auth string
	// Issuer is the iss claim of its tokens, and Audience the gateway's place in
	// their aud; default authsvc, which every token is for.
	Issuer, Audience string
	// Identity is the gateway's certificate, for mutual TLS: the auth service must
	// then be authsvc of the same trust domain, and services may be named by SPIFFE
	// ids. The gateway has it enforce revocations, and does not close it; nil does
	// without.
	Identity *mtls.Source
	// Name is the gateway's name among the auth service's verifiers; default gateway.
	Name string
	// NATS is a connection to the bus. The gateway does not close it.
	NATS *nats.Conn
	// SharedSecret and PreviousSharedSecret are those of an auth service that signs
	// with a shared secret; default none.
	SharedSecret, PreviousSharedSecret token.Secret
	// MaxStale is the bound of the verifier; default 30 s.
	MaxStale time.Duration
	// Leeway is the tolerance of the verifier for the life of a JWT; 0 means its default.
	Leeway time.Duration

	// SessionIdle is how long a session lives that is not used: the auth service's
	// --session-idle; default 14 days.
	SessionIdle time.Duration
	// Replicas is how many brokers hold the bucket of the sessions, at least; default as
	// many as do, or 1 where it is made. A bucket with more, or a longer life than
	// SessionIdle, keeps it.
	Replicas int
	// BodyTimeout is how long the body of a login may take, and whatever comes with a
	// request that is refused; default 10 s. Those that go on have limits by rule.
	BodyTimeout time.Duration
	// CachedSessions bounds how many sessions are kept in memory; default 65,536.
	CachedSessions int64

	// TrustedProxies are the networks whose X-Forwarded-For is believed; default none.
	TrustedProxies []netip.Prefix
	// Log takes what happens; nil means slog.Default().
	Log *slog.Logger
}

// cookieName is the gateway's cookie. The prefix has browsers refuse it without
// Secure, or with a Domain, or for a part of the paths (RFC 6265bis §4.1.3.2).
const cookieName = "__Host-session"

// cookieLife is as long as browsers keep a cookie (RFC 6265bis §5.5). The session
// behind it decides when it is over.
const cookieLife = 400 * 24 * time.Hour

// withDefaults puts the defaults in place, or names every field that is wrong.
func (c Config) withDefaults() (Config, error) {
	c.Listen = cmp.Or(c.Listen, "127.0.0.1:8000")
	c.Audience = cmp.Or(c.Audience, "authsvc")
	c.Name = cmp.Or(c.Name, "gateway")
	c.MaxStale = cmp.Or(c.MaxStale, 30*time.Second)
	c.SessionIdle = cmp.Or(c.SessionIdle, 14*24*time.Hour)
	c.BodyTimeout = cmp.Or(c.BodyTimeout, 10*time.Second)
	c.CachedSessions = cmp.Or(c.CachedSessions, 1<<16)
	if c.Log == nil {
		c.Log = slog.Default()
	}
	var wrong field.Checks
	wrong.Want(c.Routes != "", "Routes", "is required")
	c.checkAuth(&wrong)
	wrong.Add("Name", events.CheckServiceName(c.Name))
	wrong.Want(len(c.Name) <= 128, "Name", "must be at most 128 bytes long") // as the verifier has it
	wrong.Want(c.NATS != nil, "NATS", "is required")
	wrong.Want((c.CertFile == "") == (c.KeyFile == ""), "CertFile", "the certificate and its key must be given together")
	shared := !c.SharedSecret.IsZero()
	wrong.Want(shared || c.PreviousSharedSecret.IsZero(), "PreviousSharedSecret", "needs a current one")
	wrong.Want(!shared || c.SharedSecret.ID() != c.PreviousSharedSecret.ID(), "PreviousSharedSecret", "must differ from the current one")
	wrong.Want(c.MaxStale >= 2*time.Second, "MaxStale", "must be at least 2 s")
	wrong.Want(c.Leeway >= 0, "Leeway", "must not be negative")
	wrong.Want(c.SessionIdle >= time.Second, "SessionIdle", "must be at least 1 s")
	wrong.Want(c.Replicas >= 0 && c.Replicas <= 5, "Replicas", "must be 1 to 5")
	wrong.Want(c.BodyTimeout > 0, "BodyTimeout", "must be positive")
	wrong.Want(c.CachedSessions > 0, "CachedSessions", "must be positive")
	return c, wrong.Err()
}

// checkAuth looks at the URL of the auth service, and at its public one, which may be
// the same.
func (c Config) checkAuth(wrong *field.Checks) {
	auth := strings.TrimSuffix(c.Auth, "/")
	wrong.Add("Auth", token.CheckIssuer(auth))
	wrong.Want(c.Identity == nil || strings.HasPrefix(auth, "https:"), "Auth", "must be an https URL where there is a certificate to connect with: it is where authsvc listens for mutual TLS")
	if c.Issuer != auth {
		wrong.Add("Issuer", token.CheckIssuer(c.Issuer))
	}
}
