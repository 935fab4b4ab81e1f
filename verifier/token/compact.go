package token

import "strings"

// MaxSize is the longest token that is looked at, in bytes.
const MaxSize = 16 << 10

// These refusals need no detail of the token, so they cost no allocation,
// however large or many the tokens are.
var (
	errTooLarge     error = &Error{ReasonTooLarge, "longer than 16 KiB"}
	errNotCompact   error = &Error{ReasonMalformed, "not three segments"}
	errEmptySegment error = &Error{ReasonMalformed, "empty segment"}
	errAlphabet     error = &Error{ReasonBadEncoding, "character outside base64url"}
	errNotCanonical error = &Error{ReasonBadEncoding, "base64url is not canonical"}
	errEncrypted    error = &Error{ReasonEncryptedToken, ""}
)

// compact is a token in its three segments, each of canonical base64url.
type compact struct {
	input                      string // what is signed: header, dot, payload
	header, payload, signature string
}

// split checks size and form. It decodes nothing and allocates nothing, except
// for the header of what looks like an encrypted token.
func split(raw string) (compact, error) {
	if len(raw) > MaxSize {
		return compact{}, errTooLarge
	}
	var dots [4]int
	n, clean := 0, true
	for i := range len(raw) {
		switch {
		case raw[i] != '.':
			clean = clean && sextets[raw[i]] != invalid
		case n == len(dots):
			return compact{}, errNotCompact
		default:
			dots[n] = i
			n++
		}
	}
	switch {
	case n == 4 && clean && encrypted(raw[:dots[0]]):
		return compact{}, errEncrypted
	case n != 2:
		return compact{}, errNotCompact
	case !clean:
		return compact{}, errAlphabet
	}
	c := compact{
		input:     raw[:dots[1]],
		header:    raw[:dots[0]],
		payload:   raw[dots[0]+1 : dots[1]],
		signature: raw[dots[1]+1:],
	}
	if c.header == "" {
		return compact{}, errEmptySegment
	}
	if !canonical(c.header) || !canonical(c.payload) || !canonical(c.signature) {
		return compact{}, errNotCanonical
	}
	return c, nil
}

// encrypted reports whether the first of five segments is the header of a JWE
// (RFC 7516), so that the reason is the true one.
func encrypted(segment string) bool {
	if !canonical(segment) {
		return false
	}
	var b strings.Builder
	appendDecoded(&b, segment)
	h, err := readHeader(b.String())
	return err == nil && h.encrypted
}

// invalid marks what is not in the alphabet.
const invalid = 0xff

// sextets maps a character of base64url (RFC 4648 §5) to its value. It is never
// written after it is made.
var sextets = func() (t [256]byte) {
	for i := range t {
		t[i] = invalid
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range len(alphabet) {
		t[alphabet[i]] = byte(i)
	}
	return t
}()

// canonical reports whether s, all of it in the alphabet, is the one spelling of
// what it decodes to: no impossible length, no unused bit set. encoding/base64
// also skips CR and LF, which the alphabet check has refused already.
func canonical(s string) bool {
	switch len(s) % 4 {
	case 0:
		return true
	case 2:
		return sextets[s[len(s)-1]]&0x0f == 0
	case 3:
		return sextets[s[len(s)-1]]&0x03 == 0
	}
	return false
}

// decodedLen is the number of bytes that n characters decode to.
func decodedLen(n int) int { return n * 6 / 8 }

// decode writes what s, canonical base64url, stands for into dst, which must be
// long enough.
func decode(dst []byte, s string) []byte {
	n := 0
	for ; len(s) >= 4; s = s[4:] {
		v := uint32(sextets[s[0]])<<18 | uint32(sextets[s[1]])<<12 | uint32(sextets[s[2]])<<6 | uint32(sextets[s[3]])
		dst[n], dst[n+1], dst[n+2] = byte(v>>16), byte(v>>8), byte(v)
		n += 3
	}
	if len(s) >= 2 {
		dst[n] = sextets[s[0]]<<2 | sextets[s[1]]>>4
		n++
	}
	if len(s) == 3 {
		dst[n] = sextets[s[1]]<<4 | sextets[s[2]]>>2
		n++
	}
	return dst[:n]
}

// appendDecoded decodes s into b by way of the stack, so that a builder that was
// grown beforehand is the only allocation.
func appendDecoded(b *strings.Builder, s string) {
	const chunk = 1024 // a multiple of 4
	var buf [chunk / 4 * 3]byte
	for len(s) > chunk {
		b.Write(decode(buf[:], s[:chunk]))
		s = s[chunk:]
	}
	b.Write(decode(buf[:], s))
}
