package token

import (
	"slices"
	"testing"
	"time"
)

// vouched holds Screen and VerifyVouched to the verdict of Verify on the vector:
// they differ only in what needs a key.
func (v vector) vouched(t *testing.T, profile Profile, now time.Time, claims *Claims, err error) {
	t.Helper()
	raw := v.raw()
	got, vouchedErr := profile.VerifyVouched(raw, now)
	if err == nil {
		if screenErr := Screen(raw); screenErr != nil || vouchedErr != nil {
			t.Fatalf("a good token: Screen says %v, VerifyVouched says %v", screenErr, vouchedErr)
		}
		if !got.equal(claims) {
			t.Errorf("claims differ:\n%+v\n%+v", got, claims)
		}
		return
	}
	if screenErr := Screen(raw); screenErr != nil && vouchedErr == nil {
		t.Errorf("Screen says %v and VerifyVouched accepts", screenErr)
	}
	needsKey := []Reason{ReasonBadSignature, ReasonUnknownKID, ReasonAlgKeyMismatch, ReasonAlgNotAllowed}
	if want := reasonOf(t, err); !slices.Contains(needsKey, want) {
		if vouchedErr == nil || reasonOf(t, vouchedErr) != want {
			t.Errorf("VerifyVouched says %v; Verify says %v", vouchedErr, err)
		}
	}
}

func TestReadActive(t *testing.T) {
	for _, c := range []struct {
		title, doc string
		active     bool
		ok         bool
	}{
		{"active", `{"active":true,"sub":"u"}`, true, true},
		{"inactive", `{"active":false}`, false, true},
		{"inactive, with white space", " { \"active\" : false }\n", false, true},
		{"absent", `{"sub":"u"}`, false, false},
		{"empty", ``, false, false},
		{"null", `null`, false, false},
		{"in another case", `{"Active":true}`, false, false},
		{"a text", `{"active":"true"}`, false, false},
		{"a number", `{"active":1}`, false, false},
		{"null inside", `{"active":null}`, false, false},
		{"twice", `{"active":false,"active":true}`, false, false},
		{"twice, one escaped", `{"active":false,"\u0061ctive":true}`, false, false},
		{"nested", `{"token":{"active":true}}`, false, false},
		{"an array", `[{"active":true}]`, false, false},
		{"two objects", `{"active":true}{"active":true}`, false, false},
		{"not UTF-8", "{\"active\":true,\"sub\":\"\xff\"}", false, false},
	} {
		t.Run(c.title, func(t *testing.T) {
			active, err := ReadActive([]byte(c.doc))
			if active != c.active || (err == nil) != c.ok {
				t.Errorf("%v, %v", active, err)
			}
		})
	}
}

// FuzzReadAnswer: whatever the answer, reading it ends, and never says active
// along with an error.
func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte(`{"active":true,"iss":"i","sub":"s","aud":["a"],"exp":2,"iat":1,"jti":"j"}`))
	f.Add([]byte(`{"active":false}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		if active, err := ReadActive(doc); active && err != nil {
			t.Errorf("active along with %v", err)
		}
		if claims, err := ReadClaims(doc); (claims == nil) != (err != nil) {
			t.Errorf("claims %v along with %v", claims, err)
		}
	})
}
