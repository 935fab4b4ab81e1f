package gateway_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/authbus/authbus/authsvc/authsvctest"
)

func TestBrowsersGetACookieOnly(t *testing.T) {
	w := start(t, authsvctest.Config{})
	r := do(t, http.MethodPost, w.URL()+"/login", w.credentials(`,"cookie":true`))
	if r.StatusCode != http.StatusCreated || strings.Contains(r.body, "agw_") || strings.Contains(r.body, "token") {
		t.Fatalf("%s %s", r.Status, r.body)
	}
	set := r.Header.Get("Set-Cookie")
	for _, attribute := range []string{"__Host-session=agw_", "; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax", "; Max-Age="} {
		if !strings.Contains(set, attribute) {
			t.Errorf("the cookie is %q, without %q", set, attribute)
		}
	}
	if strings.Contains(set, "Domain") {
		t.Errorf("the cookie has a domain: %q", set)
	}
	cookie, _, _ := strings.Cut(set, ";")
	if r := do(t, http.MethodGet, w.URL()+"/orders", "", "Cookie", "theme=dark; "+cookie); r.StatusCode != http.StatusOK {
		t.Errorf("with the cookie: %s %s", r.Status, r.body)
	}
	if got := w.last(t).Header.Get("Cookie"); got != "theme=dark" {
		t.Errorf("the service gets the cookies %q", got)
	}
	r = do(t, http.MethodPost, w.URL()+"/logout", "", "Cookie", cookie)
	if set := r.Header.Get("Set-Cookie"); r.StatusCode != http.StatusOK || !strings.Contains(set, "Max-Age=0") {
		t.Errorf("logging out: %s, Set-Cookie %q", r.Status, set)
	}
	r = do(t, http.MethodGet, w.URL()+"/orders", "", "Cookie", cookie)
	if set := r.Header.Get("Set-Cookie"); r.StatusCode != http.StatusUnauthorized || !strings.Contains(set, "Max-Age=0") {
		t.Errorf("afterwards: %s, Set-Cookie %q", r.Status, set)
	}
}

// TestLoggingInAgainEndsTheSessionBefore whose cookie the browser had, and no other.
func TestLoggingInAgainEndsTheSessionBefore(t *testing.T) {
	w := start(t, authsvctest.Config{})
	laptop, phone := w.browser(t), w.browser(t)
	r := do(t, http.MethodPost, w.URL()+"/login", w.credentials(`,"cookie":true`), "Cookie", laptop)
	if r.StatusCode != http.StatusCreated || len(r.Cookies()) != 1 {
		t.Fatalf("%s %s %v", r.Status, r.body, r.Cookies())
	}
	again := r.Cookies()[0].Name + "=" + r.Cookies()[0].Value
	for cookie, want := range map[string]int{laptop: 401, phone: 200, again: 200} {
		if r := do(t, http.MethodGet, w.URL()+"/orders", "", "Cookie", cookie); r.StatusCode != want {
			t.Errorf("%s, want %d", r.Status, want)
		}
	}
	if n := len(w.sessions(t)); n != 2 {
		t.Errorf("%d sessions, want 2", n)
	}
}

func TestOtherSitesCannotUseTheCookie(t *testing.T) {
	w := start(t, authsvctest.Config{})
	cookie := w.browser(t)
	own := w.URL()
	for _, tc := range []struct {
		method, path string
		headers      []string
		want         int
	}{
		{http.MethodPost, "/orders", []string{"Origin", "https://evil.example"}, 403},
		{http.MethodPost, "/orders", []string{"Origin", "null"}, 403},
		{http.MethodPost, "/orders", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{http.MethodPost, "/orders", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{http.MethodPost, "/refresh", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{http.MethodPost, "/logout", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{http.MethodPost, "/orders", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{http.MethodPost, "/orders", []string{"Origin", own}, 200},
		{http.MethodPost, "/orders", nil, 200}, // no browser
		{http.MethodGet, "/orders", []string{"Sec-Fetch-Site", "cross-site"}, 200},
	} {
		before := w.asked()
		r := do(t, tc.method, own+tc.path, "", append(tc.headers, "Cookie", cookie)...)
		if r.StatusCode != tc.want {
			t.Errorf("%s %s %v: %s %s, want %d", tc.method, tc.path, tc.headers, r.Status, r.body, tc.want)
		}
		if asked := w.asked() != before; asked != (tc.want == 200) {
			t.Errorf("%s %s %v: the service was asked: %v", tc.method, tc.path, tc.headers, asked)
		}
	}
	r := do(t, http.MethodPost, own+"/login", w.credentials(`,"cookie":true`), "Sec-Fetch-Site", "cross-site")
	if r.StatusCode != http.StatusForbidden || len(r.Cookies()) != 0 {
		t.Errorf("another site logs the browser in: %s %v", r.Status, r.Cookies())
	}
	for origin, allowed := range map[string]bool{"https://evil.example": false, "null": false, own: true} {
		conn, res, err := websocket.Dial(t.Context(), own+"/orders/live", &websocket.DialOptions{ //nolint:bodyclose // Dial says not to
			HTTPHeader: http.Header{"Cookie": {cookie}, "Origin": {origin}},
		})
		if (err == nil) != allowed {
			t.Errorf("a WebSocket from %s: %v %v", origin, res, err)
		}
		if err == nil {
			_ = conn.CloseNow()
		}
	}
}

func TestTwoCredentialsAreRefused(t *testing.T) {
	w := start(t, authsvctest.Config{})
	bearer, cookie := "Authorization: Bearer "+w.login(t).AccessToken, "Cookie: "+w.browser(t)
	for name, lines := range map[string][]string{
		"two headers, the same":  {bearer, bearer},
		"two headers":            {bearer, "Authorization: Basic YTpi"},
		"header and cookie":      {bearer, cookie},
		"other case":             {bearer, "aUTHORIZATION: Bearer x"},
		"empty and good":         {"Authorization:", bearer},
		"two cookies":            {cookie + "; " + strings.TrimPrefix(cookie, "Cookie: ")},
		"two cookie headers":     {cookie, cookie},
		"basic header, cookie":   {"Authorization: Basic YTpi", cookie},
		"folded":                 {bearer + "\r\n " + "Bearer x"},
		"several in one":         {bearer + ", Bearer x"},
		"a comma between tokens": {bearer + ",x"},
	} {
		if status := raw(t, w.URL(), "/orders", lines); status != "400" && status != "401" {
			t.Errorf("%s: %s", name, status)
		}
	}
	if w.asked() != 0 {
		t.Error("the service was asked")
	}
	for _, line := range []string{bearer, cookie} {
		if status := raw(t, w.URL(), "/orders", []string{line}); status != "200" {
			t.Errorf("one alone, %.20s: %s", line, status)
		}
	}
}

// raw sends a request byte by byte, as no library would, and returns the status.
func raw(t *testing.T, url, path string, lines []string) string {
	t.Helper()
	host := strings.TrimPrefix(url, "http://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n\r\n", path, host, strings.Join(lines, "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(line)[1]
}
