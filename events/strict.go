package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxDocument bounds an event or a request on the wire, in bytes. The longest
// that is valid is a request with a whole token of 16 Ki characters.
const maxDocument = 128 << 10

// checkJSON refuses what encoding/json would quietly accept: two readers of the
// same document must not be able to see different things in it. It wants one
// object in UTF-8, without duplicate names and without null, and every name in
// lower-case ASCII, because encoding/json matches names in any case.
func checkJSON(doc []byte) error {
	switch {
	case len(doc) > maxDocument:
		return fmt.Errorf("document of %d bytes is longer than %d", len(doc), maxDocument)
	case !utf8.Valid(doc):
		return errors.New("document is not UTF-8")
	case len(bytes.TrimLeft(doc, " \t\r\n")) == 0 || bytes.TrimLeft(doc, " \t\r\n")[0] != '{':
		return errors.New("document is not a JSON object")
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	if err := checkTokens(dec); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("document goes on after its end")
	}
	return nil
}

// checkTokens reads one JSON value. open holds, for every object that is open,
// the names seen in it so far, and nil for an array.
func checkTokens(dec *json.Decoder) error {
	var open []map[string]bool
	wantName := false
	for {
		tok, err := dec.Token()
		if err != nil {
			return err
		}
		if name, ok := tok.(string); ok && wantName {
			if err := checkName(open[len(open)-1], name); err != nil {
				return err
			}
			wantName = false
			continue
		}
		switch tok {
		case nil:
			return errors.New("null is no value of any member")
		case json.Delim('{'):
			open = append(open, map[string]bool{})
		case json.Delim('['):
			open = append(open, nil)
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
		if len(open) == 0 {
			return nil
		}
		wantName = open[len(open)-1] != nil
	}
}

func checkName(seen map[string]bool, name string) error {
	if seen[name] {
		return fmt.Errorf("duplicate name %q", name)
	}
	seen[name] = true
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return fmt.Errorf("name %q is not in lower-case letters, digits and _", name)
		}
	}
	return nil
}
