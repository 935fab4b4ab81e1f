package token

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestJWKSRoundTrip(t *testing.T) {
	keys := loadTestKeys(t)
	doc, err := MarshalJWKS(keys.public())
	if err != nil {
		t.Fatal(err)
	}
	set, err := ParseJWKS(doc)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(set.Keys(), keys.set(t).Keys()) {
		t.Errorf("keys changed on the way: %s", doc)
	}
}

// A published key set holds public members and nothing else.
func TestMarshalJWKSWritesPublicMembersOnly(t *testing.T) {
	doc, err := MarshalJWKS(loadTestKeys(t).public())
	if err != nil {
		t.Fatal(err)
	}
	var set map[string][]map[string]string
	if err := json.Unmarshal(doc, &set); err != nil {
		t.Fatal(err)
	}
	want := []string{"alg crv kid kty use x", "alg crv kid kty use x y", "alg e kid kty n use"}
	for i, k := range set["keys"] {
		var names []string
		for _, name := range []string{"alg", "crv", "d", "e", "k", "kid", "kty", "n", "p", "q", "use", "x", "y"} {
			if _, ok := k[name]; ok {
				names = append(names, name)
			}
		}
		if got := strings.Join(names, " "); got != want[i] || len(names) != len(k) {
			t.Errorf("key %d has %s of %d; want %s", i, got, len(k), want[i])
		}
	}
}

func TestMarshalJWKSRefusesPrivateKeys(t *testing.T) {
	keys := loadTestKeys(t)
	for _, k := range []Key{
		{ID: "k", Alg: AlgEdDSA, Public: keys.ed}, {ID: "k", Alg: AlgES256, Public: keys.ec}, {ID: "k", Alg: AlgRS256, Public: keys.rsa},
	} {
		if doc, err := MarshalJWKS([]Key{k}); doc != nil || err == nil {
			t.Errorf("%s: %s, %v", k.Alg, doc, err)
		}
	}
}

func TestMarshalJWKSOfNoKeys(t *testing.T) {
	doc, err := MarshalJWKS(nil)
	if err != nil || string(doc) != `{"keys":[]}` {
		t.Errorf("%s, %v", doc, err)
	}
	if set, err := ParseJWKS(doc); err != nil || set.Len() != 0 {
		t.Errorf("%v, %v", set, err)
	}
}

const (
	edX = `"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`
	ecX = `"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"`
	ecY = `"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"`
	// rsaN stands for a sound modulus of 2048 bits.
	rsaN = "\x00"
)

