package events_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/authbus/authbus/schemas"
)

// variant is an example of a schema with one thing changed, and whether both
// tellings of the contract should still accept it.
type variant struct {
	what  string
	value any // absent{} removes the member
	valid bool
}

type absent struct{}

// node is one schema in a document, with the document to resolve references in.
type node struct {
	root, schema map[string]any
}

func (n node) resolve() node {
	for {
		ref, ok := n.schema["$ref"].(string)
		if !ok {
			return n
		}
		name := strings.TrimPrefix(ref, "#/$defs/")
		n.schema = n.root["$defs"].(map[string]any)[name].(map[string]any)
	}
}

func (n node) number(keyword string) (json.Number, bool) {
	v, ok := n.schema[keyword].(json.Number)
	return v, ok
}

// variants returns what to put in place of a member that the schema describes,
// at and beyond each of its bounds.
func (n node) variants() []variant {
	vs := []variant{{"an object for it", map[string]any{"x": "y"}, n.schema["type"] == "object" && n.schema["required"] == nil}}
	if constant, ok := n.schema["const"]; ok {
		return append(vs, variant{"another value", fmt.Sprint(constant, "x"), false}, variant{"nothing", absent{}, false})
	}
	if _, ok := n.schema["enum"]; ok {
		vs = append(vs, variant{"a value that is not listed", "something_else", false}, variant{"no text", "", false})
		for _, v := range n.schema["enum"].([]any) {
			vs = append(vs, variant{fmt.Sprint("the value ", v), v, true})
		}
		return vs
	}
	switch n.schema["type"] {
	case "string":
		return append(vs, n.textVariants()...)
	case "integer":
		return append(vs, n.numberVariants()...)
	case "boolean":
		return append(vs, variant{"text", "true", false}, variant{"a number", 1, false}, variant{"true", true, true})
	}
	return append(vs, variant{"text", "x", false}, variant{"a number", 1, false})
}

func (n node) textVariants() []variant {
	vs := []variant{{"a number", 1, false}, {"a list", []any{"x"}, false}}
	if n.schema["pattern"] != nil || n.schema["format"] != nil {
		return append(vs, variant{"no text", "", false}, variant{"text of another form", "http://[ yesterday", false})
	}
	if high, ok := n.number("maxLength"); ok {
		length, _ := high.Int64()
		vs = append(vs,
			variant{"the longest text", strings.Repeat("x", int(length)), true},
			variant{"a text too long", strings.Repeat("x", int(length)+1), false})
	}
	_, filled := n.number("minLength")
	return append(vs, variant{"no text", "", !filled})
}

func (n node) numberVariants() []variant {
	vs := []variant{{"text", "1", false}, {"a fraction", 1.5, false}, {"far too great", json.Number("1e99"), false}}
	if low, ok := n.number("minimum"); ok {
		least, _ := low.Int64()
		if least > -1<<63 {
			vs = append(vs, variant{"the least", least, true}, variant{"less than the least", least - 1, false})
		}
	}
	high, _ := n.number("maximum")
	vs = append(vs, variant{"the greatest", high, true})
	if not, ok := n.schema["not"].(map[string]any); ok {
		vs = append(vs, variant{"the one that is excluded", not["const"], false})
	}
	return vs
}

// TestBounds walks through every schema, puts each variant of each member into
// an example, and asks both whether they accept it.
func TestBounds(t *testing.T) {
	for _, name := range schemas.Names() {
		t.Run(name, func(t *testing.T) {
			doc, err := schemas.Schema(name)
			if err != nil {
				t.Fatal(err)
			}
			root := parse(t, doc).(map[string]any)
			w := &walker{t: t, name: name, example: root["examples"].([]any)[0]}
			s := compile(t, schemas.URN+name)
			w.schemaAccepts = func(doc []byte) bool { return s.Validate(parse(t, doc)) == nil }
			w.object(node{root, root}, nil)
			if w.tried < 5 {
				t.Errorf("only %d variants were tried", w.tried)
			}
		})
	}
}

type walker struct {
	t             *testing.T
	name          string
	example       any
	schemaAccepts func(doc []byte) bool
	tried         int
}

// object tries the members of the object at path.
func (w *walker) object(n node, path []string) {
	n = n.resolve()
	required, _ := n.schema["required"].([]any)
	properties, _ := n.schema["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		at := append(slices.Clone(path), name)
		schema, ok := properties[name].(map[string]any)
		if !ok { // the schema "false": the member must not be there
			w.try(at, variant{"being there", "x", false})
			continue
		}
		if w.opaque(at) {
			continue
		}
		member := node{n.root, schema}.resolve()
		for _, v := range member.variants() {
			w.try(at, v)
		}
		w.try(at, variant{"being absent", absent{}, !slices.Contains(required, any(name))})
		if member.schema["properties"] != nil {
			w.object(member, at)
		}
		if items, ok := member.schema["items"].(map[string]any); ok {
			w.object(node{n.root, items}, append(at, "0"))
		}
	}
}

// opaque reports whether the Go type of a member leaves its form to others: to
// whoever reads the JWK set or the claims, or to DecodeRevocation. Where a
// member depends on another one, neither can be varied alone.
func (w *walker) opaque(path []string) bool {
	where := w.name + ":" + strings.Join(path, ".")
	return slices.Contains([]string{
		"KeysReply.v1:jwks", "VerifyReply.v1:claims", "RangeReply.v1:records", "StatusReply.v1:records",
		"Revocation.v1:scope", "Revocation.v1:id", // TestDecodeRevocation has them
	}, where) || path[0] == "subject" // it must be the sub of data, which is tried with it
}

// try puts a variant at path and compares the two verdicts with the one expected.
func (w *walker) try(path []string, v variant) {
	w.t.Helper()
	w.tried++
	doc := put(w.example, path, v.value)
	if len(path) == 2 && path[0] == "data" && path[1] == "sub" {
		subject := v.value
		if subject == "" {
			subject = absent{}
		}
		doc = put(doc, []string{"subject"}, subject)
	}
	raw := encode(w.t, doc)
	err := read(w.name, raw)
	if schemaAccepts := w.schemaAccepts(raw); schemaAccepts != v.valid || (err == nil) != v.valid {
		w.t.Errorf("%s: %s: accepted by the schema: %v, by Go: %v; want %v of both (%v)",
			strings.Join(path, "."), v.what, schemaAccepts, err == nil, v.valid, err)
	}
}

// put returns doc with value at path.
func put(doc any, path []string, value any) any {
	if len(path) == 0 {
		return value
	}
	if list, ok := doc.([]any); ok {
		return append([]any{put(list[0], path[1:], value)}, list[1:]...)
	}
	changed := maps.Clone(doc.(map[string]any))
	if (value == absent{}) && len(path) == 1 {
		delete(changed, path[0])
	} else {
		changed[path[0]] = put(changed[path[0]], path[1:], value)
	}
	return changed
}
