package token

import "strconv"

// number reads a number by the grammar. One that no float64 can hold is refused:
// other readers of the same token would differ on it (RFC 7493 §2.2).
func (s *scanner) number() fault {
	start, exponent := s.pos, false
	if s.peek() == '-' {
		s.pos++
	}
	zero := s.peek() == '0'
	if n := s.digits(); n == 0 || zero && n > 1 {
		return faultSyntax
	}
	if s.peek() == '.' {
		s.pos++
		if s.digits() == 0 {
			return faultSyntax
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		exponent = true
		s.pos++
		if c = s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if s.digits() == 0 {
			return faultSyntax
		}
	}
	const alwaysFits = 300 // digits without exponent
	if exponent || s.pos-start > alwaysFits {
		if _, err := strconv.ParseFloat(s.doc[start:s.pos], 64); err != nil {
			return faultNumber
		}
	}
	return faultNone
}

func (s *scanner) digits() (n int) {
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.pos++
		n++
	}
	return n
}

// maxInteger is the largest integer that every JSON reader holds exactly (RFC 7493 §2.2).
const maxInteger = 1<<53 - 1

// integer is the value as a number from 0 to 2^53-1 that was written as plain
// digits: no sign, fraction, exponent or quotes.
func (v value) integer() (n uint64, ok bool) {
	if v.kind != number || len(v.raw) > 16 {
		return 0, false
	}
	for i := range len(v.raw) {
		c := v.raw[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, n <= maxInteger
}
