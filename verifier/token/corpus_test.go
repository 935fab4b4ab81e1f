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
	for _, name := range []string{"wycheproof_rebased.json", "jsontestsuite.json"} {
		t.Run(name, func(t *testing.T) {
			var file corpusClaims
			corpusFile(t, name, &file)
			keys, err := ParseJWKS(file.JWKS)
			if err != nil {
				t.Fatal(err)
			}
			profile := Profile{Issuer: file.Profile.Iss, Audience: file.Profile.Aud}
			for _, v := range file.Cases {
				v.run(t, profile, keys, time.Unix(file.Profile.Now, 0), reasonFits)
			}
			t.Logf("%d cases", len(file.Cases))
		})
	}
}

// noSharedSecrets marks the cases for HS256, which a key set cannot hold: those
// that would be valid must be refused here like the others.
const noSharedSecrets = "HS256"

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
		if (alg == noSharedSecrets) == (err == nil) {
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

func TestCorpusOfWycheproofSignatures(t *testing.T) {
	var file struct {
		Groups []struct {
			Alg   string
			Key   json.RawMessage
			Cases []signatureCase
		}
	}
	corpusFile(t, "wycheproof_jws.json", &file)
	n := 0
	for _, g := range file.Groups {
		for _, c := range g.Cases {
			c.run(t, g.Alg, asJWKS(t, g.Key))
			n++
		}
	}
	t.Logf("%d cases", n)
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
	for _, c := range cases {
		jwks := []byte(`{"keys":[]}`)
		if c.Key != nil {
			jwks = asJWKS(t, c.Key)
		}
		c.run(t, c.Alg, jwks)
	}
	t.Logf("%d cases", len(cases))
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

func TestCorpusOfWycheproofPrimitives(t *testing.T) {
	var file struct {
		Groups []struct {
			Alg   string
			Key   json.RawMessage
			Cases []struct {
				ID, Comment, Expect string
				Msg                 string `json:"msg_hex"`
				Sig                 string `json:"sig_hex"`
			}
		}
	}
	corpusFile(t, "wycheproof_primitive.json", &file)
	counts := map[string]int{}
	for _, g := range file.Groups {
		keys, err := ParseJWKS(asJWKS(t, g.Key))
		if g.Alg == noSharedSecrets {
			if err == nil {
				t.Errorf("a shared secret was taken for a key: %s", g.Key)
			}
			counts["refused with the shared secret"] += len(g.Cases)
			continue
		}
		if err != nil || keys.Len() != 1 {
			t.Errorf("%s: %v", g.Key, err)
			continue
		}
		for _, c := range g.Cases {
			got := keys.order[0].verifies(unhex(t, c.Msg), base64.RawURLEncoding.EncodeToString([]byte(unhex(t, c.Sig))))
			if c.Expect != "either" && got != (c.Expect == "valid") {
				t.Errorf("%s %s: valid = %v", c.ID, c.Comment, got)
			}
			counts[g.Alg]++
		}
	}
	t.Log(counts)
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
