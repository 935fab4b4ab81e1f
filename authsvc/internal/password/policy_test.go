package password_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/authbus/authbus/authsvc/internal/password"
)

func TestPolicyRefuses(t *testing.T) {
	tests := map[string]struct {
		plain  string
		reason password.Reason
	}{
		"nothing":                             {"", password.ReasonTooShort},
		"fourteen characters":                 {"vnq zr8Kd pWx5", password.ReasonTooShort},
		"fourteen emoji of four bytes each":   {"🐘🦊🐙🦉🐝🦀🐢🦜🐳🦔🐌🦩🐊🦥", password.ReasonTooShort},
		"fifteen that NFC makes fourteen":     {"vnq zr8Kd pWxe\u0301", password.ReasonTooShort},
		"257 characters":                      {strings.Repeat("vnq zr8Kd pWx5mT", 16) + "x", password.ReasonTooLong},
		"bytes that are no text":              {"vnq zr8Kd pWx5\xff\xfe", password.ReasonNotUTF8},
		"the user name in other case":         {"vnq ALICE.Liddell pWx5", password.ReasonContainsName},
		"the user name in full-width letters": {"vnq ａｌｉｃｅ.liddell pWx5", password.ReasonContainsName},
		"a common word twice":                 {"passwordpassword", password.ReasonCommon},
		"a common word in disguise":           {"P@ssw0rdP@ssw0rd!", password.ReasonCommon},
		"a common word with marks":            {"pässwörd pässwörd", password.ReasonCommon},
		"the keyboard":                        {"qwertyuiopasdfgh", password.ReasonCommon},
		"the keyboard downwards":              {"qazwsxedcrfvtgb", password.ReasonCommon},
		"digits in order":                     {"123456789012345", password.ReasonCommon},
		"the alphabet":                        {"abcdefghijklmnop", password.ReasonCommon},
		"another alphabet":                    {"абвгдежзийклмноп", password.ReasonCommon},
		"one character only":                  {"ⵣⵣⵣⵣⵣⵣⵣⵣⵣⵣⵣⵣⵣⵣⵣⵣ", password.ReasonCommon},
		"a short unit again and again":        {"密码密码密码密码密码密码密码密码", password.ReasonCommon},
		"the product":                         {"authbus authbus1", password.ReasonCommon},
		"the e-mail address":                  {"wonderland-mail@example.org", password.ReasonCommon},
		"the beginning of the e-mail twice":   {"wonderland-mail12", password.ReasonCommon},
		"the cartoon's phrase":                {"correct horse battery staple", password.ReasonCommon},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := password.Policy{}.Check(password.Plaintext(test.plain), "Alice.Liddell", "wonderland-mail@example.org")
			var refused *password.PolicyError
			if !errors.As(err, &refused) || refused.Reason != test.reason {
				t.Fatalf("got %v, want reason %s", err, test.reason)
			}
			if len(test.plain) > 0 && strings.Contains(refused.Message, test.plain) {
				t.Error("the message repeats the password")
			}
		})
	}
}

func TestPolicyAccepts(t *testing.T) {
	tests := map[string]string{
		"fifteen characters":                "vnq zr8Kd pWx5m",
		"fifteen emoji":                     "🐘🦊🐙🦉🐝🦀🐢🦜🐳🦔🐌🦩🐊🦥🐞",
		"small letters and nothing else":    "mein hund mag kekse",
		"Cyrillic letters":                  "мой пёс любит сыр с мёдом",
		"spaces at both ends":               "  vnq zr8Kd pWx5m  ",
		"a NUL inside":                      "vnq zr8Kd\x00pWx5mT",
		"64 characters":                     strings.Repeat("vnq zr8Kd pWx5mT", 4),
		"256 characters":                    strings.Repeat("vnq zr8Kd pWx5mT", 16),
		"a long sentence of many words":     "I usually feed the neighbours' parrot at noon, except on Thursdays.",
		"the name of somebody else":         "vnq bob.dobbs pWx5",
		"another's short name in the midst": "vnq al zr8Kd pWx5m",
	}
	for name, plain := range tests {
		t.Run(name, func(t *testing.T) {
			if err := (password.Policy{}).Check(password.Plaintext(plain), "al", "al@example.org"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestPolicyKeepsItsBounds(t *testing.T) {
	long := password.Plaintext(strings.Repeat("vnq zr8Kd pWx5mT", 4))
	if err := (password.Policy{MaxLength: 20}).Check(long, "alice", ""); err != nil {
		t.Errorf("64 characters must be allowed whatever is configured: %v", err)
	}
	if err := (password.Policy{MinLength: 30}).Check("vnq zr8Kd pWx5m", "alice", ""); err == nil {
		t.Error("a higher minimum was ignored")
	}
	if err := (password.Policy{Context: []string{"moonshine-works"}}).Check("moonshine-works1", "alice", ""); err == nil {
		t.Error("a word of the context was accepted")
	}
}

// The check must be quick and must not panic, whatever it is given: it runs on
// input of people who are not logged in.
func TestPolicyAnswersQuickly(t *testing.T) {
	disguised := strings.Repeat("4@8({[<369!|7+0$5%2", 14)[:256]
	begin := time.Now()
	_ = password.Policy{}.Check(password.Plaintext(disguised), "alice", "")
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("a password of stand-ins took %v", took)
	}
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.StringOfN(rapid.RuneFrom([]rune("aA4@8!|0$12密é\u0301ßİ😀\u200d ./-\x00\ufffd")), 15, 40, -1).Draw(t, "password")
		_ = password.Policy{}.Check(password.Plaintext(plain), "alice", "alice@example.org")
	})
}
