package routes_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/gateway/routes"
)

// TestTheLineOfBrokenYAML is the one that an editor would show: never one before
// the mistake, however the YAML parser counts.
func TestTheLineOfBrokenYAML(t *testing.T) {
	const head = "upstreams:\n  s: {urls: [\"http://h:1\"]}\nrules:\n" // lines 1 to 3
	const rest = "    upstream: s\n  - {name: m, path: /m, methods: [GET], upstream: s}\n"
	for _, c := range []struct {
		name, text string
		want       int
	}{
		{"a bracket on the first line", "upstreams: [\n", 1},
		{"a bracket that is open to the end", head + "  - name: n\n    path: /\n    methods: [GET\n", 6},
		{"a bracket that is open to the end and empty", head + "  - name: n\n    path: /\n    methods: [\n", 6},
		{"a bracket on line 4", head + "  - {name: n, methods: [GET, path: /}\n" + rest, 4},
		{"a bracket with text behind it", head + "  - name: n\n    path: /\n    methods: [GET\n" + rest, 6},
		{"a bracket with a list behind it", head + "  - name: n\n    methods: [\n      - GET\n" + rest, 5},
		{"a bracket that was never opened", head + "  - name: n\n    methods: GET]\n    path: ]\n" + rest, 6},
		{"a brace that is open to the end", head + "  - {name: n, path: /, methods: [GET]\n\n\n", 4},
		{"a brace with a rule behind it", head + "  - {name: n, path: /, methods: [GET]\n  - {name: m}\n", 4},
		{"the wrong one of two", head + "  - {name: n, path: /, methods: [GET}, upstream: s}\n", 4},
		{"a comma too few", head + "  - {name: n path: /, methods: [GET], upstream: s}\n", 4},
		{"inside a long list", head + "  - name: n\n    methods:\n      [\n        GET,\n        \"PUT\" \"POST\",\n      ]\n" + rest, 8},
		{"a double quote to the end", head + "  - name: \"n\n    path: /\n" + rest, 4},
		{"a single quote to the end", head + "  - name: n\n    path: '/\n" + rest, 5},
		{"a quote to the next one", head + "  - name: \"n\n    path: \"/\"\n" + rest, 5},
		{"an unknown escape", head + "  - name: n\n    path: \"/\\d\"\n" + rest, 5},
		{"a tab", head + "  - name: n\n\tpath: /\n" + rest, 5},
		{"a tab on the first line of a block", "upstreams:\n\ts: {urls: [\"http://h:1\"]}\n", 2},
		{"a name without a colon", head + "  - name: n\n    path /\n    methods: [GET]\n" + rest, 5},
		{"a name without a colon at the end", head + "  - name: n\n    path: /\n    methods\n", 6},
		{"no space behind the colon", head + "  - name: n\n    path:/\n    methods: [GET]\n" + rest, 5},
		{"two names on a line", head + "  - name: n\n    path: / methods: [GET]\n" + rest, 5},
		{"a mapping below a value", head + "  - name: n\n    path: /\n      methods: [GET]\n" + rest, 6},
		{"a list below a value", head + "  - name: n\n    path: /\n    methods: GET\n    - PUT\n" + rest, 7},
		{"too little indentation", head + "  - name: n\n    path: /\n   methods: [GET]\n" + rest, 6},
		{"too little indentation, in the middle", head + "  - name: n\n   path: /\n    methods: [GET]\n" + rest, 5},
		{"too much indentation", head + "  - name: n\n     path: /\n" + rest, 5},
		{"a rule further to the left", head + "    - {name: n, path: /, methods: [GET], upstream: s}\n  - {name: m, path: /m, methods: [GET], upstream: s}\n", 5},
		{"a rule further to the right", head + "  - name: n\n    path: /\n    methods: [GET]\n" + "    upstream: s\n    - {name: m}\n", 8},
		{"a mapping in a list", head + "  - {name: n, path: /, methods: [GET], upstream: s}\n  name: m\n", 5},
		{"a list in a mapping", "upstreams:\n  s: {urls: [\"http://h:1\"]}\n  - x\nrules: []\n", 3},
		{"an alias that nothing defines", head + "  - name: n\n    path: *x\n" + rest, 5},
		{"the second alias that nothing defines", head + "  - name: &x n\n    path: *x\n    methods: *y\n" + rest, 6},
		{"a host that is taken for an alias", head + "  - name: n\n    host: *.example.org\n" + rest, 5},
		{"an alias in a comment before", "# *x\n" + head + "  - name: \"*x\"\n    path: *x\n" + rest, 6},
		{"a reserved character", head + "  - name: n\n    path: @x\n" + rest, 5},
		{"a reserved backquote", head + "  - name: n\n    path: `x`\n" + rest, 5},
		{"a percent sign", head + "  - name: n\n    path: %x\n" + rest, 5},
		{"an unknown tag handle", head + "  - name: n\n    path: !x!y /\n" + rest, 5},
		{"a broken anchor", head + "  - name: n\n    path: & /\n" + rest, 5},
		{"an unknown directive", "%YAML 9.1\n---\n" + head, 1},
		{"a directive in the middle", head + "  - {name: n}\n%YAML 1.2\n", 5},
		{"no UTF-8", head + "  - name: n\n    path: /\xff\n" + rest, 5},
		{"half a character", head + "  - name: n\n    path: /\xc3\n" + rest, 5},
		{"no UTF-8 in a comment", head + "  - name: n\n# \xe9\n" + rest, 5},
		{"no UTF-8 but UTF-16", "\xff\xfeu\x00p\x00", 1},
		{"a control character", head + "  - name: n\n    path: /\x01\n" + rest, 5},
		{"a NUL at the end", head + "  - {name: n}\n\x00", 5},
		{"Windows' lines", strings.ReplaceAll(head+"  - name: n\n    path: /\n    methods: [GET\n"+rest, "\n", "\r\n"), 6},
		{"two documents", head + "  - {name: n}\n---\n" + head, 5},
		{"a broken second document", head + "  - {name: n}\n---\na: [\n", 6},
		{"an end and more", head + "  - {name: n}\n...\nmore: 1\n", 6},
		{"more behind a document in braces", "{}\nmore: 1\n", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := routes.Parse("f", []byte(c.text))
			if err == nil {
				t.Fatal("no mistake was found")
			}
			if want := fmt.Sprintf("f:%d: ", c.want); !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "line ") {
				t.Errorf("got %q, want %s", err, want)
			}
		})
	}
}
