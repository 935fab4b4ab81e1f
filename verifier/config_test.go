package verifier

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

// wrongValues are values that a field cannot have, in a configuration of Mode Local
// that is good without. What modes demand and exclude, and what concerns shared
// secrets, have tests of their own.
func wrongValues(t *testing.T) map[string]map[string]func(*Config) {
	t.Helper()
	closed := offline(t)
	closed.Close()
	key := token.Key{ID: testKID, Alg: token.AlgEdDSA, Public: testKey.Public()}
	feed := events.FeedKey{ID: "f", Public: testFeedPublic}
	feeds := func(all ...events.FeedKey) func(*Config) {
		return func(c *Config) { c.Keys, c.FeedKeys = []token.Key{key}, all }
	}
	keys := func(all ...token.Key) func(*Config) {
		return func(c *Config) { c.Keys, c.FeedKeys = all, []events.FeedKey{feed} }
	}
	url := func(text string) func(*Config) { return func(c *Config) { c.JWKSURL = text } }
	return map[string]map[string]func(*Config){
		"Mode": {
			"unknown":  func(c *Config) { c.Mode = 7 },
			"negative": func(c *Config) { c.Mode = -1 },
		},
		"Issuer": {
			"missing":          func(c *Config) { c.Issuer = "" },
			"with a space":     func(c *Config) { c.Issuer += " " },
			"begins with one":  func(c *Config) { c.Issuer = "\t" + c.Issuer },
			"with a line end":  func(c *Config) { c.Issuer += "\n" },
			"only a space":     func(c *Config) { c.Issuer = " " },
			"that is no UTF-8": func(c *Config) { c.Issuer += "\xff" },
		},
		"Audience": {
			"missing":         func(c *Config) { c.Audience = "" },
			"with a space":    func(c *Config) { c.Audience += " " },
			"only a space":    func(c *Config) { c.Audience = " " },
			"with a line end": func(c *Config) { c.Audience += "\r\n" },
			"too long":        func(c *Config) { c.Name, c.Audience = "orders", strings.Repeat("a", 257) },
		},
		"NATS": {
			"missing": func(c *Config) { c.NATS = nil },
			"closed":  func(c *Config) { c.NATS = closed },
		},
		"IntrospectionURL": {"in Mode Local": func(c *Config) { c.IntrospectionURL = "https://auth.example/" }},
		"ClientID":         {"in Mode Local": func(c *Config) { c.ClientID = "orders" }},
		"ClientSecret":     {"in Mode Local": func(c *Config) { c.ClientSecret = "s3cret" }},
		"Name": {
			"too long":        func(c *Config) { c.Name = strings.Repeat("a", 129) },
			"with a line end": func(c *Config) { c.Name = "orders\n" },
		},
		"MaxStale": {
			"negative":  func(c *Config) { c.MaxStale = -time.Second },
			"too short": func(c *Config) { c.MaxStale = 2*time.Second - 1 },
		},
		"Stale": {
			"unknown":  func(c *Config) { c.Stale = 3 },
			"negative": func(c *Config) { c.Stale = -1 },
		},
		"AcceptGrace": {
			"negative, and Ask":    func(c *Config) { c.AcceptGrace = -time.Second },
			"negative, and Accept": func(c *Config) { c.Stale, c.AcceptGrace = Accept, -time.Second },
			"missing, and Accept":  func(c *Config) { c.Stale = Accept },
			"set, and Ask":         func(c *Config) { c.AcceptGrace = time.Second },
			"set, and Reject":      func(c *Config) { c.Stale, c.AcceptGrace = Reject, time.Second },
		},
		"Leeway": {
			"negative": func(c *Config) { c.Leeway = -1 },
			"too long": func(c *Config) { c.Leeway = time.Minute + 1 },
		},
		"MaxLifetime": {
			"negative": func(c *Config) { c.MaxLifetime = -1 },
			"too long": func(c *Config) { c.MaxLifetime = time.Hour + 1 },
		},
		"JWKSURL": {
			"no URL":              url("https://s3cret\x7f@auth.example"),
			"a path":              url("/.well-known/jwks.json"),
			"a host":              url("auth.example"),
			"a host and a port":   url("auth.example:8080"),
			"without a host":      url("https:///jwks.json"),
			"http over a network": url("http://auth.example/jwks.json"),
			"another scheme":      url("file:///etc/passwd"),
			"with a password":     url("https://orders:s3cret@auth.example/"),
			"with a fragment":     url("https://auth.example/#keys"),
			"with a space":        url("https://auth.example/jwks.json "),
			"and Keys": func(c *Config) {
				keys(key)(c)
				c.JWKSURL = "https://auth.example/"
			},
		},
		"HTTPClient": {"negative timeout": func(c *Config) { c.HTTPClient = &http.Client{Timeout: -1} }},
		"Keys": {
			"alone":           func(c *Config) { c.Keys = []token.Key{key} },
			"without an id":   keys(token.Key{Alg: key.Alg, Public: key.Public}),
			"without a key":   keys(token.Key{ID: "k", Alg: key.Alg}),
			"twice the same":  keys(key, key),
			"of no algorithm": keys(token.Key{ID: "k", Public: key.Public}),
			"with FeedKeys missing, in Mode Local": func(c *Config) {
				c.FeedKeys = []events.FeedKey{feed}
			},
		},
		"FeedKeys": {
			"without an id":  feeds(events.FeedKey{Public: testFeedPublic}),
			"without a key":  feeds(events.FeedKey{ID: "f"}),
			"too short":      feeds(events.FeedKey{ID: "f", Public: testFeedPublic[:ed25519.PublicKeySize-1]}),
			"twice the same": feeds(feed, feed),
		},
		"SharedSecret": {"a feed key": func(c *Config) {
			c.FeedKeys = []events.FeedKey{feed}
			c.SharedSecret, _ = token.NewSecret(testFeedPublic)
		}},
		"PreviousSharedSecret": {"alone": func(c *Config) { c.PreviousSharedSecret, _ = token.NewSecret(testFeedPublic) }},
		"KeyRefresh":           {"negative": func(c *Config) { c.KeyRefresh = -1 }},
		"TokenCacheBytes": {
			"negative": func(c *Config) { c.TokenCacheBytes = -1 },
			"too much": func(c *Config) { c.TokenCacheBytes = math.MaxInt64 },
		},
		"RevokedDetails": {
			"negative": func(c *Config) { c.RevokedDetails = -1 },
			"too many": func(c *Config) { c.RevokedDetails = math.MaxInt64 },
		},
		"MaxRevocations": {"negative": func(c *Config) { c.MaxRevocations = -1 }},
		"MaxAsks":        {"negative": func(c *Config) { c.MaxAsks = -1 }},
		"ProbeInterval": {
			"negative": func(c *Config) { c.ProbeInterval = -1 },
			"too long": func(c *Config) { c.MaxStale, c.ProbeInterval = 9*time.Second, 3*time.Second+1 },
		},
		"RequestTimeout": {
			"negative": func(c *Config) { c.RequestTimeout = -1 },
			"too long": func(c *Config) { c.RequestTimeout = 30*time.Second + 1 },
		},
	}
}

