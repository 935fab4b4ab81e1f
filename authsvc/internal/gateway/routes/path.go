package routes

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CleanPath returns the decoded path of a request as the service will see it. It
// refuses every request whose path two readers might take for different ones; the
// error says why, in words that a client may see.
//
// The request target must be a path as RFC 3986 §3.3 spells it, so neither an
// absolute URL nor "*", and have no fragment. What the path holds must not be,
// decoded or not: an empty segment but the last, a segment of dots alone, a slash
// or backslash in disguise, ";", "?", "#", a control character, an encoded dot,
// text that would decode a second time, or anything but UTF-8.
func CleanPath(r *http.Request) (string, error) {
	raw, query, _ := strings.Cut(r.RequestURI, "?")
	if strings.Contains(query, "#") {
		return "", errors.New("the request target must not have a fragment")
	}
	if err := checkRaw(raw); err != nil {
		return "", err
	}
	path, err := url.PathUnescape(raw)
	if err != nil {
		return "", errors.New("the path has a broken escape")
	}
	if err := checkPath(path); err != nil {
		return "", err
	}
	// What was judged here is what goes on the wire: nobody may have changed the URL.
	if r.URL.Path != path || r.URL.EscapedPath() != raw || r.URL.Opaque != "" {
		return "", errors.New("the path is ambiguous")
	}
	return path, nil
}

// checkRaw judges the path as it came.
func checkRaw(raw string) error {
	if raw == "" || raw[0] != '/' {
		return errors.New("the request target must be a path")
	}
	for i := range len(raw) {
		if !isPathByte(raw[i]) {
			return errors.New("the path has a character that must be escaped or left out")
		}
	}
	lower := strings.ToLower(raw)
	switch {
	case strings.Contains(lower, "%2e"):
		// Only a dot that somebody wants to hide is encoded (RFC 3986 §2.3).
		return errors.New("the path has an encoded dot")
	case strings.Contains(lower, "%2f"):
		return errors.New("the path has an encoded slash")
	}
	return nil
}

// isPathByte reports whether the byte may stand in a path (RFC 3986 §3.3), except
// for ";", which some servers cut the segment at.
func isPathByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return strings.IndexByte("-._~!$&'()*+,=:@/%", c) >= 0
}

// checkPath judges a decoded path: that of a request, or of a rule.
func checkPath(path string) error {
	switch {
	case path == "" || path[0] != '/':
		return errors.New("the path must begin with a slash")
	case !utf8.ValidString(path):
		return errors.New("the path is not UTF-8")
	case strings.Contains(path, "//"):
		return errors.New("the path has an empty segment")
	case strings.ContainsAny(path, `\;?#`):
		return errors.New(`the path has one of \ ; ? #`)
	case strings.ContainsFunc(path, unicode.IsControl):
		return errors.New("the path has a control character")
	case hasEscape(path):
		return errors.New("the path is encoded twice")
	}
	for segment := range segments(path) {
		if segment != "" && strings.Trim(segment, ".") == "" {
			return errors.New("the path has a segment of dots")
		}
	}
	return nil
}

// hasEscape reports whether decoding would change the text.
func hasEscape(s string) bool {
	for i := 0; i+2 < len(s); i++ {
		if s[i] == '%' && isHex(s[i+1]) && isHex(s[i+2]) {
			return true
		}
	}
	return false
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
