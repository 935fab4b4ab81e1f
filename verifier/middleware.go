package verifier

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
)

// Middleware lets a request through to next if it carries an acceptable bearer
// token, whose claims [FromContext] then returns, and answers it otherwise as RFC
// 6750 §3 says, with a problem document (RFC 9457):
//
//   - no token: 401, code "not_authenticated"; the authority is not asked
//   - a bad, expired or revoked token: 401, code "invalid_token"
//   - more than one Authorization header: 400, code "invalid_request"
//   - cannot be decided now: 503 with Retry-After, code "unavailable"
//
// The answer does not tell a forged token from a revoked one.
func (v *Verifier) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := bearer(r)
		if err != nil {
			Deny(w, v.refused(err))
			return
		}
		claims, err := v.Verify(r.Context(), raw)
		if err != nil {
			Deny(w, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(NewContext(r.Context(), claims)))
	})
}

// bearer returns the token of the Authorization header (RFC 6750 §2.1). The other
// ways of RFC 6750, form and query, put tokens where they are logged.
func bearer(r *http.Request) (string, error) {
	headers := r.Header.Values("Authorization")
	switch len(headers) {
	case 0:
		return "", &Error{Err: ErrNoToken, Reason: ReasonNoToken}
	case 1:
	default:
		return "", &Error{Err: ErrInvalid, Reason: ReasonAmbiguous, Detail: "more than one Authorization header"}
	}
	scheme, raw, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", &Error{Err: ErrNoToken, Reason: ReasonNoToken, Detail: "not a bearer token"}
	}
	return strings.TrimLeft(raw, " "), nil
}

// problem is the body of a refusal (RFC 9457 §3).
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
}

// retryAfter is how soon an undecided request may come again, in seconds.
const retryAfter = "1"

// Deny answers a request with an error of [Verifier.Verify], as
// [Verifier.Middleware] does: for handlers that call Verify themselves.
func Deny(w http.ResponseWriter, err error) {
	var own *Error
	ambiguous := errors.As(err, &own) && own.Reason == ReasonAmbiguous
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	switch {
	case ambiguous:
		h.Set("WWW-Authenticate", `Bearer error="invalid_request", error_description="more than one credential"`)
		writeProblem(w, http.StatusBadRequest, "invalid_request", "more than one credential")
	case errors.Is(err, ErrNoToken):
		h.Set("WWW-Authenticate", "Bearer")
		writeProblem(w, http.StatusUnauthorized, "not_authenticated", "not authenticated")
	case errors.Is(err, ErrUnavailable):
		h.Set("Retry-After", retryAfter)
		writeProblem(w, http.StatusServiceUnavailable, "unavailable", "cannot be decided now, try again")
	default:
		h.Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="please log in again"`)
		writeProblem(w, http.StatusUnauthorized, "invalid_token", "please log in again")
	}
}

func writeProblem(w http.ResponseWriter, status int, code, title string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	// A client that has gone away is no concern of the service's.
	_ = json.NewEncoder(w).Encode(problem{Type: "about:blank", Title: title, Status: status, Code: code})
}
