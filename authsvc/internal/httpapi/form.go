package httpapi

import (
	"net/http"
	"net/url"
	"reflect"
)

// formOf returns the body as a form. It reads the body the first time only: what
// the route takes and who asks may both stand in it.
func formOf(r *http.Request) (url.Values, error) {
	if r.PostForm != nil {
		return r.PostForm, nil
	}
	body, err := readBody(r, "application/x-www-form-urlencoded")
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, badRequest("invalid_form", "the body is not a well-formed form")
	}
	r.PostForm = form
	return form, nil
}

// bindForm follows RFC 6749 §3.2: a parameter given twice is an error, an unknown
// one is ignored, and one without a value counts as left out.
func (b binder) bindForm(r *http.Request, dst reflect.Value, bad *violations) error {
	form, err := formOf(r)
	if err != nil {
		return err
	}
	for name, values := range form {
		i, known := b.form[name]
		switch {
		case len(values) > 1:
			bad.add(name, "duplicate", "is given more than once")
		case known:
			bad.set(dst.Field(i), name, values[0])
		}
	}
	return nil
}