// TestEveryFieldIsChecked: the error names the field and why, and does so before
// anybody is asked.
func TestEveryFieldIsChecked(t *testing.T) {
	all, nc := wrongValues(t), offline(t)
	for field := range reflect.TypeFor[Config]().Fields() {
		if field.Name != "Logger" && len(all[field.Name]) == 0 { // any logger will do
			t.Errorf("%s has no value that it cannot have", field.Name)
		}
	}
	for field, values := range all {
		for title, change := range values {
			t.Run(field+" "+title, func(t *testing.T) {
				c := Config{Issuer: testIssuer, Audience: testAudience, NATS: nc, Logger: slog.New(slog.DiscardHandler)}
				change(&c)
				v, err := New(canceled(t), c)
				if err == nil {
					v.Close()
				}
				if err == nil || !strings.HasPrefix(err.Error(), "verifier: Config."+field+" ") && !strings.HasPrefix(err.Error(), "verifier: Config."+field+": ") {
					t.Errorf("the error does not name the field first: %v", err)
				}
				if err != nil && (strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "\n")) {
					t.Errorf("the error repeats a secret, or speaks of more than one field: %v", err)
				}
			})
		}
	}
}

// offline is a connection to a broker that is not there.
func offline(t *testing.T) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("nats://127.0.0.1:1", nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// canceled is a context that is over: what is not refused before anybody is asked
// does not wait.
func canceled(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
