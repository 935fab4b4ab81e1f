package verifier

import (
	"errors"
	"slices"
	"time"

	"github.com/authbus/authbus/verifier/token"
)

// errKilledKey refuses what only a key that was killed could have signed.
var errKilledKey = &Error{Err: ErrRevoked, Reason: ReasonRevokedKey, Detail: "the key has been killed"}

// killed reports whether the key was, as far as that is still told: its record lives as
// long as the tokens that its owner had signed, and of shared secrets there is a list.
func (v *Verifier) killed(kid string) bool {
	return v.ledger.killed(kid) || slices.Contains(v.keys.current.Load().killed, kid)
}

// withdrawn is the verdict on a genuine token whose key is no longer published.
func (v *Verifier) withdrawn(kid string) error {
	if v.killed(kid) {
		return errKilledKey
	}
	return &Error{Err: ErrInvalid, Reason: string(token.ReasonUnknownKID), Detail: "the key has been withdrawn"}
}

// unknownKey makes the verdict on a token that the token package refused. Where it
// did for want of a key that could be the authority's, it is one of these:
//
//   - the key was killed, so that nobody can say any longer who has signed: revoked;
//   - the keys here are good for none of the tokens that the authority signs now, so
//     that it may be one of those, and logging in again would not help: undecidable.
//
// Both rest on what the authority has told; of the token it matters only whether
// it can be good with any key.
func (v *Verifier) unknownKey(raw string, refused error, now time.Time) error {
	e, ok := errors.AsType[*token.Error](refused)
	if !ok || e.Reason != token.ReasonUnknownKID && e.Reason != token.ReasonAlgNotAllowed {
		return refusal(refused)
	}
	claims, err := v.profile.VerifyVouched(raw, now)
	if err != nil {
		return refusal(refused)
	}
	if v.killed(claims.KeyID) {
		return errKilledKey
	}
	// With public keys the authority's list says of every kid whether it is known.
	// Of shared secrets there is no such list.
	switch mixed := v.keys.mixed.Load(); {
	case mixed && e.Reason == token.ReasonAlgNotAllowed:
		return v.mixedKeys()
	case !mixed && v.keys.shared == (e.Reason == token.ReasonUnknownKID):
		if why := v.keys.current.Load().useless(); why != nil {
			return unavailable(ReasonWrongKeys, why.Error())
		}
	}
	return refusal(refused)
}
