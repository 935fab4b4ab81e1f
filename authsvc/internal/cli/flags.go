package cli

import (
	"errors"

	"github.com/alecthomas/kong"
)

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
	if err := ctx.Scan.PopValueInto("path", &value); err != nil {
		return err
	}
	if value == "" {
		return errors.New("must not be empty")
	}
	*p = givenPath(kong.ExpandPath(value))
	return nil
}
