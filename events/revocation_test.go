package events_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/schemas"
)

// modelCovers is the covering rule told another way: as the set of names under
// which a token can be found, with the least revision that does not reach it.
func modelCovers(r events.Revocation, t events.TokenRef) bool {
	outright := map[events.Scope]string{events.ScopeToken: t.JTI, events.ScopeKey: t.KID}
	if t.SID != "" {
		outright[events.ScopeSession] = t.SID
	}
	if name, ok := outright[r.Scope]; ok {
		return name == r.ID
	}
	reaches := map[events.Scope]bool{
		events.ScopeUser:     t.Sub == r.ID,
		events.ScopeEveryone: true,
	}
	return reaches[r.Scope] && r.Rev >= t.Rev+1
}

func TestCoversAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Few names and numbers, so that they meet often, also across scopes.
		id := rapid.SampledFrom([]string{"a", "b", "c"})
		rev := rapid.Uint64Range(0, 4)
		scope := rapid.SampledFrom([]events.Scope{
			events.ScopeToken, events.ScopeSession, events.ScopeUser, events.ScopeEveryone, events.ScopeKey, "device", "",
		})
		r := events.Revocation{Scope: scope.Draw(t, "scope"), Rev: rev.Draw(t, "rev")}
		if r.Scope != events.ScopeEveryone {
			r.ID = id.Draw(t, "id")
		}
		token := events.TokenRef{
			JTI: id.Draw(t, "jti"), Sub: id.Draw(t, "sub"), KID: id.Draw(t, "kid"),
			SID: rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "sid"),
			Rev: rev.Draw(t, "token rev"),
		}
		if got, want := r.Covers(token), modelCovers(r, token); got != want {
			t.Errorf("%+v covers %+v: %v, want %v", r, token, got, want)
		}
	})
}

func TestCovers(t *testing.T) {
	token := events.TokenRef{JTI: "t1", SID: "s1", Sub: "u1", KID: "k1", Rev: 5}
	tests := map[string]struct {
		r    events.Revocation
		want bool
	}{
		"the token":                                    {events.Revocation{Scope: events.ScopeToken, ID: "t1"}, true},
		"another token":                                {events.Revocation{Scope: events.ScopeToken, ID: "s1"}, false},
		"the session":                                  {events.Revocation{Scope: events.ScopeSession, ID: "s1"}, true},
		"the key":                                      {events.Revocation{Scope: events.ScopeKey, ID: "k1"}, true},
		"the user later":                               {events.Revocation{Scope: events.ScopeUser, ID: "u1", Rev: 6}, true},
		"the user when the token was minted":           {events.Revocation{Scope: events.ScopeUser, ID: "u1", Rev: 5}, false},
		"the user before the token was minted":         {events.Revocation{Scope: events.ScopeUser, ID: "u1", Rev: 4}, false},
		"another user":                                 {events.Revocation{Scope: events.ScopeUser, ID: "u2", Rev: 6}, false},
		"everyone later":                               {events.Revocation{Scope: events.ScopeEveryone, Rev: 6}, true},
		"everyone when the token was minted":           {events.Revocation{Scope: events.ScopeEveryone, Rev: 5}, false},
		"an unknown scope":                             {events.Revocation{Scope: "device", ID: "t1", Rev: 9}, false},
		"an id in another case":                        {events.Revocation{Scope: events.ScopeToken, ID: "T1"}, false},
		"a session without id does not cover no sid":   {events.Revocation{Scope: events.ScopeSession}, false},
		"a token revocation reaches later tokens, too": {events.Revocation{Scope: events.ScopeSession, ID: "s1", Rev: 1}, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tc.r.Covers(token); got != tc.want {
				t.Errorf("covers: %v, want %v", got, tc.want)
			}
		})
	}
	if (events.Revocation{Scope: events.ScopeSession}).Covers(events.TokenRef{}) {
		t.Error("a session revocation without id covers a token without session")
	}
}

func TestExpired(t *testing.T) {
	r := events.Revocation{ExpiresAt: 100}
	if r.Expired(time.Unix(100, 999)) || !r.Expired(time.Unix(101, 0)) {
		t.Error("a record expires once its last second is over")
	}
}

