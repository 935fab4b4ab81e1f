package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"hash"
	"slices"
	"strings"
	"testing"
)

// testSecrets are the secrets that the vectors in testdata/shared are signed
// with, good for nothing else. The stranger's is in no set.
type testSecrets struct{ current, previous, stranger []byte }

func loadTestSecrets(testing.TB) testSecrets {
	sum := func(text string) []byte { h := sha256.Sum256([]byte(text)); return h[:] }
	return testSecrets{
		current: sum("authbus test secret current"), previous: sum("authbus test secret previous"), stranger: sum("authbus test secret stranger"),
	}
}

func secretOf(tb testing.TB, b []byte) Secret {
	tb.Helper()
	s, err := NewSecret(b)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// encode is a JSON array of those that are accepted.
func (s testSecrets) encode(tb testing.TB) []byte {
	tb.Helper()
	doc, err := json.Marshal([][]byte{s.current, s.previous})
	if err != nil {
		tb.Fatal(err)
	}
	return append(doc, '\n')
}

// set holds the current and the previous secret.
func (s testSecrets) set(tb testing.TB) *KeySet {
	tb.Helper()
	set, err := NewSecretSet(secretOf(tb, s.current), secretOf(tb, s.previous))
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

// sharedHeader is the header of a good token of the secret, edited.
func (f forge) sharedHeader(secret []byte, edits ...edit) string {
	return document([]member{
		{"alg", `"HS256"`}, {"typ", `"at+jwt"`}, {"kid", quote(secretOf(f.tb, secret).ID())},
	}, edits)
}

// maced is the token of header and payload with their HMAC.
func maced(h func() hash.Hash, secret []byte, header, payload string) string {
	input := b64(header) + "." + b64(payload)
	mac := hmac.New(h, secret)
	mac.Write([]byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// goodShared is an accepted token of the secret.
func (f forge) goodShared(secret []byte) string {
	return maced(sha256.New, secret, f.sharedHeader(secret), body())
}

func (f forge) sharedControls(s testSecrets) []vector {
	var l list
	l.accept("shared", "current secret", f.goodShared(s.current))
	l.accept("shared", "previous secret", f.goodShared(s.previous))
	l.accept("shared", "several audiences", maced(sha256.New, s.current, f.sharedHeader(s.current), body(set("aud", `["billing","orders"]`))))
	return l
}

// sharedAttacks holds what a verifier of shared secrets must refuse.
func (f forge) sharedAttacks(s testSecrets) []vector {
	var l list
	f.sharedAlg(&l, s)
	f.sharedMAC(&l, s)
	f.sharedKey(&l, s)
	f.sharedClaims(&l, s)
	l.sort()
	return l
}

func (f forge) sharedAlg(l *list, s testSecrets) {
	header := func(alg string) string { return f.sharedHeader(s.current, set("alg", quote(alg))) }
	for _, none := range []string{"none", "None", "NONE", "nOnE", ""} {
		l.reject("alg_none", quote(none)+" without MAC", ReasonAlgNotAllowed, b64(header(none))+"."+b64(body())+".")
		l.reject("alg_none", quote(none)+" with MAC", ReasonAlgNotAllowed, maced(sha256.New, s.current, header(none), body()))
	}
	for _, alg := range []string{"hs256", "Hs256", "HS-256", "HS256 ", "HS256\x00", "HMAC", "HmacSHA256", "A256KW", "dir"} {
		l.reject("alg_not_allowed", quote(alg), ReasonAlgNotAllowed, maced(sha256.New, s.current, header(alg), body()))
	}
	l.reject("alg_not_allowed", "HS384", ReasonAlgNotAllowed, maced(sha512.New384, s.current, header("HS384"), body()))
	l.reject("alg_not_allowed", "HS512", ReasonAlgNotAllowed, maced(sha512.New, s.current, header("HS512"), body()))
	// The other way of mixing: tokens of public keys.
	for _, kid := range []string{edID, ecID, rsaID} {
		l.reject("mixed", "signed with "+kid, ReasonAlgNotAllowed, f.good(kid))
		l.reject("mixed", "signed with "+kid+", kid of the secret", ReasonAlgNotAllowed,
			f.signed(kid, f.header(kid, set("kid", quote(secretOf(f.tb, s.current).ID()))), body()))
	}
}

// changedMAC changes the MAC of a good token.
func (f forge) changedMAC(secret []byte, change func([]byte) []byte) string {
	input, mac := f.cut(f.goodShared(secret))
	return input + "." + base64.RawURLEncoding.EncodeToString(change(mac))
}

func (f forge) sharedMAC(l *list, s testSecrets) {
	const class = "mac"
	input, _ := f.cut(f.goodShared(s.current))
	l.reject(class, "empty", ReasonMalformed, input+".")
	for title, change := range map[string]func([]byte) []byte{
		"first bit flipped":       func(m []byte) []byte { m[0] ^= 0x80; return m },
		"last bit flipped":        func(m []byte) []byte { m[31] ^= 1; return m },
		"1 byte":                  func(m []byte) []byte { return m[:1] },
		"10 bytes":                func(m []byte) []byte { return m[:10] },
		"16 bytes":                func(m []byte) []byte { return m[:16] },
		"31 bytes":                func(m []byte) []byte { return m[:31] },
		"its last 16 bytes":       func(m []byte) []byte { return m[16:] },
		"a NUL behind":            func(m []byte) []byte { return append(m, 0) },
		"a NUL in front":          func(m []byte) []byte { return append([]byte{0}, m...) },
		"twice":                   func(m []byte) []byte { return append(m, m...) },
		"all NUL":                 func(m []byte) []byte { return make([]byte, len(m)) },
		"all ones":                func(m []byte) []byte { return slices.Repeat([]byte{0xff}, len(m)) },
		"reversed":                func(m []byte) []byte { slices.Reverse(m); return m },
		"2,000 bytes":             func([]byte) []byte { return make([]byte, 2000) },
		"a hash without a secret": func([]byte) []byte { h := sha256.Sum256([]byte(input)); return h[:] },
	} {
		l.reject(class, title, ReasonBadSignature, f.changedMAC(s.current, change))
	}
	hash := sha256.Sum256(append(slices.Clone(s.current), input...))
	l.reject(class, "a hash of secret and input", ReasonBadSignature, f.changedMAC(s.current, func([]byte) []byte { return hash[:] }))
	parts := strings.Split(f.goodShared(s.current), ".")
	l.reject(class, "changed claims", ReasonBadSignature, parts[0]+"."+b64(body(set("sub", `"admin"`)))+"."+parts[2])
	l.reject(class, "changed header", ReasonBadSignature, b64(f.sharedHeader(s.current, add("x", "1")))+"."+parts[1]+"."+parts[2])
	header := f.sharedHeader(s.current)
	l.reject(class, "of HMAC-SHA-384", ReasonBadSignature, maced(sha512.New384, s.current, header, body()))
	l.reject(class, "of HMAC-SHA-512", ReasonBadSignature, maced(sha512.New, s.current, header, body()))
	l.reject(class, "of HMAC-SHA-512/256", ReasonBadSignature, maced(sha512.New512_256, s.current, header, body()))
	wide := maced(sha512.New, s.current, header, body())
	wideInput, mac := f.cut(wide)
	l.reject(class, "of HMAC-SHA-512, cut to 32 bytes", ReasonBadSignature, wideInput+"."+base64.RawURLEncoding.EncodeToString(mac[:32]))
}

func (f forge) sharedKey(l *list, s testSecrets) {
	const class = "secret"
	current, previous := quote(secretOf(f.tb, s.current).ID()), quote(secretOf(f.tb, s.previous).ID())
	signed := func(secret []byte, kid string) string {
		return maced(sha256.New, secret, f.sharedHeader(s.current, set("kid", kid)), body())
	}
	l.reject(class, "kid of the previous one", ReasonBadSignature, signed(s.current, previous))
	l.reject(class, "previous one with the kid of the current one", ReasonBadSignature, signed(s.previous, current))
	l.reject(class, "a stranger's with the kid of the current one", ReasonBadSignature, signed(s.stranger, current))
	l.reject(class, "a stranger's", ReasonUnknownKID, f.goodShared(s.stranger))
	l.reject(class, "empty kid", ReasonBadHeader, signed(s.current, `""`))
	l.reject(class, "without kid", ReasonBadHeader, maced(sha256.New, s.current, f.sharedHeader(s.current, drop("kid")), body()))
	l.reject(class, "kid in upper case", ReasonUnknownKID, signed(s.current, strings.ToUpper(current)))
	text := []byte(base64.StdEncoding.EncodeToString(s.current))
	l.reject(class, "its base64 in place of its bytes", ReasonBadSignature, signed(text, current))
	for title, key := range map[string]string{
		"empty": "", "NUL": "\x00", "32 NUL": strings.Repeat("\x00", 32), "secret": "secret", "its kid": strings.Trim(current, `"`), "its first half": string(s.current[:16]),
	} {
		l.reject("weak_hmac", title, ReasonBadSignature, signed([]byte(key), current))
	}
	for _, kid := range []string{edID, ecID, rsaID} {
		for form, key := range f.publicForms(kid) {
			l.reject("alg_confusion", kid+" as "+form, ReasonBadSignature, signed(key, current))
		}
	}
}

// sharedClaims makes sure that the same front judges the rest.
func (f forge) sharedClaims(l *list, s testSecrets) {
	header := f.sharedHeader(s.current)
	good := func(header, payload string) string { return maced(sha256.New, s.current, header, payload) }
	l.reject("front", "expired", ReasonExpired, good(header, body(set("exp", "1798761589"))))
	l.reject("front", "expired and forged", ReasonBadSignature, flip(good(header, body(set("exp", "1"))), 9))
	l.reject("front", "another issuer", ReasonBadIssuer, good(header, body(set("iss", `"https://evil.example"`))))
	l.reject("front", "another audience", ReasonBadAudience, good(header, body(set("aud", `"billing"`))))
	l.reject("front", "more than an hour", ReasonLifetimeTooLong, good(header, body(set("exp", "1798765171"))))
	l.reject("front", "duplicate claim", ReasonDuplicateMember, good(header, body(add("sub", `"admin"`))))
	l.reject("front", "another type", ReasonWrongTyp, good(f.sharedHeader(s.current, set("typ", `"JWT"`)), body()))
	l.reject("front", "crit", ReasonUnsupportedCrit, good(f.sharedHeader(s.current, add("crit", `["exp"]`)), body()))
	jwk := `{"kty":"oct","k":"` + base64.RawURLEncoding.EncodeToString(s.stranger) + `"}`
	l.reject("front", "brings its secret along", ReasonUntrustedKeySource, maced(sha256.New, s.stranger, f.sharedHeader(s.stranger, add("jwk", jwk)), body()))
}
