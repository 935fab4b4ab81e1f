package proxy

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// forwarding is what the gateway knows about a request's way to it.
type forwarding struct {
	client netip.Addr // not valid if it is unknown
	// chain is X-Forwarded-For for the service: the client and the trusted proxies behind it.
	chain string
	proto string
}

// forwardingOf reads the way from the peer's address and, as far as proxies are
// trusted, from what they say. X-Forwarded-For is read from the right, because
// only what our own proxies appended is known to be true; the first address that
// is not a trusted proxy's is the client's, and what is left of it is its
// invention and goes no further.
func (p *Proxy) forwardingOf(r *http.Request) forwarding {
	f := forwarding{proto: "http"}
	if r.TLS != nil {
		f.proto = "https"
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return f
	}
	f.client = peer.Addr().Unmap().WithZone("")
	chain := []string{f.client.String()}
	if p.trusts(f.client) {
		if proto := r.Header.Values("X-Forwarded-Proto"); len(proto) == 1 && (proto[0] == "http" || proto[0] == "https") {
			f.proto = proto[0]
		}
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		addr, err := netip.ParseAddr(strings.TrimSpace(hop))
		if !p.trusts(f.client) || err != nil {
			break
		}
		f.client = addr.Unmap().WithZone("")
		chain = append(chain, f.client.String())
	}
	slices.Reverse(chain)
	f.chain = strings.Join(chain, ", ")
	return f
}

func (p *Proxy) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(p.config.TrustedProxies, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// ClientAddress returns the address of whoever asks, as the proxy sees it through
// the trusted proxies; it is not valid if it is unknown.
func (p *Proxy) ClientAddress(r *http.Request) netip.Addr { return p.forwardingOf(r).client }

// ClientNetwork names the network of a client for counting: its address, or of an
// IPv6 address the /64, because one host has all of it.
func ClientNetwork(addr netip.Addr) string {
	if addr.Is4() || !addr.IsValid() {
		return addr.String()
	}
	return netip.PrefixFrom(addr, 64).Masked().String()
}
