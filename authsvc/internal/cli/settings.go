package cli

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/authbus/authbus/authsvc/internal/field"
)

// refuseNothing refuses an empty text and the number 0 as values: below, they would
// mean the default in silence. Whoever wrote --issuer "$ISSUER" without the variable
// meant something else, and so did --max-stale 0. Where 0 has a meaning of its own, a
// flag has the tag "zero".
func refuseNothing(parsed *kong.Context) error {
	for _, part := range parsed.Path {
		value := part.Positional
		if part.Flag != nil {
			value = part.Flag.Value
		}
		if value == nil || value.Tag.Has("zero") {
			continue
		}
		if reason := saysNothing(value.Target.Interface()); reason != "" {
			return fmt.Errorf("%s: %s", value.ShortSummary(), reason)
		}
	}
	return nil
}

func saysNothing(value any) string {
	switch v := value.(type) {
	case string:
		if v == "" {
			return "must not be empty"
		}
	case []string:
		if len(v) == 0 || slices.Contains(v, "") {
			return "must not be empty"
		}
	case int, int64, time.Duration:
		if reflect.ValueOf(v).IsZero() {
			return "must not be 0"
		}
	}
	return ""
}

// asFlags names the fields that err finds wrong in a configuration as the flags that
// set them. Any other error is nil.
func asFlags(err error, command *kong.Node) error {
	var named []error
	for _, wrong := range field.In(err) {
		named = append(named, fmt.Errorf("%s: %w", flagOf(wrong.Field, command), wrong.Err))
	}
	return errors.Join(named...)
}

// flagOf is the flag or argument that sets a field: the one of the same name, or the one
// with the tag "field". A field that none sets keeps its name.
func flagOf(name string, command *kong.Node) string {
	for node := command; node != nil; node = node.Parent {
		for _, flag := range node.Flags {
			if flag.Tag.Get("field") != name && !strings.EqualFold(strings.ReplaceAll(flag.Name, "-", ""), name) {
				continue
			}
			if flag.Tag.Has("confidential") {
				return "$" + variable(flag)
			}
			return "--" + flag.Name
		}
	}
	for _, argument := range command.Positional {
		if strings.EqualFold(argument.Name, name) {
			return argument.ShortSummary()
		}
	}
	return name
}
