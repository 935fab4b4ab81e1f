package token

import (
	"encoding/base64"
	"strings"
)

// transport holds tokens that fail before anything is decoded.
func (f forge) transport() []vector {
	var l list
	f.size(&l)
	f.serialization(&l)
	f.base64Alias(&l)
	f.encrypted(&l)
	return l
}

func (f forge) size(l *list) {
	l.reject("size", "16385 bytes, validly signed", ReasonTooLarge, f.padded(MaxSize+1))
	l.rejectParts("size", "1 MB of letters", ReasonTooLarge, part{S: "A", N: 1 << 20})
	l.rejectParts("size", "1 MB of dots", ReasonTooLarge, part{S: ".", N: 1 << 20})
	l.rejectParts("size", "1 MB in the header", ReasonTooLarge, part{S: "A", N: 1 << 20}, part{S: ".e30.AA"})
	l.rejectParts("size", "1 MB after a good token", ReasonTooLarge, part{S: f.good(edID)}, part{S: "A", N: 1 << 20})
	l.rejectParts("size", "16384 dots", ReasonMalformed, part{S: ".", N: MaxSize})
}

func (f forge) serialization(l *list) {
	good := f.good(edID)
	s := strings.Split(good, ".")
	for title, token := range map[string]string{
		"empty": "", "one dot": ".", "three dots": "...", "five dots": ".....", "no dot": "abc", "two segments": s[0] + "." + s[1],
		"four segments": good + ".AA", "dot at the end": good + ".", "dot at the start": "." + good,
		"JSON, flattened": `{"protected":"` + s[0] + `","payload":"` + s[1] + `","signature":"` + s[2] + `"}`,
		"JSON, general":   `{"payload":"` + s[1] + `","signatures":[{"protected":"` + s[0] + `","signature":"` + s[2] + `"}]}`,
		"two dots":        "..", "no header": "." + s[1] + "." + s[2], "no payload": s[0] + ".." + s[2], "no signature": s[0] + "." + s[1] + ".",
		"five segments, no JWE": good + "." + s[1] + "." + s[2],
	} {
		l.reject("serialization", title, ReasonMalformed, token)
	}
	for title, token := range map[string]string{
		"Bearer in front": "Bearer " + good, "space in front": " " + good, "line feed at the end": good + "\n",
		"NUL at the end": good + "\x00", "quoted": `"` + good + `"`, "letter beyond ASCII": "é" + good, "comma and a second token": good + ",",
	} {
		l.reject("serialization", title, ReasonBadEncoding, token)
	}
	l.sort()
}

// base64Alias holds other spellings of a good token, which a lax reader takes.
func (f forge) base64Alias(l *list) {
	const class = "base64_alias"
	good := f.good(ecID)
	names := [3]string{"header", "payload", "signature"}
	for i, name := range names {
		edit := func(change func(string) string) string {
			s := strings.Split(good, ".")
			s[i] = change(s[i])
			return strings.Join(s, ".")
		}
		for title, change := range map[string]func(string) string{
			" with padding":       func(s string) string { return s + strings.Repeat("=", 1+len(s)%2) },
			" with CR LF":         func(s string) string { return s[:4] + "\r\n" + s[4:] },
			" with line feed":     func(s string) string { return s + "\n" },
			" with standard base": func(s string) string { return s[:1] + "+/" + s[3:] },
			" with a percent":     func(s string) string { return s + "%3D" },
			" of odd length":      func(s string) string { return s[:len(s)/4*4] + "A" },
		} {
			l.reject(class, name+title, ReasonBadEncoding, edit(change))
		}
	}
	s := strings.Split(good, ".")
	l.reject(class, "unused bits in the signature", ReasonBadEncoding, s[0]+"."+s[1]+"."+nextSpelling(s[2]))

	// Validly signed over a spelling that is not canonical.
	for title, spell := range map[string]func(string) string{
		"padding": func(s string) string { return s + "=" }, "unused bits": nextSpelling,
		"CR LF": func(s string) string { return s + "\r\n" },
	} {
		payload := b64(body() + " ")
		if len(payload)%4 == 0 {
			payload = b64(body() + "  ")
		}
		header := b64(f.header(edID) + " ")
		if len(header)%4 == 0 {
			header = b64(f.header(edID) + "  ")
		}
		l.reject("base64_signed", "payload with "+title, ReasonBadEncoding, f.over(edID, b64(f.header(edID))+"."+spell(payload)))
		l.reject("base64_signed", "header with "+title, ReasonBadEncoding, f.over(edID, spell(header)+"."+b64(body())))
	}
	l.sort()
}

// nextSpelling sets an unused bit of a segment's last character.
func nextSpelling(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := strings.IndexByte(alphabet, s[len(s)-1])
	return s[:len(s)-1] + alphabet[i|1:i|1+1]
}

// encrypted holds JWE (RFC 7516) in five segments and what pretends to be one.
func (f forge) encrypted(l *list) {
	five := func(header string) string {
		return b64(header) + "." + b64("key") + "." + b64("iv") + "." + b64("ciphertext") + "." + b64("tag")
	}
	l.reject("jwe", "RSA-OAEP", ReasonEncryptedToken, five(`{"alg":"RSA-OAEP","enc":"A256GCM","kid":"rsa-1"}`))
	l.reject("jwe", "dir with an empty key", ReasonEncryptedToken,
		b64(`{"alg":"dir","enc":"A128GCM","kid":"ed-1"}`)+".."+b64("iv")+"."+b64("ciphertext")+"."+b64("tag"))
	l.reject("jwe", "PBES2 with a huge count", ReasonEncryptedToken, five(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483647,"p2s":"aGk"}`))
	l.reject("jwe", "compressed", ReasonEncryptedToken, five(`{"alg":"RSA-OAEP","enc":"A256GCM","zip":"DEF"}`))
	l.reject("jwe", "nested", ReasonEncryptedToken, five(`{"alg":"RSA-OAEP","enc":"A256GCM","cty":"JWT"}`))
	l.reject("jwe", "broken header", ReasonMalformed, five(`{"alg":"RSA-OAEP","enc":`))
	l.reject("jwe", "header not base64url", ReasonMalformed, "e30=.AA.AA.AA.AA")
	l.reject("jwe", "enc in a signed token", ReasonEncryptedToken, f.withHeader(add("enc", `"A256GCM"`)))
	l.reject("jwe", "header of a JWE in three segments", ReasonEncryptedToken,
		f.signed(rsaID, `{"alg":"RSA-OAEP","enc":"A256GCM","kid":"rsa-1"}`, body()))
	inner := base64.RawURLEncoding.EncodeToString([]byte(f.good(edID)))
	l.reject("nested", "signed token in a signed token", ReasonUnsupportedHeader,
		f.over(edID, b64(f.header(edID, add("cty", `"JWT"`)))+"."+inner))
	l.reject("nested", "without saying so", ReasonBadClaims, f.over(edID, b64(f.header(edID))+"."+inner))
}
