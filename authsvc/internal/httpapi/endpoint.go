package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"

	"github.com/go-playground/validator/v10"
)

// none is the request of an endpoint that takes nothing, and the reply of one
// that answers without a body.
type none struct{}

// handler answers a request whose caller is known. An error becomes a problem.
type handler func(w http.ResponseWriter, r *http.Request, c caller) error

// endpoint is the one JSON handler: it decodes and validates a Req, has f do the
// work, and sends the Resp with the status.
func endpoint[Req, Resp any](v *validator.Validate, status int, f func(context.Context, caller, Req) (Resp, error)) handler {
	bind := newBinder(reflect.TypeFor[Req]())
	return func(w http.ResponseWriter, r *http.Request, c caller) error {
		var req Req
		var bad violations
		if err := bind.bind(r, reflect.ValueOf(&req).Elem(), &bad); err != nil {
			return err
		}
		if err := validate(v, req, &bad); err != nil {
			return err
		}
		if err := bad.problem(); err != nil {
			return err
		}
		resp, err := f(r.Context(), c, req)
		if err != nil {
			return below(err)
		}
		return writeJSON(w, status, "application/json", resp)
	}
}

// writeJSON encodes before it sends, so that an error can still become a problem.
func writeJSON(w http.ResponseWriter, status int, mediaType string, doc any) error {
	if _, empty := doc.(none); empty {
		w.WriteHeader(status)
		return nil
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	// The connection is the only thing that can fail here, and then nobody is left to tell.
	_, _ = w.Write(append(body, '\n'))
	return nil
}
