package token

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the vectors in testdata anew")

// TestVectorsAreAsMade holds the vectors in testdata to the recipes in these
// files: everything in them is made from fixed keys and a fixed time.
func TestVectorsAreAsMade(t *testing.T) {
	f := forge{tb: t, keys: loadTestKeys(t)}
	jwks, err := MarshalJWKS(f.keys.public())
	if err != nil {
		t.Fatal(err)
	}
	// For tests elsewhere that judge the vectors.
	asMade(t, "keys/public.json", append(jwks, '\n'))
	asMade(t, "keys/secrets.json", loadTestSecrets(t).encode(t))
	for name, made := range map[string][]vector{
		"accept.json":           f.controls(),
		"reject_transport.json": f.transport(),
		"reject_header.json":    f.headers(),
		"reject_signature.json": f.signatures(),
		"reject_claims.json":    f.claims(),
		"shared/accept.json":    f.sharedControls(loadTestSecrets(t)),
		"shared/reject.json":    f.sharedAttacks(loadTestSecrets(t)),
	} {
		asMade(t, name, encodeVectors(t, made))
	}
}

// asMade holds a file in testdata to its recipe.
func asMade(t *testing.T, name string, doc []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, doc, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if onDisk, err := os.ReadFile(path); err != nil || !bytes.Equal(onDisk, doc) {
		t.Errorf("%s is not what its recipes make (%v): run go test with -update", path, err)
	}
}

// encodeVectors writes a JSON array, one vector a line.
func encodeVectors(t *testing.T, vectors []vector) []byte {
	t.Helper()
	seen := map[string]bool{}
	var doc bytes.Buffer
	doc.WriteString("[\n")
	for i, v := range vectors {
		if name := v.Class + "/" + v.Title; seen[name] {
			t.Fatalf("two vectors are called %s", name)
		} else {
			seen[name] = true
		}
		line, err := compactJSON(v)
		if err != nil {
			t.Fatal(err)
		}
		doc.Write(line)
		if i < len(vectors)-1 {
			doc.WriteByte(',')
		}
		doc.WriteByte('\n')
	}
	doc.WriteString("]\n")
	return doc.Bytes()
}

// forge makes tokens, good ones and others.
type forge struct {
	tb   testing.TB
	keys testKeys
}

// member is one member of a header or of claims, the value as raw JSON.
type member struct{ name, value string }

// edit changes an object's members.
type edit func([]member) []member

// set gives a member another value, or adds it at the end.
func set(name, value string) edit {
	return func(o []member) []member {
		for i := range o {
			if o[i].name == name {
				o[i].value = value
				return o
			}
		}
		return append(o, member{name, value})
	}
}

// add adds a member, also one that is there already; name is raw JSON without quotes.
func add(name, value string) edit {
	return func(o []member) []member { return append(o, member{name, value}) }
}

// rename keeps the value and its place.
func rename(from, to string) edit {
	return func(o []member) []member {
		for i := range o {
			if o[i].name == from {
				o[i].name = to
			}
		}
		return o
	}
}

func drop(name string) edit {
	return func(o []member) []member {
		kept := o[:0]
		for _, m := range o {
			if m.name != name {
				kept = append(kept, m)
			}
		}
		return kept
	}
}

func document(o []member, edits []edit) string {
	for _, e := range edits {
		o = e(o)
	}
	var b strings.Builder
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + m.name + `":` + m.value)
	}
	return "{" + b.String() + "}"
}

// header is the header of a good token of key kid, edited.
func (f forge) header(kid string, edits ...edit) string {
	alg, _ := f.keys.signer(kid)
	return document([]member{
		{"alg", quote(string(alg))}, {"typ", `"at+jwt"`}, {"kid", quote(kid)},
	}, edits)
}

// body is the claims of a good token, edited.
func body(edits ...edit) string {
	return document([]member{
		{"iss", quote(vectorIssuer)},
		{"sub", `"018f3c2e-7d1a-7c43-9a55-0a1b2c3d4e5f"`},
		{"aud", quote(vectorAudience)},
		{"exp", "1798761900"},
		{"iat", "1798761570"},
		{"jti", `"j-0001"`},
		{"sid", `"s-0001"`},
		{"client_id", `"web-1"`},
		{"scope", `"orders:read orders:write"`},
		{"roles", `["clerk"]`},
		{"auth_time", "1798761000"},
		{"rev", "7"},
	}, edits)
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always encodes
	}
	return string(b)
}

// signed is the token of header and payload, signed with the test key kid.
func (f forge) signed(kid, header, payload string) string {
	return f.over(kid, b64(header)+"."+b64(payload))
}

// over is the token with this signing input, whatever it is.
func (f forge) over(kid, input string) string {
	f.tb.Helper()
	return input + "." + base64.RawURLEncoding.EncodeToString(f.keys.sign(f.tb, kid, input))
}

// good is an accepted token of key kid.
func (f forge) good(kid string) string { return f.signed(kid, f.header(kid), body()) }

