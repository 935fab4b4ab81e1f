package proxy

import (
	"iter"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
)

// isStripped reports whether a client's header of this name goes no further.
//
// Services, and the frameworks they are made of, believe these names: they tell
// who the user is, where the request comes from, or which path and method it is
// really about. Only the gateway may say so, and it says it with Authorization and
// X-Forwarded-For, -Host and -Proto.
func isStripped(name string) bool {
	for i := range len(name) {
		// CGI, WSGI and PHP take X_User, X.User and X-User for the same.
		if !isPlain(name[i]) {
			return true
		}
	}
	name = textproto.CanonicalMIMEHeaderKey(name)
	return isHopByHop(name) || isClaim(name) || slices.ContainsFunc(claimPrefixes(), func(prefix string) bool {
		return strings.HasPrefix(name, prefix)
	})
}

// isTrailer reports whether a client's trailer of this name goes on: none that says
// who asks, or where to (RFC 9110 §6.5.1).
func isTrailer(name string) bool {
	return !isStripped(name) && !strings.EqualFold(name, "Cookie") && !strings.EqualFold(name, "Host")
}

// isHopByHop reports whether the name is about the connection: this hop makes its
// own (RFC 9110 §7.6.1).
func isHopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings", "Via":
		return true
	}
	return false
}

// dropHops takes out of a header what is for this hop alone.
func dropHops(h http.Header) {
	for name := range tokens(h["Connection"]) {
		h.Del(name)
	}
	for name := range h {
		if isHopByHop(name) {
			delete(h, name)
		}
	}
}

// isClaim reports whether the name claims something that only the gateway knows.
func isClaim(name string) bool {
	switch name {
	case "Authorization", "X-Access-Token", "X-Id-Token", "Teleport-Jwt-Assertion":
	case "X-Email", "X-Group", "X-Groups", "X-Role", "X-Roles", "X-Scope", "X-Scopes", "X-Scope-Orgid", "X-Principal":
	case "X-Sub", "X-Subject", "X-Token-Subject", "X-Session-Id":
	case "X-Consumer-Id", "X-Consumer-Username", "X-Consumer-Custom-Id", "X-Anonymous-Consumer":
	case "Client-Cert", "Client-Cert-Chain", "Ssl-Cert", "X-Ssl-Cert":
	case "X-Real-Ip", "Real-Ip", "Client-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "True-Client-Ip", "X-Originating-Ip", "Cf-Connecting-Ip",
		"Cf-Connecting-Ipv6", "Fastly-Client-Ip", "Fly-Client-Ip", "X-Azure-Clientip", "X-Azure-Socketip", "X-Proxyuser-Ip",
		"X-Custom-Ip-Authorization":
	case "X-Host", "X-Scheme", "X-Url-Scheme", "Front-End-Https", "X-Method-Override", "X-Override-Url":
	case "Proxy": // CGI makes HTTP_PROXY of it ("httpoxy")
	default:
		return false
	}
	return true
}

// claimPrefixes are what the names of further claims begin with.
func claimPrefixes() []string {
	return []string{
		"Forwarded", "X-Forward", "X-Original", "X-Rewrite", "X-Http-", "X-Middleware-", "X-User", "X-Auth", "X-Remote", "Remote-", "X-Webauth", "X-Identity",
		"X-Jwt", "X-Claim", "X-Oidc", "Oidc-", "X-Endpoint-Api", "X-Apigateway-Api", "X-Appengine-", "Tailscale-User",
		"X-Credential", "X-Impersonate", "Impersonate-", "X-Trusted", "X-Internal", "X-Accel-", "X-Envoy-",
		"X-Ssl-Client", "Ssl-Client", "X-Tls-Client", "X-Arr-Clientcert", "X-Client-Cert", "X-Client-Dn", "X-Client-Verify", "X-Amzn-Oidc", "X-Amzn-Mtls", "X-Goog-Iap",
		"X-Goog-Authenticated", "X-Ms-Client-Principal", "X-Ms-Token", "Cf-Access", "X-Vouch", "X-Pomerium",
	}
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
		out.Del("Referer")
		if referer = cleanReferer(referer); referer != "" {
			out.Set("Referer", referer)
		}
	}
	return out
}

// cleanReferer returns the URL without credentials; "" if it is none.
func cleanReferer(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	u.RawQuery, u.User = withoutToken(u.RawQuery), nil
	return u.String()
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

// withoutToken returns the query without a token, and all else to the byte. Some
// services part a query at semicolons too.
func withoutToken(query string) string {
	var kept strings.Builder
	for parameter := range parameters(query) {
		if !carriesToken(parameter) {
			kept.WriteString(parameter)
		}
	}
	if kept := kept.String(); kept != "" && kept[0] != query[0] {
		return kept[1:] // the first one was a token
	}
	return kept.String()
}

// HasToken reports whether a query has a token, in any spelling that a service may
// read as one (RFC 6750 §2.3).
func HasToken(query string) bool {
	for parameter := range parameters(query) {
		if carriesToken(parameter) {
			return true
		}
	}
	return false
}

// parameters yields the parts of a query, each but the first with the separator
// before it.
func parameters(query string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for rest := query; rest != ""; {
			end := len(rest)
			if next := strings.IndexAny(rest[1:], "&;"); next >= 0 {
				end = 1 + next
			}
			if !yield(rest[:end]) {
				return
			}
			rest = rest[end:]
		}
	}
}

// carriesToken reports whether the parameter, with the separator before it if
// there is one, is a token.
func carriesToken(parameter string) bool {
	name, _, _ := strings.Cut(strings.TrimLeft(parameter, "&;"), "=")
	decoded, err := url.QueryUnescape(name)
	return err == nil && strings.EqualFold(strings.TrimSpace(decoded), tokenParameter)
}
