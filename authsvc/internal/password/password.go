// Package password decides which passwords may be chosen, hashes and verifies
// them, and says when two user names or e-mail addresses are the same.
//
//	hasher, err := password.NewHasher(password.HasherConfig{})
//	err = password.Policy{}.Check(plain, username, email) // *password.PolicyError
//	phc, err := hasher.Hash(ctx, plain)
//	ok, rehash, err := hasher.Verify(ctx, phc, plain)
//	key, err := password.FoldName("Ålice") // "ålice"
//
// # Guarantees
//
// A password is brought to Unicode form NFC and otherwise used as it is: nothing
// is cut off, trimmed or folded, and what a keyboard composes differently logs in
// alike. At most a fixed number of hashes is computed at once, so memory is
// bounded; a bounded number waits, and the rest get [ErrBusy]. Verifying against
// no hash takes as long as verifying against one.
//
// Not promised: that a password nobody refused here is good, and that the time
// of an unknown account equals that of one whose hash has older parameters.
package password

import (
	"fmt"
	"log/slog"

	"golang.org/x/text/unicode/norm"
)

// redacted is what a password looks like in logs.
const redacted = "[redacted]"

// Plaintext is a password as the user gave it. However it is printed, logged or
// encoded, it shows nothing of itself.
type Plaintext string

// Format implements fmt.Formatter for every verb.
func (Plaintext) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements slog.LogValuer.
func (Plaintext) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler.
func (Plaintext) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// normal is what counts of a password: NIST SP 800-63B-4 §3.1.1.2 has one of the
// normalisation forms applied before hashing, and NFC changes least.
func (p Plaintext) normal() string { return norm.NFC.String(string(p)) }
