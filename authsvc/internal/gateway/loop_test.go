package gateway

import (
	"net/netip"
	"testing"
)

func TestAnAddressThatIsTheGatewaysOwn(t *testing.T) {
	local := []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("fe80::7")}
	for _, c := range []struct {
		listen, address string
		want            bool
	}{
		{"127.0.0.1:8000", "127.0.0.1:8000", true},
		{"127.0.0.1:8000", "127.0.0.1:8001", false},
		{"127.0.0.1:8000", "127.0.0.2:8000", false},
		{"127.0.0.1:8000", "192.0.2.7:8000", false},
		{"127.0.0.1:8000", "localhost:8000", true},
		{"127.0.0.1:8000", "LOCALHOST.:8000", true},
		{"127.0.0.1:8000", "0.0.0.0:8000", true},
		{"127.0.0.1:8000", "[::ffff:127.0.0.1]:8000", true},
		{"127.0.0.1:8000", "[::1]:8000", false},
		{"[::1]:8000", "[::1]:8000", true},
		{"[::1]:8000", "[::]:8000", true},
		{"[::1]:8000", "127.0.0.1:8000", false},
		{"localhost:8000", "127.0.0.1:8000", true},
		{"localhost:8000", "localhost:8000", true},
		{":8000", "127.0.0.1:8000", true},
		{":8000", "127.0.0.2:8000", true},
		{":8000", "[::1]:8000", true},
		{":8000", "192.0.2.7:8000", true},
		{":8000", "[2001:db8::7]:8000", true},
		{":8000", "[fe80::7%eth0]:8000", true},
		{":8000", "192.0.2.8:8000", false},
		{":8000", "orders.internal:8000", false},
		{":http", "127.0.0.1:80", true},
		{"0.0.0.0:8000", "127.0.0.1:8000", true},
		{"0.0.0.0:8000", "192.0.2.7:8000", true},
		{"0.0.0.0:8000", "[::1]:8000", false},
		{"[::]:8000", "192.0.2.7:8000", true},
		{"[::]:8000", "localhost:8000", true},
		{"192.0.2.7:8000", "192.0.2.7:8000", true},
		{"192.0.2.7:8000", "127.0.0.1:8000", false},
		{"192.0.2.7:8000", "0.0.0.0:8000", false},
		{"gateway.internal:8000", "gateway.internal:8000", true},
		{"gateway.internal:8000", "Gateway.Internal.:8000", true},
		{"gateway.internal:8000", "orders.internal:8000", false},
		{"127.0.0.1:0", "127.0.0.1:8000", false}, // known when it listens
		{"somewhere", "127.0.0.1:8000", false},
	} {
		if got := reaches(c.address, c.listen, local); got != c.want {
			t.Errorf("%s, listening at %s: %v", c.address, c.listen, got)
		}
	}
}
