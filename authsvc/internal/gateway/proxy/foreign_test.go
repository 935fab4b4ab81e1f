package proxy_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/gateway/proxy"
	"github.com/authbus/authbus/authsvc/internal/gateway/routes"
)

// foreign is a web server that is not Go's, as an upstream.
type foreign struct {
	program string
	args    []string // FILE and DIR stand for its configuration and its folder
	// config has it answer at TELL with the path that it decides by, and send
	// everything at PASS on to NEXT.
	config string
	// lenient is a target that the server takes for /a/b.
	lenient string
}

func foreignServers() []foreign {
	return []foreign{
		{"nginx", []string{"-c", "FILE", "-p", "DIR", "-e", "DIR/error.log"}, `
daemon off;
pid DIR/pid;
events {}
http {
	access_log off;
	client_body_temp_path DIR/1; proxy_temp_path DIR/2; fastcgi_temp_path DIR/3; uwsgi_temp_path DIR/4; scgi_temp_path DIR/5;
	underscores_in_headers on;
	ignore_invalid_headers off;
	server { listen TELL; location / { return 200 $uri; } }
	server { listen PASS; location / { proxy_pass http://NEXT; } }
}`, "/a//x/%2e%2e/b"},
		{"haproxy", []string{"-db", "-f", "FILE"}, `
defaults
	mode http
	timeout client 10s
	timeout server 10s
	timeout connect 10s
frontend tell
	bind TELL
	http-request return status 200 content-type text/plain lf-string "%[path,url_dec]"
listen pass
	bind PASS
	server next NEXT
`, "/a%2fb"},
		{"caddy", []string{"run", "--config", "FILE", "--adapter", "caddyfile"}, `
{
	admin off
	storage file_system DIR
}
http://TELL {
	respond {http.request.uri.path}
}
http://PASS {
	reverse_proxy NEXT
}
`, "/a%2fb"},
	}
}

// start starts the server and returns where it tells and passes on.
func (f foreign) start(t *testing.T, next string) (tell, pass string) {
	t.Helper()
	program, err := exec.LookPath(f.program)
	if err != nil {
		program = "/usr/sbin/" + f.program // where Debian has some of them
		if _, err = os.Stat(program); err != nil {
			if os.Getenv("AUTHBUS_TEST_REQUIRE") == "all" {
				t.Fatalf("%s is not installed; .ci/run installs it", f.program)
			}
			t.Skipf("%s is not installed", f.program)
		}
	}
	tell, pass = strings.TrimPrefix(nobody(t), "http://"), strings.TrimPrefix(nobody(t), "http://")
	dir := t.TempDir()
	file := filepath.Join(dir, "config")
	fill := strings.NewReplacer("TELL", tell, "PASS", pass, "NEXT", strings.TrimPrefix(next, "http://"), "DIR", dir, "FILE", file)
	if err := os.WriteFile(file, []byte(fill.Replace(f.config)), 0o600); err != nil {
		t.Fatal(err)
	}
	args := make([]string, len(f.args))
	for i, arg := range f.args {
		args[i] = fill.Replace(arg)
	}
	ctx, stop := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, program, args...)
	server.Cancel = func() error { return server.Process.Signal(os.Interrupt) }
	server.Env = append(os.Environ(), "HOME="+dir)
	var said strings.Builder
	server.Stdout, server.Stderr = &said, &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = server.Wait() // it was interrupted
		if t.Failed() {
			t.Log(said.String())
		}
	})
	for _, at := range []string{tell, pass} {
		eventually(t, f.program+" listens", func() bool {
			conn, err := net.Dial("tcp", at)
			return err == nil && conn.Close() == nil
		})
	}
	return "http://" + tell, "http://" + pass
}

