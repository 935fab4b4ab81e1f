package token

import "strings"

// Reason says why a token was refused, in one stable word for programs, metrics
// and logs.
type Reason string

// The reasons, in about the order in which they are found.
const (
	// Transport and format: nothing was decoded yet.
	ReasonTooLarge       Reason = "too_large"
	ReasonMalformed      Reason = "malformed"
	ReasonBadEncoding    Reason = "bad_encoding"
	ReasonEncryptedToken Reason = "encrypted_token"

	// JSON, of the header or of the claims.
	ReasonTooDeep         Reason = "too_deep"
	ReasonDuplicateMember Reason = "duplicate_member"

	// Header.
	ReasonBadHeader          Reason = "bad_header"
	ReasonUntrustedKeySource Reason = "untrusted_key_source"
	ReasonUnsupportedCrit    Reason = "unsupported_crit"
	ReasonUnsupportedHeader  Reason = "unsupported_header"
	ReasonAlgNotAllowed      Reason = "alg_not_allowed"
	ReasonWrongTyp           Reason = "wrong_typ"
	ReasonUnknownKID         Reason = "unknown_kid"
	ReasonAlgKeyMismatch     Reason = "alg_key_mismatch"

	// Signature.
	ReasonBadSignature Reason = "bad_signature"

	// Claims. From here on the token is known to come from its issuer.
	ReasonBadClaims       Reason = "bad_claims"
	ReasonWrongTokenUse   Reason = "wrong_token_use"
	ReasonMissingClaim    Reason = "missing_claim"
	ReasonBadClaimType    Reason = "bad_claim_type"
	ReasonBadIssuer       Reason = "bad_issuer"
	ReasonBadAudience     Reason = "bad_audience"
	ReasonLifetimeTooLong Reason = "lifetime_too_long"
	ReasonExpired         Reason = "expired"
	ReasonNotYetValid     Reason = "not_yet_valid"
	ReasonIssuedInFuture  Reason = "issued_in_future"
)

// Error is the refusal of a token. Every error of [Profile.Verify] and
// [Profile.CheckTime] is an *Error. Errors are shared between callers: do not
// change one.
type Error struct {
	Reason Reason
	// Detail is for people. It names at most a header parameter, a claim, an
	// algorithm or a key id, shortened and reduced to harmless characters; it
	// never holds other content of the token.
	Detail string
}

func (e *Error) Error() string {
	if e.Detail == "" {
		return "token refused: " + string(e.Reason)
	}
	return "token refused: " + string(e.Reason) + ": " + e.Detail
}

func refuse(r Reason, detail string) error { return &Error{Reason: r, Detail: detail} }

// maxShown bounds what an error shows of a name found in an unverified token.
const maxShown = 40

// shown makes a name from an unverified token fit for a log line: whoever sends
// the token chooses it.
func shown(name string) string {
	cut := len(name) > maxShown
	if cut {
		name = name[:maxShown]
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("-_.+/", r):
			return r
		}
		return '?'
	}, name)
	if cut {
		name += "…"
	}
	return `"` + name + `"`
}
