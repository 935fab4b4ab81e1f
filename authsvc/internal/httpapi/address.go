package httpapi

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"
)

// clientAddress returns the address of whoever asks: the peer, or what trusted
// proxies say about it. X-Forwarded-For is read from the right, because only what
// our own proxies appended is known to be true; the first address that is not a
// trusted proxy is the client's. Anything that is no address ends the walk.
func clientAddress(r *http.Request, trusted []netip.Prefix) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	client := peer.Addr().Unmap()
	forwarded := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(forwarded) {
		if !isTrusted(client, trusted) {
			break
		}
		addr, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		client = addr.Unmap()
	}
	return client.WithZone("").String()
}

func isTrusted(addr netip.Addr, trusted []netip.Prefix) bool {
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// maxUserAgent bounds what is kept of a User-Agent, in bytes.
const maxUserAgent = 256

// userAgent returns the request's User-Agent as valid text of bounded length.
func userAgent(r *http.Request) string {
	ua := r.UserAgent()
	if len(ua) > maxUserAgent {
		ua = ua[:maxUserAgent]
	}
	if !utf8.ValidString(ua) {
		ua = strings.ToValidUTF8(ua, "")
	}
	return ua
}
