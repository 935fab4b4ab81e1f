package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestNoBodyHurts sends bodies that have hurt others to every route that reads one.
func TestNoBodyHurts(t *testing.T) {
	w := newWorld(t)
	root := w.admin(t)
	bombs := map[string]string{
		"deep arrays":              strings.Repeat("[", 60_000),
		"deep objects":             strings.Repeat(`{"a":`, 12_000),
		"a deep value":             `{"login":` + strings.Repeat("[", 60_000),
		"a closed deep value":      `{"login":` + strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000) + "}",
		"ten thousand fields":      "{" + strings.Repeat(`"a":1,`, 10_000) + `"b":1}`,
		"a long name":              `{"` + strings.Repeat("x", 60_000) + `":1}`,
		"a long number":            `{"login":` + strings.Repeat("9", 60_000) + "}",
		"a huge exponent":          `{"login":1e999999999}`,
		"more than 64 KiB":         `{"login":"` + strings.Repeat("x", 70_000) + `"}`,
		"two documents":            `{}{}`,
		"an array":                 `[{}]`,
		"a string":                 `"x"`,
		"null":                     `null`,
		"a name twice":             `{"login":"a","login":"b","scope":"user","scope":"everyone"}`,
		"names in capitals":        `{"LOGIN":"a","Password":"b"}`,
		"a field nobody knows":     `{"role":"admin"}`,
		"null where a string goes": `{"login":null,"username":null,"reason":null,"id":null,"password":null}`,
		"not UTF-8":                "{\"login\":\"\xff\xfe\"}",
		"half a character":         `{"login":"\ud800","username":"\ud800","reason":"\ud800","id":"\ud800","password":"\ud800","secret":"\ud800","refresh_token":"\ud800","current_password":"\ud800"}`,
		"a comment":                `{} // x`,
		"cut off":                  `{"login":"a`,
		"nothing but space":        strings.Repeat(" ", 60_000),
	}
	for _, rt := range (&api{validate: newValidator()}).routes() {
		method, path := concrete(rt.pattern)
		if method == http.MethodGet || rt.access == service {
			continue
		}
		for name, bomb := range bombs {
			t.Run(rt.pattern+"/"+name, func(t *testing.T) {
				began := time.Now()
				got := w.send(t, request{method: method, path: path, header: root.as(), body: bomb})
				if got.status < 400 || got.status > 499 {
					t.Errorf("got %d %s", got.status, got.body)
				}
				if len(got.body) > 8<<10 {
					t.Errorf("the answer has %d bytes", len(got.body))
				}
				if took := time.Since(began); took > time.Second {
					t.Errorf("took %v", took)
				}
			})
		}
	}
	if log := w.logs.String(); strings.Contains(log, "panic") {
		t.Error("something panicked")
	}
}

func TestMediaTypes(t *testing.T) {
	w := newWorld(t)
	for contentType, status := range map[string]int{
		"application/json":                     http.StatusUnprocessableEntity,
		"application/json; charset=utf-8":      http.StatusUnprocessableEntity,
		"application/json; charset=UTF-8":      http.StatusUnprocessableEntity,
		"application/json; charset=iso-8859-1": http.StatusUnsupportedMediaType,
		"application/json;":                    http.StatusUnprocessableEntity,
		"text/json":                            http.StatusUnsupportedMediaType,
		"application/x-www-form-urlencoded":    http.StatusUnsupportedMediaType,
		"multipart/form-data; boundary=x":      http.StatusUnsupportedMediaType,
		"application/json, application/json":   http.StatusUnsupportedMediaType,
		"":                                     http.StatusUnsupportedMediaType,
	} {
		got := w.send(t, request{
			method: "POST", path: "/v1/sessions", header: http.Header{"Content-Type": {contentType}}, body: `{}`,
		})
		if got.status != status {
			t.Errorf("%q: got %d, want %d", contentType, got.status, status)
		}
	}
}

func TestViolationsNameTheFieldAndNeverTheValue(t *testing.T) {
	w := newWorld(t)
	body, err := json.Marshal(map[string]any{
		"login": strings.Repeat("x", 300), "password": 4711, "pasword": "topsecret", "client_id": strings.Repeat("c", 65),
	})
	if err != nil {
		t.Fatal(err)
	}
	got := w.send(t, request{method: "POST", path: "/v1/sessions", header: jsonHeader(), body: string(body)})
	codes := map[string]string{}
	for _, v := range got.problem.Errors {
		codes[v.Field] = v.Code
	}
	for field, code := range map[string]string{"password": "wrong_type", "pasword": "unknown_field"} {
		if codes[field] != code {
			t.Errorf("violations = %v, want %s: %s", codes, field, code)
		}
	}
	if strings.Contains(got.body, "4711") || strings.Contains(got.body, "topsecret") {
		t.Errorf("the answer repeats a value: %s", got.body)
	}
	got = w.send(t, request{method: "GET", path: "/v1/admin/accounts?limit=501&cursor=" + strings.Repeat("c", 600), header: w.admin(t).as()})
	if fmt.Sprint(len(got.problem.Errors)) != "2" {
		t.Errorf("got %s", got.body)
	}
}