// targets are request targets that some servers read otherwise than others.
func targets() []string {
	return []string{
		"/", "/a/b", "/a/b/", "/a%20b", "/%61/b", "/100%25", "/gr%C3%B6%C3%9Fe", "/(a)/b", "/a%5Bb%5D", "/a:80/@b", "/a+b", "/a=b&c",
		"/a.b/..c/c../.well-known", "/~a/b!$'*,", "/a/b?c=%2e%2e/;", "/?/../x", "/a%25zz",
		"//", "//a/b", "/a//b", "/a//", "/a//x/%2e%2e/b", "/.", "/..", "/a/./b", "/a/x/../b", "/a/b/..", "/a/b/.", "/../a", "/.../a",
		"/a/x/%2e%2e/b", "/a/x/%2E%2e/b", "/a/x/.%2e/b", "/a/%2e/b", "/a/x/%252e%252e/b", "/a%2eb", "/a/%25%32%65/b",
		"/a%2fb", "/a%2Fb", "/a%252fb", "/a%5cb", "/a\\b", "/a/x\\..\\b", "/a/x%5c..%5cb", "/a/b;c", "/a;/b", "/a/x/..;/b", "/a/b%3bc", "/a/b%3Bc",
		"/a/b#c", "/a/b%23c", "/a/b%3fc", "/a/b%00", "/a/b%00.js", "/a/b%0a", "/a/b%0d%0aX:%20y", "/a/b%09", "/a/b%7f",
		"/a/b%ff", "/%c0%ae%c0%ae/a", "/a%c0%afb", "/a%ed%a0%80", "/a\xffb", "/größe", "/a|b", "/a\"b", "/a<b>", "/a^b", "/a`b", "/a{b}", "/a[b]",
		"/a/b?c#d", "/a%", "/a%2", "/a%zz", "/a%u002fb", "*", "http://h/a/b", "http://other/a/b", "a/b",
	}
}

// TestEveryServerReadsThePathThatWasMatched: what the gateway decides by is what
// the service does, whoever wrote it.
func TestEveryServerReadsThePathThatWasMatched(t *testing.T) {
	for _, f := range foreignServers() {
		t.Run(f.program, func(t *testing.T) {
			tell, _ := f.start(t, nobody(t))
			// Asked itself, the server takes that for /a/b, so the test would notice.
			at := strings.TrimPrefix(tell, "http://")
			if got := answerOn(t, dial(t, at, "GET "+f.lenient+" HTTP/1.1\r\nHost: "+at+"\r\n\r\n")); got.body != "/a/b" {
				t.Errorf("%s is taken for %q", f.lenient, got.body)
			}
			g := start(t, proxy.Config{}, everything(t, "", tell))
			through := 0
			for _, target := range targets() {
				res := g.ask(t, http.MethodGet, target)
				r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n")))
				matched := ""
				if err == nil {
					matched, err = routes.CleanPath(r)
				}
				if let := res.status != http.StatusBadRequest; let != (err == nil) {
					t.Errorf("%s: %d, but %q, %v", target, res.status, matched, err)
				} else if let {
					through++
					if res.body != matched {
						t.Errorf("%s: matched as %q, but the service takes it for %q", target, matched, res.body)
					}
				}
			}
			if through < 15 {
				t.Errorf("only %d paths were let through", through)
			}
		})
	}
}

// TestNobodyIsToldByHeadersWhoItIs: nor does a header come up again behind a server
// that folds names, or takes what Connection names otherwise.
func TestNobodyIsToldByHeadersWhoItIs(t *testing.T) {
	for _, f := range foreignServers() {
		t.Run(f.program, func(t *testing.T) {
			s := rawService(t, ok)
			_, pass := f.start(t, s.url)
			g := start(t, proxy.Config{}, everything(t, "", pass))
			for _, line := range hostileLines() {
				if res := g.send(t, "GET /x HTTP/1.1\r\nHost: h\r\n"+line+"\r\n\r\n"); res.status != http.StatusOK {
					continue
				}
				seen := strings.ToLower(<-s.seen)
				if strings.Contains(seen, "evil") || strings.Count(seen, "\r\nauthorization: bearer "+jwt+"\r\n") != 1 {
					t.Errorf("%q became\n%s", line, seen)
				}
			}
		})
	}
}
