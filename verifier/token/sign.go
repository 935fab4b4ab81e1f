package token

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// headerOut and claimsOut are what a minted token says, in this order.
type headerOut struct {
	Alg Alg    `json:"alg"`
	Typ string `json:"typ"`
	Kid string `json:"kid"`
}

type claimsOut struct {
	Iss      string   `json:"iss"`
	Sub      string   `json:"sub"`
	Aud      any      `json:"aud"`
	Exp      int64    `json:"exp"`
	Nbf      int64    `json:"nbf,omitempty"`
	Iat      int64    `json:"iat"`
	Jti      string   `json:"jti"`
	Sid      string   `json:"sid,omitempty"`
	ClientID string   `json:"client_id,omitempty"`
	Scope    string   `json:"scope,omitempty"`
	Roles    []string `json:"roles,omitempty"`
	AuthTime int64    `json:"auth_time,omitempty"`
	Rev      uint64   `json:"rev"`
}

// Sign mints an access token with the claims, except for c.KeyID: the header
// names kid. The key must be an Ed25519, *ecdsa.PrivateKey (P-256) or
// *rsa.PrivateKey signer, as alg says.
//
// Sign refuses what [Profile.Verify] would refuse for every profile: a required
// claim missing, a lifetime above one hour, a text that is not UTF-8, a scope
// with a space in it, a token that is too large, a key that is unsound.
func Sign(c Claims, kid string, alg Alg, key crypto.Signer) (string, error) {
	method, sigLen, err := signingMethod(alg, key)
	if err != nil {
		return "", fmt.Errorf("signing token: %w", err)
	}
	input, err := signingInput(c, kid, alg)
	if err != nil {
		return "", fmt.Errorf("signing token: %w", err)
	}
	return finish(input, method, key, sigLen)
}

// SignWithSecret mints an access token like [Sign], signed with HS256; the kid is
// the secret's ID.
func SignWithSecret(c Claims, s Secret) (string, error) {
	if s.IsZero() {
		return "", errors.New("signing token: no shared secret")
	}
	input, err := signingInput(c, s.ID(), AlgHS256)
	if err != nil {
		return "", fmt.Errorf("signing token: %w", err)
	}
	return finish(input, jwt.SigningMethodHS256, s.held().key, sha256.Size)
}

// finish signs the input.
func finish(input string, method jwt.SigningMethod, key any, sigLen int) (string, error) {
	sig, err := method.Sign(input, key)
	if err != nil {
		return "", fmt.Errorf("signing token: %w", err)
	}
	if len(sig) != sigLen {
		return "", fmt.Errorf("signing token: signature of %d bytes, not %d", len(sig), sigLen)
	}
	raw := input + "." + base64.RawURLEncoding.EncodeToString(sig)
	if len(raw) > MaxSize {
		return "", fmt.Errorf("signing token: longer than %d bytes", MaxSize)
	}
	return raw, nil
}

// signingMethod proves that the key fits alg. Of an Ed25519 key it only looks at
// the type: the full check costs more than signing, and whoever publishes the
// key runs it.
func signingMethod(alg Alg, key crypto.Signer) (method jwt.SigningMethod, sigLen int, err error) {
	if key == nil {
		return nil, 0, errors.New("no key")
	}
	switch alg {
	case AlgEdDSA:
		method, sigLen = jwt.SigningMethodEdDSA, ed25519.SignatureSize
		if _, ok := key.Public().(ed25519.PublicKey); !ok {
			err = errKeyType
		}
	case AlgES256:
		method = jwt.SigningMethodES256
		_, sigLen, err = checkP256(key.Public())
	case AlgRS256:
		method = jwt.SigningMethodRS256
		_, sigLen, err = checkRSA(key.Public())
	case AlgHS256:
		err = fmt.Errorf("algorithm %q is not supported here: it is for a Secret", alg)
	default:
		err = fmt.Errorf("algorithm %q is not supported", alg)
	}
	return method, sigLen, err
}

// signingInput writes header and claims, and reads the claims back with the
// verifier's own eyes: what is signed is what will be understood.
func signingInput(c Claims, kid string, alg Alg) (string, error) {
	if err := c.signable(kid); err != nil {
		return "", err
	}
	header, err := compactJSON(headerOut{Alg: alg, Typ: "at+jwt", Kid: kid})
	if err != nil {
		return "", err
	}
	payload, err := compactJSON(c.out())
	if err != nil {
		return "", err
	}
	got, err := readClaims(string(payload))
	if err != nil {
		return "", err
	}
	got.KeyID = c.KeyID
	if !got.equal(&c) {
		return "", errors.New("claims do not survive encoding")
	}
	enc := base64.RawURLEncoding.EncodeToString
	return enc(header) + "." + enc(payload), nil
}

func (c *Claims) out() claimsOut {
	out := claimsOut{
		Iss: c.Issuer, Sub: c.Subject, Aud: c.Audience, Exp: c.ExpiresAt, Nbf: c.NotBefore, Iat: c.IssuedAt,
		Jti: c.ID, Sid: c.SessionID, ClientID: c.ClientID, Scope: strings.Join(c.Scope, " "), Roles: c.Roles,
		AuthTime: c.AuthTime, Rev: c.Rev,
	}
	if len(c.Audience) == 1 {
		out.Aud = c.Audience[0]
	}
	return out
}

// signable checks what reading back cannot: encoding/json quietly replaces
// broken UTF-8, and an audience must be someone.
func (c *Claims) signable(kid string) error {
	if kid == "" || len(kid) > maxKIDLen {
		return fmt.Errorf("key id of %d bytes: 1 to %d are allowed", len(kid), maxKIDLen)
	}
	words := slices.Concat([]string{kid, c.Issuer, c.Subject, c.ID, c.SessionID, c.ClientID}, c.Audience, c.Scope, c.Roles)
	for _, w := range words {
		if !utf8.ValidString(w) {
			return errors.New("a claim or the kid is not valid UTF-8")
		}
	}
	lifetime := c.ExpiresAt - c.IssuedAt
	switch {
	case c.IssuedAt < 0 || c.IssuedAt > maxInteger:
		return errors.New("iat is out of range")
	case len(c.Audience) == 0 || slices.Contains(c.Audience, ""):
		return errors.New("aud is missing or empty")
	case lifetime <= 0 || lifetime > int64(LifetimeCap/time.Second):
		return fmt.Errorf("lifetime of %d s: 1 s to %v are allowed", lifetime, LifetimeCap)
	}
	return nil
}

func (c *Claims) equal(d *Claims) bool {
	return c.Issuer == d.Issuer && c.Subject == d.Subject && slices.Equal(c.Audience, d.Audience) &&
		c.ExpiresAt == d.ExpiresAt && c.NotBefore == d.NotBefore && c.IssuedAt == d.IssuedAt &&
		c.ID == d.ID && c.SessionID == d.SessionID && c.ClientID == d.ClientID &&
		slices.Equal(c.Scope, d.Scope) && slices.Equal(c.Roles, d.Roles) &&
		c.AuthTime == d.AuthTime && c.Rev == d.Rev && c.KeyID == d.KeyID
}

// compactJSON is json.Marshal without the escapes for HTML.
func compactJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
