package cli

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/ca"
	"github.com/authbus/authbus/authsvc/internal/dev"
	"github.com/authbus/authbus/authsvc/internal/gateway"
	"github.com/authbus/authbus/authsvc/internal/keyring"
	"github.com/authbus/authbus/authsvc/internal/logtest"
	"github.com/authbus/authbus/authsvc/internal/natsconfig"
	"github.com/authbus/authbus/authsvc/internal/node"
)

// TestAnEmptyPathIsRefused by every flag for one: kong's own type "path" takes it for
// the working directory.
func TestAnEmptyPathIsRefused(t *testing.T) {
	parser, err := kong.New(&root{})
	if err != nil {
		t.Fatal(err)
	}
	_ = kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		n, ok := node.(*kong.Node)
		if !ok || len(n.Children) > 0 {
			return next(nil)
		}
		for _, group := range n.AllFlags(true) {
			for _, flag := range group {
				if flag.Tag.Type == "path" {
					refusesNothing(t, n, flag)
				}
			}
		}
		return next(nil)
	})
}

// refusesNothing runs a leaf command with all that it requires, and a flag without a value.
func refusesNothing(t *testing.T, n *kong.Node, empty *kong.Flag) {
	t.Helper()
	args := strings.Fields(n.Path())
	for _, group := range n.AllFlags(true) {
		for _, flag := range group {
			if flag.Required && flag != empty {
				args = append(args, "--"+flag.Name+"=x")
			}
		}
	}
	for _, argument := range n.Positional {
		if argument.Required {
			args = append(args, "x")
		}
	}
	args = append(args, "--"+empty.Name+"=")
	var stdout, stderr logtest.Buffer
	status := Run(t.Context(), args, strings.NewReader(""), &stdout, &stderr, nil)
	if want := "--" + empty.Name; status != exitUsage || !strings.Contains(stderr.String(), want) || !strings.Contains(stderr.String(), "must not be empty") {
		t.Errorf("%v: status %d with %q", args, status, stderr.String())
	}
}

// TestEveryFieldTagNamesAField of what the command configures: with another, a mistake
// would be told by a name that no user knows.
func TestEveryFieldTagNamesAField(t *testing.T) {
	configured := map[string][]any{
		"ca issue":    {ca.Request{}},
		"ca serve":    {ca.ServiceConfig{}},
		"dev":         {dev.Config{}},
		"gateway":     {gateway.Config{}},
		"nats-config": {natsconfig.Config{}},
		"serve":       {node.Config{}, authority.Config{}, keyring.Config{}, struct{ address string }{}}, // the last is of store.Open
	}
	parser, err := kong.New(&root{})
	if err != nil {
		t.Fatal(err)
	}
	_ = kong.Visit(parser.Model, func(visited kong.Visitable, next kong.Next) error {
		if n, ok := visited.(*kong.Node); ok {
			for _, flag := range n.Flags {
				name := flag.Tag.Get("field")
				if name != "" && !slices.ContainsFunc(configured[n.Path()], func(config any) bool { return hasField(reflect.TypeOf(config), name) }) {
					t.Errorf("--%s of %q: nothing that it configures has the field %s", flag.Name, n.Path(), name)
				}
			}
		}
		return next(nil)
	})
}

// hasField reports whether a struct has a field, which may be below another: "Cluster.Name".
func hasField(in reflect.Type, path string) bool {
	for name := range strings.SplitSeq(path, ".") {
		if in.Kind() == reflect.Pointer {
			in = in.Elem()
		}
		f, ok := in.FieldByName(name)
		if !ok {
			return false
		}
		in = f.Type
	}
	return true
}

