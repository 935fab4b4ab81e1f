package verifier

import (
	"errors"
	"fmt"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

// The verdicts other than "accepted". Every error of [Verifier.Verify] is an
// [*Error] that wraps exactly one of them.
var (
	// ErrNoToken: the request carries no bearer token.
	ErrNoToken = errors.New("no token")
	// ErrInvalid: the token is malformed, forged, or meant for somebody else.
	ErrInvalid = errors.New("invalid token")
	// ErrExpired: the token is genuine and its time is over.
	ErrExpired = errors.New("token expired")
	// ErrRevoked: the token is genuine and has been revoked; or its key was killed, so
	// that nobody can tell any longer whether it is genuine.
	ErrRevoked = errors.New("token revoked")
	// ErrUnavailable: nothing is wrong with the token as far as is known, but its
	// state cannot be decided now. Try again later.
	ErrUnavailable = errors.New("token state unavailable")
)

// Reasons of an [*Error] beyond those of the token package.
const (
	ReasonNoToken         = "no_token"
	ReasonAmbiguous       = "ambiguous_credentials"
	ReasonRevokedToken    = "revoked_token"
	ReasonRevokedSession  = "revoked_session"
	ReasonRevokedUser     = "revoked_user"
	ReasonRevokedEveryone = "revoked_everyone"
	ReasonRevokedKey      = "revoked_key"
	ReasonRevokedCert     = "revoked_cert"
	// ReasonRevokedElsewhere: the authority says so without naming a record.
	ReasonRevokedElsewhere = "revoked"
	ReasonNotFresh         = "not_fresh"    // the verifier cannot prove its freshness, and does not ask
	ReasonNoAnswer         = "no_answer"    // the authority was asked and did not answer
	ReasonOverloaded       = "overloaded"   // too many questions are under way
	ReasonKeysUnknown      = "keys_unknown" // the keys could not be fetched
	ReasonMixedKeys        = "mixed_keys"   // Config.SharedSecret is set, and the authority publishes public keys for tokens
	// ReasonWrongKeys: the authority signs with a shared secret that is not here, as far
	// as it has told. New tokens are as good as any there, and cannot be told from
	// forged ones here: the configuration is wrong, and not the bearer.
	ReasonWrongKeys     = "wrong_keys"
	ReasonClosed        = "closed"            // the verifier has been closed
	ReasonNoCertificate = "no_certificate_id" // what was to be a certificate's id can be none

	// In Mode Remote.
	ReasonInactive      = "inactive"       // the authority says so without a reason
	ReasonBadAnswer     = "bad_answer"     // the answer cannot be the authority's word on this token
	ReasonClientRefused = "client_refused" // the authority does not accept this service's own credentials
	ReasonBreakerOpen   = "breaker_open"   // the authority has failed repeatedly: it is not asked for a moment
	ReasonUnwatchable   = "unwatchable"    // the claims to watch did not come from this verifier
)

// Error says why a token was not accepted.
type Error struct {
	// Err is one of the sentinel errors of this package.
	Err error
	// Reason is a stable word for programs, metrics and logs: one of the Reason
	// constants of this package, or a token.Reason.
	Reason string
	// Detail is for people. It never holds a token.
	Detail string
}

func (e *Error) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("%v (%s)", e.Err, e.Reason)
	}
	return fmt.Sprintf("%v (%s): %s", e.Err, e.Reason, e.Detail)
}

// Unwrap returns the sentinel.
func (e *Error) Unwrap() error { return e.Err }

// refusal turns a refusal of the token package into one of this package.
func refusal(err error) error {
	var refused *token.Error
	if !errors.As(err, &refused) {
		return &Error{Err: ErrInvalid, Reason: string(token.ReasonMalformed), Detail: err.Error()}
	}
	verdict := ErrInvalid
	if refused.Reason == token.ReasonExpired {
		verdict = ErrExpired
	}
	return &Error{Err: verdict, Reason: string(refused.Reason), Detail: refused.Detail}
}

func unavailable(reason, detail string) error {
	return &Error{Err: ErrUnavailable, Reason: reason, Detail: detail}
}

// revokedBy is the refusal of a token that the record covers.
func revokedBy(r events.Revocation) error {
	reason, detail := "revoked_"+string(r.Scope), r.Reason
	if !r.Scope.Known() {
		reason = ReasonRevokedElsewhere
	}
	return &Error{Err: ErrRevoked, Reason: reason, Detail: detail}
}
