package routes

import (
	"fmt"
	"strings"
)

// source is the text that a table was read from.
type source struct {
	name  string
	lines map[string]int // by path
}

// lineOf returns the line of the field or, where it is missing, of what it is missing in.
func (s *source) lineOf(path string) int {
	for {
		if line, ok := s.lines[path]; ok {
			return line
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

// place is where in the source a rule or an upstream stands.
type place struct {
	source *source
	path   string
}

// mistakeError is a mistake that was found after parsing, by whoever uses the table.
type mistakeError struct{ text string }

// Error says where the mistake is, and what it is.
func (e *mistakeError) Error() string { return e.text }

func (p place) mistake(field, text string) error {
	path := join(p.path, field)
	return &mistakeError{fmt.Sprintf("%s:%d: %s: %s", p.source.name, p.source.lineOf(path), path, text)}
}

// Mistake returns an error that says what is wrong with a field of the rule, as
// [Parse] would: for whoever adopts tables and knows of more mistakes.
func (r *Rule) Mistake(field, text string) error { return r.place.mistake(field, text) }

// Mistake is [Rule.Mistake] for upstreams.
func (u *Upstream) Mistake(field, text string) error { return u.place.mistake(field, text) }
