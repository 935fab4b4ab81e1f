package routes

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// parseYAML returns the documents of a text, of several the first two. It also
// returns those before an error.
func parseYAML(text []byte) (documents []*yaml.Node, err error) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for range 2 {
		n := &yaml.Node{}
		if err := dec.Decode(n); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return documents, err
		}
		documents = append(documents, n)
	}
	return documents, nil
}

// firstNotUTF8 returns the first line that is not UTF-8, 0 if all are.
func firstNotUTF8(text []byte) int {
	line := 1
	for l := range bytes.Lines(text) {
		if !utf8.Valid(l) {
			return line
		}
		line++
	}
	return 0
}

// syntax reports an error of the YAML parser.
//
// The line in its text is of no use: some errors have none, some count from 0, and
// some name the beginning of the block that the mistake is in. The mistake is where
// the parser takes offense: on the last line of the shortest beginning of the text
// that has the same error as the whole.
func (d *decoder) syntax(text []byte, err error) {
	lines := slices.Collect(bytes.Lines(text))
	line := 1 + sort.Search(len(lines)-1, func(i int) bool {
		_, same := parseYAML(bytes.Join(lines[:i+1], nil))
		return same != nil && same.Error() == err.Error()
	})
	what := strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.HasPrefix(what, "line ") {
		_, what, _ = strings.Cut(what, ": ")
	}
	d.wrong(line, "", "%s", what)
}
