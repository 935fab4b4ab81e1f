package password

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Reason says why a password may not be chosen. Reasons are stable.
type Reason string

// The reasons for which a password is refused.
const (
	ReasonNotUTF8      Reason = "not_utf8"
	ReasonTooShort     Reason = "too_short"
	ReasonTooLong      Reason = "too_long"
	ReasonContainsName Reason = "contains_username"
	ReasonCommon       Reason = "too_common"
)

// PolicyError says why a password may not be chosen.
type PolicyError struct {
	Reason Reason
	// Message is for the user, and says nothing of the password itself.
	Message string
}

func (e *PolicyError) Error() string { return e.Message }

// Policy says which passwords may be chosen (NIST SP 800-63B-4 §3.1.1.2: length
// and a blocklist, no rules of composition). The zero value of each field stands
// for its default.
type Policy struct {
	MinLength int      // in code points after NFC; default 15
	MaxLength int      // default 256; less than 64 is raised to 64
	Context   []string // words that everybody would try here; default "authbus"
}

// minNameLength is the shortest user name that a password may not contain: "al"
// is in too many good ones.
const minNameLength = 3

// Check returns a [*PolicyError] if the password may not be chosen by the user
// with these names; email may be empty.
func (p Policy) Check(plain Plaintext, username, email string) error {
	if !utf8.ValidString(string(plain)) {
		return &PolicyError{ReasonNotUTF8, "The password is not valid UTF-8."}
	}
	normal := plain.normal()
	if err := p.checkLength(utf8.RuneCountInString(normal)); err != nil {
		return err
	}
	name := foldLoosely(username)
	if utf8.RuneCountInString(name) >= minNameLength && strings.Contains(foldLoosely(normal), name) {
		return &PolicyError{ReasonContainsName, "The password contains the user name."}
	}
	return p.checkGuessable(normal, username, email)
}

func (p Policy) checkLength(length int) error {
	shortest, longest := orDefault(p.MinLength, 15), max(64, orDefault(p.MaxLength, 256))
	if length < shortest {
		return &PolicyError{ReasonTooShort, fmt.Sprintf("The password must have at least %d characters; this one has %d.", shortest, length)}
	}
	if length > longest {
		return &PolicyError{ReasonTooLong, fmt.Sprintf("The password must have at most %d characters; this one has %d.", longest, length)}
	}
	return nil
}

func (p Policy) checkGuessable(normal, username, email string) error {
	context := p.Context
	if context == nil {
		context = []string{"authbus"}
	}
	local, _, _ := strings.Cut(email, "@")
	if guessable(normal, append([]string{username, local, email}, context...)) {
		return &PolicyError{ReasonCommon, "The password is too easy to guess: it is common, or made of common words and patterns."}
	}
	return nil
}

// foldLoosely folds what is compared only to find one text in another.
func foldLoosely(s string) string { return fold(norm.NFKC.String(s)) }
