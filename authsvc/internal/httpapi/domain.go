package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
	"github.com/authbus/authbus/authsvc/internal/store"
)

// statuses is the one place that gives the domain's codes their HTTP status.
var statuses = map[authority.Code]int{
	authority.CodeInvalidInput:               http.StatusUnprocessableEntity,
	authority.CodeAccountExists:              http.StatusConflict,
	authority.CodeInvalidCredentials:         http.StatusUnauthorized,
	authority.CodeThrottled:                  http.StatusTooManyRequests,
	authority.CodeBusy:                       http.StatusServiceUnavailable,
	authority.CodeInvalidToken:               http.StatusUnauthorized,
	authority.CodeInvalidGrant:               http.StatusUnauthorized,
	authority.CodeInsufficientAuthentication: http.StatusUnauthorized,
	authority.CodeForbidden:                  http.StatusForbidden,
	authority.CodeNotFound:                   http.StatusNotFound,
	authority.CodeInvalidClient:              http.StatusUnauthorized,
	authority.CodeServiceExists:              http.StatusConflict,
	authority.CodeWrongPassword:              http.StatusForbidden,
	authority.CodeInvalidBootstrapSecret:     http.StatusUnauthorized,
	authority.CodeAdminExists:                http.StatusConflict,
	authority.CodeTokenNotYours:              http.StatusBadRequest,
	authority.CodeCannotMint:                 http.StatusServiceUnavailable,
	authority.CodeSharedSecret:               http.StatusConflict,
}

// domainProblem returns the problem that a domain error is, or nil for an error
// that the domain has no name for.
func domainProblem(err error) *problem {
	var e *authority.Error
	if !errors.As(err, &e) {
		return nil
	}
	switch e.Code {
	case authority.CodeInvalidToken:
		return errInvalidToken.with(err)
	case authority.CodeInvalidClient:
		return errInvalidClient.with(err)
	}
	status, known := statuses[e.Code]
	if !known {
		return nil
	}
	p := &problem{status: status, code: string(e.Code), detail: e.Message, retryAfter: e.RetryAfter, cause: err}
	if e.Code == authority.CodeInvalidInput {
		p.detail = detailInvalidInput // the same words wherever the rule stands
		p.errors = each(e.Violations, func(v authority.Violation) wire.Violation { return wire.Violation(v) })
	}
	if (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable) && p.retryAfter <= 0 {
		p.retryAfter = time.Second
	}
	p.challenge = challenge(e, status)
	return p
}

// challenge is the WWW-Authenticate that belongs to the error: RFC 6750 §3.1, and
// RFC 9470 §3 for a login that is too long ago.
func challenge(e *authority.Error, status int) string {
	switch {
	case e.Code == authority.CodeInsufficientAuthentication:
		return fmt.Sprintf(`Bearer realm="authsvc", error="insufficient_user_authentication", `+
			`error_description="a more recent login is needed", max_age="%d"`, int64(e.MaxAge.Seconds()))
	case e.Code == authority.CodeForbidden:
		return `Bearer realm="authsvc", error="insufficient_scope"`
	case e.Code == authority.CodeInvalidGrant:
		return errInvalidToken.challenge
	case status == http.StatusUnauthorized:
		return errNotAuthenticated.challenge
	default:
		return ""
	}
}

// below judges an error of the domain's methods. What has no name there failed
// below it, in the database mostly: nothing was committed, and the caller may try
// again. A panic would happen again.
func below(err error) error {
	var panicked *store.PanicError
	if err == nil || domainProblem(err) != nil || errors.As(err, &panicked) {
		return err
	}
	if _, ok := errors.AsType[*problem](err); ok {
		return err
	}
	return errNotReady.with(err)
}
