package token

import (
	"strings"
	"unicode/utf16"
)

// text reads a string. Escaped surrogates must come in pairs: what a lone one
// stands for differs from reader to reader.
func (s *scanner) text() (value, fault) {
	if f := s.expect('"'); f != faultNone {
		return value{}, f
	}
	start, escaped := s.pos, false
	for s.pos < len(s.doc) {
		switch c := s.doc[s.pos]; {
		case c == '"':
			s.pos++
			return value{kind: text, escaped: escaped, raw: s.doc[start : s.pos-1]}, faultNone
		case c == '\\':
			escaped = true
			if !s.escape() {
				return value{}, faultSyntax
			}
		case c < 0x20:
			return value{}, faultSyntax
		default:
			s.pos++
		}
	}
	return value{}, faultSyntax
}

// escape passes one escape sequence, or a pair of them that is one character.
func (s *scanner) escape() bool {
	s.pos++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return true
	case 'u':
	default:
		return false
	}
	first, ok := s.unit()
	if !ok || !utf16.IsSurrogate(first) {
		return ok
	}
	if s.peek() != '\\' {
		return false
	}
	s.pos++
	if s.peek() != 'u' {
		return false
	}
	second, ok := s.unit()
	return ok && utf16.DecodeRune(first, second) != utf8Replacement
}

// utf8Replacement is what utf16.DecodeRune answers for what is not a pair. No
// valid pair stands for it.
const utf8Replacement = '\uFFFD'

// unit reads the rest of a \u sequence, from the u on.
func (s *scanner) unit() (rune, bool) {
	if len(s.doc)-s.pos < 5 {
		return 0, false
	}
	r, ok := hex4(s.doc[s.pos+1 : s.pos+5])
	s.pos += 5
	return r, ok
}

func hex4(digits string) (r rune, ok bool) {
	for i := range 4 {
		c := digits[i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unquoted is the string that a text stands for. It allocates only where there
// are escape sequences.
func (v value) unquoted() string {
	if !v.escaped {
		return v.raw
	}
	var b strings.Builder
	b.Grow(len(v.raw))
	for s := v.raw; s != ""; {
		i := strings.IndexByte(s, '\\')
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		s = writeEscape(&b, s[i+1:])
	}
	return b.String()
}

// writeEscape writes the character of the valid escape sequence that s begins
// with (its backslash already taken) and returns what follows it.
func writeEscape(b *strings.Builder, s string) string {
	switch c := s[0]; c {
	case 'b':
		b.WriteByte('\b')
	case 'f':
		b.WriteByte('\f')
	case 'n':
		b.WriteByte('\n')
	case 'r':
		b.WriteByte('\r')
	case 't':
		b.WriteByte('\t')
	case 'u':
		r, _ := hex4(s[1:5])
		if !utf16.IsSurrogate(r) {
			b.WriteRune(r)
			return s[5:]
		}
		low, _ := hex4(s[7:11])
		b.WriteRune(utf16.DecodeRune(r, low))
		return s[11:]
	default:
		b.WriteByte(c)
	}
	return s[1:]
}
