package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// checkSecret says why b is no secret. No reason quotes any of it. What is
// recognised comes before what is measured, so that the reason is the true one.
func checkSecret(b []byte) error {
	switch {
	case len(b) == 0:
		return errors.New("is empty")
	case isKeyText(string(b)) || isKeyDER(b):
		return errPublicSecret
	case isText(b) && isDefault(string(b)):
		return errDefaultSecret
	case isExample(b):
		return errExampleSecret
	case len(b) < minSecret:
		return fmt.Errorf("is %d bytes long: at least %d random bytes are needed", len(b), minSecret)
	case len(b) > maxSecret:
		return fmt.Errorf("is %d bytes long: at most %d are allowed", len(b), maxSecret)
	}
	switch n := len(unit(b)); {
	case n == 1:
		return errors.New("is one byte repeated")
	case n < len(b):
		return fmt.Errorf("is a pattern of %d bytes repeated", n)
	case isText(b):
		// 32 random bytes are text with a chance of 2·10^-11.
		return errors.New("is text: random bytes are needed, and their base64 where text is")
	case isUneven(b) || isUneven(steps(b)):
		return errors.New("has low entropy: random bytes are needed")
	}
	return nil
}

var (
	errPublicSecret  = errors.New("is a key or a certificate: what others know, or use otherwise, is no shared secret")
	errDefaultSecret = errors.New("is a known default")
	errExampleSecret = errors.New("is an example that a standard publishes")
)

// checkSecretText says why text cannot be the base64 of a secret, where that can be
// recognised.
func checkSecretText(text string) error {
	switch {
	case text == "":
		return errors.New("is empty")
	case isKeyText(text):
		return errPublicSecret
	case isDefault(text):
		return errDefaultSecret
	case strings.Trim(text, "0123456789abcdef") == "" || strings.Trim(text, "0123456789ABCDEF") == "":
		return errors.New("is hexadecimal or a number: base64 is expected")
	}
	return nil
}

// isKeyText recognises PEM, JWK and other JSON, and lines with SSH keys. Keys and
// certificates are what attacks on the choice of the algorithm use as secret.
func isKeyText(text string) bool {
	text = strings.TrimSpace(text)
	isJSON := strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[")
	// The space after it, because base64 may begin with ssh- as well.
	kind, _, isLine := strings.Cut(text, " ")
	return strings.Contains(text, "-----BEGIN ") || isJSON && json.Valid([]byte(text)) || isLine && isSSHKind(kind)
}

// isSSHKind reports whether text begins with the name of a kind of SSH key.
func isSSHKind(text string) bool {
	for _, kind := range []string{"ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-sha2-"} {
		if strings.HasPrefix(text, kind) {
			return true
		}
	}
	return false
}

// isKeyDER recognises keys and certificates in DER, points of P-256 and the
// binary form of SSH keys. An Ed25519 key of 32 bytes looks like any others.
func isKeyDER(b []byte) bool {
	if _, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), b); err == nil {
		return true
	}
	// A public key (RFC 4253 §6.6) begins with the length of its kind, in four bytes.
	const lengthSize = 4
	if bytes.HasPrefix(b, []byte("openssh-key-v1\x00")) || bytes.HasPrefix(b, []byte{0, 0, 0}) && isSSHKind(string(b[min(lengthSize, len(b)):])) {
		return true
	}
	var element asn1.RawValue
	rest, err := asn1.Unmarshal(b, &element)
	if err != nil || len(bytes.TrimSpace(rest)) > 0 {
		return false
	}
	der := element.FullBytes
	for _, parse := range []func() error{
		func() error { _, err := x509.ParsePKIXPublicKey(der); return err },
		func() error { _, err := x509.ParsePKCS1PublicKey(der); return err },
		func() error { _, err := x509.ParseCertificate(der); return err },
		func() error { _, err := x509.ParseCertificateRequest(der); return err },
		func() error { _, err := x509.ParsePKCS8PrivateKey(der); return err },
		func() error { _, err := x509.ParsePKCS1PrivateKey(der); return err },
		func() error { _, err := x509.ParseECPrivateKey(der); return err },
	} {
		if parse() == nil {
			return true
		}
	}
	return false
}

