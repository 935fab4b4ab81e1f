package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/gateway/proxy"
)

// hostileLines are header lines of clients that speak in the gateway's place: what
// they want to be believed has "evil" in it.
func hostileLines() []string {
	return []string{
		"Authorization: Bearer evil", "authorization: Bearer evil", "AUTHORIZATION: evil", "Authorization : evil",
		"Proxy-Authorization: Basic evil", "Forwarded: for=evil", "forwarded: evil",
		"X-Forwarded-For: evil", "x-forwarded-for: evil", "X_Forwarded_For: evil", "X-Forwarded_For: evil", "X.Forwarded.For: evil",
		"X-Forwarded-Host: evil", "X-Forwarded-Proto: evil", "X-Forwarded-User: evil", "X-Forwarded-Email: evil",
		"X-Forwarded-Client-Cert: evil", "X-Forwarded-Uri: /evil", "X-Forwarded-Prefix: /evil", "X-Forwarded: evil",
		"X-Real-IP: evil", "x-real-ip: evil", "X_Real_IP: evil", "True-Client-IP: evil", "CF-Connecting-IP: evil",
		"X-User: evil", "X-User-Id: evil", "X-User_Id: evil", "x_user_id: evil", "X-Userinfo: evil",
		"X-Auth-Request-User: evil", "X-Auth-Token: evil", "X-Auth_User: evil", "X-Authenticated-User: evil", "X-Authenticated-Userid: evil",
		"X-Remote-User: evil", "Remote-User: evil", "REMOTE_USER: evil", "X-WebAuth-User: evil", "Remote-Groups: evil",
		"X-Roles: evil", "X-Groups: evil", "X-Scopes: evil", "X-Subject: evil", "X-JWT-Assertion: evil", "X-Access-Token: evil",
		"X-Amzn-Oidc-Data: evil", "X-Goog-Authenticated-User-Email: evil", "X-MS-CLIENT-PRINCIPAL: evil", "Impersonate-User: evil",
		"X-Original-URL: /evil", "X-Original-Uri: /evil", "X-Rewrite-URL: /evil", "X-Original-Method: evil",
		"X-HTTP-Method-Override: evil", "X-HTTP-Method: evil", "X-Method-Override: evil",
		"Ssl-Client-Verify: evil", "X-SSL-Client-Cert: evil", "X-Client-Cert: evil", "X-Client-DN: evil", "Client-Cert: evil",
		"Client-IP: evil", "X-Originating-IP: evil", "X-Role: evil", "X-Group: evil", "X-Scope: evil", "X-Principal: evil",
		"X-Arr-ClientCert: evil", "X-Tls-Client-Cert: evil", "X-Middleware-Subrequest: evil", "X-HTTP-Path-Override: /evil",
		"X-Accel-Redirect: /evil", "Via: 1.1 evil", "Proxy: evil", "Proxy-Connection: evil",
		"X-Forward-For: evil", "Forwarded-For: evil", "Real-Ip: evil", "X-ProxyUser-Ip: evil", "X-Custom-IP-Authorization: evil", "Fly-Client-IP: evil",
		"X-Azure-SocketIP: evil", "X-AppEngine-User-Email: evil", "X-Override-URL: /evil", "X-JWT-Payload: evil", "X-Claims: evil", "X-Claim-Sub: evil",
		"OIDC-Claim-Sub: evil", "X-OIDC-Sub: evil", "X-Amzn-Mtls-Clientcert-Subject: evil", "X-Endpoint-API-UserInfo: evil", "X-Apigateway-Api-Userinfo: evil",
		"X-Anonymous-Consumer: evil", "Tailscale-User-Login: evil", "Teleport-Jwt-Assertion: evil", "X-Scope-OrgID: evil",
		"Cookie: __Host-session=evil", "Cookie: =__Host-session=evil", "Cookie: a=1;__host-session=evil", "Cookie: \"__Host-session\"=evil",
		"Cookie:a=1; __Host-session = evil", "Referer: http://evil:evil@h/", "Referer: http://h/?ACCESS%5ftoken=evil",
		"Connection: Authorization, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, evil\r\nevil: evil",
		"Connection: close, Authorization\r\nAuthorization: Bearer evil", "connection: x-custom\r\nX-Custom: evil",
		"Keep-Alive: evil", "TE: evil", "Upgrade: evil\r\nConnection: Upgrade", "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: evil",
		"Upgrade: websocket, evil\r\nConnection: Upgrade", "Transfer_Encoding: evil", "Content_Length: evil", "X-F\u006frwarded-For:evil",
	}
}

