package events_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	cloudevent "github.com/cloudevents/sdk-go/v2/event"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/schemas"
)

// The schemas and the Go types are two tellings of one contract. These tests
// hold them together: what Go writes the schemas accept, what the schemas show
// Go reads, and at every bound of a schema both change their verdict.

// parse reads JSON as the schema library wants it.
func parse(t testing.TB, doc []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		t.Fatalf("%v in %s", err, doc)
	}
	return v
}

// compiler knows every schema and checks formats.
func compiler(t testing.TB) *jsonschema.Compiler {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	for _, name := range schemas.Names() {
		doc, err := schemas.Schema(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(schemas.URN+name, parse(t, doc)); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func compile(t testing.TB, uri string) *jsonschema.Schema {
	t.Helper()
	s, err := compiler(t).Compile(uri)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tester is what rapid.T and testing.T have in common.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

func encode(t tester, v any) []byte {
	t.Helper()
	doc, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("encoding %+v: %v", v, err)
	}
	return doc
}

func mustValidate(t tester, s *jsonschema.Schema, doc []byte) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err == nil {
		err = s.Validate(v)
	}
	if err != nil {
		t.Fatalf("%s\nis refused by its schema: %v", doc, err)
	}
}

// read decodes a document by the Go type that the schema's name stands for.
func read(name string, doc []byte) error {
	if strings.ToLower(name) == name {
		_, err := events.Decode(doc)
		return err
	}
	if name == "Revocation.v1" {
		_, err := events.DecodeRevocation(doc)
		return err
	}
	for _, m := range messages() {
		typ := reflect.TypeOf(m)
		if typ.Name()+".v1" != name {
			continue
		}
		v := reflect.New(typ).Interface()
		if req, ok := v.(events.Asking); ok {
			return events.DecodeRequest(doc, req)
		}
		if err := json.Unmarshal(doc, v); err != nil {
			return err
		}
		return events.Validate(v)
	}
	return fmt.Errorf("no Go type is named %s", name)
}

func TestEveryTypeHasASchema(t *testing.T) {
	var want []string
	for _, typ := range events.Types() {
		want = append(want, strings.TrimPrefix(typ.Schema(), schemas.URN))
	}
	for _, m := range messages() {
		want = append(want, reflect.TypeOf(m).Name()+".v1")
	}
	slices.Sort(want)
	got := schemas.Names()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("schemas\n%v\nGo types\n%v", got, want)
	}
}

func TestRandomEventsFitTheirSchema(t *testing.T) {
	for _, sample := range samples() {
		typ := sample.Type()
		t.Run(string(typ), func(t *testing.T) {
			whole, data := compile(t, typ.Schema()), compile(t, typ.Schema()+"#data")
			rapid.Check(t, func(t *rapid.T) {
				e := drawEvent(t, sample)
				doc := encode(t, e)
				mustValidate(t, whole, doc)
				mustValidate(t, data, encode(t, e.Data))
				if back, err := events.Decode(doc); err != nil || back != e {
					t.Fatalf("%+v came back as %+v, %v", e, back, err)
				}
			})
		})
	}
}

func TestRandomMessagesFitTheirSchema(t *testing.T) {
	for _, sample := range messages() {
		typ := reflect.TypeOf(sample)
		t.Run(typ.Name(), func(t *testing.T) {
			s := compile(t, schemas.URN+typ.Name()+".v1")
			rapid.Check(t, func(t *rapid.T) {
				doc := encode(t, drawStruct(t, typ).Interface())
				mustValidate(t, s, doc)
				if err := read(typ.Name()+".v1", doc); err != nil {
					t.Fatalf("%s\nis refused: %v", doc, err)
				}
			})
		})
	}
}

func TestEventsAreCloudEvents(t *testing.T) {
	for _, sample := range samples() {
		t.Run(string(sample.Type()), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				e := drawEvent(t, sample)
				if sub := e.Data.Subject(); sub != "" && strings.TrimSpace(sub) == "" {
					t.Skip("the SDK takes a subject of blanks for none")
				}
				var ce cloudevent.Event
				if err := json.Unmarshal(encode(t, e), &ce); err != nil {
					t.Fatalf("the CloudEvents SDK refuses %+v: %v", e, err)
				}
				if err := ce.Validate(); err != nil {
					t.Fatalf("the CloudEvents SDK calls %+v invalid: %v", e, err)
				}
				sequence := ce.Extensions()["sequence"]
				if ce.ID() != e.ID || ce.Type() != e.Data.Type().CloudEvent() || ce.Subject() != e.Data.Subject() ||
					!ce.Time().Equal(e.Time) || sequence != fmt.Sprintf("%020d", e.Sequence) {
					t.Fatalf("the CloudEvents SDK reads %+v as %v", e, ce)
				}
				data := reflect.New(reflect.TypeOf(e.Data))
				if err := ce.DataAs(data.Interface()); err != nil || data.Elem().Interface() != any(e.Data) {
					t.Fatalf("the CloudEvents SDK reads the data %+v as %+v, %v", e.Data, data, err)
				}
			})
		})
	}
}

func TestExamples(t *testing.T) {
	for name, docs := range examples(t, func(string) bool { return true }) {
		t.Run(name, func(t *testing.T) {
			if len(docs) == 0 {
				t.Fatal("the schema has no example")
			}
			s := compile(t, schemas.URN+name)
			for _, doc := range docs {
				mustValidate(t, s, doc)
				if err := read(name, doc); err != nil {
					t.Errorf("%s\nis refused: %v", doc, err)
				}
			}
		})
	}
}

// TestMembers compares the names that the Go structs and the schemas know.
func TestMembers(t *testing.T) {
	for _, sample := range samples() {
		s := compile(t, sample.Type().Schema()+"#data")
		compareMembers(t, sample.Type().Schema(), reflect.TypeOf(sample), s)
	}
	for _, sample := range messages() {
		typ := reflect.TypeOf(sample)
		compareMembers(t, typ.Name(), typ, compile(t, schemas.URN+typ.Name()+".v1"))
	}
}

func compareMembers(t *testing.T, where string, typ reflect.Type, s *jsonschema.Schema) {
	t.Helper()
	for s.Ref != nil {
		s = s.Ref
	}
	var want, got []string
	for f := range typ.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		want = append(want, name)
		inner, known := s.Properties[name]
		if !known {
			continue
		}
		ft := f.Type
		if ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct {
			ft = ft.Elem()
			inner = inner.Items2020
		}
		if ft.Kind() == reflect.Struct {
			compareMembers(t, where+"."+name, ft, inner)
		}
	}
	for name := range s.Properties {
		got = append(got, name)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s: the schema has %v, the Go type %v", where, got, want)
	}
}

// TestEmbeddedRevocation holds the copy of the record's schema in the status
// reply, which stands there so that each schema stands alone, to the original.
func TestEmbeddedRevocation(t *testing.T) {
	load := func(name string) map[string]any {
		doc, err := schemas.Schema(name)
		if err != nil {
			t.Fatal(err)
		}
		return parse(t, doc).(map[string]any)
	}
	original := load("Revocation.v1")
	for _, own := range []string{"$schema", "$id", "title", "examples"} {
		delete(original, own)
	}
	embedded := load("StatusReply.v1")["$defs"].(map[string]any)["revocation"]
	if !reflect.DeepEqual(embedded, any(original)) {
		t.Error("the record in StatusReply.v1 differs from Revocation.v1")
	}
}
