// Package wire holds the JSON shapes of authsvc's HTTP API: what the server
// decodes and encodes, and what the client sends and receives. It imports
// nothing of the project, so that a client never links the server.
//
//	var got wire.Tokens
//	err := json.Unmarshal(body, &got)
//	req.Header.Set("Authorization", "Bearer "+got.AccessToken)
//
// Request structs name where a field comes from: `json` in the body, `path` and
// `query` in the URL, `form` in a form. Validation tags are those of
// go-playground/validator. The same shapes are documented for every other
// language in schemas/openapi.yaml, and tests hold the two together.
//
// # Compatibility
//
// Fields may be added to replies; none is renamed or removed within /v1.
package wire

import "log/slog"

// Secret is a string that is sent but never shown: it hides itself wherever it is
// printed or logged, and only JSON carries it.
type Secret string

const hidden = "[hidden]"

// String hides the secret from fmt.
func (Secret) String() string { return hidden }

// GoString hides the secret from %#v.
func (Secret) GoString() string { return hidden }

// LogValue hides the secret from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }
