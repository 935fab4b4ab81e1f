package token

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// agrees checks that other readers understand an accepted token in the same
// way: golang-jwt's own parser accepts it, and encoding/json finds the same claims.
func agrees(t *testing.T, raw string, got *Claims, keys *KeySet, p Profile, now time.Time) {
	t.Helper()
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{"EdDSA", "ES256", "RS256", "HS256"}), jwt.WithStrictDecoding(), jwt.WithIssuer(p.Issuer), jwt.WithAudience(p.Audience),
		jwt.WithIssuedAt(), jwt.WithExpirationRequired(), jwt.WithLeeway(p.leeway()), jwt.WithTimeFunc(func() time.Time { return now }),
	)
	_, err := parser.Parse(raw, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		if k := keys.find(kid); k.secret != nil {
			return k.secret, nil
		}
		k, _ := keys.Lookup(kid)
		return k.Public, nil
	})
	if err != nil {
		t.Errorf("golang-jwt refuses %s: %v", raw, err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	want := encodingJSONClaims(t, payload)
	want.KeyID = got.KeyID
	if !got.equal(want) {
		t.Errorf("claims of %s\n%+v\nencoding/json finds\n%+v", payload, got, want)
	}
}

// encodingJSONClaims reads claims the lax way.
func encodingJSONClaims(t *testing.T, payload []byte) *Claims {
	t.Helper()
	m := decodeObject(t, payload)
	str := func(name string) string { s, _ := m[name].(string); return s }
	num := func(name string) int64 {
		n, _ := m[name].(json.Number)
		i, _ := strconv.ParseInt(n.String(), 10, 64)
		return i
	}
	texts := func(name string) (all []string) {
		list, _ := m[name].([]any)
		for _, v := range list {
			s, _ := v.(string)
			all = append(all, s)
		}
		return all
	}
	c := &Claims{
		Issuer: str("iss"), Subject: str("sub"), Audience: texts("aud"), ExpiresAt: num("exp"), IssuedAt: num("iat"), NotBefore: num("nbf"), ID: str("jti"),
		SessionID: str("sid"), ClientID: str("client_id"), Roles: texts("roles"), AuthTime: num("auth_time"), Rev: uint64(num("rev")),
	}
	if aud, ok := m["aud"].(string); ok {
		c.Audience = []string{aud}
	}
	c.Scope = slices.DeleteFunc(strings.Split(str("scope"), " "), func(s string) bool { return s == "" })
	return c
}

func decodeObject(t *testing.T, doc []byte) map[string]any {
	t.Helper()
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("encoding/json refuses %q: %v", doc, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		t.Fatalf("something follows %q", doc)
	}
	return m
}

func TestAcceptedVectorsAgreeWithOtherReaders(t *testing.T) {
	now := time.Unix(vectorNow, 0)
	for name, keys := range map[string]*KeySet{"accept": loadTestKeys(t).set(t), "shared/accept": loadTestSecrets(t).set(t)} {
		for _, v := range readVectors(t, "testdata/"+name+".json") {
			c, err := vectorProfile().Verify(v.raw(), keys, now)
			if err != nil {
				t.Fatalf("%s: %v", v.Title, err)
			}
			agrees(t, v.raw(), c, keys, vectorProfile(), now)
		}
	}
}

// FuzzVerify checks tokens as they come, and signs every header and payload it
// is given, so that the fuzzer gets behind the signature; with public keys, and
// with shared secrets.
func FuzzVerify(f *testing.F) {
	keys := loadTestKeys(f)
	secrets := loadTestSecrets(f)
	now := time.Unix(vectorNow, 0)
	sets := []*KeySet{keys.set(f), secrets.set(f)}
	for _, name := range []string{"accept", "reject_transport", "reject_header", "reject_signature", "reject_claims", "shared/accept", "shared/reject"} {
		for _, v := range readVectors(f, "testdata/"+name+".json") {
			raw := v.raw()
			if len(raw) > 4096 {
				continue
			}
			s := append(strings.Split(raw, "."), "", "")
			header, _ := base64.RawURLEncoding.DecodeString(s[0])
			payload, _ := base64.RawURLEncoding.DecodeString(s[1])
			f.Add(raw, header, payload)
		}
	}
	f.Fuzz(func(t *testing.T, raw string, header, payload []byte) {
		forged := forge{tb: t, keys: keys}
		for _, raw := range []string{
			raw, forged.signed(edID, string(header), string(payload)), forged.signed(edID, forged.header(edID), string(payload)),
			maced(sha256.New, secrets.current, string(header), string(payload)), maced(sha256.New, secrets.current, forged.sharedHeader(secrets.current), string(payload)),
		} {
			accepted := 0
			for _, set := range sets {
				c, err := vectorProfile().Verify(raw, set, now)
				if err != nil {
					reasonOf(t, err)
					harmless(t, err)
					continue
				}
				accepted++
				agrees(t, raw, c, set, vectorProfile(), now)
			}
			if accepted > 1 {
				t.Errorf("public keys and shared secrets both accept %s", raw)
			}
		}
	})
}

// FuzzJSON holds the scanner to encoding/json: it takes less, never something
// else, and what it takes less is known.
func FuzzJSON(f *testing.F) {
	for _, name := range []string{"accept", "reject_header", "reject_claims"} {
		for _, v := range readVectors(f, "testdata/"+name+".json") {
			if s := strings.Split(v.raw(), "."); len(s) == 3 && len(v.raw()) < 4096 {
				payload, _ := base64.RawURLEncoding.DecodeString(s[1])
				f.Add(payload)
			}
		}
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		switch fault := checkJSON(string(doc), maxClaimMembers); fault {
		case faultNone:
			sameMembers(t, doc)
		case faultSyntax:
			surrogates := bytes.Contains(doc, []byte(`\ud`)) || bytes.Contains(doc, []byte(`\uD`))
			if json.Valid(doc) && bytes.HasPrefix(bytes.TrimLeft(doc, " \t\r\n"), []byte("{")) && !surrogates {
				t.Errorf("refused as %v, which it is not: %q", fault, doc)
			}
		case faultNumber, faultMembers, faultDepth, faultDuplicate, faultUTF8:
		default:
			t.Errorf("unknown fault %d", fault)
		}
	})
}

// sameMembers compares the members of the document's object with encoding/json's.
func sameMembers(t *testing.T, doc []byte) {
	t.Helper()
	want := decodeObject(t, doc)
	s := scanner{doc: string(doc), room: maxClaimMembers}
	s.begin()
	n := 0
	for {
		name, v, more, fault := s.next()
		if fault != faultNone {
			t.Fatalf("%v on the second reading of %q", fault, doc)
		}
		if !more {
			break
		}
		n++
		other, ok := want[name]
		if !ok {
			t.Fatalf("encoding/json has no %q in %q", name, doc)
		}
		if got := interpreted(t, v); !reflect.DeepEqual(got, other) {
			t.Errorf("%q is %v, and %v for encoding/json", name, got, other)
		}
	}
	if n != len(want) {
		t.Errorf("%d members, and %d for encoding/json: %q", n, len(want), doc)
	}
}

// interpreted is the value as encoding/json would give it; texts by our own
// unescaping, the rest by its own.
func interpreted(t *testing.T, v value) any {
	t.Helper()
	if v.kind == text {
		return v.unquoted()
	}
	return decodeObject(t, []byte(`{"v":`+v.raw+`}`))["v"]
}
