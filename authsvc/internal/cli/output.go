package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// show prints doc for programs, or has people print it for people.
func (t *terminal) show(doc any, people func() error) error {
	if !t.json {
		return people()
	}
	encoded, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("encoding the result: %w", err)
	}
	if _, err := fmt.Fprintln(t.out, inertJSON(encoded)); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// say prints a line for people.
func (t *terminal) say(format string, args ...any) error {
	if _, err := fmt.Fprintf(t.out, format+"\n", args...); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// table prints rows under a header. Every cell is made inert.
func (t *terminal) table(header []string, rows [][]string) error {
	w := tabwriter.NewWriter(t.out, 0, 8, 2, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			if cells[i] = inert(cell); cell == "" {
				cells[i] = "-"
			}
		}
		if _, err := fmt.Fprintln(w, strings.Join(cells, "\t")); err != nil {
			return fmt.Errorf("writing a table: %w", err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing a table: %w", err)
	}
	return nil
}

// when prints a time for people, in their own zone.
func when(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.Local().Format("2006-01-02 15:04:05")
}

// acts reports whether a terminal may act on the rune instead of showing it:
// control characters, and format characters such as those that turn the
// direction of writing around.
func acts(r rune) bool {
	return unicode.Is(unicode.C, r) || r == '\u2028' || r == '\u2029'
}

// inert returns text in which nothing can move the cursor, colour the screen,
// begin a line or reverse what is written; such characters are shown as \u{…}.
func inert(text string) string {
	if strings.IndexFunc(text, acts) < 0 && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case acts(r):
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// inertLines is inert for what may be several lines, such as several mistakes. Lines
// after the first are indented, so that none can pass for the beginning of a message.
func inertLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = inert(line)
	}
	return strings.Join(lines, "\n    ")
}

// inertJSON does what inert does within JSON, where such characters can only be part of
// a string, in JSON's own way: the document means what it meant.
func inertJSON(doc []byte) string {
	var b strings.Builder
	for _, r := range string(doc) {
		switch {
		case !acts(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
