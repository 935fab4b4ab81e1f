package gateway

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// reaches reports whether who connects to the address comes to whoever listens, as
// far as that can be told from the two: names are not looked up. local are the
// machine's own addresses. Where it cannot be told, a request that comes back is
// refused; see [proxy.Proxy.HasCarried].
func reaches(address, listen string, local []netip.Addr) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	at, atPort, err := net.SplitHostPort(listen)
	if err != nil || portNumber(port) != portNumber(atPort) {
		return false
	}
	host, at = canonicalName(host), canonicalName(at)
	if host == at {
		return true
	}
	return slices.ContainsFunc(addressesOf(host), func(to netip.Addr) bool {
		return slices.ContainsFunc(addressesOf(at), func(own netip.Addr) bool { return takes(own, to, local) })
	})
}

// takes reports whether a listener at own takes connections to an address.
func takes(own, to netip.Addr, local []netip.Addr) bool {
	switch {
	case to.IsUnspecified(): // who connects to no address connects to this machine
		return own.IsUnspecified() || own.IsLoopback() && own.Is4() == to.Is4()
	case own == netip.IPv4Unspecified() && !to.Is4():
		return false
	case own.IsUnspecified():
		return to.IsLoopback() || slices.Contains(local, to)
	default:
		return own == to
	}
}

// addressesOf returns the addresses of a host that need no looking up.
func addressesOf(host string) []netip.Addr {
	switch host {
	case "":
		return []netip.Addr{netip.IPv6Unspecified()}
	case "localhost":
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return nil
	}
	return []netip.Addr{addr.Unmap().WithZone("")}
}

func canonicalName(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// portNumber returns the number of a port, which may have a name; -1 of none.
func portNumber(port string) int {
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		return -1
	}
	return n
}

// localAddresses returns the machine's own addresses, none if they are not told.
func localAddresses() (local []netip.Addr) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range all {
		if n, err := netip.ParsePrefix(a.String()); err == nil {
			local = append(local, n.Addr().Unmap())
		}
	}
	return local
}