// TestNoClientTellsAServiceWhoItIs sends header lines as bytes to the gateway and
// reads what the service gets as bytes.
func TestNoClientTellsAServiceWhoItIs(t *testing.T) {
	s := rawService(t, ok)
	g := start(t, proxy.Config{}, everything(t, "", s.url))
	for _, line := range hostileLines() {
		t.Run(strings.ReplaceAll(line, "\r\n", "|"), func(t *testing.T) {
			res := g.send(t, "GET /x HTTP/1.1\r\nHost: h\r\n"+line+"\r\n\r\n")
			if res.status == http.StatusBadRequest {
				return // the server does not even read it
			}
			seen := <-s.seen
			if strings.Contains(strings.ToLower(seen), "evil") {
				t.Errorf("got through:\n%s", seen)
			}
			for _, own := range []string{
				"\r\nAuthorization: Bearer " + jwt + "\r\n", "\r\nX-Forwarded-For: 127.0.0.1\r\n",
				"\r\nX-Forwarded-Host: h\r\n", "\r\nX-Forwarded-Proto: http\r\n",
			} {
				if strings.Count(seen, own) != 1 || strings.Count(seen, own[:strings.Index(own, ":")]) != 1 {
					t.Errorf("not exactly one %q in\n%s", own, seen)
				}
			}
		})
	}
}

func TestWhatAServiceCannotTellAClient(t *testing.T) {
	for _, c := range []struct{ name, line, want string }{
		{"the gateway's cookie", "Set-Cookie: __Host-session=evil; Path=/; Secure", ""},
		{"in another case", "Set-Cookie: __host-Session=evil", ""},
		{"with spaces", "Set-Cookie:  \t__Host-session =evil", ""},
		{"without a name", "Set-Cookie: =__Host-session=evil", ""},
		{"without a value", "Set-Cookie: __Host-session", ""},
		{"a cookie of its own", "Set-Cookie: theme=dark; Path=/", "Set-Cookie: theme=dark; Path=/"},
		{"a longer name", "Set-Cookie: __Host-session2=x", "Set-Cookie: __Host-session2=x"},
		{"the JWT", "X-Echo: got Bearer " + jwt, ""},
		{"the JWT in a cookie", "Set-Cookie: t=" + jwt, ""},
		{"another way to it", "Alt-Svc: h3=\":443\"", ""},
		{"a file", "X-Accel-Redirect: /secret", ""},
		{"where it is", "Location: SERVICE/next?a=1#b", "Location: /next?a=1#b"},
		{"where it is, and no path", "Location: SERVICE", "Location: /"},
		{"where it is, and a query", "Location: SERVICE?a=1", "Location: /?a=1"},
		{"where it is, and a path that looks like a host", "Location: SERVICE//example.org/x", "Location: /.//example.org/x"},
		{"where it is, and who", "Location: http://u:p@AT/x", "Location: /x"},
		{"where it is, of the same scheme", "Content-Location: //AT/x", "Content-Location: /x"},
		{"where another URL of it is, by the default port", "Location: https://elsewhere.invalid/x", "Location: /x"},
		{"another port of it", "Location: http://elsewhere.invalid/x", "Location: http://elsewhere.invalid/x"},
		{"elsewhere", "Location: https://example.org/x", "Location: https://example.org/x"},
		{"here", "Location: /x", "Location: /x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := service(t, func(w http.ResponseWriter, r *http.Request) {
				name, value, _ := strings.Cut(c.line, ":")
				value = strings.NewReplacer("SERVICE", "http://"+r.Host, "AT", r.Host).Replace(strings.TrimPrefix(value, " "))
				w.Header()[name] = []string{value}
			})
			g := start(t, proxy.Config{}, everything(t, "", s.URL, "https://elsewhere.invalid:443"))
			res := g.ask(t, "GET", "/")
			name, _, _ := strings.Cut(c.line, ":")
			got := ""
			if values := res.header[name]; len(values) > 0 {
				got = name + ": " + strings.Join(values, "|")
			}
			if res.status != 200 || got != c.want {
				t.Errorf("got %d %q, want %q", res.status, got, c.want)
			}
		})
	}
}

