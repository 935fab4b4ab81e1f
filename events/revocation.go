package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Scope says what a revocation names.
type Scope string

// The scopes of a revocation, and what its ID then is.
const (
	ScopeToken    Scope = "token"    // jti
	ScopeSession  Scope = "session"  // sid
	ScopeUser     Scope = "user"     // sub
	ScopeEveryone Scope = "everyone" // no ID
	ScopeKey      Scope = "key"      // kid
	ScopeCert     Scope = "cert"     // CertificateID: it ends connections and no token
)

// Known reports whether this version of the contract knows the scope.
func (s Scope) Known() bool {
	switch s {
	case ScopeToken, ScopeSession, ScopeUser, ScopeEveryone, ScopeKey, ScopeCert:
		return true
	}
	return false
}

// RevocationVersion is the version of the record that this package writes and reads.
const RevocationVersion = 1

// Revocation is one record of the revocation log. There is none that takes
// another back.
type Revocation struct {
	Version int `json:"v"`
	// Epoch names the log that Rev counts in.
	Epoch string `json:"epoch"`
	// Rev is the record's place in the log: gap-free and in commit order.
	Rev   uint64 `json:"rev"`
	Scope Scope  `json:"scope"`
	// ID is the jti, sid, sub, kid or certificate id that Scope names; empty for everyone.
	ID string `json:"id,omitempty"`
	// ExpiresAt is in Unix seconds: after it no token or certificate that the record
	// covers can be alive.
	ExpiresAt int64 `json:"expires_at"`
	// Reason is for people: what the actor gave, or the cause such as "logout".
	Reason string `json:"reason,omitempty"`
	// At is when the record was written, in Unix milliseconds of the authority's clock.
	At int64 `json:"at"`
}

// TokenRef is what of a token a revocation can name. It holds no secret.
type TokenRef struct {
	JTI string `json:"jti" validate:"required,max=256"`
	SID string `json:"sid,omitempty" validate:"max=256"`
	Sub string `json:"sub" validate:"required,max=256"`
	KID string `json:"kid" validate:"required,max=256"`
	// Rev is the token's rev claim: the revision committed when it was minted.
	Rev uint64 `json:"rev"`
	// Exp is the token's exp claim, in Unix seconds.
	Exp int64 `json:"exp" validate:"required"`
}

// Covers reports whether the record kills the token. Token, session and key are
// named outright; user and everyone reach the tokens minted before the record,
// that is those with a smaller rev, so that whoever logs in again afterwards is
// not hit, however fast.
func (r Revocation) Covers(t TokenRef) bool {
	switch r.Scope {
	case ScopeToken:
		return r.ID == t.JTI
	case ScopeSession:
		return t.SID != "" && r.ID == t.SID
	case ScopeKey:
		return r.ID == t.KID
	case ScopeUser:
		return r.ID == t.Sub && t.Rev < r.Rev
	case ScopeEveryone:
		return t.Rev < r.Rev
	case ScopeCert: // names the key of a service, and tokens are signed with others
		return false
	}
	return false
}

// Expired reports whether no covered token can be alive at now.
func (r Revocation) Expired(now time.Time) bool { return now.Unix() > r.ExpiresAt }

// NotUnderstoodError is returned for a well-formed record of a newer version or
// of a scope that this version does not know. Whoever receives it must not go on
// as if the record did not exist: Epoch and Rev say where the log goes dark.
type NotUnderstoodError struct {
	Epoch   string
	Rev     uint64
	Version int
	Scope   Scope
}

func (e *NotUnderstoodError) Error() string {
	return fmt.Sprintf("revocation record %d not understood: version %d, scope %q", e.Rev, e.Version, e.Scope)
}

// Bounds on the wire: ids in bytes, the others in characters.
const (
	maxIDLen    = 256
	maxEpochLen = 64
)

// DecodeRevocation reads one record, as found on the feed or in a page of the
// log. The error is a [*NotUnderstoodError] where the record is well formed but
// says something that this version does not know.
func DecodeRevocation(payload []byte) (Revocation, error) {
	// Only these members are sure to mean the same in a record of a newer version.
	var head struct {
		Version int    `json:"v"`
		Epoch   string `json:"epoch"`
		Rev     uint64 `json:"rev"`
		Scope   Scope  `json:"scope"`
	}
	if err := json.Unmarshal(payload, &head); err != nil {
		return Revocation{}, fmt.Errorf("decoding revocation: %w", err)
	}
	switch {
	case head.Epoch == "" || utf8.RuneCountInString(head.Epoch) > maxEpochLen || head.Rev == 0 || head.Version < 1:
		return Revocation{}, errors.New("decoding revocation: v, epoch or rev is missing or out of range")
	case head.Version != RevocationVersion || !head.Scope.Known():
		return Revocation{}, &NotUnderstoodError{Epoch: head.Epoch, Rev: head.Rev, Version: head.Version, Scope: head.Scope}
	}
	var r Revocation
	if err := json.Unmarshal(payload, &r); err != nil {
		return Revocation{}, fmt.Errorf("decoding revocation: %w", err)
	}
	switch {
	case (r.ID == "") != (r.Scope == ScopeEveryone) || len(r.ID) > maxIDLen:
		return Revocation{}, fmt.Errorf("decoding revocation: id does not fit scope %q", r.Scope)
	case r.ExpiresAt <= 0:
		return Revocation{}, errors.New("decoding revocation: expires_at is missing")
	}
	return r, nil
}
