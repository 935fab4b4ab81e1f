package httpapi

import (
	"net/http"
)

// route is one line of the API.
type route struct {
	pattern string // method and path, as http.ServeMux has them
	access  access
	handle  handler
}

// routes is the API's table of contents.
func (a *api) routes() []route {
	const ok, created = http.StatusOK, http.StatusCreated
	v := a.validate
	return []route{
		{"POST /v1/accounts", anybody, endpoint(v, created, a.register)},
		{"GET /v1/me", user, endpoint(v, ok, a.me)},
		{"DELETE /v1/me", user, endpoint(v, ok, a.deleteMe)},
		{"PUT /v1/me/password", user, endpoint(v, ok, a.changePassword)},

		{"POST /v1/sessions", anybody, endpoint(v, created, a.logIn)},
		{"POST /v1/sessions/refresh", anybody, endpoint(v, ok, a.refresh)},
		{"GET /v1/sessions", user, endpoint(v, ok, a.sessions)},
		{"DELETE /v1/sessions", user, endpoint(v, ok, a.endAll)},
		{"DELETE /v1/sessions/current", user, endpoint(v, ok, a.logOut)},
		{"DELETE /v1/sessions/{sid}", user, endpoint(v, ok, a.endSession)},

		{"GET /v1/verify", bearer, endpoint(v, ok, a.verify)},
		{"POST /v1/introspect", service, endpoint(v, ok, a.introspect)},
		{"POST /v1/revoke", service, endpoint(v, ok, a.revokeToken)},

		{"POST /v1/admin/bootstrap", anybody, endpoint(v, created, a.bootstrap)},
		{"GET /v1/admin/accounts", admin, endpoint(v, ok, a.accounts)},
		{"GET /v1/admin/accounts/{sub}", admin, endpoint(v, ok, a.account)},
		{"POST /v1/admin/accounts/{sub}/disable", admin, endpoint(v, ok, a.disable)},
		{"POST /v1/admin/accounts/{sub}/enable", admin, endpoint(v, ok, a.enable)},
		{"GET /v1/admin/accounts/{sub}/sessions", admin, endpoint(v, ok, a.accountSessions)},
		{"DELETE /v1/admin/sessions/{sid}", admin, endpoint(v, ok, a.adminEndSession)},
		{"GET /v1/admin/revocations", admin, endpoint(v, ok, a.revocations)},
		{"POST /v1/admin/revocations", admin, endpoint(v, created, a.revoke)},
		{"GET /v1/admin/keys", admin, endpoint(v, ok, a.keys)},
		{"POST /v1/admin/keys/rotate", admin, endpoint(v, created, a.rotateKey)},
		{"POST /v1/admin/keys/{kid}/kill", admin, endpoint(v, ok, a.killKey)},
		{"GET /v1/admin/services", admin, endpoint(v, ok, a.services)},
		{"POST /v1/admin/services", admin, endpoint(v, created, a.addService)},
		{"POST /v1/admin/services/{id}/rotate", admin, endpoint(v, created, a.rotateService)},
		{"DELETE /v1/admin/services/{id}", admin, endpoint(v, http.StatusNoContent, a.removeService)},

		{"GET /.well-known/jwks.json", anybody, a.jwks},
		{"GET /.well-known/oauth-authorization-server", anybody, a.metadata},
		{"GET /openapi.json", anybody, openAPI},
		{"GET /healthz", anybody, endpoint(v, ok, a.healthz)},
		{"GET /readyz", anybody, endpoint(v, ok, a.readyz)},
		{"GET /metrics", anybody, a.metricsPage()},
	}
}
