package authority

import (
	"net/netip"
	"time"
)

const (
	// freeFailures is how many failures cost nothing but themselves.
	freeFailures = 4
	// firstPause is the pause after the failure that follows; each one more doubles it.
	firstPause = time.Second
	// longestPause is its cap.
	longestPause = 15 * time.Minute
	// forgetAfter is how long after the last failure a count starts anew.
	forgetAfter = 24 * time.Hour
)

// pause returns how long no further try is allowed after so many failures in a row.
func pause(failures int) time.Duration {
	doubled := failures - freeFailures - 1
	switch {
	case doubled < 0:
		return 0
	case doubled >= 10: // 1 s << 10 is above the cap
		return longestPause
	}
	return min(firstPause<<doubled, longestPause)
}

// network is what a failure is counted against: an IPv4 address, or the /64 of an
// IPv6 address, of which anybody has more addresses than anyone could count. It is
// empty for what is no address.
func network(address string) string {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return ""
	}
	return prefix.String()
}
