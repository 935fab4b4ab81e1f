package routes_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/gateway/routes"
)

// request reads a request with the target from the wire, as the server does.
func request(target string) (*http.Request, error) {
	return http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: gateway\r\n\r\n")))
}

func TestCleanPath(t *testing.T) {
	for _, c := range []struct{ target, want string }{
		{"/", "/"},
		{"/orders/1?x=%2e%2e//;", "/orders/1"},
		{"/orders/", "/orders/"},
		{"/a.b/..c/c../.well-known", "/a.b/..c/c../.well-known"},
		{"/%61dmin", "/admin"},
		{"/gr%C3%B6%C3%9Fe/a%20b", "/größe/a b"},
		{"/100%25", "/100%"},
		{"/a%25zz", "/a%zz"},
		{"/a%5Bb%5D", "/a[b]"},
		{"/~!$&'()*+,=:@-_", "/~!$&'()*+,=:@-_"},
		{"/a:80/@b", "/a:80/@b"},
		{"/?/../x", "/"},
	} {
		t.Run(c.target, func(t *testing.T) {
			r, err := request(c.target)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := routes.CleanPath(r); err != nil || got != c.want {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
}

func TestAmbiguousPathsAreRefused(t *testing.T) {
	for _, target := range []string{
		"*", "//", "//evil/x", "/a//b", "/a//", "///",
		"/.", "/..", "/a/../b", "/a/./b", "/a/..", "/a/.", "/.../x", "/a/....",
		"/%2e%2e/b", "/a/%2e", "/a%2eb", "/%2E%2e", "/.%2e/", "/a/%252e%252e/b", "/%25%32%65",
		"/a%2fb", "/a%2Fb", "/a%252fb", "/%2f%2fevil",
		`/a\b`, `/..\b`, "/a%5cb", "/a%5C..%5Cb", "/a%255cb",
		"/a;b", "/a;/b", "/..;/b", "/a%3bb", "/a;jsessionid=1", "/admin;/x",
		"/a#b", "/a%23b", "/a?b#c", "/a?#", "/a%3fb", "/a%3Fx=1",
		"/a%00", "/a%00.js", "/a%0d%0ab", "/a%09b", "/a%7f", "/a%c2%85",
		"/a%ff", "/%c0%ae%c0%ae/", "/%c0%af", "/%ed%a0%80", "/%f8%80%80%80%af",
		"/a\xffb", "/größe", "/a\"b", "/a<b>", "/a^b", "/a`b", "/a{b}", "/a|b", "/a[b]",
		"http://gateway/x", "http://other/x", "https://gateway/x", "gateway/x", "gateway:80", "?x", "/a%", "/a%2", "/a%zz",
		"/a\tb", "/a\x00b",
	} {
		t.Run(target, func(t *testing.T) {
			r, err := request(target)
			if err != nil {
				return // the server refuses it before anybody sees it
			}
			if path, err := routes.CleanPath(r); err == nil {
				t.Errorf("taken for %q", path)
			}
		})
	}
}

func TestHeadersClaimNoPath(t *testing.T) {
	r, err := request("/real")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"X-Original-Url", "X-Original-Uri", "X-Rewrite-Url", "X-Forwarded-Uri", "X-Forwarded-Path", "X-Forwarded-Prefix"} {
		r.Header.Set(name, "/claimed")
	}
	if path, err := routes.CleanPath(r); err != nil || path != "/real" {
		t.Errorf("got %q, %v", path, err)
	}
}

func TestAChangedURLIsRefused(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"path":    func(r *http.Request) { r.URL.Path = "/other" },
		"rawpath": func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/a b", "/a+b" },
		"opaque":  func(r *http.Request) { r.URL.Opaque = "//other/x" },
		"target":  func(r *http.Request) { r.RequestURI = "/other" },
	} {
		t.Run(name, func(t *testing.T) {
			r, err := request("/real")
			if err != nil {
				t.Fatal(err)
			}
			change(r)
			if path, err := routes.CleanPath(r); err == nil {
				t.Errorf("taken for %q", path)
			}
		})
	}
}

// FuzzTheServiceSeesThePathThatWasMatched sends what a request's URL holds to a
// real service, which reads it from the wire.
func FuzzTheServiceSeesThePathThatWasMatched(f *testing.F) {
	for _, seed := range []string{"/", "/a/b", "/a%20b", "/%61", "/100%25", "/../x", "/a;b", "/a%2fb", "//x", "/gr%C3%B6", "/(a)", "/a%5Bb%5D?c=%2e"} {
		f.Add(seed)
	}
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s\n%s", r.URL.Path, r.RequestURI)
	}))
	f.Cleanup(service.Close)
	f.Fuzz(func(t *testing.T, target string) {
		r, err := request(target)
		if err != nil {
			return
		}
		path, err := routes.CleanPath(r)
		if err != nil {
			return
		}
		out := r.Clone(t.Context())
		out.RequestURI = ""
		out.URL.Scheme, out.URL.Host = "http", service.Listener.Addr().(*net.TCPAddr).String()
		res, err := service.Client().Transport.RoundTrip(out)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close() //nolint:errcheck // read to its end
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		seen, onWire, _ := strings.Cut(string(body), "\n")
		rawPath, _, _ := strings.Cut(r.RequestURI, "?")
		wirePath, _, _ := strings.Cut(onWire, "?")
		if seen != path || wirePath != rawPath {
			t.Errorf("%q was matched as %q, but the service saw %q, decoded %q", r.RequestURI, path, wirePath, seen)
		}
	})
}
