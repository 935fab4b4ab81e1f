package token

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxIssuer bounds an issuer, in bytes.
const maxIssuer = 1024

// CheckIssuer refuses what cannot be the issuer of tokens: it is an http or https URL
// without user, query and fragment, which is compared byte by byte (RFC 8414 §2). It
// has no slash at its end, where the paths of the API begin.
func CheckIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	switch {
	case issuer == "":
		return errors.New("is required")
	case len(issuer) > maxIssuer:
		return fmt.Errorf("is longer than %d bytes", maxIssuer)
	case err != nil || !utf8.ValidString(issuer) || strings.ContainsFunc(issuer, unicode.IsSpace) || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("is not an http or https URL") // not repeated: it may hold a password
	case !isPort(cmp.Or(u.Port(), "443")):
		return errors.New("has a port that is none")
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil || strings.ContainsAny(issuer, "?#"):
		return errors.New("has a query, a fragment or a user")
	case strings.HasSuffix(issuer, "/"):
		return fmt.Errorf("%q has a slash at its end, where the paths of the API begin", issuer)
	}
	return nil
}

func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}
