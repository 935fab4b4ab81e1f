package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/authbus/authbus/authsvc/authsvctest"
	"github.com/authbus/authbus/schemas"
)

// contract is schemas/gateway.yaml.
type contract struct {
	doc      map[string]any
	compiler *jsonschema.Compiler
}

const contractURL = "https://authbus.test/gateway.json"

func loadContract(t *testing.T) contract {
	t.Helper()
	text, err := fs.ReadFile(schemas.FS(), "gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	if doc, err = jsonschema.UnmarshalJSON(bytes.NewReader(encoded)); err != nil {
		t.Fatal(err)
	}
	c := contract{doc.(map[string]any), jsonschema.NewCompiler()}
	for _, schema := range member(c.doc, "components", "schemas") { // in the tests nothing else may be there
		schema.(map[string]any)["additionalProperties"] = false
	}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	if err := c.compiler.AddResource(contractURL, doc); err != nil {
		t.Fatal(err)
	}
	return c
}

func member(node map[string]any, names ...string) map[string]any {
	for _, name := range names {
		node, _ = node[name].(map[string]any)
	}
	return node
}

// check says in what an answer is not as documented for its path.
func (c contract) check(path string, r reply) error {
	status := fmt.Sprint(r.StatusCode)
	at := []string{"paths", path, "post", "responses", status}
	answer := member(c.doc, at...)
	if answer == nil {
		return fmt.Errorf("%s is not documented", status)
	}
	if ref, ok := answer["$ref"].(string); ok {
		at = strings.Split(strings.TrimPrefix(ref, "#/"), "/")
		answer = member(c.doc, at...)
	}
	for name := range member(answer, "headers") {
		if member(answer, "headers", name)["required"] == true && r.Header.Get(name) == "" {
			return fmt.Errorf("%s has no header %s", status, name)
		}
	}
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || member(answer, "content", mediaType) == nil {
		return fmt.Errorf("%s with %q is not documented", status, mediaType)
	}
	pointer := "#"
	for _, name := range append(at, "content", mediaType, "schema") {
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
	}
	schema, err := c.compiler.Compile(contractURL + pointer)
	if err != nil {
		return err
	}
	body, err := jsonschema.UnmarshalJSON(strings.NewReader(r.body))
	if err != nil {
		return err
	}
	return schema.Validate(body)
}

// TestTheContract holds the gateway's own answers against schemas/gateway.yaml.
func TestTheContract(t *testing.T) {
	c, w := loadContract(t), start(t, authsvctest.Config{})
	bearer := "Bearer " + w.login(t).AccessToken
	cookie := w.browser(t)
	const foreign = "https://elsewhere.example"
	for _, call := range []struct {
		name, path, body string
		headers          []string
		want             int
	}{
		{"a token", "/login", w.credentials(""), nil, http.StatusCreated},
		{"a cookie", "/login", w.credentials(`,"cookie":true`), nil, http.StatusCreated},
		{"a wrong password", "/login", `{"login":"ada","password":"wrong but long enough"}`, nil, http.StatusUnauthorized},
		{"no password", "/login", `{"login":"ada"}`, nil, http.StatusUnprocessableEntity},
		{"no JSON", "/login", `{`, nil, http.StatusBadRequest},
		{"a form", "/login", "", []string{"Content-Type", "application/x-www-form-urlencoded"}, http.StatusUnsupportedMediaType},
		{"too much", "/login", strings.Repeat(" ", 20<<10), nil, http.StatusRequestEntityTooLarge},
		{"a login from another site", "/login", w.credentials(""), []string{"Origin", foreign}, http.StatusForbidden},
		{"refresh", "/refresh", "", []string{"Authorization", bearer}, http.StatusOK},
		{"refresh of a cookie", "/refresh", "", []string{"Cookie", cookie}, http.StatusOK},
		{"refresh from another site", "/refresh", "", []string{"Cookie", cookie, "Origin", foreign}, http.StatusForbidden},
		{"refresh of nothing", "/refresh", "", nil, http.StatusUnauthorized},
		{"refresh with two credentials", "/refresh", "", []string{"Authorization", bearer, "Cookie", cookie}, http.StatusBadRequest},
		{"refresh with a token in the query", "/refresh?access_token=x", "", nil, http.StatusBadRequest},
		{"logout with a token in the query", "/logout?access_token=x", "", []string{"Authorization", bearer}, http.StatusBadRequest},
		{"logout", "/logout", "", []string{"Authorization", bearer}, http.StatusOK},
		{"logout once more", "/logout", "", []string{"Authorization", bearer}, http.StatusUnauthorized},
		{"logout of a cookie", "/logout", "", []string{"Cookie", cookie}, http.StatusOK},
	} {
		t.Run(call.name, func(t *testing.T) {
			r := do(t, http.MethodPost, w.URL()+call.path, call.body, call.headers...)
			if r.StatusCode != call.want {
				t.Errorf("got %s %s", r.Status, r.body)
			}
			path, _, _ := strings.Cut(call.path, "?")
			if err := c.check(path, r); err != nil {
				t.Errorf("not as documented: %s %s\n%v", r.Status, r.body, err)
			}
		})
	}
	// The paths that exist are those that are documented.
	for path := range member(c.doc, "paths") {
		if r := do(t, http.MethodGet, w.URL()+path, ""); r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != http.MethodPost {
			t.Errorf("GET %s: %s", path, r.Status)
		}
	}
	w.auth.StopBroker() // nowhere to keep a session
	r := do(t, http.MethodPost, w.URL()+"/login", w.credentials(""))
	if err := c.check("/login", r); err != nil || r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without the bus: %s %s\n%v", r.Status, r.body, err)
	}
}