func TestParseJWKS(t *testing.T) {
	modulus := rsaModulus(t)
	tests := []struct{ name, doc, ids, err string }{
		{"Ed25519", `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","alg":"EdDSA","use":"sig",` + edX + `}]}`, "a EdDSA", ""},
		{"without alg and use", `{"keys":[{"kty":"EC","crv":"P-256","kid":"a",` + ecX + `,` + ecY + `},{"kty":"RSA","kid":"b","e":"AQAB","n":"` + rsaN + `"}]}`, "a ES256,b RS256", ""},
		{"key_ops verify", `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","key_ops":["verify"],` + edX + `}]}`, "a EdDSA", ""},
		{"unknown members", `{"x":1,"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x5t":"aGk","ext":true,` + edX + `}]}`, "a EdDSA", ""},
		{"for encryption", `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","use":"enc",` + edX + `}]}`, "", ""},
		{"key_ops encrypt", `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","key_ops":["encrypt"],` + edX + `}]}`, "", ""},
		{"unknown kty", `{"keys":[{"kty":"AKP","kid":"a","pub":"aGk"}]}`, "", ""},
		{"unknown alg", `{"keys":[{"kty":"RSA","kid":"a","alg":"PS256","e":"AQAB","n":"` + rsaN + `"}]}`, "", ""},
		{"unknown curve", `{"keys":[{"kty":"OKP","crv":"X25519","kid":"a",` + edX + `}]}`, "", ""},
		{"no kid", `{"keys":[{"kty":"OKP","crv":"Ed25519",` + edX + `}]}`, "", ""},

		{"private Ed25519 key", `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a",` + edX + `,"d":"aGk"}]}`, "", `private member "d"`},
		{"private member of another use", `{"keys":[{"kty":"RSA","kid":"a","use":"enc","dp":"aGk"}]}`, "", `private member "dp"`},
		{"shared secret", `{"keys":[{"kty":"oct","kid":"a","k":"aGk"}]}`, "", `private member "k"`},
		{"shared secret without one", `{"keys":[{"kty":"oct","kid":"a"}]}`, "", "shared secret"},
		{"alg of another type", `{"keys":[{"kty":"RSA","kid":"a","alg":"ES256","e":"AQAB","n":"` + rsaN + `"}]}`, "", "does not fit"},
		{"alg of another curve", `{"keys":[{"kty":"EC","crv":"P-384","kid":"a","alg":"ES256",` + ecX + `,` + ecY + `}]}`, "", "do not fit"},
		{"off the curve", `{"keys":[{"kty":"EC","crv":"P-256","kid":"a",` + ecX + `,"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a1"}]}`, "", "not base64url"},
		{"point that is none", `{"keys":[{"kty":"EC","crv":"P-256","kid":"a",` + ecX + `,"y":"AAFEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`, "", "point"},
		{"short coordinate", `{"keys":[{"kty":"EC","crv":"P-256","kid":"a",` + ecX + `,"y":"AQ"}]}`, "", "y is 1 bytes long"},
		{"missing coordinate", `{"keys":[{"kty":"EC","crv":"P-256","kid":"a",` + ecX + `}]}`, "", "y is 0 bytes long"},
		{"padding", `{"keys":[{"kty":"RSA","kid":"a","e":"AQAB=","n":"` + rsaN + `"}]}`, "", "not base64url"},
		{"line feed in base64url", `{"keys":[{"kty":"RSA","kid":"a","e":"AQ\nAB","n":"` + rsaN + `"}]}`, "", "not base64url"},
		{"huge exponent", `{"keys":[{"kty":"RSA","kid":"a","e":"____________","n":"` + rsaN + `"}]}`, "", "exponent"},
		{"small modulus", `{"keys":[{"kty":"RSA","kid":"a","e":"AQAB","n":"AQAB"}]}`, "", "modulus"},
		{"small order", `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}`, "", "small order"},
		{"kid twice", `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a",` + edX + `},{"kty":"OKP","crv":"Ed25519","kid":"a",` + edX + `}]}`, "", "twice"},
		{"kid too long", `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"` + strings.Repeat("k", 257) + `",` + edX + `}]}`, "", "257 bytes"},
		{"kid of wrong type", `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":1,` + edX + `}]}`, "", "kid is not a string"},
		{"use null", `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","use":null,` + edX + `}]}`, "", "use is not a string"},
		{"key_ops a string", `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","key_ops":"verify",` + edX + `}]}`, "", "key_ops"},
		{"duplicate member", `{"keys":[{"kty":"OKP","kty":"EC","crv":"Ed25519","kid":"a",` + edX + `}]}`, "", "duplicate"},
		{"upper-case keys", `{"KEYS":[]}`, "", "not an array"},
		{"no keys", `{}`, "", "not an array"},
		{"keys null", `{"keys":null}`, "", "not an array"},
		{"keys an object", `{"keys":{}}`, "", "not an array"},
		{"key null", `{"keys":[null]}`, "", ""},
		{"key a string", `{"keys":["x"]}`, "", "not an array"},
		{"array", `[]`, "", "not one valid JSON object"},
		{"empty", ``, "", "not one valid JSON object"},
		{"trailing data", `{"keys":[]}x`, "", "not one valid JSON object"},
		{"byte order mark", "\ufeff" + `{"keys":[]}`, "", "not one valid JSON object"},
		{"not UTF-8", "{\"keys\":[],\"x\":\"\xff\"}", "", "UTF-8"},
		{"129 members in one key", `{"keys":[{"k0":0` + manyMembers(129) + `}]}`, "", "too many members"},
		{"too large", `{"keys":[],"x":"` + strings.Repeat("x", 256<<10) + `"}`, "", "at most"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, err := ParseJWKS([]byte(strings.ReplaceAll(tt.doc, rsaN, modulus)))
			if tt.err != "" {
				if set != nil || err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("ParseJWKS = %v, %v; want an error with %q", set, err, tt.err)
				}
				return
			}
			var ids []string
			for _, k := range set.Keys() {
				ids = append(ids, k.ID+" "+string(k.Alg))
			}
			if got := strings.Join(ids, ","); err != nil || got != tt.ids {
				t.Errorf("ParseJWKS = %q, %v; want %q", got, err, tt.ids)
			}
		})
	}
}

// manyMembers are n members to follow another.
func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"m%d":0`, i)
	}
	return b.String()
}

// rsaModulus is the n of the RSA test key.
func rsaModulus(t *testing.T) string {
	t.Helper()
	doc, err := MarshalJWKS(loadTestKeys(t).public()[2:])
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []struct{ N string } }
	if err := json.Unmarshal(doc, &set); err != nil {
		t.Fatal(err)
	}
	return set.Keys[0].N
}

func TestNothingOfThisPackageReachesOut(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		source, err := os.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		allowed := map[string]string{
			"secretfile.go": `"os"`,       // reads the file that the operator names
			"secret.go":     `"log/slog"`, // hides the secret from logs, and writes none
		}
		for _, far := range []string{`"net/http"`, `"net"`, `"os"`, `"log/slog"`, `"log"`} {
			if allowed[e.Name()] != far && strings.Contains(string(source), far) {
				t.Errorf("%s imports %s: no header may ever be followed or logged", e.Name(), far)
			}
		}
	}
}
