package cli

import (
	"maps"
	"slices"
	"testing"

	"github.com/alecthomas/kong"
)

// shared are the variables that several commands take in words of their own, and what
// they are to all of them.
var shared = map[string]string{
	"AUTHSVC_CERTS":                "the directory of certificates, whoever they belong to",
	"AUTHSVC_ISSUER":               "the iss of tokens",
	"AUTHSVC_JSON":                 "print for programs",
	"AUTHSVC_LIFETIME":             "the lifetime of certificates that are issued",
	"AUTHSVC_LISTEN":               "the address of the auth service, for HTTP",
	"AUTHSVC_LISTEN_MTLS":          "the address of the auth service, for services",
	"AUTHSVC_NATS_URL":             "the NATS servers",
	"AUTHSVC_PREVIOUS_SECRET_FILE": "the file of the second shared secret",
	"AUTHSVC_REASON":               "why",
	"AUTHSVC_ROUTES":               "the rules of the gateway",
	"AUTHSVC_SECRET_FILE":          "the file of the shared secret",
	"AUTHSVC_SESSION_IDLE":         "when a session that is not used ends",
	"AUTHSVC_TRUST_DOMAIN":         "the trust domain",
}

// TestOneVariableMeansOneThing: commands share the environment, so flags that mean
// different things must not share a variable, though they may share a name.
func TestOneVariableMeansOneThing(t *testing.T) {
	parser, err := kong.New(&root{})
	if err != nil {
		t.Fatal(err)
	}
	means := map[string]map[string]string{} // by variable, help and command
	_ = kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		if n, ok := node.(*kong.Node); ok {
			for _, f := range n.Flags {
				if means[variable(f)] == nil {
					means[variable(f)] = map[string]string{}
				}
				means[variable(f)][f.Help] = n.Path()
			}
		}
		return next(nil)
	})
	for name, helps := range means {
		if len(helps) > 1 && shared[name] == "" {
			t.Errorf("%s means different things to %v", name, slices.Sorted(maps.Values(helps)))
		}
	}
	for name := range shared {
		if len(means[name]) < 2 {
			t.Errorf("%s is not shared", name)
		}
	}
}
