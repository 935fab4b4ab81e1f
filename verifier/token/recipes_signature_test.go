package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"
)

// signatures holds tokens that nobody with a key has signed as they are. Several
// have claims that would be refused too: the signature must be what is reported.
func (f forge) signatures() []vector {
	var l list
	for _, kid := range []string{edID, ecID, rsaID} {
		f.mangled(&l, kid)
	}
	f.algebra(&l)
	f.strangers(&l)
	for title, payload := range map[string]string{
		"expired": body(set("exp", "1")), "of another issuer": body(set("iss", `"https://evil.example"`)),
		"for another audience": body(set("aud", `"billing"`)), "without claims": "{}", "not JSON": "\x00\xff", "nested deep": strings.Repeat("[", 5000),
		"with duplicate claims": body(add("sub", `"admin"`)), "issued in the future": body(set("iat", "1898761570")), "a logout token": body(add("events", "{}")),
	} {
		token := f.signed(edID, f.header(edID), payload)
		l.reject("forged", "and "+title, ReasonBadSignature, flip(token, 9))
	}
	l.sort()
	return l
}

// edit changes the signature of a good token of key kid.
func (f forge) edited(kid string, change func([]byte) []byte) string {
	input, sig := f.cut(f.good(kid))
	return input + "." + base64.RawURLEncoding.EncodeToString(change(sig))
}

func (f forge) cut(token string) (input string, sig []byte) {
	dot := strings.LastIndexByte(token, '.')
	sig, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if err != nil {
		f.tb.Fatal(err)
	}
	return token[:dot], sig
}

// flip changes one bit of byte i of a token's signature.
func flip(token string, i int) string {
	dot := strings.LastIndexByte(token, '.')
	sig, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if err != nil {
		panic(err) // the forge made it
	}
	sig[i] ^= 1
	return token[:dot+1] + base64.RawURLEncoding.EncodeToString(sig)
}

func (f forge) mangled(l *list, kid string) {
	class := "signature_" + kid
	for title, change := range map[string]func([]byte) []byte{
		"first bit flipped": func(s []byte) []byte { s[0] ^= 0x80; return s },
		"last bit flipped":  func(s []byte) []byte { s[len(s)-1] ^= 1; return s },
		"one byte short":    func(s []byte) []byte { return s[:len(s)-1] },
		"one byte":          func(s []byte) []byte { return s[:1] },
		"a byte behind":     func(s []byte) []byte { return append(s, 0) },
		"a NUL in front":    func(s []byte) []byte { return append([]byte{0}, s...) },
		"twice":             func(s []byte) []byte { return append(s, s...) },
		"all NUL":           func(s []byte) []byte { return make([]byte, len(s)) },
		"all ones":          func(s []byte) []byte { return slices.Repeat([]byte{0xff}, len(s)) },
		"reversed":          func(s []byte) []byte { slices.Reverse(s); return s },
		"2,000 bytes":       func([]byte) []byte { return make([]byte, 2000) },
	} {
		l.reject(class, title, ReasonBadSignature, f.edited(kid, change))
	}
	_, sig := f.cut(f.signed(kid, f.header(kid), body(set("sub", `"somebody else"`))))
	l.reject(class, "of another token", ReasonBadSignature, f.edited(kid, func([]byte) []byte { return sig }))
	s := strings.Split(f.good(kid), ".")
	l.reject(class, "changed claims", ReasonBadSignature, s[0]+"."+b64(body(set("sub", `"admin"`)))+"."+s[2])
	l.reject(class, "changed header", ReasonBadSignature, b64(f.header(kid, add("x", "1")))+"."+s[1]+"."+s[2])
	l.reject(class, "over the claims alone", ReasonBadSignature,
		s[0]+"."+s[1]+"."+base64.RawURLEncoding.EncodeToString(f.keys.sign(f.tb, kid, s[1])))
}

// algebra holds signatures that broken arithmetic takes.
func (f forge) algebra(l *list) {
	order := elliptic.P256().Params().N
	rs := func(r, s *big.Int) string {
		return f.edited(ecID, func([]byte) []byte { return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...) })
	}
	one := big.NewInt(1)
	const class = "signature_algebra"
	l.reject(class, "ES256 r = 0, s = 1", ReasonBadSignature, rs(new(big.Int), one))
	l.reject(class, "ES256 r = 1, s = 0", ReasonBadSignature, rs(one, new(big.Int)))
	l.reject(class, "ES256 r = s = 1", ReasonBadSignature, rs(one, one))
	l.reject(class, "ES256 r = s = n", ReasonBadSignature, rs(order, order))
	_, sig := f.cut(f.good(ecID))
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
	der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		f.tb.Fatal(err)
	}
	l.reject(class, "ES256 as ASN.1", ReasonBadSignature, f.edited(ecID, func([]byte) []byte { return der }))
	l.reject(class, "ES256 with r and s swapped", ReasonBadSignature, rs(s, r))
	l.reject(class, "EdDSA with S + L", ReasonBadSignature, f.edited(edID, func(sig []byte) []byte {
		sum := littleEndian(sig[32:])
		groupOrder, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
		high := sum.Add(sum, groupOrder).FillBytes(make([]byte, 32))
		slices.Reverse(high)
		return append(sig[:32], high...)
	}))
	l.reject(class, "EdDSA with the neutral point and S = 0", ReasonBadSignature, f.edited(edID, func([]byte) []byte {
		sig := make([]byte, 64)
		sig[0] = 1
		return sig
	}))
}

// malleate is the other valid spelling of an ES256 token: (r, n-s).
func (f forge) malleate(token string) string {
	input, sig := f.cut(token)
	s := new(big.Int).SetBytes(sig[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(sig[32:])
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// strangers holds tokens that are validly signed, with the key of somebody else.
func (f forge) strangers(l *list) {
	seed := sha256.Sum256([]byte("authbus test key of a stranger"))
	stranger, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
	if err != nil {
		f.tb.Fatal(err)
	}
	other := forge{tb: f.tb, keys: testKeys{ed: ed25519.NewKeyFromSeed(seed[:]), ec: stranger, rsa: f.keys.rsa}}
	l.reject("forged", "with a stranger's Ed25519 key", ReasonBadSignature, other.good(edID))
	l.reject("forged", "with a stranger's P-256 key", ReasonBadSignature, other.good(ecID))
}
