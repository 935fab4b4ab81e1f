package token

import (
	"strings"
	"unicode/utf8"
)

const (
	// maxDepth bounds the nesting of a document; the document's object is the first level.
	maxDepth = 32
	// maxOpen bounds the members of all objects that are open at one place of a
	// document, and with it the work of finding duplicates.
	maxOpen = 128
)

// fault is what is wrong with a JSON document. Faults are not errors, because
// the same one is a bad header in one place and bad claims in another.
type fault uint8

const (
	faultNone fault = iota
	faultSyntax
	faultUTF8
	faultNumber
	faultMembers
	faultDepth
	faultDuplicate
)

func (f fault) String() string {
	return [...]string{
		"", "not one valid JSON object", "not valid UTF-8", "number out of range",
		"too many members", "nested too deep", "duplicate member name",
	}[f]
}

// refusal turns the fault into the refusal of a token; broken is the reason for
// what has none of its own.
func (f fault) refusal(broken Reason) error {
	switch f {
	case faultDepth:
		return refuse(ReasonTooDeep, f.String())
	case faultDuplicate:
		return refuse(ReasonDuplicateMember, f.String())
	}
	return refuse(broken, f.String())
}

// kind is the type of a JSON value.
type kind uint8

const (
	absent kind = iota
	null
	boolean
	number
	text
	array
	object
)

// value is one JSON value, checked but not yet interpreted.
type value struct {
	kind    kind
	escaped bool   // a text with escape sequences in it
	raw     string // as in the document; of a text, what is between the quotes
}

// scanner reads one JSON document (RFC 8259) that must be an object, and checks
// all of it: what it has read to the end can only be understood in one way.
type scanner struct {
	doc string
	pos int
	// room is how many more members the document may have.
	room int
	// names[:open] are the members of all objects that are open. They are kept
	// as places and not as strings, so that a scanner stays on the stack.
	names [maxOpen]place
	open  int
	// decoded holds the names that had escape sequences.
	decoded []string
}

// place is where a name stands: doc[start:end], or decoded[start] if end is -1.
type place struct{ start, end int32 }

// begin starts the document.
func (s *scanner) begin() fault {
	if !utf8.ValidString(s.doc) {
		return faultUTF8
	}
	s.space()
	return s.expect('{')
}

// next reads the next member of the document's object; more is false at its end.
func (s *scanner) next() (name string, v value, more bool, f fault) {
	return s.member(0, 1)
}

// end checks that nothing follows the object.
func (s *scanner) end() fault {
	s.space()
	if s.pos != len(s.doc) {
		return faultSyntax
	}
	return faultNone
}

// member reads one member of an object whose names begin at base, or its end.
func (s *scanner) member(base, depth int) (name string, v value, more bool, f fault) {
	s.space()
	switch first := s.open == base; {
	case s.peek() == '}':
		s.pos++
		s.open = base
		return "", value{}, false, faultNone
	case first:
	case s.peek() == ',':
		s.pos++
		s.space()
	default:
		return "", value{}, false, faultSyntax
	}
	if name, f = s.name(base); f != faultNone {
		return "", value{}, false, f
	}
	s.space()
	if f = s.expect(':'); f != faultNone {
		return "", value{}, false, f
	}
	if v, f = s.value(depth); f != faultNone {
		return "", value{}, false, f
	}
	return name, v, true, faultNone
}

// name reads a member's name and compares it, unescaped, with its siblings'.
func (s *scanner) name(base int) (string, fault) {
	v, f := s.text()
	if f != faultNone {
		return "", f
	}
	if s.room--; s.room < 0 || s.open == maxOpen {
		return "", faultMembers
	}
	name := v.unquoted()
	for _, sibling := range s.names[base:s.open] {
		if s.at(sibling) == name {
			return "", faultDuplicate
		}
	}
	if v.escaped {
		s.names[s.open] = place{int32(len(s.decoded)), -1}
		s.decoded = append(s.decoded, name)
	} else {
		end := s.pos - 1
		s.names[s.open] = place{int32(end - len(v.raw)), int32(end)}
	}
	s.open++
	return name, faultNone
}

// at is the name that stands at p.
func (s *scanner) at(p place) string {
	if p.end < 0 {
		return s.decoded[p.start]
	}
	return s.doc[p.start:p.end]
}

// value reads any value inside something that is depth levels deep.
func (s *scanner) value(depth int) (value, fault) {
	s.space()
	start := s.pos
	var k kind
	var f fault
	switch c := s.peek(); {
	case c == '"':
		return s.text()
	case c == '{':
		k, f = object, s.object(depth+1)
	case c == '[':
		k, f = array, s.array(depth+1)
	case c == '-' || c >= '0' && c <= '9':
		k, f = number, s.number()
	case c == 't':
		k, f = boolean, s.literal("true")
	case c == 'f':
		k, f = boolean, s.literal("false")
	case c == 'n':
		k, f = null, s.literal("null")
	default:
		f = faultSyntax
	}
	if f != faultNone {
		return value{}, f
	}
	return value{kind: k, raw: s.doc[start:s.pos]}, faultNone
}

func (s *scanner) object(depth int) fault {
	if depth > maxDepth {
		return faultDepth
	}
	s.pos++
	base := s.open
	for {
		_, _, more, f := s.member(base, depth)
		if f != faultNone || !more {
			return f
		}
	}
}

func (s *scanner) array(depth int) fault {
	if depth > maxDepth {
		return faultDepth
	}
	s.pos++
	for first := true; ; first = false {
		_, more, f := s.element(first, depth)
		if f != faultNone || !more {
			return f
		}
	}
}

// element reads one element of an array, or the array's end.
func (s *scanner) element(first bool, depth int) (v value, more bool, f fault) {
	s.space()
	switch {
	case s.peek() == ']':
		s.pos++
		return value{}, false, faultNone
	case first:
	case s.peek() == ',':
		s.pos++
	default:
		return value{}, false, faultSyntax
	}
	v, f = s.value(depth)
	return v, f == faultNone, f
}

// peek is the next byte; 0, which no grammar rule takes, at the end.
func (s *scanner) peek() byte {
	if s.pos < len(s.doc) {
		return s.doc[s.pos]
	}
	return 0
}

func (s *scanner) expect(c byte) fault {
	if s.peek() != c {
		return faultSyntax
	}
	s.pos++
	return faultNone
}

func (s *scanner) space() {
	for s.pos < len(s.doc) {
		switch s.doc[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

func (s *scanner) literal(word string) fault {
	if !strings.HasPrefix(s.doc[s.pos:], word) {
		return faultSyntax
	}
	s.pos += len(word)
	return faultNone
}
