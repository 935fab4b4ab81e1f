package cli

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// environment gives flags their values from AUTHSVC_… variables; an empty one
// counts as not set. kong would ask the process itself; taking what Run was given
// keeps Run testable.
type environment []string

// Validate refuses variables that look like ours and are none: a misspelt one
// must not be a setting that is silently off.
func (e environment) Validate(app *kong.Application) error {
	known := map[string]bool{}
	_ = kong.Visit(app, func(node kong.Visitable, next kong.Next) error {
		if n, ok := node.(*kong.Application); ok {
			addVariables(known, n.Node)
		}
		if n, ok := node.(*kong.Node); ok {
			addVariables(known, n)
		}
		return next(nil)
	})
	for _, entry := range e {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, variablePrefix) && value != "" && !known[name] {
			return fmt.Errorf("the environment variable %s is not known", name)
		}
	}
	return nil
}

// refuseSecrets refuses a secret on the command line, which others on the machine can
// read: flags with the tag "confidential" are for their variables only. It comes
// before the parser, whose errors quote what they do not like.
func refuseSecrets(app *kong.Application, args []string) error {
	confidential := map[string]string{}
	err := kong.Visit(app, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok && flag.Tag.Has("confidential") {
			confidential["--"+flag.Name] = variable(flag)
		}
		return next(nil)
	})
	for _, arg := range args {
		name, _, _ := strings.Cut(arg, "=")
		if in, ok := confidential[name]; ok {
			return fmt.Errorf("%s is not taken from the command line, which others can read: set %s", name, in)
		}
	}
	return err
}

func addVariables(known map[string]bool, n *kong.Node) {
	for _, f := range n.Flags {
		known[variable(f)] = true
	}
}

// Resolve returns the value of the flag's variable, or nil.
func (e environment) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	name := variable(flag)
	for _, entry := range e {
		if value, ok := strings.CutPrefix(entry, name+"="); ok && name != "" && value != "" {
			return value, nil
		}
	}
	return nil, nil // kong's way to say "not set"
}

const variablePrefix = "AUTHSVC_"

// variable names the environment variable of a flag: AUTHSVC_ and the flag's own
// name in capitals, or what its tag says where two commands mean different things
// by one name.
func variable(flag *kong.Flag) string {
	if flag.Name == "help" {
		return ""
	}
	if name := flag.Tag.Get("variable"); name != "" {
		return name
	}
	return variableNamed(flag.Name)
}

func variableNamed(flag string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// helpWithVariable shows a flag's variable behind its help.
func helpWithVariable(value *kong.Value) string {
	if value.Flag == nil || variable(value.Flag) == "" {
		return value.Help
	}
	return value.Help + " ($" + variable(value.Flag) + ")"
}
