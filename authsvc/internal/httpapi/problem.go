package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

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
	errTwoCredentials = badRequest("two_credentials", "the request carries more than one credential")
	errTokenInURL     = badRequest("credential_in_url", "a token belongs in the header Authorization, never in a URL")

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

// writeProblem sends the problem. Where oauth is set it repeats the error in the
// words of RFC 6749 §5.2, which is what callers of introspection and revocation
// look for.
func writeProblem(w http.ResponseWriter, p *problem, requestID string, oauth bool) {
	doc := wire.Problem{
		Type: "about:blank", Title: http.StatusText(p.status), Status: p.status,
		Code: p.code, Detail: p.detail, RequestID: requestID, Errors: p.errors,
	}
	if oauth {
		doc.OAuthError, doc.OAuthDescription = oauthError(p), p.detail
	}
	header := w.Header()
	header.Set("Content-Type", wire.ProblemType)
	header.Set("Cache-Control", "no-store")
	if p.challenge != "" {
		header.Set("WWW-Authenticate", p.challenge)
	}
	if p.retryAfter > 0 {
		seconds := int64((p.retryAfter + time.Second - 1) / time.Second)
		header.Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	w.WriteHeader(p.status)
	// The connection is the only thing that can fail here, and then nobody is left to tell.
	_ = json.NewEncoder(w).Encode(doc)
}

func oauthError(p *problem) string {
	switch {
	case p.status == http.StatusUnauthorized:
		return "invalid_client"
	case p.status == http.StatusServiceUnavailable || p.status == http.StatusTooManyRequests:
		return "temporarily_unavailable"
	case p.status >= http.StatusInternalServerError:
		return "server_error"
	default:
		return "invalid_request"
	}
}
