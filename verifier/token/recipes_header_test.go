package token

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
)

// headers holds tokens that fail at their header, most of them validly signed.
func (f forge) headers() []vector {
	var l list
	f.alg(&l)
	f.confusion(&l)
	f.kid(&l)
	f.keySource(&l)
	f.extensions(&l)
	f.headerJSON(&l)
	f.typ(&l)
	return l
}

func (f forge) alg(l *list) {
	for _, none := range []string{"none", "None", "NONE", "nOnE", "", " none", "none\x00"} {
		header := f.header(edID, set("alg", quote(none)))
		l.reject("alg_none", quote(none)+" without signature", ReasonAlgNotAllowed, b64(header)+"."+b64(body())+".")
		l.reject("alg_none", quote(none)+" with signature", ReasonAlgNotAllowed, f.signed(edID, header, body()))
	}
	l.reject("alg_none", "escaped", ReasonAlgNotAllowed, b64(f.header(edID, set("alg", `"n\u006fne"`)))+"."+b64(body())+".")
	for _, alg := range []string{"eddsa", "EDDSA", "EdDSA ", "Ed25519", "Ed448", "ES256K", "ES384", "ES512", "PS256", "RS384", "RS512", "RS1", "HS256", "RSA-OAEP", "dir"} {
		l.reject("alg_not_allowed", quote(alg), ReasonAlgNotAllowed, f.withHeader(set("alg", quote(alg))))
	}
	for title, value := range map[string]string{"null": "null", "number": "1", "array": `["EdDSA"]`, "object": `{"EdDSA":1}`, "true": "true"} {
		l.reject("alg_type", title, ReasonBadHeader, f.withHeader(set("alg", value)))
	}
	l.reject("alg_type", "missing", ReasonBadHeader, f.withHeader(drop("alg")))
	l.reject("alg_type", "name in upper case", ReasonBadHeader, f.withHeader(rename("alg", "ALG")))
	for _, kid := range []string{edID, ecID, rsaID} {
		for _, other := range []string{edID, ecID, rsaID} {
			if kid == other {
				continue
			}
			alg, _ := f.keys.signer(other)
			l.reject("alg_key_mismatch", string(alg)+" with "+kid+", signed by "+other, ReasonAlgKeyMismatch,
				f.signed(other, f.header(kid, set("alg", quote(string(alg)))), body()))
			l.reject("alg_key_mismatch", string(alg)+" with "+kid+", signed by "+kid, ReasonAlgKeyMismatch,
				f.signed(kid, f.header(kid, set("alg", quote(string(alg)))), body()))
		}
	}
	l.sort()
}

// confusion holds tokens whose HMAC is keyed with what everybody knows.
func (f forge) confusion(l *list) {
	for _, kid := range []string{edID, ecID, rsaID} {
		for form, secret := range f.publicForms(kid) {
			input := b64(f.header(kid, set("alg", `"HS256"`))) + "." + b64(body())
			l.reject("alg_confusion", kid+" as "+form, ReasonAlgNotAllowed, input+"."+macOf(secret, input))
		}
	}
	for title, secret := range map[string]string{"empty": "", "secret": "secret", "NUL": "\x00", "32 NUL": strings.Repeat("\x00", 32)} {
		input := b64(f.header("nobody", set("alg", `"HS256"`))) + "." + b64(body())
		l.reject("weak_hmac", title, ReasonAlgNotAllowed, input+"."+macOf([]byte(secret), input))
	}
	l.sort()
}

