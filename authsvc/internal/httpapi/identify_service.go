package httpapi

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/authbus/authbus/authsvc/internal/authority"
)

// identifyService says which service asks: the one place where introspection and
// revocation learn it. A service shows exactly one credential (RFC 6749 §2.3): its
// id and secret in the header or in the form, or its certificate (RFC 8705 §2).
func (a *api) identifyService(r *http.Request, from authority.Meta) (caller, error) {
	form, err := formOf(r)
	if err != nil {
		return caller{}, err
	}
	if name, ok := a.certified(r); ok {
		return a.identifyCertified(r, form, name)
	}
	id, secret, err := clientCredentials(r, form)
	if err != nil {
		return caller{}, err
	}
	s, err := a.Authority.AuthenticateService(r.Context(), id, authority.Secret(secret), from)
	if err != nil {
		return caller{}, below(err)
	}
	return caller{service: s}, nil
}

// certified returns the name in the certificate that the connection was made with.
func (a *api) certified(r *http.Request) (name string, ok bool) {
	if a.Peer == nil || r.TLS == nil {
		return "", false
	}
	return a.Peer(*r.TLS)
}

// identifyCertified takes the name for the service of the same id. A secret beside
// it is a second credential, whoever's it is.
func (a *api) identifyCertified(r *http.Request, form url.Values, name string) (caller, error) {
	ids := form["client_id"]
	switch {
	case shown(r, form) > 0:
		return caller{}, errTwoCredentials
	case len(ids) > 1:
		return caller{}, errRepeatedCredential
	case len(ids) == 1 && ids[0] != name:
		return caller{}, errTwoClients
	}
	s, err := a.Authority.CertifiedService(r.Context(), name)
	if err != nil {
		return caller{}, below(err)
	}
	return caller{service: s}, nil
}

// shown counts the credentials that the request itself carries.
func shown(r *http.Request, form url.Values) (n int) {
	for _, has := range []bool{
		r.Header.Get("Authorization") != "", form.Has("client_secret"), form.Has("client_assertion"), form.Has("access_token"),
	} {
		if has {
			n++
		}
	}
	return n
}

// clientCredentials reads client_secret_basic or client_secret_post. A client_id
// beside Basic is no credential, and must name the same service.
func clientCredentials(r *http.Request, form url.Values) (id, secret string, err error) {
	ids, secrets := form["client_id"], form["client_secret"]
	switch {
	case shown(r, form) > 1:
		return "", "", errTwoCredentials
	case len(ids) > 1 || len(secrets) > 1:
		return "", "", errRepeatedCredential
	case len(secrets) == 1 && len(ids) == 1:
		return ids[0], secrets[0], nil
	}
	id, secret, err = basicCredentials(r)
	if err == nil && len(ids) == 1 && ids[0] != id {
		return "", "", errTwoClients
	}
	return id, secret, err
}

// basicCredentials reads HTTP Basic as OAuth has it: id and secret are
// form-encoded before they are joined (RFC 6749 §2.3.1).
func basicCredentials(r *http.Request) (id, secret string, err error) {
	id, secret, ok := r.BasicAuth()
	if !ok {
		return "", "", errInvalidClient
	}
	id, errID := url.QueryUnescape(id)
	secret, errSecret := url.QueryUnescape(secret)
	if err := errors.Join(errID, errSecret); err != nil {
		return "", "", errInvalidClient.with(err)
	}
	return id, secret, nil
}
