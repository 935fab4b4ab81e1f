package routes_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/gateway/routes"
)

// parse reads a table that has no mistakes.
func parse(t testing.TB, text string) *routes.Table {
	t.Helper()
	table, err := routes.Parse("routes.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// rule spells a rule of the upstream s.
func rule(name, host, path, rest string) string {
	if host != "" {
		rest += fmt.Sprintf(", host: %q", host)
	}
	return fmt.Sprintf("  - {name: %s, path: %q, upstream: s, %s}\n", name, path, rest)
}

const upstreamS = "upstreams: {s: {urls: [\"http://127.0.0.1:1\"]}}\nrules:\n"

func TestTheExampleInTheDocIsATable(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(f.Doc.Text(), "# The file\n")
	section, _, _ = strings.Cut(section, "# Reloading\n")
	var example strings.Builder
	for line := range strings.Lines(section) {
		if code, ok := strings.CutPrefix(line, "\t"); ok {
			example.WriteString(code)
		} else if strings.TrimSpace(line) == "" {
			example.WriteString("\n")
		}
	}
	table := parse(t, example.String())
	first := table.Rules()[0]
	// What the example writes out is what a rule has that leaves it away.
	bare := parse(t, "upstreams: {orders: {urls: [\"http://h:1\"]}}\nrules: [{name: n, path: /, methods: [GET], upstream: orders}]\n").Rules()[0]
	if first.Limits != bare.Limits || first.Retries != bare.Retries || first.Stream != bare.Stream || first.WebSocket != bare.WebSocket {
		t.Errorf("the example's limits %+v are not the defaults %+v", first.Limits, bare.Limits)
	}
	checked := first.Upstream.Health
	checked.Path = ""
	if checked != bare.Upstream.Health || first.Upstream.MaxInFlight != bare.Upstream.MaxInFlight ||
		first.Upstream.ConnectTimeout != bare.Upstream.ConnectTimeout || bare.Upstream.Audience != "orders" {
		t.Errorf("the example's upstream %+v has not the defaults %+v", first.Upstream, bare.Upstream)
	}
	if *first.Rate != (routes.Rate{Requests: 50, Per: time.Second, Burst: 100}) {
		t.Errorf("rate = %+v", first.Rate)
	}
}

func TestMatch(t *testing.T) {
	table := parse(t, upstreamS+
		rule("any root", "", "/", "methods: [GET]")+
		rule("any api", "", "/api", "methods: [GET, POST]")+
		rule("api admin", "", "/api/admin", "methods: [DELETE], roles: [admin]")+
		rule("api item", "", "/api/item", "methods: [GET], exact: true")+
		rule("api items", "", "/api/item", "methods: [POST]")+
		rule("unicode", "", "/größe/a b", "methods: [GET]")+
		rule("shop", "shop.example", "/cart", "methods: [GET]")+
		rule("shop post", "shop.example", "/cart", "methods: [POST], public: true")+
		rule("wild", "*.example", "/", "methods: [GET]")+
		rule("deep wild", "*.eu.example", "/", "methods: [GET]")+
		rule("address", "::1", "/", "methods: [GET]"))
	for _, c := range []struct{ host, method, path, want string }{
		{"", "GET", "/", "any root"},
		{"other", "GET", "/x/y", "any root"},
		{"other", "HEAD", "/", "405 GET"},
		{"other", "GET", "/api", "any api"},
		{"other", "GET", "/api/", "any api"},
		{"other", "POST", "/api/x", "any api"},
		{"other", "GET", "/apix", "any root"},
		{"other", "GET", "/Api", "any root"},
		{"other", "DELETE", "/api/admin", "api admin"},
		{"other", "DELETE", "/api/admin/x", "api admin"},
		{"other", "GET", "/api/admin", "405 DELETE"},
		{"other", "GET", "/api/administrator", "any api"},
		{"other", "GET", "/api/item", "api item"},
		{"other", "POST", "/api/item", "405 GET"},
		{"other", "POST", "/api/item/", "api items"},
		{"other", "GET", "/api/item/1", "405 POST"},
		{"other", "get", "/", "405 GET"},
		{"other", "", "/", "405 GET"},
		{"other", "GET", "/größe/a b/c", "unicode"},
		{"shop.example", "GET", "/cart/1", "shop"},
		{"SHOP.example:8443", "POST", "/cart", "shop post"},
		{"shop.example.", "DELETE", "/cart", "405 GET,POST"},
		{"shop.example", "GET", "/api", "404"},
		{"shop.example", "GET", "/", "404"},
		{"a.shop.example", "GET", "/cart", "wild"},
		{"x.example", "POST", "/cart", "405 GET"},
		{"example", "GET", "/", "any root"},
		{".example", "GET", "/", "404"},
		{"x.eu.example", "GET", "/", "deep wild"},
		{"eu.example", "GET", "/", "wild"},
		{"[::1]:80", "GET", "/", "address"},
		{"[::1]", "GET", "/", "address"},
		{"[0:0::1]", "GET", "/", "address"},
		{"my_service:80", "GET", "/", "any root"},
		{"10.0.0.1:", "GET", "/", "any root"},
		// What is no host is not every host.
		{"shop.example..", "GET", "/", "404"},
		{"shop.example.:8443.", "GET", "/", "404"},
		{"shop.example:80:90", "GET", "/", "404"},
		{"shop.example:http", "GET", "/", "404"},
		{"shop.example:123456", "GET", "/", "404"},
		{"shop.example, other", "GET", "/", "404"},
		{"shop.example%2e", "GET", "/", "404"},
		{"u@shop.example", "GET", "/cart", "404"},
		{"a..shop.example", "GET", "/", "404"},
		{"\u212aelvin", "GET", "/", "404"},
		{".", "GET", "/", "404"},
		{":80", "GET", "/", "404"},
		{"::1", "GET", "/", "404"},
		{"[::1", "GET", "/", "404"},
		{"[::1]x", "GET", "/", "404"},
		{"[::1]:80:90", "GET", "/", "404"},
		{"[::1%25lo]", "GET", "/", "404"},
		{"[127.0.0.1]", "GET", "/", "404"},
		{"x[::1]", "GET", "/", "404"},
		{strings.Repeat("a.", 127) + "a", "GET", "/", "404"},
	} {
		t.Run(c.method+" "+c.host+c.path, func(t *testing.T) {
			rule, allowed := table.Match(c.host, c.method, c.path)
			got := "404"
			switch {
			case rule != nil:
				got = rule.Name
			case len(allowed) > 0:
				got = "405 " + strings.Join(allowed, ",")
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestPermits(t *testing.T) {
	table := parse(t, upstreamS+
		rule("none", "", "/none", "methods: [GET]")+
		rule("scopes", "", "/scopes", "methods: [GET], scopes: [a, b]")+
		rule("roles", "", "/roles", "methods: [GET], roles: [x, y]")+
		rule("both", "", "/both", "methods: [GET], scopes: [a], roles: [x, y]"))
	for _, c := range []struct {
		rule, scopes, roles string
		want                bool
	}{
		{"none", "", "", true},
		{"scopes", "", "a b", false},
		{"scopes", "a", "", false},
		{"scopes", "c b a", "", true},
		{"roles", "x", "", false},
		{"roles", "", "z y", true},
		{"both", "a", "", false},
		{"both", "", "x", false},
		{"both", "a", "y", true},
	} {
		rules := table.Rules()
		r := rules[slices.IndexFunc(rules, func(r *routes.Rule) bool { return r.Name == c.rule })]
		if got := r.Permits(strings.Fields(c.scopes), strings.Fields(c.roles)); got != c.want {
			t.Errorf("%s with scopes %q and roles %q: %v", c.rule, c.scopes, c.roles, got)
		}
	}
}
