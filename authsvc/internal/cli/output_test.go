package cli

import (
	"encoding/json"
	"testing"
)

func TestInertShowsWhatWouldActOnATerminal(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"plain text stays", "Ada Łukasiewicz 李 🙂", "Ada Łukasiewicz 李 🙂"},
		{"an escape sequence is shown", "\x1b[31mred\x1b[0m", `\u{1b}[31mred\u{1b}[0m`},
		{"a C1 sequence is shown", "\u009b31m", `\u{9b}31m`},
		{"a new line does not begin a line", "a\r\nb", `a\u{d}\u{a}b`},
		{"writing is not turned around", "user\u202etxt.exe", `user\u{202e}txt.exe`},
		{"an invisible space is shown", "a\u200bb\ufeff", `a\u{200b}b\u{feff}`},
		{"a broken byte is shown", "a\xffb", `a\xffb`},
		{"a line separator is shown", "a\u2028b", `a\u{2028}b`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := inert(c.text); got != c.want {
				t.Errorf("inert(%q) = %q, want %q", c.text, got, c.want)
			}
		})
	}
}

func TestInertLinesAreIndented(t *testing.T) {
	got := inertLines("one\ntwo\x1b[31m\r\nauthsvc: error: three")
	want := "one\n    two\\u{1b}[31m\\u{d}\n    authsvc: error: three"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestInertJSONMeansTheSame(t *testing.T) {
	want := "x\u202e\u009b\U000E0001\x1b\n李"
	doc, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	safe := inertJSON(doc)
	for _, r := range safe {
		if acts(r) {
			t.Errorf("%q still holds %U", safe, r)
		}
	}
	var got string
	if err := json.Unmarshal([]byte(safe), &got); err != nil || got != want {
		t.Errorf("decoded %q, %v; want %q", got, err, want)
	}
}
