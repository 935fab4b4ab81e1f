package routes

import (
	"net/netip"
	"strings"
)

// canonicalHost returns the host of a Host header for comparison: in lower case,
// without the port and the dot at the end, addresses in their one spelling
// (RFC 5952). ok is false if it is none (RFC 3986 §3.2.2): readers disagree about
// what "shop.example..", "shop.example:80:90" or "[::1" name.
func canonicalHost(host string) (name string, ok bool) {
	if host == "" {
		return "", true // HTTP/1.0 has no such header
	}
	literal, port, isLiteral := strings.Cut(host, "]")
	if isLiteral {
		addr, err := netip.ParseAddr(strings.TrimPrefix(literal, "["))
		ok = host[0] == '[' && err == nil && addr.Is6() && addr.Zone() == "" && (port == "" || port[0] == ':')
		return addr.String(), ok && isPort(strings.TrimPrefix(port, ":"))
	}
	name, port, _ = strings.Cut(host, ":")
	name = strings.TrimSuffix(asciiLower(name), ".")
	for label := range strings.SplitSeq(name, ".") {
		// Names that are no host names (RFC 1123 §2.1) are in use: with underscores.
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", false
		}
	}
	return name, len(name) <= maxHost && isPort(port)
}

// maxHost bounds the name of a host (RFC 1035 §2.3.4, without the dot at the end).
const maxHost = 253

// isPort reports whether the text may follow a colon: digits, or none at all (RFC 3986 §3.2.3).
func isPort(s string) bool { return len(s) <= len("65535") && strings.Trim(s, "0123456789") == "" }

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
	if addr, err := netip.ParseAddr(name); err == nil {
		return !wildcard && addr.String() == name && addr.Zone() == ""
	}
	if len(name) > maxHost {
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
