package natsconfig_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"pgregory.net/rapid"

	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/authsvc/internal/natsconfig"
)

func complete() natsconfig.Config {
	c := everybody()
	c.CertFile, c.KeyFile, c.CAFile = "/etc/nats/nats.crt", "/etc/nats/nats.key", "/etc/nats/ca.crt"
	c.StoreDir = "/var/lib/nats"
	return c
}

func clustered() natsconfig.Config {
	c := complete()
	c.ServerName, c.SyncInterval, c.Monitor = "nats-2", 10*time.Second, "127.0.0.1:8222"
	c.Cluster = &natsconfig.Cluster{
		Name: "authbus", Routes: []string{"nats-route://nats-1.internal:6222", "nats-route://nats-3.internal:6222"},
		CertFile: "/etc/nats/route.crt", KeyFile: "/etc/nats/route.key",
	}
	return c
}

func minimal() natsconfig.Config {
	return natsconfig.Config{TrustDomain: "example.org", CertFile: "nats.crt", KeyFile: "nats.key", CAFile: "ca.crt", StoreDir: "store"}
}

// The output is kept in testdata, to be read. AUTHBUS_TEST_UPDATE=1 writes it anew.
func TestGenerateWritesWhatIsInTestdata(t *testing.T) {
	for name, c := range map[string]natsconfig.Config{"everybody": complete(), "cluster": clustered(), "minimal": minimal()} {
		t.Run(name, func(t *testing.T) {
			got, err := natsconfig.Generate(c)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".conf")
			if os.Getenv("AUTHBUS_TEST_UPDATE") != "" {
				if err := os.WriteFile(path, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("the output differs from %s", path)
			}
			for line := range strings.Lines(string(got)) {
				if strings.TrimRight(line, " \t\n") != strings.TrimRight(line, "\n") {
					t.Errorf("white space at the end of %q", line)
				}
			}
		})
	}
}

func TestTheOrderOfNamesDoesNotMatter(t *testing.T) {
	c := complete()
	want, err := natsconfig.Generate(c)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(c.Services)
	slices.Reverse(c.Subscribers)
	if got, err := natsconfig.Generate(c); err != nil || !bytes.Equal(got, want) {
		t.Errorf("another order gives another output, or %v", err)
	}
}

func TestGenerateRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		change        func(*natsconfig.Config)
		field, reason string
	}{
		"no trust domain":           {func(c *natsconfig.Config) { c.TrustDomain = "" }, "TrustDomain", "1 to 255"},
		"a trust domain with more":  {func(c *natsconfig.Config) { c.TrustDomain = "example.org/orders" }, "TrustDomain", "something else"},
		"a wildcard":                {func(c *natsconfig.Config) { c.Services = []string{"*"} }, "Services", `must not have "*"`},
		"the full wildcard":         {func(c *natsconfig.Config) { c.Remote = []string{">"} }, "Remote", "letters"},
		"a dot":                     {func(c *natsconfig.Config) { c.Services = []string{"a.b"} }, "Services", "letters"},
		"a slash":                   {func(c *natsconfig.Config) { c.Services = []string{"prod/orders"} }, "Services", "letters"},
		"a space":                   {func(c *natsconfig.Config) { c.Gateways = []string{"a b"} }, "Gateways", "letters"},
		"a quote":                   {func(c *natsconfig.Config) { c.Operators = []string{`a"`} }, "Operators", "letters"},
		"an empty name":             {func(c *natsconfig.Config) { c.Subscribers = []string{""} }, "Subscribers", "empty"},
		"a long name":               {func(c *natsconfig.Config) { c.Services = []string{strings.Repeat("a", 64)} }, "Services", "63"},
		"a name twice":              {func(c *natsconfig.Config) { c.Services = []string{"a", "a"} }, "Services", "twice"},
		"the publisher":             {func(c *natsconfig.Config) { c.Services = []string{"authsvc-publisher"} }, "Services", "authbus itself"},
		"the auth service itself":   {func(c *natsconfig.Config) { c.Services = []string{"authsvc"} }, "Services", "authbus itself"},
		"the CA as an operator":     {func(c *natsconfig.Config) { c.Operators = []string{"ca"} }, "Operators", "authbus itself"},
		"two roles":                 {func(c *natsconfig.Config) { c.Gateways = []string{"orders"} }, "Gateways", "another role"},
		"no certificate":            {func(c *natsconfig.Config) { c.CertFile = "" }, "CertFile", "required"},
		"a path that ends a string": {func(c *natsconfig.Config) { c.KeyFile = `a" }` }, "KeyFile", "quotes"},
		"a path of two lines":       {func(c *natsconfig.Config) { c.CAFile = "a\nb" }, "CAFile", "control"},
		"no store":                  {func(c *natsconfig.Config) { c.StoreDir = "" }, "StoreDir", "required"},
		"no port":                   {func(c *natsconfig.Config) { c.Listen = "127.0.0.1" }, "Listen", "host:port"},
		"a port that is none":       {func(c *natsconfig.Config) { c.Listen = "127.0.0.1:70000" }, "Listen", "65535"},
		"a port with a sign":        {func(c *natsconfig.Config) { c.Listen = "127.0.0.1:+4222" }, "Listen", "65535"},
		"a host that is none":       {func(c *natsconfig.Config) { c.Listen = `a"b:4222` }, "Listen", "host name"},
		"monitoring for everybody":  {func(c *natsconfig.Config) { c.Monitor = "0.0.0.0:8222" }, "Monitor", "loopback"},
		"monitoring on no host":     {func(c *natsconfig.Config) { c.Monitor = ":8222" }, "Monitor", "loopback"},
		"a server name of two":      {func(c *natsconfig.Config) { c.ServerName = "a b" }, "ServerName", "letters"},
		"a sync that is negative":   {func(c *natsconfig.Config) { c.SyncInterval = -1 }, "SyncInterval", "at least 1ms"},
		"a sync that rounds to 0":   {func(c *natsconfig.Config) { c.SyncInterval = 100 * time.Microsecond }, "SyncInterval", "at least 1ms"},
		"a store that is negative":  {func(c *natsconfig.Config) { c.MaxFile = -1 }, "MaxFile", "1 MiB"},
		"a store of a byte":         {func(c *natsconfig.Config) { c.MaxSessionsFile = 1 }, "MaxSessionsFile", "1 MiB"},
		"a store beyond all sums":   {func(c *natsconfig.Config) { c.MaxFile = 1<<63 - 1 }, "MaxFile", "1 PiB"},
		"one port for two":          {func(c *natsconfig.Config) { c.Monitor = "127.0.0.1:4222" }, "Monitor", "which clients have"},
		"one port for a cluster":    {func(c *natsconfig.Config) { c.Cluster.Listen = "0.0.0.0:4222" }, "Cluster.Listen", "which clients have"},
		"a cluster without routes":  {func(c *natsconfig.Config) { c.Cluster.Routes = nil }, "Cluster.Routes", "other servers"},
		"a cluster without a name":  {func(c *natsconfig.Config) { c.Cluster.Name = "" }, "Cluster.Name", "empty"},
		"a route with a password":   {func(c *natsconfig.Config) { c.Cluster.Routes = []string{"nats-route://a:b@h:1"} }, "Cluster.Routes", "password"},
		"a route to an address":     {func(c *natsconfig.Config) { c.Cluster.Routes = []string{"nats-route://10.0.0.1:6222"} }, "Cluster.Routes", "host names"},
		"a route to a client port":  {func(c *natsconfig.Config) { c.Cluster.Routes = []string{"nats://h:4222"} }, "Cluster.Routes", "nats-route://"},
		"a route without a port":    {func(c *natsconfig.Config) { c.Cluster.Routes = []string{"nats-route://h"} }, "Cluster.Routes", "nats-route://"},
		"a route with a path":       {func(c *natsconfig.Config) { c.Cluster.Routes = []string{"nats-route://h:1/x"} }, "Cluster.Routes", "nothing else"},
		"a route twice":             {func(c *natsconfig.Config) { c.Cluster.Routes = append(c.Cluster.Routes, c.Cluster.Routes[0]) }, "Cluster.Routes", "twice"},
		"a cluster without a key":   {func(c *natsconfig.Config) { c.Cluster.KeyFile = "" }, "Cluster.KeyFile", "required"},
	} {
		t.Run(name, func(t *testing.T) {
			c := clustered()
			tc.change(&c)
			out, err := natsconfig.Generate(c)
			if len(out) > 0 {
				t.Error("a configuration along with an error")
			}
			var wrong *field.Error
			if !errors.As(err, &wrong) || wrong.Field != tc.field || !strings.Contains(wrong.Err.Error(), tc.reason) {
				t.Errorf("error %v, want one of %s with %q", err, tc.field, tc.reason)
			}
		})
	}
}

// Whatever names are given, what is written either says of each identity what was
// asked for, as nats-server reads it, or is refused.
func TestAnyNamesMakeOneUserEach(t *testing.T) {
	dir, w := t.TempDir(), &world{ca: newIssuer(t)}
	base := everybody()
	base.CertFile, base.KeyFile = write(t, dir, "nats", w.ca.host(t))
	base.CAFile, base.StoreDir = base.CertFile, dir
	path := filepath.Join(dir, "nats.conf")
	name := rapid.OneOf(rapid.StringMatching(`[a-zA-Z0-9_-]{1,8}`), rapid.String(), rapid.SampledFrom([]string{"*", "a.b", "a}", "$x", "true", "10k", "#"}))
	rapid.Check(t, func(r *rapid.T) {
		c := base
		c.Services, c.Gateways = []string{name.Draw(r, "service")}, []string{name.Draw(r, "gateway")}
		c.Remote, c.Subscribers, c.Operators = nil, nil, nil
		text, err := natsconfig.Generate(c)
		if err != nil {
			if _, ok := errors.AsType[*field.Error](err); !ok {
				r.Fatalf("error %v names no field", err)
			}
			return
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			r.Fatal(err)
		}
		opts, err := server.ProcessConfigFile(path)
		if err != nil {
			r.Fatalf("nats-server refuses it: %v", err)
		}
		if len(opts.Users) != 6 || !slices.ContainsFunc(opts.Users, func(u *server.User) bool {
			return u.Username == "spiffe://example.org/"+c.Services[0] && u.Account.Name == "APPS" &&
				slices.Contains(u.Permissions.Subscribe.Allow, "_INBOX_"+c.Services[0]+".>")
		}) {
			r.Fatalf("users %+v", opts.Users)
		}
	})
}
