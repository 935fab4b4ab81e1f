package httpapi

import (
	"net/http"
	"strings"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/verifier/token"
)

// access says who may use a route.
type access int

const (
	anybody access = iota // no credential is looked at
	user                  // a good access token
	admin                 // … with the role admin and a recent login
	bearer                // a token that the route judges itself
	service               // a service, known by identifyService
)

// caller is who asks. Which of its parts are set depends on the route's access.
type caller struct {
	claims  *token.Claims
	token   string
	service authority.Service
	meta    authority.Meta
}

// name is what the log calls the caller.
func (c caller) name() string {
	if c.claims != nil {
		return c.claims.Subject
	}
	return c.service.ID
}

// identify finds out who asks, or why the route is closed to them. One request
// shows one credential (RFC 6750 §2): with two of them, what one part of the
// system checks need not be what another part uses.
func (a *api) identify(r *http.Request, need access, from authority.Meta) (caller, error) {
	if len(r.Header.Values("Authorization")) > 1 {
		return caller{}, errTwoCredentials
	}
	if strings.Contains(r.URL.RawQuery, "access_token") && r.URL.Query().Has("access_token") {
		return caller{}, errTokenInURL
	}
	switch need {
	case user, admin:
		return a.identifyUser(r, need)
	case bearer:
		raw, err := bearerToken(r)
		return caller{token: raw}, err
	case service:
		return a.identifyService(r, from)
	default:
		return caller{}, nil
	}
}

func (a *api) identifyUser(r *http.Request, need access) (caller, error) {
	raw, err := bearerToken(r)
	if err != nil {
		return caller{}, err
	}
	claims, err := a.Authority.Authenticate(r.Context(), raw)
	if err != nil {
		return caller{}, below(err)
	}
	if need == admin {
		if err := a.Authority.CheckAdmin(claims); err != nil {
			return caller{}, below(err)
		}
	}
	return caller{claims: claims}, nil
}

// bearerToken returns the token as it came. Another scheme is no token at all;
// an empty one is a bad token.
func bearerToken(r *http.Request) (string, error) {
	scheme, raw, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", errNotAuthenticated
	}
	if raw == "" {
		return "", errInvalidToken
	}
	return raw, nil
}
