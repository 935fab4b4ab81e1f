package schemas_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/authbus/authbus/schemas"
)

func TestSchemas(t *testing.T) {
	names := schemas.Names()
	if len(names) == 0 {
		t.Fatal("no schemas")
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			doc, err := schemas.Schema(name)
			if err != nil {
				t.Fatal(err)
			}
			var head struct {
				Schema      string `json:"$schema"`
				ID          string `json:"$id"`
				Title       string `json:"title"`
				Description string `json:"description"`
			}
			if err := json.Unmarshal(doc, &head); err != nil {
				t.Fatal(err)
			}
			if head.Schema != "https://json-schema.org/draft/2020-12/schema" || head.ID != schemas.URN+name ||
				head.Title == "" || head.Description == "" {
				t.Errorf("the schema begins with %+v", head)
			}
			if byURN, err := schemas.Schema(head.ID); err != nil || !slices.Equal(byURN, doc) {
				t.Errorf("by its $id: %v", err)
			}
			// Alone in a compiler that can load nothing, so that a reference to
			// another schema would fail.
			c := jsonschema.NewCompiler()
			c.UseLoader(jsonschema.SchemeURLLoader{})
			v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(doc)))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.AddResource(head.ID, v); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Compile(head.ID); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSchemaUnknown(t *testing.T) {
	for _, name := range []string{"", "login", "login.succeeded.v2", "../asyncapi", "urn:other:login.succeeded.v1"} {
		if doc, err := schemas.Schema(name); !errors.Is(err, fs.ErrNotExist) || doc != nil {
			t.Errorf("Schema(%q) returned %d bytes, %v", name, len(doc), err)
		}
	}
}

func TestFS(t *testing.T) {
	n := 1 // asyncapi.yaml
	if _, err := fs.Stat(schemas.FS(), "asyncapi.yaml"); err != nil {
		t.Error(err)
	}
	for _, folder := range []string{"events", "messages"} {
		entries, err := fs.ReadDir(schemas.FS(), folder)
		if err != nil {
			t.Fatal(err)
		}
		n += len(entries)
	}
	if want := len(schemas.Names()) + 1; n != want {
		t.Errorf("%d documents, want %d", n, want)
	}
}
