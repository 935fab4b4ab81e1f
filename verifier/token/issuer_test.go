package token_test

import (
	"strings"
	"testing"

	"github.com/authbus/authbus/verifier/token"
)

func TestCheckIssuer(t *testing.T) {
	for _, good := range []string{"https://auth.example.org", "http://127.0.0.1:8080", "https://example.org/tenants/one"} {
		if err := token.CheckIssuer(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "auth", "auth.example.org", "ftp://auth.example.org", "https://", "https://auth.example.org/", "https://auth.example.org:65536", "https://auth.example.org:0", "https://:443",
		"https://auth.example.org?x", "https://auth.example.org?", "https://auth.example.org#x", "https://auth.example.org#",
		"https://ada@auth.example.org", "https://auth.example.org ", "https://example.org/a b", "https://example.org/\xff", "https://example.org/\n", "https://" + strings.Repeat("a", 1024), "https://%zz",
	} {
		if token.CheckIssuer(bad) == nil {
			t.Errorf("%q is taken for an issuer", bad)
		}
	}
}
