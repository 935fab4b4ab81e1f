package events

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/go-playground/validator/v10"
)

// ValidationError names everything that is wrong with a message.
type ValidationError struct {
	// Violations are in the order of the message's fields; there is at least one.
	Violations []Violation
}

// Violation is one field that breaks one rule.
type Violation struct {
	// Field is the path in JSON names: "token.jti".
	Field string
	// Rule is the validator's name of the rule, such as "required" or "max", and
	// Param what the rule was given, such as "64"; often empty.
	Rule, Param string
}

func (e *ValidationError) Error() string {
	parts := make([]string, len(e.Violations))
	for i, v := range e.Violations {
		parts[i] = v.String()
	}
	return strings.Join(parts, "; ")
}

// String says what the rule asks of the field.
func (v Violation) String() string {
	switch v.Rule {
	case "required":
		return v.Field + " is required"
	case "min":
		return v.Field + " must be at least " + v.Param
	case "max":
		return v.Field + " must be at most " + v.Param
	case "len":
		return v.Field + " must have length " + v.Param
	case "oneof":
		return v.Field + " must be one of: " + v.Param
	}
	return v.Field + " breaks the rule " + strings.TrimSpace(v.Rule+" "+v.Param)
}

// Validate checks an event, the data of one, a request or a reply. The error is
// a [*ValidationError] that names every violated field.
func Validate(v any) error {
	err := structValidator().Struct(v)
	if err == nil {
		return nil
	}
	var fields validator.ValidationErrors
	if !errors.As(err, &fields) {
		return fmt.Errorf("validating %T: %w", v, err)
	}
	violations := make([]Violation, len(fields))
	for i, f := range fields {
		_, path, _ := strings.Cut(f.Namespace(), ".")
		violations[i] = Violation{Field: path, Rule: f.Tag(), Param: f.Param()}
	}
	return &ValidationError{Violations: violations}
}

// structValidator is safe for concurrent use and caches what it learns of a type.
var structValidator = sync.OnceValue(func() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			return strings.ToLower(f.Name)
		}
		return name
	})
	return v
})
