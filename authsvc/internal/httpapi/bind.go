package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"unicode/utf8"
)

// maxBody bounds every request body, in bytes.
const maxBody = 64 << 10

// binder fills one request struct from a request. Every field comes from exactly
// one place, which its tag names, and every name that has no field is refused:
// a misspelt option must not be an option that is silently off.
type binder struct {
	body, path, query, form map[string]int // name → index of the field
}

func newBinder(t reflect.Type) binder {
	return binder{
		body: fieldsTagged(t, "json"), path: fieldsTagged(t, "path"),
		query: fieldsTagged(t, "query"), form: fieldsTagged(t, "form"),
	}
}

func fieldsTagged(t reflect.Type, tag string) map[string]int {
	fields := map[string]int{}
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get(tag), ","); name != "" {
			fields[name] = i
		}
	}
	return fields
}

// bind fills dst, a struct, and adds to bad what does not fit it. The error is a
// *problem for what cannot be read at all.
func (b binder) bind(r *http.Request, dst reflect.Value, bad *violations) error {
	for name, i := range b.path {
		bad.set(dst.Field(i), name, r.PathValue(name))
	}
	if err := b.bindQuery(r, dst, bad); err != nil {
		return err
	}
	switch {
	case len(b.form) > 0:
		return b.bindForm(r, dst, bad)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return b.bindJSON(r, dst, bad)
	}
	return nil
}

func (b binder) bindQuery(r *http.Request, dst reflect.Value, bad *violations) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return badRequest("invalid_query", "the query string is not well formed")
	}
	for name, values := range query {
		i, known := b.query[name]
		switch {
		case !known:
			bad.add(name, "unknown_field", "is not known here")
		case len(values) > 1:
			bad.add(name, "duplicate", "is given more than once")
		default:
			bad.set(dst.Field(i), name, values[0])
		}
	}
	return nil
}

// bindJSON reads exactly one JSON object, with exact names, each at most once.
// An empty body counts as an empty object, so that what is missing is named.
func (b binder) bindJSON(r *http.Request, dst reflect.Value, bad *violations) error {
	body, err := readBody(r, "application/json")
	if err != nil || len(body) == 0 {
		return err
	}
	if !utf8.Valid(body) {
		return badRequest("invalid_json", "the body is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return badRequest("invalid_json", "the body is not a JSON object")
	}
	seen := map[string]bool{}
	for dec.More() {
		name, raw, err := member(dec)
		if err != nil {
			return badRequest("invalid_json", "the body is not well-formed JSON")
		}
		i, known := b.body[name]
		switch {
		case seen[name]:
			bad.add(name, "duplicate", "is given more than once")
		case !known:
			bad.add(name, "unknown_field", "is not known here")
		default:
			bad.decode(dst.Field(i), name, raw)
		}
		seen[name] = true
	}
	if _, err := dec.Token(); err != nil {
		return badRequest("invalid_json", "the body is not well-formed JSON")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return badRequest("invalid_json", "the body holds more than one JSON document")
	}
	return nil
}

// member reads the next name and value of an object. The value is scanned
// without recursion and not decoded, so nesting costs nothing.
func member(dec *json.Decoder) (string, json.RawMessage, error) {
	tok, err := dec.Token()
	if err != nil {
		return "", nil, fmt.Errorf("reading a name: %w", err)
	}
	name, ok := tok.(string)
	if !ok {
		return "", nil, errors.New("reading a name: not a string")
	}
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return "", nil, fmt.Errorf("reading a value: %w", err)
	}
	return name, raw, nil
}

// readBody returns the body, which must have the media type unless it is empty.
func readBody(r *http.Request, mediaType string) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &tooBig):
		return nil, &problem{
			status: http.StatusRequestEntityTooLarge, code: "body_too_large",
			detail: fmt.Sprintf("the body is larger than %d bytes", maxBody),
		}
	case err != nil:
		return nil, &problem{
			status: http.StatusBadRequest, code: "body_unreadable",
			detail: "the body could not be read", cause: err,
		}
	case len(body) == 0:
		return nil, nil
	}
	got, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset, hasCharset := params["charset"]
	if err != nil || got != mediaType || (hasCharset && !strings.EqualFold(charset, "utf-8")) {
		return nil, &problem{
			status: http.StatusUnsupportedMediaType, code: "unsupported_media_type",
			detail: "the body must be " + mediaType,
		}
	}
	return body, nil
}
