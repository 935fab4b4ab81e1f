// Package proxy carries requests from the gateway to services, and answers back.
// It decides nothing about who may ask: whoever calls [Proxy.Serve] has.
//
//	p, err := proxy.New(proxy.Config{Cookie: "__Host-session", Logger: log})
//	defer p.Close()
//	file, err := routes.Open("routes.yaml", log, p.Use) // before each table comes into force
//	...
//	p.Serve(w, r, rule, &proxy.Identity{Bearer: jwt, Client: claims.Subject})
//
// # What a service sees
//
// The request as it came, to the byte of its path, but for these:
//
//   - Authorization is "Bearer" and the JWT; on public rules there is none.
//   - X-Forwarded-For holds the client's address and those of trusted proxies,
//     X-Forwarded-Host the client's Host, X-Forwarded-Proto http or https. Host is
//     the service's own.
//   - Via holds the gateways that the request has come through, each by a name that
//     its process drew (RFC 9110 §7.6.3), so that one that comes back is known
//     ([Proxy.HasCarried]). Some servers compress nothing for requests with it unless
//     told to (nginx: gzip_proxied).
//   - Left out is whatever a client could say in the gateway's place: the names
//     that services believe about the user, the address, the path or the method
//     (isStripped lists them), in any case; every name with anything but letters,
//     digits and hyphens, because X_User and X.User become X-User somewhere; what
//     Connection names; and the same in trailers.
//   - The gateway's cookie is taken out of Cookie, and access_token out of the
//     query and of Referer; the rest of the query stays as it is, to the byte.
//   - A request with the client's secret anywhere else in path, query or header, as
//     it is or encoded once, is refused; a trailer with it is left out. Bodies are
//     not looked at.
//   - Upgrade passes only to become a WebSocket, where the rule allows it.
//
// # What a client sees
//
// The service's answer, with trailers and early hints. On rules that stream it is
// passed on as it comes, and may begin while the request's body still does; on
// others a part of up to 4 KiB of a body whose length is known may wait for the next. Left
// out are cookies of the gateway's name, fields that hold the JWT or lead past the
// gateway (Alt-Svc, X-Accel-Redirect, X-Sendfile); a Location at the service's own
// address becomes one at the gateway. The body is not looked at: a service that
// writes the JWT into it gives it away.
//
// Where there is no answer the gateway sends a problem document (RFC 9457), which
// never tells where a service is, with one of these codes:
//
//	400 bad_body               the request's body is broken
//	400 token_misplaced        a secret of the client's (Config.HoldsSecret) would go on
//	403 websocket_not_allowed  the rule has no WebSockets
//	408 body_timeout           the request's body has not come within limits.time
//	413 body_too_large         limits.body
//	429 rate_limited           rate, with Retry-After
//	431 header_too_large       limits.header
//	502 upstream_unreachable   no connection
//	502 upstream_failed        no proper answer
//	503 upstream_unavailable   none of the URLs is healthy, with Retry-After
//	503 upstream_undecided     whether its certificate is revoked is not known now, with Retry-After
//	503 too_busy               max_in_flight, with Retry-After
//	503 unavailable            the proxy is closed, or the upstream was drained
//	504 upstream_timeout       limits.time or connect_timeout
//
// An answer that has begun and cannot be completed is cut off, never ended as if
// it were complete: HTTP/1 closes the connection, HTTP/2 resets the stream.
//
// # The end of a session
//
// Everything ends with the request's context, at once: whoever calls Serve cancels
// it with the cause that verifier.Watch gives. Before the answer has begun the
// client then gets what verifier.Deny says; later it is cut off, and so is a
// WebSocket, without a closing frame, because the gateway does not know where in a
// message it is. Clients take that for a lost connection, connect again and are
// told to log in.
//
// # Upstreams
//
// A request goes to the healthy URL with the fewest under way. A URL is healthy
// until a check fails or a connection to it does. A check that only connects has an
// https URL prove who it is, too; while that cannot be decided, it decides nothing.
// A request is tried again, as often as the rule says, if it was never sent, or if
// its method is idempotent and nothing of an answer has come; only bodies up to
// 64 KiB of known length are kept for that.
//
// # Concurrency
//
// All methods may be called at once. Rate limits and limits of requests under way
// are this process's own: with n gateways a client has n times as much.
package proxy