// withHeader and withClaims are good tokens but for the edits, validly signed.
func (f forge) withHeader(edits ...edit) string {
	return f.signed(edID, f.header(edID, edits...), body())
}

func (f forge) withClaims(edits ...edit) string {
	return f.signed(edID, f.header(edID), body(edits...))
}

// list collects the vectors of a file.
type list []vector

func (l *list) accept(class, title, token string) {
	*l = append(*l, vector{Class: class, Title: title, Expect: "accept", Token: token})
}

func (l *list) reject(class, title string, r Reason, token string) {
	*l = append(*l, vector{Class: class, Title: title, Expect: "must_reject", Reason: r, Token: token})
}

func (l *list) rejectParts(class, title string, r Reason, parts ...part) {
	*l = append(*l, vector{Class: class, Title: title, Expect: "must_reject", Reason: r, Parts: parts})
}

// controls are tokens that must be accepted: strict is not the same as picky.
func (f forge) controls() []vector {
	var l list
	for _, kid := range []string{edID, ecID, rsaID} {
		l.accept("control", "signed with "+kid, f.good(kid))
	}
	l.accept("signature", "other half of an ES256 signature", f.malleate(f.good(ecID)))
	l.accept("typ", "upper case", f.withHeader(set("typ", `"AT+JWT"`)))
	l.accept("typ", "as full media type", f.withHeader(set("typ", `"application/at+jwt"`)))
	l.accept("typ", "as full media type in mixed case", f.withHeader(set("typ", `"Application/AT+jwt"`)))
	l.accept("header", "unknown parameters", f.withHeader(add("x-tenant", `{"a":[1,2.5e3,null]}`), add("x5t", `"aGk"`)))
	l.accept("header", "white space", f.signed(edID, " {\n\t\"typ\" : \"at+jwt\" ,\r\n\"alg\":\"EdDSA\",\"kid\":\"ed-1\" } ", body()))
	l.accept("header", "escaped name and value", f.withHeader(rename("kid", `\u006bid`), set(`\u006bid`, `"\u0065d-1"`)))
	l.accept("header", "case variant beside the name", f.withHeader(add("ALG", `"none"`)))
	l.accept("iss", "escaped slash", f.withClaims(set("iss", `"https:\/\/auth.test.example"`)))
	l.accept("aud", "array of one", f.withClaims(set("aud", `["orders"]`)))
	l.accept("aud", "array with others", f.withClaims(set("aud", `["billing","orders"]`)))
	l.accept("claims", "unknown claims", f.withClaims(add("tenant", `{"a":{"b":["c",{"d":-1.5E-7}]}}`), add("exp2", "null")))
	l.accept("claims", "only what is required", f.withClaims(drop("sid"), drop("client_id"), drop("scope"), drop("roles"), drop("auth_time"), drop("rev")))
	l.accept("claims", "case variant beside the name", f.withClaims(add("SUB", `"admin"`)))
	l.accept("claims", "text beyond ASCII", f.withClaims(set("sub", `"Zoë 🦊 \ud83e\udd8a \u0000"`)))
	l.accept("claims", "depth at the cap", f.withClaims(add("x", strings.Repeat("[", 31)+strings.Repeat("]", 31))))
	l.accept("claims", "same name in different objects", f.withClaims(add("x", `{"sub":1,"y":{"sub":2}}`), add("z", `{"sub":3}`)))
	l.accept("claims", "128 members", f.withClaims(addMany(116)))
	l.accept("header", "32 members", f.withHeader(addMany(29)))
	l.accept("scope", "empty", f.withClaims(set("scope", `""`)))
	l.accept("scope", "two spaces", f.withClaims(set("scope", `"a  b "`)))
	l.accept("roles", "empty", f.withClaims(set("roles", `[]`)))
	l.accept("token_use", "access", f.withClaims(add("token_use", `"access"`)))
	l.accept("rev", "largest", f.withClaims(set("rev", "9007199254740991")))
	l.accept("rev", "zero", f.withClaims(set("rev", "0")))
	l.accept("exp", "9 s ago", f.withClaims(set("exp", "1798761591")))
	l.accept("nbf", "in 10 s", f.withClaims(add("nbf", "1798761610")))
	l.accept("iat", "in 10 s", f.withClaims(set("iat", "1798761610")))
	l.accept("lifetime", "one hour", f.withClaims(set("exp", "1798765170")))
	l.accept("jti", "256 bytes", f.withClaims(set("jti", quote(strings.Repeat("j", 256)))))
	l.accept("size", "16384 bytes", f.padded(MaxSize))
	return l
}

// padded is a good token of exactly n bytes.
func (f forge) padded(n int) string {
	base := f.withClaims(add("x", `""`))
	fill := (n - len(base)) / 4 * 3
	for ; ; fill++ {
		token := f.withClaims(add("x", quote(strings.Repeat("x", fill))))
		if len(token) == n {
			return token
		}
		if len(token) > n {
			f.tb.Fatalf("no token of %d bytes", n)
		}
	}
}
