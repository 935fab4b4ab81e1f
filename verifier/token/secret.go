package token

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// The sizes of a shared secret, in bytes. RFC 7518 §3.2 asks for at least the
// size of the hash.
const (
	minSecret = 32
	maxSecret = 1024
)

// Secret is a secret that an issuer shares with the services that verify its
// tokens, for HS256. Whoever holds it can mint tokens for everybody: prefer
// public keys.
//
// It comes only from [NewSecret], [ParseSecret] and [ReadSecretFile], which
// refuse what is no secret. Its text is base64 of the bytes, in either alphabet,
// padded or not; `openssl rand -base64 32` makes one. It hides itself where it
// is printed, logged or encoded. The zero Secret holds none.
type Secret struct {
	// held is a function because fmt, which calls no methods on unexported fields
	// of other structs, follows pointers; and because two Secrets must not be
	// compared with ==.
	held func() heldSecret
}

// heldSecret is what a Secret holds.
type heldSecret struct {
	key any // the bytes, as the MAC wants them: boxed once and not on every call
	id  string
}

// NewSecret makes a secret of 32 to 1024 random bytes, which it copies. It
// refuses, with the reason: what is too short, one byte or a short pattern
// repeated, of few different bytes or even steps, text of any kind, known
// defaults and published examples, and keys and certificates in PEM, DER, JWK or
// SSH form. Whoever draws 32 bytes at random is refused with a chance below one
// in 10^10. Whether bytes that look random were, it cannot tell.
func NewSecret(b []byte) (Secret, error) {
	if err := checkSecret(b); err != nil {
		return Secret{}, fmt.Errorf("shared secret %w", err)
	}
	const idSize = 16
	id, err := hkdf.Key(sha256.New, b, nil, "authbus shared secret kid", idSize)
	if err != nil {
		return Secret{}, fmt.Errorf("naming shared secret: %w", err)
	}
	text := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(id))
	held := heldSecret{key: slices.Clone(b), id: "hs_" + text}
	return Secret{func() heldSecret { return held }}, nil
}

// ParseSecret reads a secret from its text, as a file or an environment variable
// holds it: base64, in either alphabet, padded or not. White space around it and
// line ends within change nothing. It refuses what [NewSecret] refuses, and text
// that only looks like base64: hexadecimal and words. Base64 of 32 random bytes
// is refused with a chance below one in 10^9.
func ParseSecret(text string) (Secret, error) {
	text = strings.NewReplacer("\r", "", "\n", "").Replace(strings.TrimSpace(text))
	if err := checkSecretText(text); err != nil {
		return Secret{}, fmt.Errorf("shared secret %w", err)
	}
	digits := strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(text, "="))
	b, err := base64.RawURLEncoding.Strict().DecodeString(digits)
	if err != nil {
		// The decoder's own words would quote a part of the secret.
		return Secret{}, errors.New("shared secret is not base64: `openssl rand -base64 32` makes one")
	}
	s, err := NewSecret(b)
	if err == nil && isWords(text) {
		return Secret{}, errors.New("shared secret reads like words: base64 of random bytes is expected")
	}
	return s, err
}

// ID is the kid of the tokens that the secret signs. It follows from the secret
// (HKDF-SHA256), so that all who hold it agree without talking, and tells no more
// of it than a token does. The ID of the zero Secret is empty.
func (s Secret) ID() string {
	if s.held == nil {
		return ""
	}
	return s.held().id
}

// IsZero reports whether this is the zero Secret, which holds none.
func (s Secret) IsZero() bool { return s.held == nil }

// Is reports, in constant time, whether the secret is made of exactly these
// bytes: a public key, say, of which 32 bytes look as random as any.
func (s Secret) Is(b []byte) bool {
	return s.held != nil && subtle.ConstantTimeCompare(s.held().bytes(), b) == 1
}

func (h heldSecret) bytes() []byte {
	b, _ := h.key.([]byte) // NewSecret puts nothing else in
	return b
}

const hidden = "[hidden]"

// String hides the secret from fmt.
func (Secret) String() string { return hidden }

// GoString hides the secret from %#v.
func (Secret) GoString() string { return hidden }

// LogValue hides the secret from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the secret from encoders: it cannot be read back.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
