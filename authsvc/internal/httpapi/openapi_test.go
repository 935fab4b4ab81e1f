package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// contract is openapi.yaml as the tests use it: every answer is held against it.
type contract struct {
	doc      map[string]any
	compiler *jsonschema.Compiler
}

const contractURL = "https://authbus.test/openapi.json"

func loadContract(t *testing.T) *contract {
	t.Helper()
	raw, err := openAPIDocument()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	root := doc.(map[string]any)
	// What the document does not mention may be added to answers one day; in the
	// tests it must not be there.
	for _, schema := range child(root, "components", "schemas") {
		closeObjects(schema)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource(contractURL, doc); err != nil {
		t.Fatal(err)
	}
	return &contract{doc: root, compiler: c}
}

func closeObjects(schema any) {
	object, ok := schema.(map[string]any)
	if !ok {
		return
	}
	if _, described := object["properties"]; described && object["additionalProperties"] == nil {
		object["additionalProperties"] = false
	}
	for _, v := range object {
		closeObjects(v)
	}
}

func child(node map[string]any, names ...string) map[string]any {
	for _, name := range names {
		node, _ = node[name].(map[string]any)
	}
	return node
}

// pointer makes a JSON pointer from names.
func pointer(names ...string) string {
	var b strings.Builder
	for _, name := range names {
		name = strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
		b.WriteString("/" + name)
	}
	return b.String()
}

// resolve follows a reference within the document.
func (c *contract) resolve(node map[string]any, at string) (map[string]any, string) {
	ref, ok := node["$ref"].(string)
	if !ok {
		return node, at
	}
	at = strings.TrimPrefix(ref, "#")
	return child(c.doc, strings.Split(at, "/")[1:]...), at
}

func (c *contract) validate(at string, body []byte) error {
	schema, err := c.compiler.Compile(contractURL + "#" + at)
	if err != nil {
		return fmt.Errorf("compiling %s: %w", at, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("decoding: %w", err)
	}
	return schema.Validate(value)
}

// find returns the documented path that the request went to; "" if there is none.
func (c *contract) find(path string) string {
	best := ""
	for template := range child(c.doc, "paths") {
		if matches(template, path) && (best == "" || !strings.Contains(template, "{")) {
			best = template
		}
	}
	return best
}

func matches(template, path string) bool {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	return len(want) == len(got) && !slices.ContainsFunc(want, func(s string) bool {
		i := slices.Index(want, s)
		return s != got[i] && !strings.HasPrefix(s, "{")
	})
}

// checking is a transport that holds every answer, and every request that was
// accepted, against the contract.
type checking struct {
	t *testing.T
	*contract
}

func (c checking) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent []byte
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		sent, _ = io.ReadAll(body)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if err := c.check(req, sent, resp, body); err != nil {
		c.t.Errorf("%s %s → %d %s\nis not as openapi.yaml says: %v", req.Method, req.URL.Path, resp.StatusCode, body, err)
	}
	return resp, nil
}

func (c checking) check(req *http.Request, sent []byte, resp *http.Response, body []byte) error {
	if err := commonHeaders(resp); err != nil {
		return err
	}
	path := c.find(req.URL.Path)
	operation := child(c.doc, "paths", path, strings.ToLower(req.Method))
	if operation == nil {
		return c.validate("/components/schemas/Problem", body)
	}
	at := pointer("paths", path, strings.ToLower(req.Method))
	if err := c.checkRequest(operation, at, req, sent, resp.StatusCode); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	status := strconv.Itoa(resp.StatusCode)
	documented := child(operation, "responses", status)
	if documented == nil {
		if status = "default"; resp.StatusCode < 400 {
			return fmt.Errorf("the status %d is not documented", resp.StatusCode)
		}
		documented = child(operation, "responses", status)
	}
	documented, at = c.resolve(documented, at+pointer("responses", status))
	for name, header := range child(documented, "headers") {
		header, _ := c.resolve(header.(map[string]any), "")
		if header["required"] == true && resp.Header.Get(name) == "" {
			return fmt.Errorf("the header %s is missing", name)
		}
	}
	return c.checkBody(documented, at, resp.Header.Get("Content-Type"), body)
}

func (c checking) checkRequest(operation map[string]any, at string, req *http.Request, sent []byte, status int) error {
	if status > 299 || len(sent) == 0 {
		return nil
	}
	if operation["requestBody"] == nil {
		return fmt.Errorf("a body is not documented")
	}
	documented, at := c.resolve(child(operation, "requestBody"), at+"/requestBody")
	if strings.HasPrefix(req.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		sent = nil // a form: only its media type is checked
	}
	return c.checkBody(documented, at, req.Header.Get("Content-Type"), sent)
}

func (c checking) checkBody(documented map[string]any, at, contentType string, body []byte) error {
	content := child(documented, "content")
	if content == nil {
		if len(body) > 0 {
			return fmt.Errorf("a body is not documented")
		}
		return nil
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil || content[mediaType] == nil {
		return fmt.Errorf("the media type %q is not documented", contentType)
	}
	if !strings.HasSuffix(mediaType, "json") || len(body) == 0 {
		return nil
	}
	return c.validate(at+pointer("content", mediaType, "schema"), body)
}

// commonHeaders are on every answer.
func commonHeaders(resp *http.Response) error {
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
	} {
		if got := resp.Header.Get(name); got != want {
			return fmt.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	if resp.Header.Get("X-Request-Id") == "" {
		return fmt.Errorf("the header X-Request-Id is missing")
	}
	if cache := resp.Header.Get("Cache-Control"); cache != "no-store" && cache != cacheBriefly {
		return fmt.Errorf("Cache-Control is %q", cache)
	}
	return nil
}

func TestEveryRouteIsDocumentedAndEveryDocumentedRouteExists(t *testing.T) {
	c := loadContract(t)
	var documented, served []string
	for path, item := range child(c.doc, "paths") {
		for method := range item.(map[string]any) {
			if method != "parameters" {
				documented = append(documented, strings.ToUpper(method)+" "+path)
			}
		}
	}
	for _, rt := range (&api{validate: newValidator(), Config: Config{}}).routes() {
		served = append(served, rt.pattern)
	}
	slices.Sort(documented)
	slices.Sort(served)
	if !slices.Equal(documented, served) {
		t.Errorf("documented:\n%s\nserved:\n%s", strings.Join(documented, "\n"), strings.Join(served, "\n"))
	}
}

func TestEveryExampleInTheContractIsValid(t *testing.T) {
	c := loadContract(t)
	examples := 0
	var walk func(node any, at string)
	walk = func(node any, at string) {
		object, ok := node.(map[string]any)
		if !ok {
			if items, ok := node.([]any); ok {
				for i, item := range items {
					walk(item, at+"/"+strconv.Itoa(i))
				}
			}
			return
		}
		if object["schema"] != nil {
			for _, example := range examplesOf(object) {
				body, err := json.Marshal(example)
				if err != nil {
					t.Fatal(err)
				}
				if err := c.validate(at+"/schema", body); err != nil {
					t.Errorf("the example at %s: %v", at, err)
				}
				examples++
			}
		}
		for name, v := range object {
			walk(v, at+pointer(name))
		}
	}
	walk(c.doc, "")
	if examples < 30 {
		t.Errorf("found only %d examples", examples)
	}
}

func examplesOf(object map[string]any) []any {
	var all []any
	if example, ok := object["example"]; ok {
		all = append(all, example)
	}
	for _, named := range child(object, "examples") {
		all = append(all, named.(map[string]any)["value"])
	}
	return all
}
