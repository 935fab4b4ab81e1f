package token

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What the vectors in testdata are made for.
const (
	vectorNow      = 1798761600 // 2027-01-01T00:00:00Z
	vectorIssuer   = "https://auth.test.example"
	vectorAudience = "orders"
)

func vectorProfile() Profile { return Profile{Issuer: vectorIssuer, Audience: vectorAudience} }

// vector is a token and the verdict on it.
type vector struct {
	Class  string `json:"class"`
	Title  string `json:"title"`
	Expect string `json:"expect"`
	Reason Reason `json:"reason,omitempty"`
	Token  string `json:"token,omitempty"`
	Parts  []part `json:"token_parts,omitempty"`
}

// part is a piece of a token that is too long to write out: S, N times.
type part struct {
	S string `json:"s"`
	N int    `json:"n,omitempty"`
}

func (v vector) raw() string {
	if v.Parts == nil {
		return v.Token
	}
	var b strings.Builder
	for _, p := range v.Parts {
		b.WriteString(strings.Repeat(p.S, max(1, p.N)))
	}
	return b.String()
}

// run judges the vector; fits says whether a reason may stand for the expected one.
func (v vector) run(t *testing.T, profile Profile, keys *KeySet, now time.Time, fits func(got, want Reason) bool) {
	t.Helper()
	t.Run(v.Class+"/"+v.Title, func(t *testing.T) {
		claims, err := profile.Verify(v.raw(), keys, now)
		if (claims == nil) != (err != nil) {
			t.Fatalf("claims %v along with error %v", claims, err)
		}
		v.vouched(t, profile, now, claims, err)
		switch v.Expect {
		case "accept":
			if err != nil {
				t.Fatal(err)
			}
		case "must_reject", "should_reject":
			if err == nil {
				t.Fatalf("accepted; want %s", v.Reason)
			}
			if v.Reason != "" && !fits(reasonOf(t, err), v.Reason) {
				t.Errorf("refused with %v; want %s", err, v.Reason)
			}
			harmless(t, err)
		case "either":
		default:
			t.Errorf("unknown expectation %q", v.Expect)
		}
	})
}

// harmless checks that an error can go into any log, whatever the token held.
func harmless(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	if len(text) > 200 {
		t.Errorf("the error is %d bytes long", len(text))
	}
	for _, r := range text {
		if r != '…' && (r < ' ' || r > '~') {
			t.Errorf("the error holds %U: %q", r, text)
		}
	}
}

// exactly holds the project's own vectors to the very reason: reasons are an interface.
func exactly(got, want Reason) bool { return got == want }

func TestVectors(t *testing.T) {
	for pattern, keys := range map[string]*KeySet{
		"testdata/*.json": loadTestKeys(t).set(t), "testdata/shared/*.json": loadTestSecrets(t).set(t),
	} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no vectors in %s: %v", pattern, err)
		}
		for _, name := range files {
			t.Run(strings.TrimSuffix(strings.TrimPrefix(name, "testdata/"), ".json"), func(t *testing.T) {
				for _, v := range readVectors(t, name) {
					v.run(t, vectorProfile(), keys, time.Unix(vectorNow, 0), exactly)
				}
			})
		}
	}
}

func readVectors(tb testing.TB, name string) []vector {
	tb.Helper()
	doc, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	var all []vector
	for line := range bytes.Lines(doc) {
		line = bytes.TrimRight(line, ",\n")
		if len(line) < 2 {
			continue // the brackets of the array
		}
		var v vector
		if err := json.Unmarshal(line, &v); err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
		all = append(all, v)
	}
	return all
}
