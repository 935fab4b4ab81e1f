package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestAnEmptyPathIsRefused by every flag for one: kong's own type "path" takes it for
// the working directory.
func TestAnEmptyPathIsRefused(t *testing.T) {
	parser, err := kong.New(&root{})
	if err != nil {
		t.Fatal(err)
	}
	_ = kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		n, ok := node.(*kong.Node)
		if !ok || len(n.Children) > 0 {
			return next(nil)
		}
		for _, group := range n.AllFlags(true) {
			for _, flag := range group {
				if flag.Tag.Type == "path" {
					refusesNothing(t, n, flag)
				}
			}
		}
		return next(nil)
	})
}

// refusesNothing runs a leaf command with all that it requires, and a flag without a value.
func refusesNothing(t *testing.T, n *kong.Node, empty *kong.Flag) {
	t.Helper()
	args := strings.Fields(n.Path())
	for _, group := range n.AllFlags(true) {
		for _, flag := range group {
			if flag.Required && flag != empty {
				args = append(args, "--"+flag.Name+"=x")
			}
		}
	}
	for _, argument := range n.Positional {
		if argument.Required {
			args = append(args, "x")
		}
	}
	args = append(args, "--"+empty.Name+"=")
	var stdout, stderr bytes.Buffer
	status := Run(t.Context(), args, strings.NewReader(""), &stdout, &stderr, nil)
	if want := "--" + empty.Name; status != exitUsage || !strings.Contains(stderr.String(), want) || !strings.Contains(stderr.String(), "must not be empty") {
		t.Errorf("%v: status %d with %q", args, status, stderr.String())
	}
}
