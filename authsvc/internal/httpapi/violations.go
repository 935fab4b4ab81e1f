package httpapi

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

const (
	// maxViolations bounds an answer: a body of ten thousand unknown fields is
	// not worth ten thousand lines.
	maxViolations = 32
	// maxEcho bounds what of an unknown name is repeated to the caller, in bytes.
	maxEcho = 64
)

// violations collects what is wrong with the input, field by field.
type violations []wire.Violation

func (v *violations) add(field, code, message string) {
	if len(*v) >= maxViolations {
		return
	}
	if len(field) > maxEcho {
		field = strings.ToValidUTF8(field[:maxEcho], "") + "…"
	}
	*v = append(*v, wire.Violation{Field: field, Code: code, Message: message})
}

// names reports whether something is wrong with the field already.
func (v *violations) names(field string) bool {
	return slices.ContainsFunc(*v, func(known wire.Violation) bool { return known.Field == field })
}

func (v *violations) problem() error {
	if len(*v) == 0 {
		return nil
	}
	return invalidInput(*v)
}

// decode sets a field from a JSON value of exactly its type. U+FFFD is what a
// decoder puts in place of broken text; taking it would change what was sent.
func (v *violations) decode(field reflect.Value, name string, raw json.RawMessage) {
	if string(raw) == "null" || json.Unmarshal(raw, field.Addr().Interface()) != nil {
		v.add(name, "wrong_type", "must be a "+typeName(field.Kind()))
		return
	}
	if field.Kind() == reflect.String && strings.ContainsRune(field.String(), utf8.RuneError) {
		v.add(name, "invalid_text", "holds text that is not valid Unicode")
	}
}

// set sets a field from the text of a URL or a form.
func (v *violations) set(field reflect.Value, name, value string) {
	switch field.Kind() {
	case reflect.String:
		if !utf8.ValidString(value) {
			v.add(name, "invalid_text", "holds text that is not valid Unicode")
			return
		}
		field.SetString(value)
	case reflect.Int:
		n, err := strconv.Atoi(value)
		if err != nil {
			v.add(name, "wrong_type", "must be a "+typeName(reflect.Int))
			return
		}
		field.SetInt(int64(n))
	default:
		panic("httpapi: no rule to read a " + field.Kind().String() + " from a URL")
	}
}

func typeName(k reflect.Kind) string {
	switch k {
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "whole number"
	case reflect.Slice:
		return "list of strings"
	default:
		return "string"
	}
}
