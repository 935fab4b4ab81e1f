package token

import (
	"strings"
	"time"
)

// Screen refuses what [Profile.Verify] would refuse whatever the keys: by size,
// form and header. It says nothing about who made the token, and looks at no
// claim: what passes is worth asking the issuer about, and no more. The error is
// always an [*Error].
func Screen(raw string) error {
	_, _, err := screen(raw)
	return err
}

// VerifyVouched checks all that [Profile.Verify] checks except for the signature,
// and returns the claims. It is for a token about which the issuer itself has just
// said that it is good. Called on any other token it proves nothing, but that some
// key could make it good.
func (p Profile) VerifyVouched(raw string, now time.Time) (*Claims, error) {
	c, kid, err := screen(raw)
	if err != nil {
		return nil, err
	}
	var doc strings.Builder
	doc.Grow(decodedLen(len(c.payload)))
	appendDecoded(&doc, c.payload)
	claims, err := readClaims(doc.String())
	if err != nil {
		return nil, err
	}
	claims.KeyID = kid
	if err := p.judge(claims, now); err != nil {
		return nil, err
	}
	return claims, nil
}

// screen takes a token apart and returns the kid of its header.
func screen(raw string) (compact, string, error) {
	c, err := split(raw)
	switch {
	case err != nil:
		return compact{}, "", err
	case c.payload == "":
		return compact{}, "", errEmptySegment
	}
	var doc strings.Builder
	doc.Grow(decodedLen(len(c.header)))
	appendDecoded(&doc, c.header)
	h, err := readHeader(doc.String())
	if err != nil {
		return compact{}, "", err
	}
	alg, err := h.algorithm()
	if err != nil {
		return compact{}, "", err
	}
	if !alg.public() && alg != AlgHS256 {
		return compact{}, "", errAlg(alg)
	}
	if err := h.checkType(); err != nil {
		return compact{}, "", err
	}
	kid, err := h.keyID()
	if err == nil && c.signature == "" {
		err = errNoSignature
	}
	return c, kid, err
}

// ReadClaims reads a claims set that the issuer has sent on its own, as in an
// answer about a token, as strictly as that of a token: the same claims are
// required, with the same types. It compares no value with anything, and KeyID is
// empty.
func ReadClaims(doc []byte) (*Claims, error) { return readClaims(string(doc)) }

// ReadActive reads the member active of an introspection answer (RFC 7662 §2.2),
// which must be one strict JSON object with that member in exact case, true or
// false.
func ReadActive(doc []byte) (active bool, err error) {
	s := scanner{doc: string(doc), room: maxClaimMembers}
	if f := s.begin(); f != faultNone {
		return false, f.refusal(ReasonBadClaims)
	}
	var found value
	for {
		name, v, more, f := s.next()
		if f != faultNone {
			return false, f.refusal(ReasonBadClaims)
		}
		if !more {
			break
		}
		if name == "active" {
			found = v
		}
	}
	if f := s.end(); f != faultNone {
		return false, f.refusal(ReasonBadClaims)
	}
	switch found.kind {
	case boolean:
		return found.raw == "true", nil
	case absent:
		return false, refuse(ReasonMissingClaim, "active")
	}
	return false, refuse(ReasonBadClaimType, "active")
}
