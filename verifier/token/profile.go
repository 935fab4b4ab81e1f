package token

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds and defaults of a [Profile].
const (
	DefaultLeeway = 10 * time.Second
	LeewayCap     = 60 * time.Second
	LifetimeCap   = time.Hour
)

// Profile is what a service demands of access tokens.
type Profile struct {
	// Issuer is the one issuer whose tokens are accepted, compared byte by byte with iss. Required.
	Issuer string
	// Audience is this service: one of the values of aud must be equal to it. Required.
	Audience string
	// Leeway is the difference of clocks that is allowed for, in exp, nbf and
	// iat. 0 means 10 s; at most 60 s.
	Leeway time.Duration
	// MaxLifetime is the longest exp - iat. 0 means 1 h, which is also the most.
	MaxLifetime time.Duration
}

// Normalize fills in the defaults and refuses a profile that cannot be meant. A
// profile that was not normalised is safe: it takes the same defaults, is held
// to the same bounds, and without issuer or audience refuses every token.
func (p Profile) Normalize() (Profile, error) {
	switch {
	case p.Issuer == "":
		return Profile{}, errors.New("token profile: issuer is required")
	case p.Audience == "":
		return Profile{}, errors.New("token profile: audience is required")
	case p.Leeway < 0 || p.Leeway > LeewayCap:
		return Profile{}, fmt.Errorf("token profile: leeway %v: 0 to %v are allowed", p.Leeway, LeewayCap)
	case p.MaxLifetime < 0 || p.MaxLifetime > LifetimeCap:
		return Profile{}, fmt.Errorf("token profile: lifetime %v: 0 to %v are allowed", p.MaxLifetime, LifetimeCap)
	}
	p.Leeway, p.MaxLifetime = p.leeway(), p.maxLifetime()
	return p, nil
}

func (p Profile) leeway() time.Duration { return bounded(p.Leeway, DefaultLeeway, LeewayCap) }

func (p Profile) maxLifetime() time.Duration {
	return bounded(p.MaxLifetime, LifetimeCap, LifetimeCap)
}

func bounded(d, preset, highest time.Duration) time.Duration {
	if d == 0 {
		return preset
	}
	return max(0, min(d, highest))
}

var (
	errNoSignature    error = &Error{ReasonMalformed, "no signature"}
	errBadSignature   error = &Error{ReasonBadSignature, ""}
	errBadIssuer      error = &Error{ReasonBadIssuer, ""}
	errBadAudience    error = &Error{ReasonBadAudience, ""}
	errLifetime       error = &Error{ReasonLifetimeTooLong, ""}
	errNoLifetime     error = &Error{ReasonBadClaims, "exp is not after iat"}
	errExpired        error = &Error{ReasonExpired, ""}
	errNotYetValid    error = &Error{ReasonNotYetValid, ""}
	errIssuedInFuture error = &Error{ReasonIssuedInFuture, ""}
)

// Verify checks a token in the order that the package comment gives, and returns
// its claims. The error is always an [*Error]. keys are those of p.Issuer and of
// nobody else.
func (p Profile) Verify(raw string, keys *KeySet, now time.Time) (*Claims, error) {
	c, err := split(raw)
	if err != nil {
		return nil, err
	}
	if c.payload == "" {
		return nil, errEmptySegment // a detached payload (RFC 7515 appendix F)
	}
	// One allocation holds the decoded header and payload.
	var doc strings.Builder
	doc.Grow(decodedLen(len(c.header)) + decodedLen(len(c.payload)))
	key, err := c.authenticate(&doc, keys)
	if err != nil {
		return nil, err
	}
	start := doc.Len()
	appendDecoded(&doc, c.payload)
	claims, err := readClaims(doc.String()[start:])
	if err != nil {
		return nil, err
	}
	claims.KeyID = key.ID
	if err := p.judge(claims, now); err != nil {
		return nil, err
	}
	return claims, nil
}

// judge compares the claims with the profile and the time.
func (p Profile) judge(c *Claims, now time.Time) error {
	if err := p.check(c); err != nil {
		return err
	}
	if err := p.CheckTime(c, now); err != nil {
		return err
	}
	if c.ExpiresAt <= c.IssuedAt {
		return errNoLifetime // within the leeway on both sides
	}
	return nil
}

// authenticate proves that the holder of the header's key signed the token. It
// decodes the header into doc and leaves the payload alone.
func (c *compact) authenticate(doc *strings.Builder, keys *KeySet) (*verifyKey, error) {
	appendDecoded(doc, c.header)
	h, err := readHeader(doc.String())
	if err != nil {
		return nil, err
	}
	key, err := h.admit(keys)
	if err != nil {
		return nil, err
	}
	switch {
	case c.signature == "":
		return nil, errNoSignature
	case !key.verifies(c.input, c.signature):
		return nil, errBadSignature
	}
	return key, nil
}

// check compares the claims with the profile, all but the time.
func (p Profile) check(c *Claims) error {
	switch {
	case p.Issuer == "" || c.Issuer != p.Issuer:
		return errBadIssuer
	case p.Audience == "" || !slices.Contains(c.Audience, p.Audience):
		return errBadAudience
	case c.ExpiresAt-c.IssuedAt > int64(p.maxLifetime()/time.Second):
		return errLifetime
	}
	return nil
}

// CheckTime checks exp, nbf and iat against now with the leeway: the part of
// [Profile.Verify] that must run on every call, also for a token that was
// verified before. It does not allocate.
func (p Profile) CheckTime(c *Claims, now time.Time) error {
	leeway := p.leeway()
	earliest, latest := now.Add(-leeway), now.Add(leeway)
	switch {
	case !earliest.Before(time.Unix(c.ExpiresAt, 0)):
		return errExpired // RFC 7519 §4.1.4: not on or after exp
	case c.NotBefore != 0 && latest.Before(time.Unix(c.NotBefore, 0)):
		return errNotYetValid
	case latest.Before(time.Unix(c.IssuedAt, 0)):
		return errIssuedInFuture
	}
	return nil
}
