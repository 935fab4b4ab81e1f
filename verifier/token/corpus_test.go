package token

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// corpusFile reads one file of the external corpus of attack tokens.
func corpusFile(t *testing.T, name string, to any) {
	t.Helper()
	dir := os.Getenv("AUTHBUS_TEST_CORPUS")
	if dir == "" {
		if os.Getenv("AUTHBUS_TEST_REQUIRE") == "all" {
			t.Fatal("AUTHBUS_TEST_CORPUS is not set")
		}
		t.Skip("AUTHBUS_TEST_CORPUS is not set: it names the folder of the token corpus")
	}
	doc, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(doc, to); err != nil {
		t.Fatalf("reading %s: %v", name, err)
	}
}

// atLeast fails the test where fewer cases were judged than the corpus is known to
// hold, by what is said of them: a test that finds none proves nothing.
func atLeast(t *testing.T, judged, known map[string]int) {
	t.Helper()
	t.Logf("judged: %v", judged)
	for what, n := range known {
		if judged[what] < n {
			t.Errorf("%d cases of %q were judged, at least %d are known", judged[what], what, n)
		}
	}
}

// corpusClaims is a file of whole tokens with claims.
type corpusClaims struct {
	JWKS    json.RawMessage
	Profile struct {
		Now      int64
		Iss, Aud string
	}
	Cases []vector
}

func TestCorpusOfWholeTokens(t *testing.T) {
	for name, known := range map[string]map[string]int{
		"wycheproof_rebased.json": {"accept": 2, "must_reject": 233},
		"jsontestsuite.json":      {"accept": 93, "must_reject": 202, "should_reject": 2, "either": 21},
	} {
		t.Run(name, func(t *testing.T) {
			var file corpusClaims
			corpusFile(t, name, &file)
			keys, err := ParseJWKS(file.JWKS)
			if err != nil {
				t.Fatal(err)
			}
			profile := Profile{Issuer: file.Profile.Iss, Audience: file.Profile.Aud}
			judged := map[string]int{}
			for _, v := range file.Cases {
				v.run(t, profile, keys, time.Unix(file.Profile.Now, 0), reasonFits)
				judged[v.Expect]++
			}
			atLeast(t, judged, known)
		})
	}
}

// hs256 marks the cases for shared secrets, which no set of public keys can hold:
// there, those that would be valid must be refused like the others.
const hs256 = "HS256"

// corpusSecrets is the set of the shared secrets in a published key, under their
// published ids, or nil where one of them is too weak to be taken, or public keys
// are beside them.
func corpusSecrets(t *testing.T, key []byte) *KeySet {
	t.Helper()
	var doc struct {
		Keys []struct{ Kty, Kid, Alg, K string }
	}
	if err := json.Unmarshal(asJWKS(t, key), &doc); err != nil {
		t.Fatal(err)
	}
	set := &KeySet{byID: map[string]*verifyKey{}, shared: true}
	for _, k := range doc.Keys {
		if k.Kty != "oct" || k.Alg != "" && k.Alg != hs256 {
			return nil
		}
		b, err := base64.RawURLEncoding.DecodeString(k.K)
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewSecret(b)
		if err != nil || set.byID[k.Kid] != nil {
			return nil
		}
		set.addSecret(k.Kid, s.held().key)
	}
	return set
}

// signatureLayer judges a token whose payload is no claims set: all of Verify
// from the size to the signature. Some published tokens have no typ or kid, so
// these are given.
func signatureLayer(raw string, keys *KeySet) error {
	c, err := split(raw)
	if err != nil {
		return err
	}
	var b strings.Builder
	appendDecoded(&b, c.header)
	h, err := readHeader(b.String())
	if err != nil {
		return err
	}
	if h.typ.kind == absent {
		h.typ = value{kind: text, raw: "at+jwt"}
	}
	if h.kid.kind == absent {
		h.kid = value{kind: text, raw: given}
	}
	key, err := h.admit(keys)
	switch {
	case err != nil:
		return err
	case c.signature == "":
		return errNoSignature
	case !key.verifies(c.input, c.signature):
		return errBadSignature
	}
	return nil
}

// signatureCase is a published token, good or bad.
type signatureCase struct {
	ID, Comment, Token string
	ExpectHere         string `json:"expect_here"`
}

