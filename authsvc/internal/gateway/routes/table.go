package routes

import (
	"slices"
	"strings"
	"time"
)

// Table is a set of rules. It does not change: a new file makes a new Table.
type Table struct {
	rules     []*Rule
	upstreams []*Upstream
	hosts     map[string]*node // by exact name
	wildcards map[string]*node // by what follows "*"
	anyHost   *node
}

// Rule says where some requests go, and what they need for it. It is documented
// with the file's format.
type Rule struct {
	Name    string   `yaml:"name" validate:"required,max=64"`
	Host    string   `yaml:"host" validate:"omitempty,host"`
	Path    string   `yaml:"path" validate:"required,prefix"`
	Exact   bool     `yaml:"exact"`
	Methods []string `yaml:"methods" validate:"required,min=1,unique,dive,oneof=GET HEAD POST PUT PATCH DELETE OPTIONS"`

	// Public requests need no login and carry no JWT.
	Public bool `yaml:"public"`
	// Scopes are all required, and of Roles one; see [Rule.Permits].
	Scopes []string `yaml:"scopes" validate:"unique,dive,scope"`
	Roles  []string `yaml:"roles" validate:"unique,dive,scope"`

	UpstreamName string    `yaml:"upstream" validate:"required"`
	Upstream     *Upstream `yaml:"-" validate:"-"`

	// Stream lets the answer go on for as long as it is not idle, and WebSocket
	// lets the request become one.
	Stream    bool `yaml:"stream"`
	WebSocket bool `yaml:"websocket"`
	// Retries is how many further tries a request gets that failed and can be repeated.
	Retries int    `yaml:"retries" validate:"min=0,max=5"`
	Limits  Limits `yaml:"limits"`
	Rate    *Rate  `yaml:"rate"` // nil: no limit

	place place
}

// Limits bound one request.
type Limits struct {
	Header Size          `yaml:"header" validate:"min=1024,max=1048576"`
	Body   Size          `yaml:"body" validate:"min=0"`
	Time   time.Duration `yaml:"time" validate:"min=1ms,max=1h"`
	Idle   time.Duration `yaml:"idle" validate:"min=1ms,max=24h"`
}

// Rate bounds the requests of one client: Requests in Per, and Burst at once.
type Rate struct {
	Requests int           `yaml:"requests" validate:"min=1,max=1000000"`
	Per      time.Duration `yaml:"per" validate:"min=1ms,max=24h"`
	Burst    int           `yaml:"burst" validate:"min=0,max=1000000"`
}

// Upstream is a service: the same one at each of its URLs.
type Upstream struct {
	Name     string   `yaml:"-"`
	Audience string   `yaml:"audience" validate:"omitempty,scope"`
	URLs     []string `yaml:"urls" validate:"required,min=1,max=64,unique,dive,target"`
	// SPIFFE is the identity that the service must prove; "" means its host name.
	SPIFFE         string        `yaml:"spiffe" validate:"omitempty,spiffe"`
	H2C            bool          `yaml:"h2c"`
	MaxInFlight    int           `yaml:"max_in_flight" validate:"min=1,max=1000000"`
	ConnectTimeout time.Duration `yaml:"connect_timeout" validate:"min=1ms,max=1m"`
	Health         Health        `yaml:"health"`

	place place
}

// Health says how each URL of an upstream is checked.
type Health struct {
	Path      string        `yaml:"path" validate:"omitempty,path"` // "": connecting is enough, with TLS where the URL is https
	Interval  time.Duration `yaml:"interval" validate:"min=10ms,max=1h"`
	Timeout   time.Duration `yaml:"timeout" validate:"min=1ms,max=1m"`
	Healthy   int           `yaml:"healthy" validate:"min=1,max=100"`
	Unhealthy int           `yaml:"unhealthy" validate:"min=1,max=100"`
}

// Size is a number of bytes.
type Size int64

// Rules returns the rules in the file's order. They must not be changed.
func (t *Table) Rules() []*Rule { return slices.Clone(t.rules) }

// Upstreams returns the upstreams by name. They must not be changed.
func (t *Table) Upstreams() []*Upstream { return slices.Clone(t.upstreams) }

// Permits reports whether a session with these scopes and roles may use the rule:
// it needs every scope that the rule names, and one of the roles.
func (r *Rule) Permits(scopes, roles []string) bool {
	for _, scope := range r.Scopes {
		if !slices.Contains(scopes, scope) {
			return false
		}
	}
	return len(r.Roles) == 0 || slices.ContainsFunc(r.Roles, func(role string) bool { return slices.Contains(roles, role) })
}

// Match returns the rule for a request to host, which may have a port, with a
// path from [CleanPath]. If no rule names the method, rule is nil, and allowed
// are the methods that rules name for the path (for 405 and Allow); if there are
// none, nothing is there (404). Nothing is there either where host is no host: not
// what rules for every host name.
func (t *Table) Match(host, method, cleanPath string) (rule *Rule, allowed []string) {
	name, ok := canonicalHost(host)
	root := t.rootOf(name)
	if !ok || root == nil {
		return nil, nil
	}
	byMethod := root.find(cleanPath)
	if rule := byMethod[method]; rule != nil {
		return rule, nil
	}
	for m := range byMethod {
		allowed = append(allowed, m)
	}
	slices.Sort(allowed)
	return nil, allowed
}

// rootOf finds the rules of the most specific host.
func (t *Table) rootOf(host string) *node {
	if root := t.hosts[host]; root != nil {
		return root
	}
	if host != "" {
		for rest := host; ; {
			_, after, found := strings.Cut(rest, ".")
			if !found {
				break
			}
			if root := t.wildcards["."+after]; root != nil {
				return root
			}
			rest = after
		}
	}
	return t.anyHost
}

// methods maps a method to its rule.
type methods map[string]*Rule

// node is a segment of paths. A tree of them finds the longest path in one pass,
// however many slashes a client sends.
type node struct {
	children map[string]*node
	exact    methods // for the path that ends here
	prefix   methods // for it and all below
}

// at returns the node of the path, and makes it if it is not there.
func (n *node) at(path string) *node {
	for segment := range segments(path) {
		child := n.children[segment]
		if child == nil {
			child = &node{}
			if n.children == nil {
				n.children = make(map[string]*node)
			}
			n.children[segment] = child
		}
		n = child
	}
	return n
}

// find returns the rules of the longest path that path is at or below.
func (n *node) find(path string) methods {
	found := n.prefix
	for segment := range segments(path) {
		if n = n.children[segment]; n == nil {
			return found
		}
		if n.prefix != nil {
			found = n.prefix
		}
	}
	if n.exact != nil {
		return n.exact
	}
	return found
}

// segments yields what is between the slashes of a path; of "/" nothing. A slash
// at the end adds an empty one, so that an exact path is exact.
func segments(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		if path == "/" {
			return
		}
		for segment := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
			if !yield(segment) {
				return
			}
		}
	}
}