// isDefault recognises the secrets that tutorials, samples and attackers' word
// lists begin with, once or repeated, in any case and punctuation. It is for text:
// of other bytes it would see those few that are letters or digits.
func isDefault(text string) bool {
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(text))
	switch string(unit([]byte(plain))) {
	case "secret", "secretkey", "mysecret", "mysecretkey", "supersecret", "supersecretkey", "sharedsecret", "topsecret",
		"your256bitsecret", "your384bitsecret", "your512bitsecret", "yoursecret", "yoursecretkey", "yoursecrethere",
		"astringsecretatleast256bitslong", "avalidstringsecretthatisatleast512bitslongwhichisverylong",
		"changeme", "changethis", "changeit", "pleasechangeme", "changemeplease", "replaceme", "changemeinproduction",
		"jwtsecret", "jwtsecretkey", "jwtkey", "signingkey", "tokensecret", "accesstokensecret", "authsecret", "appsecret",
		"password", "passw0rd", "password123", "admin", "root", "test", "testing", "default", "example", "insecure", "key",
		"keyboardcat", "shhhhh", "shhhhhh", "s3cr3t", "sup3rs3cr3t", "letmein", "qwerty", "todo", "devsecret", "development",
		"gutenmorgen", "helloworld", "foobar", "nosecret", "none", "null", "undefined", "authbus":
		return true
	}
	return false
}

// isExample recognises the keys of RFC 7515 appendix A.1 and RFC 7520 §3.5.
func isExample(b []byte) bool {
	switch base64.RawURLEncoding.EncodeToString(b) {
	case "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
		"hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg":
		return true
	}
	return false
}

// unit is the shortest part of at most half of b that b is made of by repeating
// it, the last time perhaps not all of it; b itself if there is none.
func unit(b []byte) []byte {
	for n := 1; n <= len(b)/2; n++ {
		if bytes.Equal(b[n:], b[:len(b)-n]) {
			return b[:n]
		}
	}
	return b
}

// isText reports whether b is nothing but UTF-8 text that could be printed.
func isText(b []byte) bool {
	return utf8.Valid(b) && !bytes.ContainsFunc(b, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) })
}

// isUneven reports whether b, at least 32 bytes, has at most 16 different bytes
// or one that takes up more than a quarter of it. For 32 random bytes the chances
// are 2·10^-15 and 2·10^-12, and less for more.
func isUneven(b []byte) bool {
	var counts [256]int
	different := 0
	for _, c := range b {
		if counts[c]++; counts[c] == 1 {
			different++
		}
	}
	return different <= 16 || slices.Max(counts[:]) > len(b)/4
}

// steps are the differences of neighbours, first and last among them, which show
// that bytes count up.
func steps(b []byte) []byte {
	d := make([]byte, len(b))
	for i := range d {
		d[i] = b[(i+1)%len(b)] - b[i]
	}
	return d
}

// isWords reports whether text, in the alphabet of base64, has no capital letter or
// no small one, which happens to base64 of 32 random bytes with a chance of
// 2·10^-10 each; or whether it is 2^34 times likelier as English words, with some
// capitals, digits and separators, than as base64 of random bytes. By Markov's
// inequality that happens to the latter with a chance of at most 2^-34, or 6·10^-11.
func isWords(text string) bool {
	if !strings.ContainsAny(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") || !strings.ContainsAny(text, "abcdefghijklmnopqrstuvwxyz") {
		return true
	}
	const limit = 34 // bits
	// How often each letter, a to z, is used in English text.
	letters := [26]float64{
		.082, .015, .028, .043, .127, .022, .020, .061, .070, .0015, .008, .040, .024,
		.067, .075, .019, .001, .060, .063, .091, .028, .010, .024, .0015, .020, .0005,
	}
	const small, capital, digit, other = .76, .14, .05 / 10, .05 / 4
	bits := 0.0
	for _, r := range strings.TrimRight(text, "=") {
		share := other
		switch {
		case r >= 'a' && r <= 'z':
			share = small * letters[r-'a'] //nolint:gosec // r is a letter
		case r >= 'A' && r <= 'Z':
			share = capital * letters[r-'A'] //nolint:gosec // r is a letter
		case r >= '0' && r <= '9':
			share = digit
		}
		bits += math.Log2(64 * share)
	}
	return bits > limit
}
