package token

import (
	"slices"
	"time"

	"github.com/authbus/authbus/events"
)

// Claims are the claims of an access token (RFC 9068 §2.2). Those that
// [Profile.Verify] returns share the memory of the decoded token; treat them as
// read-only.
type Claims struct {
	Issuer   string   // iss
	Subject  string   // sub: opaque, never reused
	Audience []string // aud
	// ExpiresAt, IssuedAt and NotBefore are exp, iat and nbf in Unix seconds; NotBefore is 0 where absent.
	ExpiresAt, IssuedAt, NotBefore int64
	ID                             string   // jti
	SessionID                      string   // sid; empty where absent
	ClientID                       string   // client_id; empty where absent
	Scope                          []string // scope, split at its spaces
	Roles                          []string // roles
	AuthTime                       int64    // auth_time in Unix seconds; 0 where absent
	// Rev is the revision of the revocation log that was committed when the
	// token was minted; 0 where absent, which every revocation of its user covers.
	Rev uint64
	// KeyID is the kid of the key that signed the token.
	KeyID string
}

// Ref is what a revocation can name of the token.
func (c *Claims) Ref() events.TokenRef {
	return events.TokenRef{
		JTI: c.ID, SID: c.SessionID, Sub: c.Subject, KID: c.KeyID, Rev: c.Rev, Exp: c.ExpiresAt,
	}
}

// HasScope reports whether the token carries exactly this scope (RFC 6749 §3.3: case-sensitive).
func (c *Claims) HasScope(scope string) bool { return slices.Contains(c.Scope, scope) }

// HasRole reports whether the token carries exactly this role.
func (c *Claims) HasRole(role string) bool { return slices.Contains(c.Roles, role) }

// Expiry is ExpiresAt as a time. The token may be accepted for the leeway longer.
func (c *Claims) Expiry() time.Time { return time.Unix(c.ExpiresAt, 0) }
