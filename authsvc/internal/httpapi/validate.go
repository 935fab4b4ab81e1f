package httpapi

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-playground/validator/v10"
)

// newValidator returns a validator that calls fields by the names that callers know.
func newValidator() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string {
		for _, tag := range []string{"json", "path", "query", "form"} {
			if name, _, _ := strings.Cut(f.Tag.Get(tag), ","); name != "" {
				return name
			}
		}
		return f.Name
	})
	return v
}

// validate checks the rules of the request struct and adds every violation to
// bad, but for fields that could not even be read.
func validate(v *validator.Validate, request any, bad *violations) error {
	err := v.Struct(request)
	var broken validator.ValidationErrors
	if err != nil && !errors.As(err, &broken) {
		return fmt.Errorf("validating: %w", err)
	}
	for _, b := range broken {
		if !bad.names(b.Field()) {
			code, message := ruleText(b)
			bad.add(b.Field(), code, message)
		}
	}
	return nil
}

// ruleText words a broken rule: a stable code, and a message for people. The
// offending value is in neither, because it may be a password.
func ruleText(b validator.FieldError) (code, message string) {
	switch b.Tag() {
	case "required", "required_unless":
		return "required", "is required"
	case "excluded_if":
		return "not_allowed", "must be left out here"
	case "oneof":
		return "not_one_of", "must be one of: " + strings.ReplaceAll(b.Param(), " ", ", ")
	case "unique":
		return "duplicate", "has one entry twice"
	case "min":
		if b.Kind() == reflect.Slice {
			return "too_short", "must have at least " + entries(b.Param())
		}
		return "too_small", "must be at least " + b.Param()
	case "max":
		if b.Kind() == reflect.Slice {
			return "too_long", "must have at most " + entries(b.Param())
		}
		if b.Kind() == reflect.String {
			return "too_long", "must have at most " + b.Param() + " characters"
		}
		return "too_large", "must be at most " + b.Param()
	default:
		return "invalid", "is not valid"
	}
}

func entries(count string) string {
	if count == "1" {
		return "1 entry"
	}
	return count + " entries"
}
