package token

import "strings"

// maxHeaderMembers bounds the parameters of a header, nested ones included.
const maxHeaderMembers = 32

// maxKIDLen bounds a key id, in bytes.
const maxKIDLen = 256

// header is what matters of a JOSE header (RFC 7515 §4).
type header struct {
	alg, typ, kid value
	encrypted     bool   // has enc: it is a JWE header
	source        string // the parameter that would bring a key along, if any
	crit          bool
	unsupported   string // the parameter that would change what is signed or how it is read
}

// readHeader reads the header's JSON. It judges the form only.
func readHeader(doc string) (header, error) {
	var h header
	s := scanner{doc: doc, room: maxHeaderMembers}
	if f := s.begin(); f != faultNone {
		return header{}, f.refusal(ReasonBadHeader)
	}
	for {
		name, v, more, f := s.next()
		if f != faultNone {
			return header{}, f.refusal(ReasonBadHeader)
		}
		if !more {
			break
		}
		h.set(name, v)
	}
	if f := s.end(); f != faultNone {
		return header{}, f.refusal(ReasonBadHeader)
	}
	return h, nil
}

func (h *header) set(name string, v value) {
	switch name {
	case "alg":
		h.alg = v
	case "typ":
		h.typ = v
	case "kid":
		h.kid = v
	case "enc":
		h.encrypted = true
	case "crit":
		h.crit = true
	case "jku":
		h.source = "jku"
	case "jwk":
		h.source = "jwk"
	case "x5u":
		h.source = "x5u"
	case "x5c":
		h.source = "x5c"
	case "b64":
		h.unsupported = "b64"
	case "zip":
		h.unsupported = "zip"
	case "cty":
		h.unsupported = "cty" // announces a nested token (RFC 7519 §5.2)
	}
}

// admit decides whether a token with this header may be checked at all, and with
// which key. A header that brings a key is refused rather than ignored: no
// issuer of ours writes one, and whoever does is testing us.
func (h *header) admit(keys *KeySet) (*verifyKey, error) {
	alg, err := h.algorithm()
	if err != nil {
		return nil, err
	}
	if !keys.admits(alg) {
		return nil, errAlg(alg)
	}
	if err := h.checkType(); err != nil {
		return nil, err
	}
	return h.key(alg, keys)
}

// algorithm returns alg, unless the header would change the rules.
func (h *header) algorithm() (Alg, error) {
	switch {
	case h.encrypted:
		return "", errEncrypted
	case h.source != "":
		return "", refuse(ReasonUntrustedKeySource, h.source)
	case h.crit:
		return "", refuse(ReasonUnsupportedCrit, "crit")
	case h.unsupported != "":
		return "", refuse(ReasonUnsupportedHeader, h.unsupported)
	case h.alg.kind != text:
		return "", refuse(ReasonBadHeader, "alg is missing or not a string")
	}
	return Alg(h.alg.unquoted()), nil
}

func errAlg(alg Alg) error { return refuse(ReasonAlgNotAllowed, "alg "+shown(string(alg))) }

// checkType holds access tokens apart from every other JWT of the same issuer
// (RFC 9068 §4). Media types are case-insensitive (RFC 2045 §5.1).
func (h *header) checkType() error {
	switch h.typ.kind {
	case absent:
		return refuse(ReasonWrongTyp, "typ is missing")
	case text:
	default:
		return refuse(ReasonBadHeader, "typ is not a string")
	}
	typ := h.typ.unquoted()
	if strings.EqualFold(typ, "at+jwt") || strings.EqualFold(typ, "application/at+jwt") {
		return nil
	}
	return refuse(ReasonWrongTyp, "typ "+shown(typ))
}

// keyID returns kid. One that no key could have is a bad header and not an unknown
// key, so that it never makes anyone fetch keys.
func (h *header) keyID() (string, error) {
	if h.kid.kind != text {
		return "", refuse(ReasonBadHeader, "kid is missing or not a string")
	}
	kid := h.kid.unquoted()
	if kid == "" || len(kid) > maxKIDLen {
		return "", refuse(ReasonBadHeader, "kid is empty or too long")
	}
	return kid, nil
}

// key finds the key of exactly the header's kid.
func (h *header) key(alg Alg, keys *KeySet) (*verifyKey, error) {
	kid, err := h.keyID()
	if err != nil {
		return nil, err
	}
	k := keys.find(kid)
	if k == nil {
		return nil, refuse(ReasonUnknownKID, "kid "+shown(kid))
	}
	if k.Alg != alg {
		return nil, refuse(ReasonAlgKeyMismatch, "alg "+shown(string(alg))+" with a key for "+string(k.Alg))
	}
	return k, nil
}
