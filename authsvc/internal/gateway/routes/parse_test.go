package routes_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/gateway/routes"
)

func TestEveryMistakeIsNamedAtOnce(t *testing.T) {
	_, err := routes.Parse("r.yaml", []byte(`upstreams:
  orders:
    urls:
      - http://a:1/base
      - https://b:2
    spiffe: http://nobody
    health: {interval: never, typo: 1}
rules:
  - name: one
    path: orders/
    methods: [GTE, GET]
    upstream: nowhere
    public: yes please
  - path: /a//b
    methods: GET
    name: one
    upstream: orders
`))
	want := `r.yaml:4: upstreams[orders].urls[0]: must be a URL of the form http://host:port or https://host:port and nothing behind it
r.yaml:6: upstreams[orders].spiffe: must be a SPIFFE id: spiffe://trust-domain/name
r.yaml:7: upstreams[orders].health.interval: must be a duration like 250ms, 5s or 2m
r.yaml:7: upstreams[orders].health.typo: is not a field of the format
r.yaml:10: rules[0].path: must be a decoded path: /, or segments after one slash each, none empty or of dots, without \ ; ? # % escapes
r.yaml:11: rules[0].methods[0]: must be one of: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS
r.yaml:12: rules[0].upstream: there is no upstream "nowhere"
r.yaml:13: rules[0].public: must be true or false
r.yaml:14: rules[1].path: must be a decoded path: /, or segments after one slash each, none empty or of dots, without \ ; ? # % escapes
r.yaml:15: rules[1].methods: must be a list
r.yaml:16: rules[1].name: is taken by rules[0] on line 9`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// TestAPathIsNoPattern: those who know other gateways would write rules that match
// nothing, or only what nobody asks for.
func TestAPathIsNoPattern(t *testing.T) {
	const up = "upstreams: {s: {urls: [\"http://h:1\"], health: {path: \"/a*b\"}}}\n"
	const noPattern = "f:4: rules[0].path: must be a prefix of whole segments, not a pattern: /a is for itself and all below it; none of * ? # { } [ ] < > | ^, and no segment that begins with :"
	for path, pattern := range map[string]bool{
		"/a*": true, "/a/*": true, "/a/**": true, "/*": true, "/a{id}": true, "/a/{id}/b": true, "/a}": true, "/a/:id": true, "/:id/b": true,
		"/a?x=1": true, "/a#b": true, "/a/[id]": true, "/a/<id>": true, "/a|b": true, "/^a": true, "/a/(.*)": true,
		"/a:b": false, "/v1/things:undelete": false, "/a/$batch": false, "/a(b)": false, "/a+b": false, "/~a": false, "/@a": false, "/größe/a b": false,
	} {
		_, err := routes.Parse("f", []byte(up+"rules:\n  - name: n\n    path: \""+path+"\"\n    methods: [GET]\n    upstream: s\n"))
		if got := err != nil && err.Error() == noPattern; got != pattern || got != (err != nil) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestMistakes(t *testing.T) {
	const up = "upstreams: {s: {urls: [\"http://h:1\"]}}\n"
	const good = up + "rules:\n  - name: n\n    path: /\n    methods: [GET]\n    upstream: s\n"
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "f:1: the file is empty"},
		{"a comment", "# nothing\n", "f:1: the file is empty"},
		{"a list", "- 1\n", "f:1: must be a mapping"},
		{"no rules", up, "f:1: rules: is required"},
		{"empty rules", up + "rules: []\n", "f:2: rules: must not be empty"},
		{"no upstreams", "rules: [{name: n, path: /, methods: [GET], upstream: s}]\n", "f:1: upstreams: is required\nf:1: rules[0].upstream: there is no upstream \"s\""},
		{"two documents", good + "---\n" + good, "f:7: the file must hold one document"},
		{"broken YAML", "a: [\n", "f:1: did not find expected node content"},
		{"unknown field", good + "extra: 1\n", "f:7: extra: is not a field of the format"},
		{"unknown field of a rule", good + "    meth: 1\n", "f:7: rules[0].meth: is not a field of the format"},
		{"unknown field with a block", good + "    meth:\n\n      - GET\n", "f:7: rules[0].meth: is not a field of the format"},
		{"a name on a line of its own", "upstreams:\n  s:\n    h2c: false\n" + good[len(up):], "f:2: upstreams[s].urls: is required"},
		{"a list on lines of its own", good + "    public: true\n    scopes:\n      - a\n", "f:8: rules[0].scopes: cannot be required of public requests"},
		{"case counts", good + "    Public: true\n", "f:7: rules[0].Public: is not a field of the format"},
		{"the name of no field", good + "    \"-\": {urls: [\"http://h:1\"]}\n", "f:7: rules[0].-: is not a field of the format"},
		{"no name", good + "    \"\": 1\n", "f:7: rules[0].: is not a field of the format"},
		{"duplicate field", good + "    path: /a\n", "f:7: rules[0].path: is there already, on line 4"},
		{"duplicate top", good + up, "f:7: upstreams: is there already, on line 1"},
		{"anchor", good + "    scopes: &a [x]\n", "f:7: rules[0].scopes: must not use anchors or aliases"},
		{"alias", "upstreams: &s {s: {urls: [\"http://h:1\"]}}\nrules: *s\n", "f:1: upstreams: must not use anchors or aliases\nf:2: rules: must not use anchors or aliases"},
		{"anchor of an upstream", "upstreams:\n  s: &s {urls: [\"http://h:1\"]}\nrules: [{name: n, path: /, methods: [GET], upstream: s}]\n", "f:2: upstreams[s]: must not use anchors or aliases"},
		{"anchor of a rule", up + "rules:\n  - &r {name: n, path: /, methods: [GET], upstream: s}\n", "f:3: rules[0]: must not use anchors or aliases"},
		{"tag of an upstream", "upstreams:\n  s: !x {urls: [\"http://h:1\"]}\nrules: [{name: n, path: /, methods: [GET], upstream: s}]\n", "f:2: upstreams[s]: must not use tags"},
		{"anchor of a rate", good + "    rate: &r {requests: 1, per: 1s}\n", "f:7: rules[0].rate: must not use anchors or aliases"},
		{"tag", good + "    scopes: !!seq [x]\n", "f:7: rules[0].scopes: must not use tags"},
		{"anchor of a name", good + "    &a scopes: [x]\n", "f:7: rules[0]: has a name that is no plain text"},
		{"tag of a name", good + "    !!str scopes: [x]\n", "f:7: rules[0]: has a name that is no plain text"},
		{"merge", good + "    <<: {public: true}\n", "f:7: rules[0]: has a name that is no plain text"},
		{"null rule", up + "rules:\n  -\n", "f:3: rules[0]: must be a mapping"},
		{"text for bool", good + "    public: yes\n", "f:7: rules[0].public: must be true or false"},
		{"number for text", good + "    host: 1\n", "f:7: rules[0].host: must be text"},
		{"text for list", good + "    scopes: a\n", "f:7: rules[0].scopes: must be a list"},
		{"text for number", good + "    retries: many\n", "f:7: rules[0].retries: must be a whole number"},
		{"too many retries", good + "    retries: 6\n", "f:7: rules[0].retries: must be at most 5"},
		{"a size with SI unit", good + "    limits:\n      body: 1MB\n", "f:8: rules[0].limits.body: must be a size like 4096, 64KiB or 1MiB"},
		{"a huge size", good + "    limits:\n      body: 99999999999GiB\n", "f:8: rules[0].limits.body: must be a size like 4096, 64KiB or 1MiB"},
		{"a negative size", good + "    limits:\n      body: -1\n", "f:8: rules[0].limits.body: must be a size like 4096, 64KiB or 1MiB"},
		{"a duration without unit", good + "    limits: {time: 5}\n", "f:7: rules[0].limits.time: must be a duration like 250ms, 5s or 2m"},
		{"no time", good + "    limits: {time: 0s}\n", "f:7: rules[0].limits.time: must be at least 1ms"},
		{"no rate", good + "    rate: {per: 1s}\n", "f:7: rules[0].rate.requests: must be at least 1"},
		{"public with scopes", good + "    public: true\n    scopes: [a]\n", "f:8: rules[0].scopes: cannot be required of public requests"},
		{"public with roles", good + "    public: true\n    roles: [a]\n", "f:8: rules[0].roles: cannot be required of public requests"},
		{"two scopes in one", good + "    scopes: [a b]\n", "f:7: rules[0].scopes[0]: must be a word of printable ASCII"},
		{"host with port", good + "    host: a.b:80\n", "f:7: rules[0].host: must be a host in lower case without a port, or one after *., or an address as RFC 5952 spells it"},
		{"upper-case host", good + "    host: A.b\n", "f:7: rules[0].host: must be a host in lower case without a port, or one after *., or an address as RFC 5952 spells it"},
		{"wildcard inside", good + "    host: a.*.b\n", "f:7: rules[0].host: must be a host in lower case without a port, or one after *., or an address as RFC 5952 spells it"},
		{"an address in upper case", good + "    host: \"2001:DB8::1\"\n", "f:7: rules[0].host: must be a host in lower case without a port, or one after *., or an address as RFC 5952 spells it"},
		{"a long address", good + "    host: \"2001:db8:0::1\"\n", "f:7: rules[0].host: must be a host in lower case without a port, or one after *., or an address as RFC 5952 spells it"},
		{"an address with a zone", good + "    host: \"fe80::1%eth0\"\n", "f:7: rules[0].host: must be a host in lower case without a port, or one after *., or an address as RFC 5952 spells it"},
		{"same name", good + "  - {name: n, path: /a, methods: [GET], upstream: s}\n", "f:7: rules[1].name: is taken by rules[0] on line 3"},
		{"same requests", good + "  - {name: m, path: /, methods: [PUT, GET], upstream: s}\n", "f:7: rules[1].methods[1]: GET of this host and path is named by rules[0] on line 3"},
		{"same method twice", up + "rules: [{name: n, path: /, methods: [GET, GET], upstream: s}]\n", "f:2: rules[0].methods: must not name anything twice"},
		{"unknown method", up + "rules: [{name: n, path: /, methods: [TRACE], upstream: s}]\n", "f:2: rules[0].methods[0]: must be one of: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"},
		{"websocket without GET", up + "rules: [{name: n, path: /, methods: [POST], websocket: true, upstream: s}]\n", "f:2: rules[0].websocket: needs the method GET"},
		{"no name", up + "rules: [{path: /, methods: [GET], upstream: s}]\n", "f:2: rules[0].name: is required"},
		{"URL with a path", "upstreams: {s: {urls: [\"http://h:1/x\"]}}\n" + good[len(up):], "f:1: upstreams[s].urls[0]: must be a URL of the form http://host:port or https://host:port and nothing behind it"},
		{"URL with a slash", "upstreams: {s: {urls: [\"http://h:1/\"]}}\n" + good[len(up):], "f:1: upstreams[s].urls[0]: must be a URL of the form http://host:port or https://host:port and nothing behind it"},
		{"URL with a user", "upstreams: {s: {urls: [\"http://u:p@h:1\"]}}\n" + good[len(up):], "f:1: upstreams[s].urls[0]: must be a URL of the form http://host:port or https://host:port and nothing behind it"},
		{"URL without a port", "upstreams: {s: {urls: [\"http://h\"]}}\n" + good[len(up):], "f:1: upstreams[s].urls[0]: must be a URL of the form http://host:port or https://host:port and nothing behind it"},
		{"no URL", "upstreams: {s: {urls: []}}\n" + good[len(up):], "f:1: upstreams[s].urls: must not be empty"},
		{"upstream's name", "upstreams: {S: {urls: [\"http://h:1\"]}, s: {urls: [\"http://h:1\"]}}\n" + good[len(up):], "f:1: upstreams[S]: must be a name of lower-case letters, digits, - and _"},
		{"spiffe in clear", "upstreams: {s: {urls: [\"http://h:1\"], spiffe: \"spiffe://d/s\"}}\n" + good[len(up):], "f:1: upstreams[s].urls[0]: must be https, because spiffe is set"},
		{"no spiffe id", "upstreams: {s: {urls: [\"https://h:1\"], spiffe: \"d/s\"}}\n" + good[len(up):], "f:1: upstreams[s].spiffe: must be a SPIFFE id: spiffe://trust-domain/name"},
		{"h2c with TLS", "upstreams: {s: {urls: [\"https://h:1\"], h2c: true}}\n" + good[len(up):], "f:1: upstreams[s].urls[0]: must be http, because h2c is set"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := routes.Parse("f", []byte(c.text))
			if err == nil {
				t.Fatal("no mistake was found")
			}
			if err.Error() != c.want {
				t.Errorf("got\n%v\nwant\n%s", err, c.want)
			}
		})
	}
}

