package password_test

import (
	"errors"
	"testing"
	"unicode"

	"github.com/authbus/authbus/authsvc/internal/password"
)

func TestFoldName(t *testing.T) {
	tests := map[string]struct{ name, key string }{
		"plain":                    {"alice", "alice"},
		"capitals":                 {"ALICE", "alice"},
		"e-mail":                   {"Alice@Example.ORG", "alice@example.org"},
		"composed":                 {"\u00c5lice", "\u00e5lice"},
		"decomposed":               {"A\u030alice", "\u00e5lice"},
		"full width":               {"ＡＬＩＣＥ", "alice"},
		"ligature":                 {"ﬁona", "fiona"},
		"sharp s":                  {"Strauß", "strauss"},
		"Greek final sigma":        {"ΟΔΥΣΣΕΥΣ", "οδυσσευσ"},
		"Turkish dotted capital i": {"İris", "i̇ris"},
		"superscript":              {"x²", "x2"},
		"Cherokee capital":         {"\u13a0", "\u13a0"},
		"Cherokee small":           {"\uab70", "\u13a0"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if key, err := password.FoldName(test.name); key != test.key || err != nil {
				t.Fatalf("got %q, %v, want %q", key, err, test.key)
			}
		})
	}
}

func TestFoldNameRefuses(t *testing.T) {
	tests := map[string]string{
		"nothing":                         "",
		"a space":                         "al ice",
		"a space at the end":              "alice ",
		"a no-break space":                "al\u00a0ice",
		"an ideographic space":            "al\u3000ice",
		"a tab":                           "al\tice",
		"a line break":                    "alice\r\nadmin",
		"an escape":                       "\x1b[31malice",
		"a NUL":                           "alice\x00",
		"a right-to-left override":        "alice\u202egro",
		"a left-to-right isolate":         "\u2066alice",
		"a right-to-left mark":            "alice\u200f",
		"a zero-width space":              "al\u200bice",
		"a zero-width joiner":             "al\u200dice",
		"a soft hyphen":                   "al\u00adice",
		"a word joiner":                   "al\u2060ice",
		"a byte order mark":               "\ufeffalice",
		"a variation selector":            "alice\ufe0f",
		"a tag character":                 "alice\U000e0061",
		"a Hangul filler":                 "al\u3164ice",
		"a half-width Hangul filler":      "al\uffa0ice",
		"a blank braille pattern":         "al\u2800ice",
		"a combining grapheme joiner":     "al\u034fice",
		"what becomes a space":            "al\u00a8ice",
		"a private character":             "al\ue000ice",
		"an unassigned character":         "al\U000effffice",
		"bytes that are no text":          "al\xffice",
		"a Mongolian vowel separator":     "al\u180eice",
		"a line separator":                "al\u2028ice",
		"an Arabic letter mark":           "al\u061cice",
		"an interlinear annotation":       "al\ufff9ice",
		"a Khmer inherent vowel":          "al\u17b4ice",
		"a replacement of what was wrong": "al\xed\xa0\x80ice",
	}
	for name, bad := range tests {
		t.Run(name, func(t *testing.T) {
			if key, err := password.FoldName(bad); !errors.Is(err, password.ErrName) {
				t.Fatalf("got %q, %v", key, err)
			}
		})
	}
}

// A key is its own key: else two spellings of one name could both be taken.
func TestFoldNameIsStable(t *testing.T) {
	for r := range rune(0x20000) { // beyond are only ideographs and what is refused
		if unicode.In(r, unicode.Han, unicode.Hangul, unicode.Tangut, unicode.Yi) {
			continue // many, and without case
		}
		for _, name := range []string{string(r), "\u03b1\u0345" + string(r), "e\u0323" + string(r) + "\u0345"} {
			checkStable(t, name)
		}
	}
}

func checkStable(t *testing.T, name string) {
	t.Helper()
	key, err := password.FoldName(name)
	if err != nil {
		return
	}
	if again, err := password.FoldName(key); err != nil || again != key {
		t.Fatalf("%+q becomes %+q, then %+q, %v", name, key, again, err)
	}
}

func FuzzFoldName(f *testing.F) {
	for _, seed := range []string{"alice", "\u0390\u1fd3", "\u037aa", "\u01c5", "\u1e9e", "\u1e9b\u0323"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) { checkStable(t, name) })
}
