package cli

import (
	"reflect"

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

// givenPath is kong's type "path" but for the empty one, which kong takes for the
// working directory: it stays empty, for refuseNothing to refuse.
func givenPath(ctx *kong.DecodeContext, target reflect.Value) error {
	var path string
	if err := ctx.Scan.PopValueInto("path", &path); err != nil {
		return err
	}
	if path != "" {
		path = kong.ExpandPath(path)
	}
	target.SetString(path)
	return nil
}
