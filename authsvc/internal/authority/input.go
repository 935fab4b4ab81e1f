package authority

import (
	"errors"
	"net/mail"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/authbus/authbus/authsvc/internal/password"
)

// Bounds of what is stored and said on the bus, in characters or, for ids, bytes.
const (
	maxUsername  = 64
	maxEmail     = 254 // RFC 5321 §4.5.3.1.3, less the angle brackets
	maxReason    = 256
	maxUserAgent = 256
	maxClientID  = 64
	maxSID       = 64
	maxSub       = 64
	maxKID       = 64
	maxJTI       = 256
)

// names are a user name and an e-mail address with the keys they are compared by.
type names struct{ username, usernameKey, email, emailKey string }

// checkNames returns the names in order, or what is wrong with them.
func checkNames(username, email string) (names, []Violation) {
	n := names{username: username, email: email}
	var bad []Violation
	usernameKey, err := password.FoldName(username)
	switch {
	case err != nil:
		bad = append(bad, Violation{"username", "invalid", err.Error()})
	case utf8.RuneCountInString(username) > maxUsername:
		bad = append(bad, Violation{"username", "too_long", "at most 64 characters are allowed"})
	case strings.Contains(usernameKey, "@"):
		// Nobody shall take another's address for a user name.
		bad = append(bad, Violation{"username", "invalid", "a user name has no @"})
	}
	emailKey, err := checkEmail(email)
	if err != nil {
		bad = append(bad, Violation{"email", "invalid", err.Error()})
	}
	n.usernameKey, n.emailKey = usernameKey, emailKey
	return n, bad
}

// checkEmail returns the key of a bare e-mail address (RFC 5322 §3.4.1, RFC 6532).
func checkEmail(email string) (string, error) {
	if len(email) > maxEmail {
		return "", errors.New("at most 254 bytes are allowed")
	}
	key, err := password.FoldName(email)
	if err != nil {
		return "", err
	}
	parsed, err := mail.ParseAddress(email)
	if err != nil || parsed.Name != "" || parsed.Address != email || !strings.Contains(key, "@") {
		return "", errors.New("it is not an e-mail address")
	}
	return key, nil
}

// passwordViolation turns the policy's refusal into a violation of field.
func passwordViolation(field string, err error) ([]Violation, error) {
	var refused *password.PolicyError
	switch {
	case err == nil:
		return nil, nil
	case errors.As(err, &refused):
		return []Violation{{field, string(refused.Reason), refused.Message}}, nil
	}
	return nil, err
}

// validClientID reports whether an id can name a client: [a-z0-9][a-z0-9-]{0,63}.
// It has no underscore, so it is never the same as a user's sub (RFC 9068 §5).
func validClientID(id string) bool {
	if id == "" || len(id) > maxClientID || id[0] == '-' {
		return false
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// validAudience reports whether a name can stand in aud.
func validAudience(name string) bool {
	return name != "" && len(name) <= 64 && !strings.ContainsAny(name, " \t\r\n")
}

// validID reports whether an id of some token may be written into the log:
// visible ASCII.
func validID(id string, longest int) bool {
	if id == "" || len(id) > longest {
		return false
	}
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// validSub reports whether a sub can be one token of a NATS subject.
func validSub(sub string) bool { return validID(sub, maxSub) && !strings.ContainsAny(sub, ".*>") }

// checkReason refuses a reason that events could not carry.
func checkReason(reason string) error {
	if !utf8.ValidString(reason) || strings.ContainsFunc(reason, unicode.IsControl) {
		return invalidInput(Violation{"reason", "invalid", "control characters are not allowed"})
	}
	if utf8.RuneCountInString(reason) > maxReason {
		return invalidInput(Violation{"reason", "too_long", "at most 256 characters are allowed"})
	}
	return nil
}

// clean makes what a client says of itself fit for database, events and logs.
func (m Meta) clean() Meta {
	m.UserAgent = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, m.UserAgent)
	for len(m.UserAgent) > maxUserAgent {
		_, size := utf8.DecodeLastRuneInString(m.UserAgent)
		m.UserAgent = m.UserAgent[:len(m.UserAgent)-size]
	}
	addr, err := netip.ParseAddr(m.Address)
	if err != nil {
		m.Address = ""
	} else {
		m.Address = addr.Unmap().WithZone("").String()
	}
	return m
}
