package verifier_test

import (
	"crypto/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier"
	"github.com/authbus/authbus/verifier/token"
)

// TestConfigurationsOfModesThatCannotBeRight names a field and why, and New has
// not asked anybody by then.
func TestConfigurationsOfModesThatCannotBeRight(t *testing.T) {
	local := func(change func(*verifier.Config)) verifier.Config {
		c := verifier.Config{Issuer: "i", Audience: "a", NATS: &nats.Conn{}}
		change(&c)
		return c
	}
	bus := func(change func(*verifier.Config)) verifier.Config {
		return local(func(c *verifier.Config) { c.Mode = verifier.Remote; change(c) })
	}
	web := func(change func(*verifier.Config)) verifier.Config {
		c := verifier.Config{
			Mode: verifier.Remote, Issuer: "i", Audience: "a",
			IntrospectionURL: "https://auth.example/v1/introspect", ClientID: "a", ClientSecret: "s",
		}
		change(&c)
		return c
	}
	endpoint := func(url string) verifier.Config {
		return web(func(c *verifier.Config) { c.IntrospectionURL = url })
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // it never fails
	secret, err := token.NewSecret(random)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		title  string
		config verifier.Config
		field  string
	}{
		{"no such mode", local(func(c *verifier.Config) { c.Mode = 7 }), "Mode"},
		{"local, with an endpoint", local(func(c *verifier.Config) { c.IntrospectionURL = "https://x" }), "IntrospectionURL"},
		{"local, with a client id", local(func(c *verifier.Config) { c.ClientID = "a" }), "ClientID"},
		{"local, with a client secret", local(func(c *verifier.Config) { c.ClientSecret = "a" }), "ClientSecret"},
		{"remote, nobody to ask", bus(func(c *verifier.Config) { c.NATS = nil }), "NATS"},
		{"remote, two to ask", bus(func(c *verifier.Config) { c.IntrospectionURL = "https://x" }), "NATS"},
		{"remote, with keys", bus(func(c *verifier.Config) { c.Keys = []token.Key{{}} }), "Keys"},
		{"remote, with a policy", bus(func(c *verifier.Config) { c.Stale = verifier.Reject }), "Stale"},
		{"remote, with grace", bus(func(c *verifier.Config) { c.Stale, c.AcceptGrace = verifier.Accept, time.Second }), "Stale"},
		{"over NATS, with a client id", bus(func(c *verifier.Config) { c.ClientID = "a" }), "ClientID"},
		{"over NATS, with a client secret", bus(func(c *verifier.Config) { c.ClientSecret = "a" }), "ClientSecret"},
		{"over NATS, with feed keys twice", bus(func(c *verifier.Config) { c.FeedKeys, c.JWKSURL = make([]events.FeedKey, 1), "https://x" }), "JWKSURL"},
		{"over HTTP, with feed keys", web(func(c *verifier.Config) { c.FeedKeys = make([]events.FeedKey, 1) }), "FeedKeys"},
		{"over HTTP, with a JWKS", web(func(c *verifier.Config) { c.JWKSURL = "https://x" }), "JWKSURL"},
		{"a secret without an id", web(func(c *verifier.Config) { c.ClientID = "" }), "ClientID"},
		{"an id without a secret", web(func(c *verifier.Config) { c.ClientSecret = "" }), "ClientSecret"},
		{"a secret with the end of its line", web(func(c *verifier.Config) { c.ClientSecret = "s3cret\n" }), "ClientSecret"},
		{"an id with the end of its line", web(func(c *verifier.Config) { c.ClientID = "orders\r\n" }), "ClientID"},
		{"a certificate over http", web(func(c *verifier.Config) {
			c.IntrospectionURL, c.ClientSecret, c.HTTPClient = "http://127.0.0.1/", "", http.DefaultClient
		}), "ClientSecret"},
		{"http to another machine", endpoint("http://auth.example/"), "IntrospectionURL"},
		{"http to what looks like this machine", endpoint("http://127.0.0.1.example/"), "IntrospectionURL"},
		{"http to localhost as user", endpoint("http://localhost@auth.example/"), "IntrospectionURL"},
		{"a password in the URL", endpoint("https://orders:s3cret@auth.example/"), "IntrospectionURL"},
		{"no host", endpoint("https:///v1/introspect"), "IntrospectionURL"},
		{"a path", endpoint("/v1/introspect"), "IntrospectionURL"},
		{"a fragment", endpoint("https://auth.example/#x"), "IntrospectionURL"},
		{"another scheme", endpoint("ftp://127.0.0.1/"), "IntrospectionURL"},
		{"no URL", endpoint("https://s3cret\x7f@auth.example"), "IntrospectionURL"},
		{"a shared secret", bus(func(c *verifier.Config) { c.SharedSecret = secret }), "SharedSecret"},
	} {
		t.Run(c.title, func(t *testing.T) {
			_, err := verifier.New(t.Context(), c.config)
			if err == nil || !strings.Contains(err.Error(), "Config."+c.field+" ") {
				t.Errorf("the error does not name %s: %v", c.field, err)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error repeats a secret: %v", err)
			}
		})
	}
}
