// Package schemas holds the wire contract of authbus for every language: a JSON
// Schema (2020-12) for each event, request, reply and revocation record, an
// AsyncAPI 3.0 document for the bus and two OpenAPI 3.1 documents for HTTP, of the
// auth service and of what the gateway answers by itself.
//
//	doc, err := schemas.Schema("login.succeeded.v1") // a whole CloudEvent
//	doc, err = schemas.Schema("FreshRequest.v1")
//	doc, err = fs.ReadFile(schemas.FS(), "asyncapi.yaml")
//
// # Names
//
// The $id of a schema is urn:authbus:schema: and its name. Each schema stands
// alone: it refers to no other. The data of an event has the anchor #data in the
// event's schema; the dataschema attribute of the event names it.
//
// # Compatibility
//
// Within a version, members are only ever added, and readers ignore those that
// they do not know. Whatever would make an older reader refuse a document or
// misread it is a new version under a new name.
//
// A schema cannot say everything that the Go package events checks: that the
// subject of an event is the sub in its data, that whole numbers are written
// without a fraction or an exponent, and that no name occurs twice.
package schemas

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// URN and the name of a schema make its $id.
const URN = "urn:authbus:schema:"

//go:embed *.yaml events/*.json messages/*.json
var files embed.FS

// FS returns the documents: asyncapi.yaml, openapi.yaml, gateway.yaml, the schemas of the
// events under events/ and those of requests, replies and records under
// messages/, in files named for their schema.
func FS() fs.FS { return files }

// Names returns the name of every schema, sorted within events and messages.
func Names() []string {
	var names []string
	for _, folder := range []string{"events", "messages"} {
		entries, err := files.ReadDir(folder)
		if err != nil {
			panic(err) // the folders are embedded
		}
		for _, e := range entries {
			names = append(names, strings.TrimSuffix(e.Name(), ".json"))
		}
	}
	return names
}

// Schema returns the JSON Schema with that name, or with that name after URN.
// The error wraps [fs.ErrNotExist] where there is none.
func Schema(name string) ([]byte, error) {
	name = strings.TrimPrefix(name, URN)
	for _, folder := range []string{"events", "messages"} {
		if doc, err := files.ReadFile(path.Join(folder, name+".json")); err == nil {
			return doc, nil
		}
	}
	return nil, fmt.Errorf("no schema is named %q: %w", name, fs.ErrNotExist)
}
