package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

var errEmpty = errors.New("must not be empty")

// jsonFlag is for the commands that ask no service.
type jsonFlag struct {
	JSON bool `name:"json" help:"Print JSON, for programs."`
}

// AfterApply tells the terminal.
func (j *jsonFlag) AfterApply(t *terminal) error {
	t.json = j.JSON
	return nil
}

// givenPath is a path as kong's type "path" is, but for the empty one, which kong takes
// for the working directory: in a script it is a variable that is not set.
type givenPath string

// Decode implements kong.MapperValue.
func (p *givenPath) Decode(ctx *kong.DecodeContext) error {
	var value string
	if err := decodeGiven(ctx, &value); err != nil {
		return err
	}
	*p = givenPath(kong.ExpandPath(value))
	return nil
}

// givenText is a text that must not be empty.
type givenText string

// Decode implements kong.MapperValue.
func (g *givenText) Decode(ctx *kong.DecodeContext) error {
	return decodeGiven(ctx, (*string)(g))
}

func decodeGiven(ctx *kong.DecodeContext, into *string) error {
	if err := ctx.Scan.PopValueInto("string", into); err != nil {
		return err
	}
	if *into == "" {
		return errEmpty
	}
	return nil
}

// wordList is a list as kong has them, with commas or repeated flags, but for the
// empty one, which kong takes for nothing at all, and lists with empty words.
type wordList []string

// Decode implements kong.MapperValue.
func (l *wordList) Decode(ctx *kong.DecodeContext) error {
	var value string
	if err := decodeGiven(ctx, &value); err != nil {
		return err
	}
	words := strings.Split(value, ",")
	if slices.Contains(words, "") {
		return errEmpty
	}
	*l = append(*l, words...)
	return nil
}