func (c signatureCase) run(t *testing.T, alg string, jwks []byte) {
	t.Helper()
	keys, err := ParseJWKS(jwks) // a key that is refused refuses its tokens
	if err == nil {
		err = signatureLayer(c.Token, keys)
	}
	switch c.ExpectHere {
	case "accept_signature":
		if (alg == hs256) == (err == nil) {
			t.Errorf("%s %s, %s: %v", c.ID, c.Comment, alg, err)
		}
	case "reject":
		if err == nil {
			t.Errorf("%s %s, %s: accepted", c.ID, c.Comment, alg)
		}
		// A token without claims must fail the whole way too.
		if _, err := (Profile{Issuer: "i", Audience: "a"}).Verify(c.Token, keys, time.Now()); err == nil {
			t.Errorf("%s %s, %s: accepted as access token", c.ID, c.Comment, alg)
		}
	case "either", "skip":
	default:
		t.Errorf("%s: unknown expectation %q", c.ID, c.ExpectHere)
	}
}

// runShared judges the token by the secrets that it was published with. It
// reports whether they are strong enough for that.
func (c signatureCase) runShared(t *testing.T, key []byte) bool {
	t.Helper()
	secrets := corpusSecrets(t, key)
	if secrets == nil {
		return false
	}
	err := signatureLayer(c.Token, secrets)
	if c.ExpectHere == "accept_signature" && err != nil || c.ExpectHere == "reject" && err == nil {
		t.Errorf("%s %s, with its secret: %v", c.ID, c.Comment, err)
	}
	return true
}

func TestCorpusOfWycheproofSignatures(t *testing.T) {
	var file struct {
		Groups []struct {
			Alg   string
			Key   json.RawMessage
			Cases []signatureCase
		}
	}
	corpusFile(t, "wycheproof_jws.json", &file)
	judged := map[string]int{}
	for _, g := range file.Groups {
		for _, c := range g.Cases {
			c.run(t, g.Alg, asJWKS(t, g.Key))
			judged[c.ExpectHere]++
			if g.Alg == hs256 && c.runShared(t, g.Key) {
				judged[c.ExpectHere+" with its secret"]++
			}
		}
	}
	atLeast(t, judged, map[string]int{
		"accept_signature": 20, "reject": 404,
		"accept_signature with its secret": 2, "reject with its secret": 18,
	})
}

func TestCorpusOfRFCs(t *testing.T) {
	var cases []struct {
		signatureCase
		Alg string
		Key json.RawMessage
	}
	var file struct{ Cases json.RawMessage }
	corpusFile(t, "rfc_jws.json", &file)
	if err := json.Unmarshal(file.Cases, &cases); err != nil {
		t.Fatal(err)
	}
	judged := map[string]int{}
	for _, c := range cases {
		judged[c.ExpectHere]++
		jwks := []byte(`{"keys":[]}`)
		if c.Key != nil {
			jwks = asJWKS(t, c.Key)
		}
		c.run(t, c.Alg, jwks)
		if c.Alg == hs256 && c.runShared(t, c.Key) {
			t.Errorf("%s: a published secret was taken", c.ID)
		}
	}
	atLeast(t, judged, map[string]int{"accept_signature": 6, "reject": 27})
}

// given is the id of keys that were published without one.
const given = "given"

