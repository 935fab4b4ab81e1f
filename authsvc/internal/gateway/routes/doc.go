// Package routes decides which requests the gateway lets through, and to whom:
// a table of rules, read from a YAML file and read again when it changes.
//
//	file, err := routes.Open("routes.yaml", log, nil) // every mistake at once, with its line
//	defer file.Close()
//	...
//	path, err := routes.CleanPath(r) // 400 if it is ambiguous
//	rule, allowed := file.Current().Match(r.Host, r.Method, path)
//	// rule == nil: 404, or 405 with Allow if allowed names any method
//
// # Matching
//
// Nothing is exposed that no rule names. The most specific host decides first:
// the host itself, then the longest wildcard, then the rules without a host; what
// is no host has no rules. Of its rules the longest path decides, whole segments
// only, and exact paths before prefixes; of these, the one that names the method.
// There is no falling back: a host that has rules of its own is served by no
// others, and a method that the longest path does not name is refused even if a
// shorter one names it. GET does not imply HEAD.
//
// # The path
//
// [CleanPath] accepts only paths that every reader takes for the same one, and
// they are forwarded as they came: what was matched is what the service sees,
// once decoded. Headers that claim another path (X-Original-URL, X-Rewrite-URL,
// X-Forwarded-Uri) are never looked at. Paths are compared byte by byte: a service
// that ignores case, folds Unicode, or drops dots, spaces or a slash at the end of a
// path, must not tell such paths apart for access, or needs rules that do not
// either. "/admin/" is below "/admin": an exact rule for the one does not protect
// the other.
//
// The path of a rule is a prefix of whole segments and no pattern. What is one
// elsewhere is a mistake here, so that nobody writes rules that match nothing:
// none of * { } [ ] < > | ^, no query or fragment, and no segment that begins with
// ":". RFC 3986 §3.3 allows "*" and such a segment; whoever has them in paths names
// the prefix above. "/things:undo", "/$batch" and "/a(1)" stand for themselves.
//
// # The file
//
// Unknown fields, duplicates, wrong types, aliases and tags are mistakes. Sizes
// are bytes or have the unit KiB, MiB or GiB; durations are written as in Go
// (250ms, 5s, 2m). The defaults are those written here:
//
//	# Whom requests go to.
//	upstreams:
//	  orders:                        # the name: lower-case letters, digits, - and _
//	    audience: orders             # whom the JWT is for; default: the name
//	    urls:                        # one or more, each scheme://host:port; not the gateway's own
//	      - https://10.0.0.11:8443
//	      - https://10.0.0.12:8443
//	    spiffe: spiffe://example.org/orders # who they must prove to be; https only; default: by host name
//	    h2c: false                   # HTTP/2 without TLS; http only
//	    max_in_flight: 1024          # requests at once, over all urls
//	    connect_timeout: 2s
//	    health:                      # every url is checked all the time
//	      path: /healthz             # good is any 2xx; default: connecting is enough, over TLS to whom urls or spiffe name
//	      interval: 2s
//	      timeout: 1s
//	      healthy: 1                 # checks in a row until it gets requests again
//	      unhealthy: 2               # checks in a row until it gets none
//	  shop:
//	    urls: [http://127.0.0.1:3000]
//
//	# Which requests. Together host, path and method name at most one rule.
//	rules:
//	  - name: orders                 # for logs and metrics
//	    host: api.example.org        # or "*.example.org", any depth; default: every host
//	    path: /orders                # decoded; /orders and all below it, not /orders2
//	    exact: false                 # true: this path only
//	    methods: [GET, POST, DELETE] # GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS
//	    public: false                # true: without login, and no JWT is sent
//	    scopes: [orders]             # all of them are required; default: none
//	    roles: [customer, support]   # one of them is required; default: none
//	    upstream: orders
//	    stream: false                # true: the answer may go on for as long as it is not idle
//	    websocket: false             # true: WebSockets too; likewise
//	    retries: 1                   # further tries, 0 to 5; requests that can be repeated only
//	    limits:
//	      header: 16KiB              # of the request
//	      body: 1MiB                 # of the request
//	      time: 30s                  # the whole exchange; of streams and WebSockets the time to their beginning
//	      idle: 1m                   # the longest silence of an answer or a WebSocket
//	    rate:                        # of each client; default: no limit
//	      requests: 50
//	      per: 1s
//	      burst: 100                 # default: requests
//	  - name: orders live
//	    host: api.example.org
//	    path: /orders/live
//	    methods: [GET]
//	    upstream: orders
//	    websocket: true
//	  - name: shop
//	    path: /
//	    methods: [GET, HEAD]
//	    public: true
//	    upstream: shop
//
// # Reloading
//
// [File] looks at the file when its folder changes, and every few seconds anyway,
// so that renames, Kubernetes' swap of links and file systems without
// notifications all work. A file with a mistake is refused with a log line, and
// the table stays as it is; the metrics say so as well. A change counts once the
// file has stayed the same for 50 ms, because half of a list of rules is a list of
// rules. What is written in place more slowly than that may still be read when half
// of it is there: replace the file by a rename.
package routes