func TestEarlyHintsAreCleanedToo(t *testing.T) {
	s := rawService(t, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nSet-Cookie: __Host-session=evil\r\n"+
		"Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=1\r\nUpgrade: h2c\r\n\r\n"+ok)
	g := start(t, proxy.Config{}, everything(t, "", s.url))
	res := g.ask(t, "GET", "/")
	if res.status != 103 || fmt.Sprint(res.header) != "map[Link:[</a.css>]]" {
		t.Errorf("got %d %v", res.status, res.header)
	}
	// HTTP/1.0 has no such answers (RFC 9110 §15.2).
	if res := g.send(t, "GET / HTTP/1.0\r\n\r\n"); res.status != 200 || res.body != "ok" {
		t.Errorf("HTTP/1.0: got %+v", res)
	}
}

// TestWhoeverExpectsToGoOn waits until somebody wants the body (RFC 9110 §10.1.1).
func TestWhoeverExpectsToGoOn(t *testing.T) {
	s := service(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		body, err := io.ReadAll(r.Body)
		fmt.Fprint(w, string(body), err)
	})
	g := start(t, proxy.Config{}, everything(t, "", s.URL))
	for _, c := range []struct {
		request string
		answers []int
	}{
		{"POST /no", []int{403}},
		{"POST /", []int{100, 200}},
		{"PUT /", []int{100, 200}}, // kept, so the gateway wants it
	} {
		conn := g.dial(t, c.request+" HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
		in := bufio.NewReader(conn)
		for i, want := range c.answers {
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, res); got.status != want || i == 1 && got.body != "abc<nil>" {
				t.Errorf("%s: answer %d is %+v, want %d", c.request, i, got, want)
			}
			if _, err := io.WriteString(conn, "abc"); i == 0 && err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestTheQueryPassesAsItCame but for tokens, however many ways a service has to read it.
func TestTheQueryPassesAsItCame(t *testing.T) {
	s := rawService(t, ok)
	g := start(t, proxy.Config{}, everything(t, "", s.url))
	for _, c := range []struct{ sent, want string }{
		{"?b=1&a=2", "?b=1&a=2"},
		{"?", "?"},
		{"?&&a=%2e%2E//;&", "?&&a=%2e%2E//;&"},
		{"?share=100%&q=%zz", "?share=100%&q=%zz"},
		{"?a=1;b=2", "?a=1;b=2"},
		{"?access_token=t", ""},
		{"?access_token", ""},
		{"?a=1&access_token=t&b=2", "?a=1&b=2"},
		{"?access_token=t&a=1;b=2", "?a=1;b=2"},
		{"?a=1;access_token=t;b=2", "?a=1;b=2"},
		{"?a=1&%61ccess%5Ftoken=t", "?a=1"},
		{"?Access_Token=t&+access_token+=t&a", "?a"},
	} {
		if res := g.ask(t, "GET", "/"+c.sent); res.status != http.StatusOK {
			t.Errorf("%s: got %+v", c.sent, res)
			continue
		}
		line, _, _ := strings.Cut(<-s.seen, "\r\n")
		if want := "GET /" + c.want + " HTTP/1.1"; line != want {
			t.Errorf("%s: the service saw %q, want %q", c.sent, line, want)
		}
	}
}

func TestTrailersPassButForCredentials(t *testing.T) {
	s := rawService(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End, Set-Cookie\r\n\r\n"+
		"2\r\nok\r\n0\r\nX-End: 1\r\nSet-Cookie: __Host-session=evil\r\nX-Late: "+jwt+"\r\n\r\n")
	g := start(t, proxy.Config{}, everything(t, "", s.url))
	res := g.send(t, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Authorization, X-User, X_Real_IP, Cookie, Host\r\n\r\n"+
		"3\r\nabc\r\n0\r\nX-Sum: 1\r\nAuthorization: evil\r\nX-User: evil\r\nX_Real_IP: evil\r\nX-Forwarded-For: evil\r\nCookie: evil\r\nHost: evil\r\n\r\n")
	if res.body != "ok" || fmt.Sprint(res.trailer) != "map[X-End:[1]]" {
		t.Errorf("got %+v", res)
	}
	seen := <-s.seen
	if !strings.Contains(seen, "\r\nTrailer: X-Sum\r\n") || !strings.HasSuffix(seen, "3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n") || strings.Contains(seen, "evil") {
		t.Errorf("the service saw\n%s", seen)
	}
}

// TestSecretsStayHere wherever a client puts them but in a body.
func TestSecretsStayHere(t *testing.T) {
	s := rawService(t, ok)
	holds := func(text string) bool { return strings.Contains(text, "hidden") }
	g := start(t, proxy.Config{HoldsSecret: holds}, everything(t, "", s.url))
	for _, request := range []string{
		"GET /hidden HTTP/1.1\r\nHost: h\r\n", "GET /?%68idden HTTP/1.1\r\nHost: h\r\n", "GET / HTTP/1.1\r\nHost: hidden\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\nX: hidden\r\n", "GET / HTTP/1.1\r\nHost: h\r\nCookie: a=hidden\r\n",
	} {
		if got := g.send(t, request+"\r\n"); got.status != http.StatusBadRequest || got.problem(t).Code != "token_misplaced" || len(s.seen) != 0 {
			t.Errorf("%q: got %+v, and the service saw %d requests", request, got, len(s.seen))
		}
	}
	// A trailer comes when the service has the rest.
	g.send(t, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n6\r\nhidden\r\n0\r\nX-End: hidden\r\n\r\n")
	if seen := <-s.seen; !strings.HasSuffix(seen, "\r\n\r\n6\r\nhidden\r\n0\r\n\r\n") {
		t.Errorf("the service saw\n%s", seen)
	}
}

// TestViaIsTheWayThroughGateways, and nothing else that a client says.
func TestViaIsTheWayThroughGateways(t *testing.T) {
	s := rawService(t, ok)
	via := func(g *gateway, lines string) string {
		g.send(t, "GET / HTTP/1.1\r\nHost: h\r\n"+lines+"\r\n")
		var found []string
		for line := range strings.SplitSeq(<-s.seen, "\r\n") {
			if value, is := strings.CutPrefix(line, "Via: "); is {
				found = append(found, value)
			}
		}
		return strings.Join(found, "|")
	}
	one, two := start(t, proxy.Config{}, everything(t, "", s.url)), start(t, proxy.Config{}, everything(t, "", s.url))
	first := via(one, "")
	if !regexp.MustCompile(`^1\.1 authsvc-gateway-[a-z2-7]{26}$`).MatchString(first) {
		t.Fatalf("got %q", first)
	}
	own := via(two, "")
	for lines, want := range map[string]string{
		"Via: 1.1 evil\r\n": own,
		"Via: 1.0 evil, " + first + " (evil), 2.0 x\r\n":                            first + ", " + own,
		"Via: HTTP/" + first + "\r\n":                                               first + ", " + own,
		"Via: " + strings.Replace(first, " ", "  ", 1) + "\r\n":                     first + ", " + own,
		"Via: 1.1 " + strings.ToUpper(first[4:]) + ", 1.1 x-" + first[4:] + "\r\n":  own,
		"Via: " + first + "\r\n":                                                    first + ", " + own,
		"Connection: Via\r\nVia: " + first + "\r\n":                                 first + ", " + own,
		"Via: 1.1 evil," + first + "\r\nVia: 1.1 authsvc-gateway-\r\nvia: evil\r\n": first + ", " + own,
	} {
		if got := via(two, lines); got != want {
			t.Errorf("%q: got %q, want %q", lines, got, want)
		}
	}
}

func TestForwardingThroughTrustedProxies(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []struct {
		name    string
		trusted []netip.Prefix
		lines   []string
		chain   string
		proto   string
	}{
		{"nobody is trusted", nil, []string{"X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https"}, "127.0.0.1", "http"},
		{"the peer is trusted", trusted, []string{"X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https"}, "192.0.2.1, 127.0.0.1", "https"},
		{"two proxies", trusted, []string{"X-Forwarded-For: 192.0.2.1, 10.1.1.1"}, "192.0.2.1, 10.1.1.1, 127.0.0.1", "http"},
		{"what the client made up", trusted, []string{"X-Forwarded-For: 198.51.100.7, 192.0.2.1", "X-Forwarded-For: 10.1.1.1"}, "192.0.2.1, 10.1.1.1, 127.0.0.1", "http"},
		{"no address", trusted, []string{"X-Forwarded-For: 192.0.2.1, evil"}, "127.0.0.1", "http"},
		{"nothing", trusted, nil, "127.0.0.1", "http"},
		{"another scheme", trusted, []string{"X-Forwarded-Proto: https, http"}, "127.0.0.1", "http"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := rawService(t, ok)
			g := start(t, proxy.Config{TrustedProxies: c.trusted}, everything(t, "", s.url))
			lines := slices.Concat([]string{"GET / HTTP/1.1", "Host: h"}, c.lines, []string{"", ""})
			g.send(t, strings.Join(lines, "\r\n"))
			seen := <-s.seen
			if !strings.Contains(seen, "\r\nX-Forwarded-For: "+c.chain+"\r\n") || !strings.Contains(seen, "\r\nX-Forwarded-Proto: "+c.proto+"\r\n") {
				t.Errorf("the service saw\n%s", seen)
			}
		})
	}
}

// FuzzTheServiceSeesThePathOfTheClient: what goes through the whole gateway is on
// the wire to the service as it was on the wire to the gateway.
func FuzzTheServiceSeesThePathOfTheClient(f *testing.F) {
	s := rawService(f, ok)
	g := start(f, proxy.Config{}, everything(f, "", s.url))
	for _, seed := range []string{
		"/", "/a/b", "/a%20b?x=1", "/%61", "/100%25", "/../x", "/a;b", "/a%2fb", "//x", "/gr%C3%B6", "/(a)", "/a%5Bb%5D?c=%2e",
		"/.%2e/", "/a%252e", "*", "http://h/x", "/a#b", "/a\\b", "/a%00", "/a?b#c", "/a|b",
	} {
		f.Add(seed)
	}
	conn := g.dial(f, "") // for all of them, or there would soon be no ports left
	in := bufio.NewReader(conn)
	f.Fuzz(func(t *testing.T, target string) {
		request := "GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n"
		if _, err := http.ReadRequest(bufio.NewReader(strings.NewReader(request))); err != nil || strings.ContainsAny(target, "\r\n") {
			return // the server refuses it, and closes the connection
		}
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if read(t, res).status != http.StatusOK {
			return
		}
		line, _, _ := strings.Cut(<-s.seen, "\r\n")
		seen, _, _ := strings.Cut(strings.Fields(line)[1], "?")
		if sent, _, _ := strings.Cut(target, "?"); seen != sent {
			t.Errorf("the client sent %q, the service saw %q", target, line)
		}
	})
}
