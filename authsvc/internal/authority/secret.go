package authority

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"log/slog"
	"strings"
)

// Secret is a password, a token or another secret. It hides itself where it is
// printed or logged; only Reveal gives it away.
type Secret string

const hidden = "[hidden]"

// String hides the secret from fmt.
func (Secret) String() string { return hidden }

// GoString hides the secret from %#v.
func (Secret) GoString() string { return hidden }

// LogValue hides the secret from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the secret from encoders: who means to send it says Reveal.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// hash is how the database knows a random secret. One pass of SHA-256 is enough
// for 256 random bits.
func (s Secret) hash() []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}

// The prefixes of ids and secrets say what one is, to people and to secret scanners.
const (
	prefixSub       = "u_"
	prefixSession   = "s_"
	prefixToken     = "t_"
	prefixRefresh   = "r_"
	prefixService   = "x_"
	prefixBootstrap = "b_"
)

// newID returns an id of 128 random bits in lower-case base32: a single token of
// a NATS subject, and never the same as a client_id, which has no underscore.
func newID(prefix string) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return prefix + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

// newSecret returns a secret of 256 random bits.
func newSecret(prefix string) Secret {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return Secret(prefix + base64.RawURLEncoding.EncodeToString(b[:]))
}
