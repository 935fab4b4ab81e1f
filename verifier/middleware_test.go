package verifier

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/authbus/authbus/events"
)

func TestMiddlewareAnswersAsRFC6750Says(t *testing.T) {
	inBubble(t, func(c *Config) { c.Stale = Reject }, func(t *testing.T, v *Verifier, log *memoryLog) {
		good, revoked := log.mint(t, "u", "s1", "j1").raw, log.mint(t, "u", "s2", "j2").raw
		log.revoke(events.ScopeSession, "s2")
		v.ledger.details.Wait()
		handler := v.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			claims, ok := FromContext(r.Context())
			if !ok {
				t.Error("no claims in the context")
			}
			_, _ = io.WriteString(w, claims.Subject)
		}))
		call := func(headers ...string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header["Authorization"] = headers
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			return w
		}
		const again = `Bearer error="invalid_token", error_description="please log in again"`
		for _, c := range []struct {
			name      string
			headers   []string
			status    int
			code      string
			challenge string
		}{
			{"a good token", []string{"Bearer " + good}, 200, "", ""},
			{"the scheme in another case", []string{"bEARER " + good}, 200, "", ""},
			{"no token", nil, 401, "not_authenticated", "Bearer"},
			{"an empty header", []string{""}, 401, "not_authenticated", "Bearer"},
			{"an empty token", []string{"Bearer "}, 401, "not_authenticated", "Bearer"},
			{"another scheme", []string{"Basic dTpw"}, 401, "not_authenticated", "Bearer"},
			{"garbage", []string{"Bearer x"}, 401, "invalid_token", again},
			{"a tampered token", []string{"Bearer " + good[:len(good)-2] + "AA"}, 401, "invalid_token", again},
			{"a revoked token", []string{"Bearer " + revoked}, 401, "invalid_token", again},
			{
				"two credentials",
				[]string{"Bearer " + good, "Bearer " + good},
				400, "invalid_request",
				`Bearer error="invalid_request", error_description="more than one credential"`,
			},
		} {
			w := call(c.headers...)
			if w.Code != c.status || w.Header().Get("WWW-Authenticate") != c.challenge {
				t.Errorf("%s: %d %v", c.name, w.Code, w.Header())
			}
			var body struct{ Code string }
			if w.Code != http.StatusOK {
				if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Code != c.code {
					t.Errorf("%s: body %s", c.name, w.Body)
				}
			}
		}
		log.set(true, true)
		time.Sleep(40 * time.Second)
		if w := call("Bearer " + good); w.Code != 503 || w.Header().Get("Retry-After") == "" || w.Header().Get("WWW-Authenticate") != "" {
			t.Errorf("stale: %d %v", w.Code, w.Header())
		}
		if log.asked != 0 {
			t.Errorf("%d requests, want none", log.asked)
		}
	})
}
