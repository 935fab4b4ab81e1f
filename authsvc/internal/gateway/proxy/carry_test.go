package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/gateway/proxy"
)

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestWhatAServiceSeesOfARequest(t *testing.T) {
	s := rawService(t, ok)
	g := start(t, proxy.Config{}, everything(t, "", s.url))
	res := g.send(t, "POST /a%20b/?q=1&access_token=opaque&r=2 HTTP/1.1\r\nHost: shop.example:8443\r\nContent-Length: 3\r\n"+
		"Authorization: Bearer opaque\r\nX-Custom: kept\r\nCookie: a=1; __Host-session=opaque; b=2\r\n"+
		"Referer: https://shop.example/x?access_token=opaque&y=1\r\n\r\nabc")
	if res.status != 200 || res.body != "ok" {
		t.Fatalf("got %+v", res)
	}
	seen := <-s.seen
	for _, line := range []string{
		"POST /a%20b/?q=1&r=2 HTTP/1.1\r\n", "\r\nHost: " + strings.TrimPrefix(s.url, "http://") + "\r\n",
		"\r\nAuthorization: Bearer " + jwt + "\r\n", "\r\nX-Custom: kept\r\n", "\r\nCookie: a=1; b=2\r\n",
		"\r\nReferer: https://shop.example/x?y=1\r\n", "\r\nContent-Length: 3\r\n",
		"\r\nX-Forwarded-For: 127.0.0.1\r\n", "\r\nX-Forwarded-Host: shop.example:8443\r\n", "\r\nX-Forwarded-Proto: http\r\n",
	} {
		if !strings.Contains(seen, line) {
			t.Errorf("no %q in\n%s", line, seen)
		}
	}
	if strings.Contains(seen, "opaque") {
		t.Errorf("the opaque token in\n%s", seen)
	}
}

func TestPublicRequestsCarryNoJWT(t *testing.T) {
	s := rawService(t, ok)
	g := start(t, proxy.Config{}, everything(t, "public: true", s.url))
	g.send(t, "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YTpi\r\n\r\n")
	if seen := <-s.seen; strings.Contains(seen, "Authorization") {
		t.Errorf("credentials in\n%s", seen)
	}
}

// TestNobodyIsNotSomebody: a caller that forgets to find out who asks gets nothing carried.
func TestNobodyIsNotSomebody(t *testing.T) {
	s := rawService(t, ok)
	g := start(t, proxy.Config{}, everything(t, "", s.url))
	g.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rule, _ := g.table.Match(r.Host, r.Method, r.URL.Path)
		g.proxy.Serve(w, r, rule, nil)
	})
	if p := g.ask(t, "GET", "/").problem(t); p.Code != "internal" || len(s.seen) != 0 {
		t.Errorf("got %+v, and the service saw %d requests", p, len(s.seen))
	}
}