func TestDecodeRevocation(t *testing.T) {
	const good = `{"v":1,"epoch":"e","rev":3,"scope":"user","id":"u","expires_at":9,"reason":"logout","at":1}`
	with := func(old, with string) string { return strings.Replace(good, old, with, 1) }
	tests := map[string]struct {
		payload       string
		ok            bool
		notUnderstood bool
	}{
		"a good one":                       {good, true, false},
		"a member that was added":          {with(`"v":1`, `"v":1,"extra":[]`), true, false},
		"everyone without id":              {with(`"user","id":"u"`, `"everyone"`), true, false},
		"a newer version":                  {with(`"v":1`, `"v":2`), false, true},
		"a newer version of another shape": {with(`"v":1`, `"v":2,"id":{"sub":"u"},"at":"noon","x":0`), false, true},
		"an unknown scope":                 {with(`user`, `device`), false, true},
		"an empty scope":                   {with(`user`, ``), false, true},
		"not JSON":                         {`{`, false, false},
		"nothing":                          {``, false, false},
		"null":                             {`null`, false, false},
		"no version":                       {with(`"v":1,`, ``), false, false},
		"no epoch":                         {with(`"epoch":"e",`, ``), false, false},
		"an epoch too long":                {with(`"e"`, `"`+strings.Repeat("e", 65)+`"`), false, false},
		"no rev":                           {with(`"rev":3,`, ``), false, false},
		"a negative rev":                   {with(`3`, `-3`), false, false},
		"no id":                            {with(`"id":"u",`, ``), false, false},
		"everyone with an id":              {with(`user`, `everyone`), false, false},
		"an id too long":                   {with(`"u"`, `"`+strings.Repeat("u", 257)+`"`), false, false},
		"no expiry":                        {with(`"expires_at":9,`, ``), false, false},
		"an expiry before time":            {with(`9`, `-9`), false, false},
	}
	s := compile(t, schemas.URN+"Revocation.v1")
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if json.Valid([]byte(tc.payload)) && (s.Validate(parse(t, []byte(tc.payload))) == nil) != tc.ok {
				t.Errorf("the schema does not agree: accepted should be %v", tc.ok)
			}
			r, err := events.DecodeRevocation([]byte(tc.payload))
			var dark *events.NotUnderstoodError
			if (err == nil) != tc.ok || errors.As(err, &dark) != tc.notUnderstood {
				t.Fatalf("got %+v, %v", r, err)
			}
			if tc.notUnderstood && (dark.Epoch != "e" || dark.Rev != 3) {
				t.Errorf("the error is about %q %d, want e 3", dark.Epoch, dark.Rev)
			}
		})
	}
}

// examples returns the examples of every schema whose name accept takes.
func examples(t testing.TB, accept func(name string) bool) map[string][]json.RawMessage {
	t.Helper()
	found := map[string][]json.RawMessage{}
	for _, name := range schemas.Names() {
		doc, err := schemas.Schema(name)
		if err != nil {
			t.Fatal(err)
		}
		var s struct {
			Examples []json.RawMessage `json:"examples"`
		}
		if err := json.Unmarshal(doc, &s); err != nil {
			t.Fatal(err)
		}
		if accept(name) {
			found[name] = s.Examples
		}
	}
	return found
}

// addSeeds adds the files of testdata/NAME, one seed a file: what the examples
// of the schemas do not show.
func addSeeds(f *testing.F, name string) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", name, "*"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds in testdata/%s: %v", name, err)
	}
	for _, file := range files {
		seed, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
}

func FuzzDecodeRevocation(f *testing.F) {
	for _, docs := range examples(f, func(name string) bool { return name == "Revocation.v1" }) {
		for _, doc := range docs {
			f.Add([]byte(doc))
		}
	}
	addSeeds(f, "revocations")
	f.Fuzz(func(t *testing.T, payload []byte) {
		r, err := events.DecodeRevocation(payload)
		var dark *events.NotUnderstoodError
		switch {
		case errors.As(err, &dark):
			if dark.Epoch == "" || dark.Rev == 0 {
				t.Errorf("not understood, and nowhere: %+v", dark)
			}
			return
		case err != nil:
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := events.DecodeRevocation(again); err != nil || back != r {
			t.Errorf("%+v came back as %+v, %v", r, back, err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, docs := range examples(f, func(name string) bool { return strings.ToLower(name) == name }) {
		for _, doc := range docs {
			f.Add([]byte(doc))
		}
	}
	addSeeds(f, "events")
	f.Fuzz(func(t *testing.T, doc []byte) {
		e, err := events.Decode(doc)
		var refused *events.DecodeError
		if err != nil {
			if !errors.As(err, &refused) || refused.Reason == "" {
				t.Errorf("refused without a reason: %v", err)
			}
			return
		}
		again, err := json.Marshal(e)
		if err != nil {
			t.Fatalf("decoded and cannot be encoded: %v", err)
		}
		if back, err := events.Decode(again); err != nil || back != e {
			t.Errorf("%+v came back as %+v, %v", e, back, err)
		}
		if _, err := events.Message(e); err != nil {
			t.Errorf("decoded and cannot be published: %v", err)
		}
	})
}
