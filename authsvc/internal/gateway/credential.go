package gateway

import (
	"errors"
	"net/http"
	"strings"

	"github.com/authbus/authbus/authsvc/internal/gateway/proxy"
	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
	"github.com/authbus/authbus/verifier"
)

// credential is what a request shows for itself.
type credential struct {
	token  vault.Token
	cookie bool // it came as the cookie, which browsers send by themselves
}

// credentialOf returns the one credential of a request. Every error is
// errTokenInQuery or a *verifier.Error; see denyCredential.
func credentialOf(r *http.Request) (credential, error) {
	bearer, err := bearerOf(r)
	if err != nil {
		return credential{}, err
	}
	cookies := r.CookiesNamed(cookieName)
	shown := len(cookies)
	if bearer != "" {
		shown++
	}
	switch {
	case proxy.HasToken(r.URL.RawQuery):
		return credential{}, errTokenInQuery
	case shown > 1:
		return credential{}, ambiguous("more than one credential")
	case shown == 0:
		return credential{}, &verifier.Error{Err: verifier.ErrNoToken, Reason: verifier.ReasonNoToken}
	}
	text := bearer
	if len(cookies) == 1 {
		text = cookies[0].Value
	}
	token, err := vault.ParseToken(text)
	if err != nil {
		return credential{}, &verifier.Error{Err: verifier.ErrInvalid, Reason: "malformed", Detail: "not an opaque token of the gateway"}
	}
	return credential{token: token, cookie: len(cookies) == 1}, nil
}

// bearerOf returns the text of the Authorization header, "" without one.
func bearerOf(r *http.Request) (string, error) {
	headers := r.Header.Values("Authorization")
	switch len(headers) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", ambiguous("more than one Authorization header")
	}
	scheme, text, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || text == "" {
		return "", &verifier.Error{Err: verifier.ErrInvalid, Reason: "malformed", Detail: "not a bearer token"}
	}
	return strings.TrimLeft(text, " "), nil
}

// errTokenInQuery refuses what RFC 6750 §2.3 allows: it ends up in logs.
var errTokenInQuery = errors.New("tokens in the query are not accepted")

// denyCredential answers a request with an error of credentialOf.
func denyCredential(w http.ResponseWriter, err error) {
	if !errors.Is(err, errTokenInQuery) {
		verifier.Deny(w, err)
		return
	}
	w.Header().Set("WWW-Authenticate", `Bearer error="invalid_request", error_description="`+errTokenInQuery.Error()+`"`)
	(&proxy.Problem{Status: http.StatusBadRequest, Code: "invalid_request", Detail: errTokenInQuery.Error()}).Write(w)
}

func ambiguous(detail string) error {
	return &verifier.Error{Err: verifier.ErrInvalid, Reason: verifier.ReasonAmbiguous, Detail: detail}
}

var errCrossOrigin = errors.New("the request comes from another site")

// sameOrigin refuses requests that another site makes a browser send. A WebSocket
// begins with a GET and can do everything, so it counts as a change.
func sameOrigin(r *http.Request) error {
	if r.Header.Get("Upgrade") != "" {
		r = r.Clone(r.Context())
		r.Method = http.MethodPost
	}
	if new(http.CrossOriginProtection).Check(r) != nil {
		return errCrossOrigin
	}
	return nil
}