// publicForms are the ways in which a public key is passed around.
func (f forge) publicForms(kid string) map[string][]byte {
	public := f.keys.public()[map[string]int{edID: 0, ecID: 1, rsaID: 2}[kid]]
	der, err := x509.MarshalPKIXPublicKey(public.Public)
	if err != nil {
		f.tb.Fatal(err)
	}
	jwks, err := MarshalJWKS([]Key{public})
	if err != nil {
		f.tb.Fatal(err)
	}
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(jwks, &set); err != nil {
		f.tb.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	forms := map[string][]byte{
		"DER": der, "PEM": text, "PEM without line end": []byte(strings.TrimSpace(string(text))), "JWK": set.Keys[0], "JWKS": jwks,
	}
	if raw, ok := public.Public.(ed25519.PublicKey); ok {
		forms["bytes"] = raw
	}
	return forms
}

func macOf(secret []byte, input string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (f forge) kid(l *list) {
	for title, value := range map[string]string{
		"null": "null", "number": "1", "array": `["ed-1"]`, "object": `{"ed-1":1}`, "empty": `""`, "257 bytes": quote(strings.Repeat("k", 257)),
		"10,000 bytes": quote(strings.Repeat("k", 10000)),
	} {
		l.reject("kid_type", title, ReasonBadHeader, f.withHeader(set("kid", value)))
	}
	l.reject("kid_type", "missing", ReasonBadHeader, f.withHeader(drop("kid")))
	l.reject("kid_type", "name in upper case", ReasonBadHeader, f.withHeader(rename("kid", "KID")))
	for title, kid := range map[string]string{
		"unknown": "ed-2", "upper case": "ED-1", "space behind": "ed-1 ", "NUL behind": "ed-1\x00", "index": "0",
		"path": "../../../../dev/null", "absolute path": "/etc/passwd", "URL": "http://127.0.0.1:9973/key", "SQL": "ed-1' OR '1'='1",
		"subject": "auth.>", "prototype": "__proto__", "command": "$(id)|`id`", "line breaks": "x\r\nlevel=error msg=forged",
		"escape sequence": "\x1b[2J\x1b]0;x\x07", "full width": "ｅｄ-1", "right to left": "\u202eed-1",
	} {
		l.reject("kid_injection", title, ReasonUnknownKID, f.withHeader(set("kid", quote(kid))))
	}
	l.sort()
}

func (f forge) keySource(l *list) {
	const canary = `"http://127.0.0.1:9973/keys.json"`
	for name, value := range map[string]string{
		"jku": canary, "x5u": canary, "x5c": `["MIIB"]`,
		"jwk": `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,
	} {
		l.reject("key_source_injection", name, ReasonUntrustedKeySource, f.withHeader(add(name, value)))
		l.reject("key_source_injection", name+" with an unknown kid", ReasonUntrustedKeySource, f.withHeader(set("kid", `"new"`), add(name, value)))
		l.reject("key_source_injection", name+" with HS256", ReasonUntrustedKeySource, f.withHeader(set("alg", `"HS256"`), add(name, value)))
		l.reject("key_source_injection", name+" that is null", ReasonUntrustedKeySource, f.withHeader(add(name, "null")))
	}
	l.sort()
}

func (f forge) extensions(l *list) {
	for title, value := range map[string]string{
		"unknown name": `["http://example.com/must"]`, "exp": `["exp"]`, "empty": "[]", "string": `"exp"`, "null": "null", "alg": `["alg"]`,
	} {
		l.reject("crit", title, ReasonUnsupportedCrit, f.withHeader(add("crit", value), add("exp", "1"), add("http://example.com/must", "true")))
	}
	l.reject("b64_false", "with crit", ReasonUnsupportedCrit, f.withHeader(add("b64", "false"), add("crit", `["b64"]`)))
	l.reject("b64_false", "without crit", ReasonUnsupportedHeader, f.withHeader(add("b64", "false")))
	l.reject("b64_false", "true", ReasonUnsupportedHeader, f.withHeader(add("b64", "true")))
	l.reject("b64_false", "payload as it is", ReasonMalformed, f.over(edID, b64(f.header(edID, add("b64", "false"), add("crit", `["b64"]`)))+"."+body()))
	l.reject("zip", "DEF", ReasonUnsupportedHeader, f.withHeader(add("zip", `"DEF"`)))
	l.reject("zip", "null", ReasonUnsupportedHeader, f.withHeader(add("zip", "null")))
	l.reject("nested", "cty without nesting", ReasonUnsupportedHeader, f.withHeader(add("cty", `"jwt"`)))
	l.sort()
}

func (f forge) headerJSON(l *list) {
	good := f.header(edID)
	for title, header := range map[string]string{
		"array": "[" + good + "]", "string": `"x"`, "null": "null", "number": "1", "empty text": " ", "two objects": good + good,
		"letters behind": good + "x", "NUL behind": good + "\x00", "byte order mark": "\ufeff" + good, "UTF-16": "{\x00\"\x00}\x00",
		"not UTF-8": `{"x":"` + "\xff" + `",` + good[1:], "comma at the end": good[:len(good)-1] + ",}", "comment": "/**/" + good,
		"single quotes": strings.ReplaceAll(good, `"`, "'"), "unquoted name": `{x:1,` + good[1:], "open": good[:len(good)-1],
		"lone surrogate": `{"x":"\ud800",` + good[1:], "control character": "{\"x\":\"\n\"," + good[1:], "form feed": "\f" + good,
		"number no float can hold": `{"x":1e999,` + good[1:], "leading zero": `{"x":01,` + good[1:],
		"33 members": f.header(edID, addMany(30)),
	} {
		l.reject("json_header", title, ReasonBadHeader, f.signed(edID, header, body()))
	}
	l.reject("json_header", "nested 33 deep", ReasonTooDeep, f.withHeader(add("x", strings.Repeat("[", 32)+strings.Repeat("]", 32))))
	l.reject("json_header", "nested 5,000 deep", ReasonTooDeep, f.withHeader(add("x", strings.Repeat("[", 5000))))
	l.reject("duplicate_header", "alg", ReasonDuplicateMember, f.withHeader(add("alg", `"none"`)))
	l.reject("duplicate_header", "kid, equal", ReasonDuplicateMember, f.withHeader(add("kid", `"ed-1"`)))
	l.reject("duplicate_header", "escaped", ReasonDuplicateMember, f.withHeader(add(`\u0061lg`, `"none"`)))
	l.reject("duplicate_header", "both escaped", ReasonDuplicateMember, f.withHeader(rename("alg", `\u0061lg`), add(`al\u0067`, `"none"`)))
	l.reject("duplicate_header", "in an unknown parameter", ReasonDuplicateMember, f.withHeader(add("x", `{"a":1,"a":2}`)))
	l.sort()
}

// addMany adds n members that mean nothing.
func addMany(n int) edit {
	return func(o []member) []member {
		for i := range n {
			o = append(o, member{"m" + string(rune('A'+i/26)) + string(rune('a'+i%26)), "1"})
		}
		return o
	}
}

func (f forge) typ(l *list) {
	for _, typ := range []string{"JWT", "jwt", "", "at+jwt ", "at jwt", "at+jws", "text/at+jwt", "application/jwt", "refresh+jwt", "id_token", "logout+jwt", "secevent+jwt", "dpop+jwt", "JOSE", "at+jwt\x00"} {
		l.reject("typ_confusion", quote(typ), ReasonWrongTyp, f.withHeader(set("typ", quote(typ))))
	}
	l.reject("typ_confusion", "missing", ReasonWrongTyp, f.withHeader(drop("typ")))
	l.reject("typ_confusion", "name in upper case", ReasonWrongTyp, f.withHeader(rename("typ", "TYP")))
	l.reject("typ_confusion", "null", ReasonBadHeader, f.withHeader(set("typ", "null")))
	l.reject("typ_confusion", "array", ReasonBadHeader, f.withHeader(set("typ", `["at+jwt"]`)))
	l.sort()
}
