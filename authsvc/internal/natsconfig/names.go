package natsconfig

import (
	"net"
	"slices"
	"strings"
)

// isWord reports whether s has only letters, digits, dash and underscore.
func isWord(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

// isHostName reports whether s is labels joined by dots.
func isHostName(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if !isWord(label) {
			return false
		}
	}
	return true
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// join returns the names of all lists, each once, in order.
func join(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}
