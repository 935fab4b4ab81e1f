package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.yaml.in/yaml/v3"

	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
	"github.com/authbus/authbus/schemas"
)

// cacheBriefly is for what is public and changes seldom. A minute is well below
// the overlap of signing keys, so that a new key is known before it signs.
const cacheBriefly = "public, max-age=60"

// jwks sends the public keys under the media type of RFC 7517 §8.5.
func (a *api) jwks(w http.ResponseWriter, _ *http.Request, _ caller) error {
	w.Header().Set("Cache-Control", cacheBriefly)
	return writeJSON(w, http.StatusOK, "application/jwk-set+json", a.JWKS())
}

// metadata tells what of RFC 8414 §2 there is. No grant is listed, because tokens
// are not given to third parties here.
func (a *api) metadata(w http.ResponseWriter, _ *http.Request, _ caller) error {
	methods := []string{"client_secret_basic", "client_secret_post"}
	if a.Peer != nil {
		methods = append(methods, "tls_client_auth") // RFC 8705 §2.1.1
	}
	w.Header().Set("Cache-Control", cacheBriefly)
	return writeJSON(w, http.StatusOK, "application/json", wire.Metadata{
		Issuer: a.Issuer, JWKSURI: a.Issuer + "/.well-known/jwks.json",
		ResponseTypes: []string{}, GrantTypes: []string{},
		IntrospectionEndpoint: a.Issuer + "/v1/introspect", IntrospectionAuth: methods,
		RevocationEndpoint: a.Issuer + "/v1/revoke", RevocationAuth: methods,
		ServiceDocumentation: a.Issuer + "/openapi.json",
	})
}

// openAPI sends the API's own description.
func openAPI(w http.ResponseWriter, _ *http.Request, _ caller) error {
	doc, err := openAPIDocument()
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", cacheBriefly)
	return writeJSON(w, http.StatusOK, "application/json", doc)
}

// openAPIDocument is schemas/openapi.yaml as JSON.
var openAPIDocument = sync.OnceValues(func() (json.RawMessage, error) {
	text, err := fs.ReadFile(schemas.FS(), "openapi.yaml")
	if err != nil {
		return nil, fmt.Errorf("finding openapi.yaml: %w", err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("reading openapi.yaml: %w", err)
	}
	encoded, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("encoding openapi.yaml: %w", err)
	}
	return encoded, nil
})

func (a *api) healthz(context.Context, caller, none) (wire.Health, error) {
	return wire.Health{Status: "ok"}, nil
}

// NotReadyError is why the service cannot do its work: Reason for everybody, and Err,
// which may name hosts, for the log.
type NotReadyError struct {
	Reason string
	Err    error
}

func (e *NotReadyError) Error() string { return e.Reason + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *NotReadyError) Unwrap() error { return e.Err }

func (a *api) readyz(ctx context.Context, _ caller, _ none) (wire.Health, error) {
	if a.Ready == nil {
		return wire.Health{Status: "ok"}, nil
	}
	err := a.Ready(ctx)
	if err == nil {
		return wire.Health{Status: "ok"}, nil
	}
	refusal := errNotReady.with(err)
	if told, ok := errors.AsType[*NotReadyError](err); ok {
		refusal.detail = told.Reason
	}
	return wire.Health{}, refusal
}

func (a *api) metricsPage() handler {
	page := promhttp.HandlerFor(a.Registry, promhttp.HandlerOpts{})
	return func(w http.ResponseWriter, r *http.Request, _ caller) error {
		page.ServeHTTP(w, r)
		return nil
	}
}
