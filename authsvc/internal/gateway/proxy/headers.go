package proxy

import (
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// What of a client's header no service sees. Services, and the frameworks they
// are made of, believe these names: they tell who the user is, where the request
// comes from, or which path and method it is really about. Only the gateway may
// say so, and it says it with Authorization and X-Forwarded-For, -Host and -Proto.
//
// Names with anything but letters, digits and hyphens are left out as well: CGI,
// WSGI and PHP take X_User, X.User and X-User for the same.
var (
	strippedNames = map[string]bool{
		"Authorization": true, "Proxy-Authorization": true, "Proxy-Authenticate": true, "Proxy-Connection": true,
		"Forwarded": true, "Via": true, "Proxy": true, // "httpoxy": CGI makes HTTP_PROXY of it
		"X-Real-Ip": true, "X-Client-Ip": true, "X-Cluster-Client-Ip": true, "True-Client-Ip": true,
		"Cf-Connecting-Ip": true, "Cf-Connecting-Ipv6": true, "Fastly-Client-Ip": true, "X-Azure-Clientip": true,
		"X-Host": true, "X-Http-Host-Override": true, "X-Url-Scheme": true, "X-Scheme": true, "Front-End-Https": true,
		"X-Http-Method": true, "X-Http-Method-Override": true, "X-Method-Override": true,
		"X-Access-Token": true, "X-Id-Token": true, "X-Jwt": true, "X-Jwt-Assertion": true, "X-Api-Gateway": true,
		"X-Consumer-Id": true, "X-Consumer-Username": true, "X-Credential-Identifier": true,
		"X-Email": true, "X-Groups": true, "X-Roles": true, "X-Scopes": true, "X-Subject": true, "X-Sub": true,
		"X-Token-Subject": true, "X-Session-Id": true, "X-Ssl-Cert": true, "Ssl-Cert": true, "Client-Cert": true,
		"Client-Cert-Chain": true, "X-Sendfile-Type": true,
		// Between two hops, and made anew by this one (RFC 9110 §7.6.1).
		"Connection": true, "Keep-Alive": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
		"Http2-Settings": true,
	}
	strippedPrefixes = []string{
		"X-Forwarded", "X-Original", "X-Rewrite", "X-User", "X-Auth", "X-Remote", "Remote-", "X-Webauth", "X-Identity",
		"X-Accel-", "X-Envoy-", "X-Ssl-Client", "Ssl-Client", "X-Client-Cert", "X-Client-Dn", "X-Client-Verify", "X-Amzn-Oidc",
		"X-Goog-Iap", "X-Goog-Authenticated", "X-Ms-Client-Principal", "X-Ms-Token", "Cf-Access", "X-Vouch", "X-Pomerium",
		"X-Authentik", "X-Authelia", "X-Authbus", "X-Credential", "X-Impersonate", "Impersonate-", "X-Trusted", "X-Internal",
	}
)

// isStripped reports whether a client's header of this name goes no further.
func isStripped(name string) bool {
	for i := range len(name) {
		if !isPlain(name[i]) {
			return true
		}
	}
	name = textproto.CanonicalMIMEHeaderKey(name)
	if strippedNames[name] {
		return true
	}
	for _, prefix := range strippedPrefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// requestHeader returns what a service may see of a client's header.
func (p *Proxy) requestHeader(in http.Header) http.Header {
	out := make(http.Header, len(in)+8)
	for name, values := range in {
		if !isStripped(name) {
			out[name] = values
		}
	}
	// What Connection names is for this hop alone (RFC 9110 §7.6.1).
	for name := range tokens(in["Connection"]) {
		out.Del(name)
	}
	for name := range tokens(in["Te"]) {
		if strings.EqualFold(name, "trailers") {
			out.Set("Te", "trailers")
		}
	}
	if cookies := p.foreignCookies(in["Cookie"]); cookies != "" && out["Cookie"] != nil {
		out.Set("Cookie", cookies)
	} else {
		out.Del("Cookie")
	}
	if referer := out.Get("Referer"); referer != "" {
		out["Referer"] = nil
		if u, err := url.Parse(referer); err == nil {
			u.RawQuery, u.User = withoutToken(u.RawQuery), nil
			out.Set("Referer", u.String())
		} else {
			out.Del("Referer")
		}
	}
	return out
}

// tokens yields the elements of a list header.
func tokens(values []string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, value := range values {
			for token := range strings.SplitSeq(value, ",") {
				if !yield(strings.TrimSpace(token)) {
					return
				}
			}
		}
	}
}

// foreignCookies returns the client's cookies but the gateway's.
func (p *Proxy) foreignCookies(lines []string) string {
	var kept []string
	for _, line := range lines {
		for cookie := range strings.SplitSeq(line, ";") {
			if cookie = strings.TrimSpace(cookie); cookie != "" && !p.isOwnCookie(cookie) {
				kept = append(kept, cookie)
			}
		}
	}
	return strings.Join(kept, "; ")
}

// isOwnCookie reports whether anybody could take the cookie, or the Set-Cookie
// line, for the gateway's. A nameless one ("=__Host-session=…") is sent back by
// some browsers without its first "=".
func (p *Proxy) isOwnCookie(line string) bool {
	line = strings.TrimLeft(line, " \t=")
	end := strings.IndexAny(line, "=; \t")
	if end < 0 {
		end = len(line)
	}
	return strings.EqualFold(strings.Trim(line[:end], `"`), p.config.Cookie)
}

// tokenParameter is how RFC 6750 §2.3 puts a token into a URL. The gateway takes
// none from there, but clients try.
const tokenParameter = "access_token"

// withoutToken returns the query without a token.
func withoutToken(query string) string {
	if query == "" {
		return ""
	}
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		decoded, err := url.QueryUnescape(name)
		if err != nil || !strings.EqualFold(strings.TrimSpace(decoded), tokenParameter) {
			kept = append(kept, pair)
		}
	}
	return strings.Join(kept, "&")
}