// TestASettingThatIsWrongIsNamed by flag, with status 2 and without a password that is in it.
func TestASettingThatIsWrongIsNamed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte(strings.Repeat("this is no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	gatewayWith := func(args ...string) []string {
		return append([]string{"gateway", "--listen=127.0.0.1:0", "--nats-url=nats://127.0.0.1:1", "--auth=http://127.0.0.1:1", "--routes=nowhere.yaml"}, args...)
	}
	serveWith := func(args ...string) []string {
		return append([]string{
			"serve", "--listen=127.0.0.1:0", "--nats-url=nats://127.0.0.1:1",
			"--database-url=sqlite:" + filepath.Join(dir, "auth.db"), "--master-key-file=" + filepath.Join(dir, "master.key"),
		}, args...)
	}
	natsConfigWith := func(args ...string) []string {
		return append([]string{"nats-config", "--trust-domain=example.org"}, args...)
	}
	for _, tc := range []struct {
		args []string
		want string
	}{
		{gatewayWith(), "--routes: reading the routes: open nowhere.yaml"},
		{gatewayWith("--auth=http://ada:hunter2@example.org"), "--auth: has a query, a fragment or a user"},
		{gatewayWith("--auth=http://example.org?key=hunter2"), "--auth: has a query, a fragment or a user"},
		{gatewayWith("--issuer=http://ada:hunter2@example.org"), "--issuer: has a query, a fragment or a user"},
		{gatewayWith("--issuer=ftp://ada:hunter2@example.org"), "--issuer: "},
		{gatewayWith("--name=" + strings.Repeat("x", 129)), "--name: "},
		{serveWith("--issuer=http://ada:hunter2@example.org"), "--issuer: has a query, a fragment or a user"},
		{serveWith("--nats-url=nats://ada:hunter2@example.org:1:2"), "--nats-url: "},
		{[]string{"ca", "serve", "--dir=" + filepath.Join(dir, "none"), "--nats-url=nats://127.0.0.1:1", "--issuer=http://127.0.0.1:1"}, "--dir: "},
		{[]string{"ca", "show", "--dir=" + filepath.Join(dir, "none")}, "--dir: "},
		{natsConfigWith("--service=a b"), "--service: must not have"},
		{natsConfigWith("--nats-listen=x"), "--nats-listen: must be host:port"},
		{natsConfigWith("--route=nats-route://ada:hunter2@h:1", "--cluster-name=c"), "--route: "},
		{natsConfigWith("--cluster-key=k"), "--cluster-key: needs --cluster-name"},
		{natsConfigWith("--out=" + filepath.Join(dir, "none", "nats.conf")), "--out: writing"},
		{natsConfigWith("--force", "--out="+dir), "--out: "},
		{[]string{"dev", "--dir=" + filepath.Join(dir, "dev"), "--listen=127.0.0.1:0", "--nats=x"}, "--nats: "},
		{[]string{"dev", "--dir=" + filepath.Join(dir, "mtls"), "--listen=127.0.0.1:0", "--mtls", "--nats=x"}, "--nats: must be host:port"},
		{[]string{"dev", "--dir=" + file}, "--dir: "},
		{[]string{"ca", "init", "--trust-domain=example.org", "--dir=" + file}, "--dir: "},
		{[]string{"services", "list", "--server=ftp://ada:hunter2@example.org"}, "--server: "},
		{[]string{"services", "list", "--server=http://ada:hunter2@example.org:x"}, "--server: "},
		{[]string{"ca", "revoke", "orders", "--reason=x", "--server=x", "--dir=" + filepath.Join(dir, "none")}, "--server: "},
		{[]string{"ca", "revoke", "orders", "--reason=a\nb"}, "--reason: must have no control characters"},
		{serveWith("--database-url=sqlite:" + file), "--database-url: "},
		{[]string{"login", "ada", "--password-file=nowhere"}, "--password-file: "},
		{[]string{"bootstrap", "--username=ada", "--email=ada@example.org", "--secret-file=nowhere"}, "--secret-file: "},
		{[]string{"services", "rotate", "orders", "--overlap=1ms"}, "--overlap: must be 0s to 168h"},
	} {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var stdout, stderr logtest.Buffer
			status := Run(ctx, tc.args, strings.NewReader(""), &stdout, &stderr, nil)
			if text := stderr.String(); status != exitUsage || !strings.Contains(text, "authsvc: error: "+tc.want) || strings.Contains(text, "hunter2") {
				t.Errorf("status %d with %q, want %d and %q, and no password", status, text, exitUsage, tc.want)
			}
		})
	}
}
