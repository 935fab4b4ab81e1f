package token

import "strings"

const (
	// maxClaimMembers bounds the members of the claims, nested ones included.
	maxClaimMembers = 128
	// maxIDLen bounds sub, jti, sid and client_id, in bytes. They travel in
	// requests and index the sets of revocations.
	maxIDLen = 256
)

// payload holds the claims that mean something here, checked as JSON but not interpreted.
type payload struct {
	iss, sub, aud, exp, nbf, iat, jti, sid value
	clientID, scope, roles, authTime, rev  value
	tokenUse                               value
	foreign                                string // a claim that only another kind of token has
}

// readClaims reads the claims' JSON and the types of the claims. It compares no
// value with anything.
func readClaims(doc string) (*Claims, error) {
	p, err := readPayload(doc)
	if err != nil {
		return nil, err
	}
	if err := p.checkUse(); err != nil {
		return nil, err
	}
	return p.claims()
}

func readPayload(doc string) (payload, error) {
	var p payload
	s := scanner{doc: doc, room: maxClaimMembers}
	if f := s.begin(); f != faultNone {
		return payload{}, f.refusal(ReasonBadClaims)
	}
	for {
		name, v, more, f := s.next()
		if f != faultNone {
			return payload{}, f.refusal(ReasonBadClaims)
		}
		if !more {
			break
		}
		p.set(name, v)
	}
	if f := s.end(); f != faultNone {
		return payload{}, f.refusal(ReasonBadClaims)
	}
	return p, nil
}

func (p *payload) set(name string, v value) {
	switch name {
	case "iss":
		p.iss = v
	case "sub":
		p.sub = v
	case "aud":
		p.aud = v
	case "exp":
		p.exp = v
	case "nbf":
		p.nbf = v
	case "iat":
		p.iat = v
	case "jti":
		p.jti = v
	case "sid":
		p.sid = v
	case "client_id":
		p.clientID = v
	case "scope":
		p.scope = v
	case "roles":
		p.roles = v
	case "auth_time":
		p.authTime = v
	case "rev":
		p.rev = v
	case "token_use":
		p.tokenUse = v
	case "events": // a logout token or security event (OpenID back-channel logout, RFC 8417)
		p.foreign = "events"
	case "nonce": // an ID token (OpenID Connect Core §2), as are the next two
		p.foreign = "nonce"
	case "at_hash":
		p.foreign = "at_hash"
	case "c_hash":
		p.foreign = "c_hash"
	}
}

// checkUse refuses tokens made for another purpose that carry the right typ all
// the same (RFC 8725 §3.12).
func (p *payload) checkUse() error {
	switch {
	case p.foreign != "":
		return refuse(ReasonWrongTokenUse, p.foreign)
	case p.tokenUse.kind == absent:
		return nil
	case p.tokenUse.kind != text:
		return refuse(ReasonBadClaimType, "token_use")
	case p.tokenUse.unquoted() != "access":
		return refuse(ReasonWrongTokenUse, "token_use")
	}
	return nil
}

// reading collects the first refusal, so that the claims read as a list.
type reading struct{ err error }

func (p *payload) claims() (*Claims, error) {
	var r reading
	c := &Claims{
		Issuer:    r.id("iss", p.iss, required, MaxSize),
		Subject:   r.id("sub", p.sub, required, maxIDLen),
		ExpiresAt: r.seconds("exp", p.exp, required),
		IssuedAt:  r.seconds("iat", p.iat, required),
		NotBefore: r.seconds("nbf", p.nbf, optional),
		ID:        r.id("jti", p.jti, required, maxIDLen),
		SessionID: r.id("sid", p.sid, optional, maxIDLen),
		ClientID:  r.id("client_id", p.clientID, optional, maxIDLen),
		AuthTime:  r.seconds("auth_time", p.authTime, optional),
		Rev:       r.integer("rev", p.rev, optional),
	}
	r.lists(c, p)
	if r.err != nil {
		return nil, r.err
	}
	return c, nil
}

// need says whether a claim may be absent.
type need bool

const (
	required need = true
	optional need = false
)

func (r *reading) refuse(reason Reason, claim string) {
	if r.err == nil {
		r.err = refuse(reason, claim)
	}
}

// present reports whether there is a value to read.
func (r *reading) present(claim string, v value, n need) bool {
	if v.kind == absent && n == required {
		r.refuse(ReasonMissingClaim, claim)
	}
	return v.kind != absent
}

// id reads a string of 1 to limit bytes. An empty one counts as missing, also
// where the claim is optional: an empty sid would slip past every revocation.
func (r *reading) id(claim string, v value, n need, limit int) string {
	if !r.present(claim, v, n) {
		return ""
	}
	s := v.unquoted()
	switch {
	case v.kind != text || len(s) > limit:
		r.refuse(ReasonBadClaimType, claim)
		return ""
	case s == "":
		r.refuse(ReasonMissingClaim, claim)
	}
	return s
}

func (r *reading) integer(claim string, v value, n need) uint64 {
	if !r.present(claim, v, n) {
		return 0
	}
	i, ok := v.integer()
	if !ok {
		r.refuse(ReasonBadClaimType, claim)
	}
	return i
}

func (r *reading) seconds(claim string, v value, n need) int64 {
	return int64(r.integer(claim, v, n))
}

// lists reads aud, scope and roles into one allocation.
func (r *reading) lists(c *Claims, p *payload) {
	room := strings.Count(p.aud.raw, ",") + strings.Count(p.scope.raw, " ") + strings.Count(p.roles.raw, ",") + 3
	all := make([]string, 0, room)
	n := len(all)
	all = r.audience(all, p.aud)
	c.Audience, n = all[n:len(all):len(all)], len(all)
	all = r.words(all, p.scope)
	c.Scope, n = all[n:len(all):len(all)], len(all)
	if r.present("roles", p.roles, optional) {
		all = r.strings(all, "roles", p.roles)
	}
	c.Roles = all[n:len(all):len(all)]
}

// audience reads aud, which is a string or an array of strings (RFC 7519 §4.1.3).
func (r *reading) audience(to []string, v value) []string {
	if !r.present("aud", v, required) {
		return to
	}
	if v.kind == text {
		return append(to, v.unquoted())
	}
	return r.strings(to, "aud", v)
}

// words reads scope, words with spaces between (RFC 6749 §3.3).
func (r *reading) words(to []string, v value) []string {
	if !r.present("scope", v, optional) {
		return to
	}
	if v.kind != text {
		r.refuse(ReasonBadClaimType, "scope")
		return to
	}
	for word := range strings.SplitSeq(v.unquoted(), " ") {
		if word != "" {
			to = append(to, word)
		}
	}
	return to
}

// strings reads an array of strings.
func (r *reading) strings(to []string, claim string, v value) []string {
	if v.kind != array {
		r.refuse(ReasonBadClaimType, claim)
		return to
	}
	s := scanner{doc: v.raw, pos: 1, room: maxClaimMembers}
	for first := true; ; first = false {
		element, more, f := s.element(first, 1)
		if f != faultNone || !more {
			return to // the array was checked with the document: no fault is left
		}
		if element.kind != text {
			r.refuse(ReasonBadClaimType, claim)
			return to
		}
		to = append(to, element.unquoted())
	}
}
