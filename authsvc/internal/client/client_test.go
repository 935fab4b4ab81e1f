package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

func TestServerURLs(t *testing.T) {
	for server, good := range map[string]bool{
		"https://auth.example.org": true, "http://127.0.0.1:8080/": true, "https://example.org/auth": true,
		"": false, "auth.example.org": false, "ftp://example.org": false, "https://": false,
		"https://user:pw@example.org": false, "https://example.org?x": false, "https://example.org/#x": false,
	} {
		if _, err := New(Config{Server: server}); (err == nil) != good {
			t.Errorf("%q: %v", server, err)
		}
	}
}

// TestWhatElseAnswers has something that is not authsvc stand in its place.
func TestWhatElseAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		status      int
		contentType string
		body        string
		code        string
	}{
		"a proxy's page":              {502, "text/html", "<h1>Bad Gateway</h1>", "http_502"},
		"a redirect":                  {302, "text/html", "", "http_302"},
		"a problem without code":      {400, wire.ProblemType, `{"title":"x"}`, "http_400"},
		"a problem that is no JSON":   {400, wire.ProblemType, `<`, "http_400"},
		"a problem":                   {429, wire.ProblemType, `{"code":"throttled","status":200}`, "throttled"},
		"words instead of JSON":       {200, "application/json", "hello", ""},
		"an answer that does not end": {200, "application/json", `"` + strings.Repeat("x", maxAnswer) + `"`, ""},
		"JSON of another kind":        {200, "application/json", `{"token_type":7}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.contentType)
				w.Header().Set("Location", "https://example.org/elsewhere")
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			t.Cleanup(server.Close)
			anyone, err := New(Config{Server: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			_, err = anyone.Login(t.Context(), wire.LoginRequest{Login: "ada", Password: "x"})
			p, refused := errors.AsType[*Problem](err)
			switch {
			case err == nil:
				t.Error("it passed for a login")
			case refused != (c.code != "") || refused && (p.Code != c.code || p.Status != c.status || p.RetryAfter != 7*time.Second):
				t.Errorf("got %#v", err)
			}
		})
	}
}

func TestSecretsAreSentAndNotShown(t *testing.T) {
	req := wire.LoginRequest{Login: "ada", Password: "top secret"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(verb, req); strings.Contains(text, "top secret") {
			t.Errorf("%s shows it: %s", verb, text)
		}
	}
	if body, err := json.Marshal(req); err != nil || !strings.Contains(string(body), "top secret") {
		t.Errorf("%s, %v", body, err)
	}
}