// asJWKS makes a JWK Set of a key, several keys or a set, with ids for all.
func asJWKS(t *testing.T, key []byte) []byte {
	t.Helper()
	var set struct{ Keys []map[string]any }
	for _, form := range []string{"%s", `{"keys":%s}`, `{"keys":[%s]}`} {
		doc := fmt.Appendf(nil, form, key)
		if err := json.Unmarshal(doc, &set); err == nil && set.Keys != nil {
			break
		}
	}
	if set.Keys == nil {
		t.Fatalf("not a key: %s", key)
	}
	for _, k := range set.Keys {
		if _, ok := k["kid"]; !ok {
			k["kid"] = given
		}
	}
	doc, err := json.Marshal(map[string]any{"keys": set.Keys})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// primitiveGroup holds raw signatures of one key.
type primitiveGroup struct {
	Alg   string
	Key   json.RawMessage
	Cases []struct {
		ID, Comment, Expect string
		Msg                 string `json:"msg_hex"`
		Sig                 string `json:"sig_hex"`
	}
}

// run judges each of them by the key, and counts them in judged under of.
func (g primitiveGroup) run(t *testing.T, key *verifyKey, of string, judged map[string]int) {
	t.Helper()
	for _, c := range g.Cases {
		judged[of+" "+c.Expect]++
		got := key.verifies(unhex(t, c.Msg), base64.RawURLEncoding.EncodeToString([]byte(unhex(t, c.Sig))))
		if c.Expect != "either" && got != (c.Expect == "valid") {
			t.Errorf("%s %s: valid = %v", c.ID, c.Comment, got)
		}
	}
}

func TestCorpusOfWycheproofPrimitives(t *testing.T) {
	var file struct{ Groups []primitiveGroup }
	corpusFile(t, "wycheproof_primitive.json", &file)
	judged := map[string]int{}
	for _, g := range file.Groups {
		keys, err := ParseJWKS(asJWKS(t, g.Key))
		if g.Alg == hs256 {
			if err == nil {
				t.Errorf("a shared secret was taken for a public key: %s", g.Key)
			}
			g.runSecret(t, judged)
			continue
		}
		if err != nil || keys.Len() != 1 {
			t.Errorf("%s: %v", g.Key, err)
			continue
		}
		g.run(t, keys.order[0], g.Alg, judged)
	}
	atLeast(t, judged, map[string]int{
		"EdDSA valid": 88, "EdDSA invalid": 63, "ES256 valid": 173, "ES256 invalid": 89, "RS256 valid": 17, "RS256 invalid": 499,
		"HS256 valid": 30, "HS256, secret refused invalid": 54,
	})
}

// runSecret runs the MACs of a group, also those of a secret that is refused,
// around the check.
func (g primitiveGroup) runSecret(t *testing.T, judged map[string]int) {
	t.Helper()
	var key struct{ K string }
	if err := json.Unmarshal(g.Key, &key); err != nil {
		t.Fatal(err)
	}
	b, err := base64.RawURLEncoding.DecodeString(key.K)
	if err != nil {
		t.Fatal(err)
	}
	set := &KeySet{byID: map[string]*verifyKey{}, shared: true}
	set.addSecret(given, b)
	of := hs256
	if _, err := NewSecret(b); err != nil {
		of += ", secret refused"
	}
	g.run(t, set.order[0], of, judged)
}

func unhex(t *testing.T, s string) string {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// layers are the reasons in the order of the work that finds them. A refusal may
// name a reason of an earlier layer than expected, and never one of a later.
var layers = [][]Reason{
	{ReasonTooLarge, ReasonMalformed, ReasonBadEncoding, ReasonEncryptedToken},
	{
		ReasonBadHeader, ReasonUntrustedKeySource, ReasonUnsupportedCrit, ReasonUnsupportedHeader,
		ReasonAlgNotAllowed, ReasonWrongTyp, ReasonUnknownKID, ReasonAlgKeyMismatch,
	},
	{ReasonBadSignature},
	{
		ReasonBadClaims, ReasonWrongTokenUse, ReasonMissingClaim, ReasonBadClaimType, ReasonBadIssuer,
		ReasonBadAudience, ReasonLifetimeTooLong, ReasonExpired, ReasonNotYetValid, ReasonIssuedInFuture,
	},
}

// reasonFits reports whether got may stand for want. too_deep and
// duplicate_member are of the header or of the claims, as the case is.
func reasonFits(got, want Reason) bool {
	if got == want || got == ReasonTooDeep && want == ReasonBadClaims {
		return true
	}
	layerOf := func(r Reason) int {
		return slices.IndexFunc(layers, func(l []Reason) bool { return slices.Contains(l, r) })
	}
	return layerOf(got) >= 0 && layerOf(got) < layerOf(want)
}

// reasonOf fails the test for an error that is no refusal.
func reasonOf(t *testing.T, err error) Reason {
	t.Helper()
	var refused *Error
	if !errors.As(err, &refused) {
		t.Fatalf("not a refusal: %v", err)
	}
	return refused.Reason
}
