package mtls

import (
	"log/slog"
	"testing"
)

// TestCA is the throw-away CA for tests of package mtls_test, which run a real
// auth service; that one imports this package.
type TestCA struct{ ca *testCA }

// NewTestCA makes a CA.
func NewTestCA(t testing.TB) TestCA {
	t.Helper()
	return TestCA{newCA(t)}
}

// Files issues an identity into a folder of its own.
func (c TestCA) Files(name string) Config {
	config := c.ca.files(name, leaf{})
	config.Logger = slog.New(slog.NewTextHandler(c.ca.t.Output(), nil))
	return config
}