// FuzzParse: whatever is taken for a table serves every rule that it names.
func FuzzParse(f *testing.F) {
	const up = "upstreams: {s: {urls: [\"http://h:1\"]}}\nrules:\n"
	f.Add([]byte(up + "- {name: n, path: /, methods: [GET], upstream: s}\n"))
	f.Add([]byte(up + "- {name: n, host: \"*.a.b\", path: /x/y, exact: true, methods: [GET, POST], upstream: s}\n- {name: m, path: /x, methods: [PUT], upstream: s}\n"))
	f.Add([]byte(up + "- {name: n, host: a, path: /ö, methods: [GET], upstream: s, limits: {body: 1KiB, time: 3s}, rate: {requests: 1, per: 1s}}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		table, err := routes.Parse("f", text)
		if err != nil {
			return
		}
		for _, r := range table.Rules() {
			for _, method := range r.Methods {
				host := strings.Replace(r.Host, "*", "x", 1)
				got, _ := table.Match(host, method, r.Path)
				// A host, or an exact path, that has rules of its own hides it.
				if got == nil && !hidden(table, r) {
					t.Errorf("%s %s%s: got no rule, want %s", method, host, r.Path, r.Name)
				}
			}
		}
	})
}

// hidden reports whether another rule may stand before r.
func hidden(table *routes.Table, r *routes.Rule) bool {
	return slices.ContainsFunc(table.Rules(), func(other *routes.Rule) bool {
		return other != r && (other.Host != r.Host || other.Exact && !r.Exact && other.Path == r.Path)
	})
}
