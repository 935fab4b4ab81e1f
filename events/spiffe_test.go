package events_test

import (
	"crypto/x509"
	"net/url"
	"strings"
	"testing"

	"github.com/authbus/authbus/events"
)

func TestSPIFFEIDs(t *testing.T) {
	t.Parallel()
	longest := "spiffe://" + strings.Repeat("d", 255) + "/" + strings.Repeat("n", 2048-9-255-1)
	for id, want := range map[string][2]string{
		"spiffe://example.org/orders":     {"example.org", "orders"},
		"spiffe://a_b-1/Ns/prod.x/sa_1-2": {"a_b-1", "Ns/prod.x/sa_1-2"},
		"spiffe://t/...":                  {"t", "..."},
		longest:                           {longest[9 : 9+255], longest[9+256:]},
	} {
		domain, name, err := events.ParseSPIFFEID(id)
		if err != nil || domain != want[0] || name != want[1] {
			t.Errorf("%.60s: %q, %q, %v", id, domain, name, err)
		}
	}
	for _, bad := range []string{
		"", "spiffe://", "spiffe:///orders", "spiffe://example.org", "spiffe://example.org/", "spiffe://example.org/orders/",
		"spiffe://example.org//orders", "spiffe://example.org/./orders", "spiffe://example.org/../orders", "spiffe://example.org/a/..",
		"spiffe://Example.org/orders", "spiffe://example.org:443/orders", "spiffe://user@example.org/orders", "spiffe://[::1]/orders",
		"spiffe://example.org/or%64ers", "spiffe://example.org/orders?x", "spiffe://example.org/orders#x", "spiffe://example.org/örders",
		"spiffe://example.org/orders*", "spiffe://example.org/or ders", "spiffe://example.org/orders\n", "SPIFFE://example.org/orders",
		"https://example.org/orders", " spiffe://example.org/orders", "spiffe:/example.org/orders", longest + "n",
		"spiffe://" + strings.Repeat("d", 256) + "/n",
	} {
		if domain, name, err := events.ParseSPIFFEID(bad); err == nil {
			t.Errorf("%q was taken for %q in %q", bad, name, domain)
		}
	}
}

func TestACertificateHasOneIdentity(t *testing.T) {
	t.Parallel()
	uris := func(ids ...string) (list []*url.URL) {
		for _, id := range ids {
			u, err := url.Parse(id)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, u)
		}
		return list
	}
	const orders = "spiffe://example.org/orders"
	if id, err := events.CertificateSPIFFEID(&x509.Certificate{URIs: uris(orders)}); err != nil || id != orders {
		t.Errorf("%q, %v", id, err)
	}
	for name, cert := range map[string]*x509.Certificate{
		"none":             {},
		"two":              {URIs: uris(orders, "spiffe://example.org/billing")},
		"not SPIFFE":       {URIs: uris("https://example.org/orders")},
		"an encoded slash": {URIs: uris("spiffe://example.org/or%2Fders")},
		"and a host":       {URIs: uris(orders), DNSNames: []string{"orders.example"}},
		"and an address":   {URIs: uris(orders), EmailAddresses: []string{"a@example.org"}},
	} {
		if id, err := events.CertificateSPIFFEID(cert); err == nil {
			t.Errorf("%s: %q", name, id)
		}
	}
}

// FuzzParseSPIFFEID: what is accepted has one spelling, and a URL parser reads the
// same out of it.
func FuzzParseSPIFFEID(f *testing.F) {
	for _, seed := range []string{"spiffe://example.org/orders", "spiffe://a/b/c", "spiffe://a/%2e", "spiffe://A/b", "x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		domain, name, err := events.ParseSPIFFEID(id)
		if err != nil {
			return
		}
		u, err := url.Parse(id)
		if err != nil || u.Scheme != "spiffe" || u.Host != domain || u.Path != "/"+name || u.String() != id || u.User != nil {
			t.Fatalf("%q: %q and %q, but the URL is %+v, %v", id, domain, name, u, err)
		}
		if again, err := events.SPIFFEID(domain, name); err != nil || again != id {
			t.Fatalf("%q is built as %q, %v", id, again, err)
		}
	})
}

// FuzzCARenewRequest: whatever somebody sends is refused without a panic.
func FuzzCARenewRequest(f *testing.F) {
	f.Add(`{"nonce":"n","chain":"c","csr":"r","time":1,"signature":"s"}`)
	f.Add(`{"nonce":"n","chain":"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n","csr":"r","time":1,"signature":""}`)
	f.Fuzz(func(t *testing.T, payload string) {
		var req events.CARenewRequest
		if err := events.DecodeRequest([]byte(payload), &req); err != nil {
			return
		}
		if renewal, err := req.Open(); err == nil {
			t.Fatalf("%q proves %v", payload, renewal.Leaf.URIs)
		}
	})
}
