package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

// problem is an error on its way to a caller. All of it but cause is shown.
type problem struct {
	status     int
	code       string
	detail     string
	errors     []wire.Violation
	challenge  string        // WWW-Authenticate
	retryAfter time.Duration // Retry-After
	cause      error         // for the log only
}

func (p *problem) Error() string { return p.code + ": " + p.detail }
func (p *problem) Unwrap() error { return p.cause }

func badRequest(code, detail string) *problem {
	return &problem{status: http.StatusBadRequest, code: code, detail: detail}
}

const detailInvalidInput = "the input breaks the rules named in errors"

func invalidInput(bad []wire.Violation) *problem {
	return &problem{
		status: http.StatusUnprocessableEntity, code: "invalid_input",
		detail: detailInvalidInput, errors: bad,
	}
}

// The problems of presenting credentials. The challenges follow RFC 6750 §3: one
// who has shown no token is told nothing but how to show one, and one whose token
// is not good learns neither why nor whether it ever was.
var (
	errTwoCredentials     = badRequest("two_credentials", "the request carries more than one credential")
	errRepeatedCredential = badRequest("repeated_credential", "client_id or client_secret is given more than once")
	errTwoClients         = badRequest("two_clients", "client_id names another service than the credential")
	errTokenInURL         = badRequest("credential_in_url", "a token belongs in the header Authorization, never in a URL")

	errNotAuthenticated = &problem{
		status: http.StatusUnauthorized, code: "not_authenticated", detail: "not authenticated",
		challenge: `Bearer realm="authsvc"`,
	}
	errInvalidToken = &problem{
		status: http.StatusUnauthorized, code: "invalid_token", detail: "please log in again",
		challenge: `Bearer realm="authsvc", error="invalid_token", error_description="please log in again"`,
	}
	errInvalidClient = &problem{
		status: http.StatusUnauthorized, code: "invalid_client",
		detail:    "the service is not known or its secret is wrong",
		challenge: `Basic realm="authsvc", charset="UTF-8"`,
	}
	errNotFound    = &problem{status: http.StatusNotFound, code: "not_found", detail: "there is nothing here"}
	errInternal    = &problem{status: http.StatusInternalServerError, code: "internal", detail: "something went wrong here; the service's log has it under the request id"}
	errNotReady    = &problem{status: http.StatusServiceUnavailable, code: "unavailable", detail: "the service cannot do this now", retryAfter: time.Second}
	errCursor      = badRequest("invalid_cursor", "the cursor is not one that this service gave for this list")
	errUnconfirmed = invalidInput([]wire.Violation{{
		Field: "confirm", Code: "required",
		Message: "must be true, because this logs out more than one user",
	}})
)

// with returns the problem with a cause for the log.
func (p *problem) with(cause error) *problem {
	withCause := *p
	withCause.cause = cause
	return &withCause
}

// asProblem turns any error into what a caller may know of it. An error that no
// rule knows is internal, and none of its words reach the caller.
func asProblem(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if p := domainProblem(err); p != nil {
		return p
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return errNotReady.with(err)
	}
	return errInternal.with(err)
}

// writeProblem sends the problem. Where oauth is set it is what an OAuth client
// looks for (RFC 6749 §5.2): application/json with the member error.
func writeProblem(w http.ResponseWriter, p *problem, requestID string, oauth bool) {
	mediaType, status, name, description := wire.ProblemType, p.status, "", ""
	if oauth {
		mediaType, description = "application/json", p.detail
		status, name = oauthError(p)
	}
	header := w.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Cache-Control", "no-store")
	if p.challenge != "" {
		header.Set("WWW-Authenticate", p.challenge)
	}
	if p.retryAfter > 0 {
		seconds := int64((p.retryAfter + time.Second - 1) / time.Second)
		header.Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	w.WriteHeader(status)
	// The connection is the only thing that can fail here, and then nobody is left to tell.
	_ = json.NewEncoder(w).Encode(wire.Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Code: p.code, Detail: p.detail, RequestID: requestID, Errors: p.errors,
		OAuthError: name, OAuthDescription: description,
	})
}

// oauthError returns the status and the error of RFC 6749 §5.2 that a problem is.
// A token of somebody else's is invalid_grant: "was issued to another client".
// There is no unsupported_token_type (RFC 7009 §2.2.1): both types can be revoked.
func oauthError(p *problem) (status int, name string) {
	switch {
	case p.code == string(authority.CodeTokenNotYours):
		return http.StatusBadRequest, "invalid_grant"
	case p.status == http.StatusUnauthorized:
		return p.status, "invalid_client"
	case p.status == http.StatusUnprocessableEntity:
		return http.StatusBadRequest, "invalid_request"
	case p.status == http.StatusServiceUnavailable || p.status == http.StatusTooManyRequests:
		return p.status, "temporarily_unavailable"
	case p.status >= http.StatusInternalServerError:
		return p.status, "server_error"
	default:
		return p.status, "invalid_request"
	}
}
