package httpapi

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

func TestRoutesThatNeedATokenRefuseWithout(t *testing.T) {
	w := newWorld(t)
	ada := w.join(t, "ada")
	good := ada.tokens.AccessToken
	tampered := good[:len(good)-4] + "AAAA"
	const bare = `Bearer realm="authsvc"`
	const dead = `Bearer realm="authsvc", error="invalid_token", error_description="please log in again"`
	for _, rt := range (&api{validate: newValidator()}).routes() {
		if rt.access == anybody || rt.access == service {
			continue
		}
		method, path := concrete(rt.pattern)
		for _, c := range []struct {
			name, path, code, challenge string
			authorization               []string
			status                      int
		}{
			{"no token", path, "not_authenticated", bare, nil, 401},
			{"another scheme", path, "not_authenticated", bare, []string{"Basic YTpi"}, 401},
			{"an empty token", path, "invalid_token", dead, []string{"Bearer "}, 401},
			{"a tampered token", path, "invalid_token", dead, []string{"Bearer " + tampered}, 401},
			{"a refresh token", path, "invalid_token", dead, []string{"Bearer " + ada.tokens.RefreshToken}, 401},
			{"two tokens in one header", path, "invalid_token", dead, []string{"Bearer " + good + ", Bearer " + good}, 401},
			{"two headers", path, "two_credentials", "", []string{"Bearer " + good, "Bearer " + good}, 400},
			{"a token in the URL", path + "?access_token=" + good, "credential_in_url", "", nil, 400},
			{"a token in header and URL", path + "?access_token=x", "credential_in_url", "", []string{"Bearer " + good}, 400},
		} {
			t.Run(rt.pattern+"/"+c.name, func(t *testing.T) {
				got := w.send(t, request{method: method, path: c.path, header: http.Header{"Authorization": c.authorization}})
				if got.status != c.status || got.problem.Code != c.code || got.header.Get("WWW-Authenticate") != c.challenge {
					t.Errorf("got %d %s %q", got.status, got.problem.Code, got.header.Get("WWW-Authenticate"))
				}
			})
		}
	}
}

// TestNobodyReachesWhatIsNotTheirs goes over every route that names somebody's
// thing, as somebody else.
func TestNobodyReachesWhatIsNotTheirs(t *testing.T) {
	w := newWorld(t)
	root := w.admin(t)
	ada, eve := w.join(t, "ada"), w.join(t, "mallory")
	sub, sid, kid := ada.tokens.Sub, ada.tokens.SID, w.claims(t, ada).KeyID
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"DELETE", "/v1/sessions/" + sid, "", 404},
		{"DELETE", "/v1/sessions/" + strings.ToUpper(sid), "", 404},
		{"DELETE", "/v1/sessions/%2e%2e%2fsessions%2f" + sid, "", 404},
		{"GET", "/v1/admin/accounts/" + sub, "", 403},
		{"GET", "/v1/admin/accounts/" + eve.tokens.Sub, "", 403},
		{"GET", "/v1/admin/accounts/" + sub + "/sessions", "", 403},
		{"POST", "/v1/admin/accounts/" + sub + "/disable", `{"reason":"r"}`, 403},
		{"POST", "/v1/admin/accounts/" + sub + "/enable", `{"reason":"r"}`, 403},
		{"DELETE", "/v1/admin/sessions/" + sid, "", 403},
		{"POST", "/v1/admin/revocations", `{"scope":"user","id":"` + sub + `","reason":"r"}`, 403},
		{"POST", "/v1/admin/revocations", `{"scope":"everyone","reason":"r","confirm":true}`, 403},
		{"POST", "/v1/admin/keys/" + kid + "/kill", `{"reason":"r","confirm":true}`, 403},
		{"POST", "/v1/admin/keys/rotate", "", 403},
		{"POST", "/v1/admin/services", `{"id":"eve"}`, 403},
		{"PUT", "/v1/me/password", `{"sub":"` + sub + `","current_password":"` + goodPassword + `","new_password":"eight green herons hum"}`, 422},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			if got := w.send(t, request{method: c.method, path: c.path, header: eve.as(), body: c.body}); got.status != c.status {
				t.Errorf("got %d %s, want %d", got.status, got.body, c.status)
			}
		})
	}
	must[wire.Me](t)(ada.Me(t.Context()))
	must[wire.Me](t)(eve.Me(t.Context()))
	if log := must[wire.RevocationPage](t)(root.Revocations(t.Context(), wire.PageRequest{})); len(log.Revocations) != 0 {
		t.Errorf("revocations = %+v", log)
	}
}

func TestProblemsAreWordedAsAgreed(t *testing.T) {
	w := newWorld(t)
	ada := w.join(t, "ada")
	var got bytes.Buffer
	for _, r := range []request{
		{method: "GET", path: "/v1/me"},
		{method: "GET", path: "/v1/me", header: http.Header{"Authorization": {"Bearer x.y.z"}}},
		{method: "GET", path: "/v1/admin/keys", header: ada.as()},
		{method: "POST", path: "/v1/sessions", header: jsonHeader(), body: `{"login":"ada","password":"wrong"}`},
		{method: "POST", path: "/v1/sessions", header: jsonHeader(), body: `{"login":"nobody","password":"wrong"}`},
		{method: "POST", path: "/v1/sessions/refresh", header: jsonHeader(), body: `{"refresh_token":"r_none"}`},
		{method: "POST", path: "/v1/accounts", header: jsonHeader(), body: `{"username":"","email":7,"pasword":"x"}`},
		{method: "POST", path: "/v1/accounts", header: jsonHeader(), body: `[]`},
		{method: "POST", path: "/v1/accounts", header: http.Header{"Content-Type": {"text/plain"}}, body: `{}`},
		{method: "DELETE", path: "/v1/sessions?kep=current", header: ada.as()},
		{method: "POST", path: "/v1/introspect", header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, body: "token=x"},
		{method: "GET", path: "/nowhere"},
		{method: "GET", path: "//v1/me"},
		{method: "PATCH", path: "/v1/me"},
	} {
		a := w.send(t, r)
		body := strings.ReplaceAll(a.body, a.problem.RequestID, "REQUEST-ID")
		got.WriteString(r.method + " " + r.path + " " + r.body + "\n" + body)
		for _, name := range []string{"Allow", "WWW-Authenticate", "Retry-After"} {
			if v := a.header.Get(name); v != "" {
				got.WriteString(name + ": " + v + "\n")
			}
		}
		got.WriteString("\n")
	}
	golden(t, "problems.golden", got.Bytes())
}

// golden compares with a file; AUTHBUS_TEST_UPDATE=1 writes it anew.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("AUTHBUS_TEST_UPDATE") != "" {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; got\n%s", path, got)
	}
}
