package routes

import (
	"net"
	"strings"
)

// canonicalHost returns the host of a Host header for comparison: in lower case,
// without the port and the dot at the end.
func canonicalHost(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.TrimSuffix(asciiLower(host), ".")
}

// asciiLower is strings.ToLower without Unicode: the Kelvin sign is no k.
func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, s)
}

// isHost reports whether a rule may name the host: a name or an address in
// canonical form, or a name after "*.".
func isHost(host string) bool {
	name, wildcard := strings.CutPrefix(host, "*.")
	if net.ParseIP(name) != nil {
		return !wildcard
	}
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if !isLabel(label) {
			return false
		}
	}
	return true
}

// isLabel reports whether the text is a label of a host name (RFC 1123 §2.1), in lower case.
func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
