package events_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/events/eventstest"
)

// edit returns the event's document with one attribute changed, or removed
// where value is nil.
func edit(t testing.TB, e events.Event, name string, value any) []byte {
	t.Helper()
	doc, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(doc, &m); err != nil {
		t.Fatal(err)
	}
	if value == nil {
		delete(m, name)
	} else {
		m[name] = value
	}
	doc, err = json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestDocument(t *testing.T) {
	doc, err := json.Marshal(eventstest.Event(12, events.SessionEnded{Sub: "u1", SID: "s1", Rev: 7}))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"specversion":"1.0","id":"eventstest-12","source":"https://auth.example.test",` +
		`"type":"authbus.session.ended.v1","subject":"u1","time":"2026-01-01T00:00:00.012Z",` +
		`"sequence":"00000000000000000012","datacontenttype":"application/json",` +
		`"dataschema":"urn:authbus:schema:session.ended.v1#data","data":{"sub":"u1","sid":"s1","rev":7}}`
	if string(doc) != want {
		t.Errorf("document is\n%s\nwant\n%s", doc, want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	e := eventstest.Event(1, events.SessionRevoked{Sub: "u1", SID: "s1", Rev: 7, Actor: "admin"})
	good, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	set := func(name string, value any) string { return string(edit(t, e, name, value)) }
	replace := func(old, with string) string {
		if !strings.Contains(string(good), old) {
			t.Fatalf("%s does not contain %s", good, old)
		}
		return strings.Replace(string(good), old, with, 1)
	}
	tests := map[string]struct{ doc, reason string }{
		"nothing":                         {"", events.ReasonMalformed},
		"white space":                     {" \n", events.ReasonMalformed},
		"an array":                        {"[]", events.ReasonMalformed},
		"null":                            {"null", events.ReasonMalformed},
		"an empty object":                 {"{}", events.ReasonMalformed},
		"cut short":                       {string(good[:len(good)-1]), events.ReasonMalformed},
		"two documents":                   {string(good) + string(good), events.ReasonMalformed},
		"a byte too many":                 {string(good) + "}", events.ReasonMalformed},
		"not UTF-8":                       {replace("admin", "adm\xff"), events.ReasonMalformed},
		"a duplicate attribute":           {replace(`"id"`, `"id":"x","id"`), events.ReasonMalformed},
		"a duplicate member of data":      {replace(`"rev"`, `"rev":9,"rev"`), events.ReasonMalformed},
		"an escaped duplicate":            {replace(`"rev"`, `"r\u0065v":9,"rev"`), events.ReasonMalformed},
		"an attribute in another case":    {replace(`"id"`, `"ID"`), events.ReasonMalformed},
		"a member in another case":        {replace(`"sid"`, `"Sid"`), events.ReasonMalformed},
		"a member with a long s":          {replace(`"sid"`, `"ſid"`), events.ReasonMalformed},
		"null in data":                    {replace(`"rev":7`, `"rev":null`), events.ReasonMalformed},
		"too long":                        {set("x", strings.Repeat("x", 128<<10)), events.ReasonMalformed},
		"deeply nested":                   {strings.Repeat(`{"a":`, 20000), events.ReasonMalformed},
		"a number for a string":           {set("id", 1), events.ReasonMalformed},
		"another spec version":            {set("specversion", "0.3"), events.ReasonMalformed},
		"no spec version":                 {set("specversion", nil), events.ReasonMalformed},
		"no type":                         {set("type", nil), events.ReasonUnknownType},
		"somebody else's type":            {set("type", "com.example.session.ended.v1"), events.ReasonUnknownType},
		"the bare type":                   {set("type", "session.revoked"), events.ReasonUnknownType},
		"a type without version":          {set("type", "authbus.session.revoked"), events.ReasonUnknownType},
		"a newer version":                 {set("type", "authbus.session.revoked.v2"), events.ReasonUnknownVersion},
		"no id":                           {set("id", nil), events.ReasonInvalid},
		"an id too long":                  {set("id", strings.Repeat("é", 129)), events.ReasonInvalid},
		"no source":                       {set("source", nil), events.ReasonInvalid},
		"a source that is no URI":         {set("source", "http://[::1"), events.ReasonInvalid},
		"no subject":                      {set("subject", nil), events.ReasonInvalid},
		"another subject":                 {set("subject", "u2"), events.ReasonInvalid},
		"no time":                         {set("time", nil), events.ReasonInvalid},
		"a time in another zone":          {set("time", "2026-01-01T00:00:00+01:00"), events.ReasonInvalid},
		"a time with a comma":             {set("time", "2026-01-01T00:00:00,5Z"), events.ReasonInvalid},
		"a time finer than nanoseconds":   {set("time", "2026-01-01T00:00:00.1234567891Z"), events.ReasonInvalid},
		"no sequence":                     {set("sequence", nil), events.ReasonInvalid},
		"sequence zero":                   {set("sequence", strings.Repeat("0", 20)), events.ReasonInvalid},
		"a sequence without padding":      {set("sequence", "1"), events.ReasonInvalid},
		"a sequence with a sign":          {set("sequence", "+0000000000000000001"), events.ReasonInvalid},
		"a sequence out of range":         {set("sequence", "18446744073709551616"), events.ReasonInvalid},
		"another content type":            {set("datacontenttype", "text/plain"), events.ReasonInvalid},
		"another schema":                  {set("dataschema", "urn:authbus:schema:session.ended.v1#data"), events.ReasonInvalid},
		"no data":                         {set("data", nil), events.ReasonInvalid},
		"data that is a string":           {set("data", "x"), events.ReasonInvalid},
		"data without its members":        {set("data", map[string]any{}), events.ReasonInvalid},
		"a member too long":               {replace("admin", strings.Repeat("x", 65)), events.ReasonInvalid},
		"a negative number":               {replace(`"rev":7`, `"rev":-7`), events.ReasonInvalid},
		"a quoted number":                 {replace(`"rev":7`, `"rev":"7"`), events.ReasonInvalid},
		"a number with a fraction":        {replace(`"rev":7`, `"rev":7.5`), events.ReasonInvalid},
		"a number out of range":           {replace(`"rev":7`, `"rev":18446744073709551616`), events.ReasonInvalid},
		"zero where one is the least":     {replace(`"rev":7`, `"rev":0`), events.ReasonInvalid},
		"base64 data in place of data":    {replace(`"data":`, `"data_base64":`), events.ReasonInvalid},
		"an unknown name not in its form": {replace(`"data":`, `"some-thing":1,"data":`), events.ReasonMalformed},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := events.Decode([]byte(tc.doc))
			var refused *events.DecodeError
			if !errors.As(err, &refused) || refused.Reason != tc.reason {
				t.Fatalf("Decode returned %v, %v; want reason %q", got, err, tc.reason)
			}
			if !reflect.ValueOf(got).IsZero() {
				t.Errorf("Decode returned an event along with the error: %v", got)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("the error is %d bytes long", len(err.Error()))
			}
		})
	}
}

func TestDecodeIgnoresWhatItDoesNotKnow(t *testing.T) {
	e := eventstest.Event(1, events.EveryoneRevoked{Rev: 7, Actor: "admin"})
	doc := edit(t, e, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	doc = []byte(strings.Replace(string(doc), `"actor"`, `"added_later":[{"x":1}],"actor"`, 1))
	got, err := events.Decode(doc)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, e) {
		t.Errorf("got %+v, want %+v", got, e)
	}
}

func TestValidateNamesEveryField(t *testing.T) {
	tests := map[string]struct {
		v    any
		want []string
	}{
		"a good request":    {&events.KeysRequest{Nonce: "n"}, nil},
		"an empty event":    {events.Event{}, []string{"id", "source", "time", "sequence", "data"}},
		"data in its event": {eventstest.Event(1, events.SessionEnded{Sub: "u"}), []string{"data.sid", "data.rev"}},
		"a nested struct":   {events.StatusRequest{Nonce: "n"}, []string{"token.jti", "token.sub", "token.kid", "token.exp"}},
		"one of a list":     {events.KeysReply{Nonce: "n", Issuer: "i", JWKS: []byte("{}"), Feed: []events.FeedKey{{ID: "f"}}}, []string{"feed[0].x"}},
		"JSON names": {
			events.FreshRequest{Nonce: strings.Repeat("n", 65), Verifier: "v", Instance: "i", StaleMS: -2},
			[]string{"nonce", "stale_ms", "max_stale_ms"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			err := events.Validate(tc.v)
			var invalid *events.ValidationError
			if errors.As(err, &invalid) != (len(tc.want) > 0) {
				t.Fatalf("Validate returned %v", err)
			}
			var fields []string
			if invalid != nil {
				for _, v := range invalid.Violations {
					fields = append(fields, v.Field)
					if !strings.Contains(err.Error(), v.Field+" ") {
						t.Errorf("the message %q does not name %s", err, v.Field)
					}
				}
			}
			if !reflect.DeepEqual(fields, tc.want) {
				t.Errorf("violated fields %v, want %v", fields, tc.want)
			}
		})
	}
	if err := events.Validate("text"); err == nil {
		t.Error("a string is no message, and was accepted")
	}
}

func TestTypes(t *testing.T) {
	types := events.Types()
	if len(types) != 19 {
		t.Errorf("%d types, want 19", len(types))
	}
	for _, typ := range types {
		// Subscriptions to one user rely on it.
		if strings.Count(string(typ), ".") != 1 {
			t.Errorf("type %s is not of two tokens", typ)
		}
	}
}
