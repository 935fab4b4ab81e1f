package natsconfig

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/events"
)

// Config says for whom the configuration is. TrustDomain, CertFile, KeyFile, CAFile
// and StoreDir are required; the zero value of each other field is its default.
//
// Names are single words: letters, digits, dash and underscore. They are the last
// part of a SPIFFE ID and a token of the name's inbox.
type Config struct {
	// TrustDomain is that of the certificates, such as example.org.
	TrustDomain string
	// Services embed a verifier. Remote are those that may have whole tokens
	// verified as well (auth.verify).
	Services, Remote []string
	// Gateways are verifiers too, and keep sessions in the bucket gateway_sessions.
	Gateways []string
	// Subscribers read the events by a durable consumer of their name. One that is
	// also in Services or Remote has both rights.
	Subscribers []string
	// Operators look at everything with the nats command, and change nothing.
	Operators []string

	// CertFile and KeyFile are the server's own, CAFile the roots that clients are
	// verified against.
	CertFile, KeyFile, CAFile string
	// Listen is host:port for clients; default 0.0.0.0:4222. Port -1 takes a free one.
	Listen string
	// Monitor is host:port of the monitoring page, on a loopback address; default none.
	Monitor string
	// StoreDir is where JetStream keeps its data.
	StoreDir string
	// SyncInterval is how often data are synced to disk, at least 1 ms; default: every
	// message.
	SyncInterval time.Duration
	// MaxFile bounds the data of AUTH, in bytes, and MaxSessionsFile those of
	// GATEWAY; defaults 10 GiB and 1 GiB, at least 1 MiB. The auth service lets events
	// have three quarters of MaxFile, and less in a cluster (of three servers 45 %, of
	// five 75 %), so that revocations find room.
	MaxFile, MaxSessionsFile int64
	// ServerName names this server among those of a cluster; default nats-1.
	ServerName string
	// Cluster is the cluster that the server is part of; default none.
	Cluster *Cluster
}

// Cluster configures the routes among servers. Every field but Listen is required.
type Cluster struct {
	// Name is the same on all servers.
	Name string
	// Listen is host:port for the other servers; default 0.0.0.0:6222.
	Listen string
	// Routes are the other servers, nats-route://HOST:PORT, by host names: a server
	// is let in by the host name in its certificate.
	Routes []string
	// CertFile and KeyFile are of a certificate that names this server's host and is
	// good for a client and for a server.
	CertFile, KeyFile string
}

// The defaults of Config.
const (
	defaultListen        = "0.0.0.0:4222"
	defaultClusterListen = "0.0.0.0:6222"
	defaultServerName    = "nats-1"
	defaultMaxFile       = 10 << 30
	defaultSessionsFile  = 1 << 30
)

func (c Config) withDefaults() Config {
	c.Listen = cmp.Or(c.Listen, defaultListen)
	c.ServerName = cmp.Or(c.ServerName, defaultServerName)
	c.MaxFile = cmp.Or(c.MaxFile, defaultMaxFile)
	c.MaxSessionsFile = cmp.Or(c.MaxSessionsFile, defaultSessionsFile)
	if c.Cluster != nil {
		cluster := *c.Cluster
		cluster.Listen = cmp.Or(cluster.Listen, defaultClusterListen)
		c.Cluster = &cluster
	}
	return c
}

// check names every field that cannot be right.
func (c Config) check() error {
	var wrong fieldErrors
	wrong.Add("TrustDomain", events.CheckTrustDomain(c.TrustDomain))
	c.checkNames(&wrong)
	wrong.path("CertFile", c.CertFile)
	wrong.path("KeyFile", c.KeyFile)
	wrong.path("CAFile", c.CAFile)
	wrong.path("StoreDir", c.StoreDir)
	wrong.listen("Listen", c.Listen)
	if c.Monitor != "" {
		if host, _, err := net.SplitHostPort(c.Monitor); err == nil && !isLoopback(host) {
			wrong.Want(false, "Monitor", "must be a loopback address: certificates are not asked for there")
		}
		wrong.listen("Monitor", c.Monitor)
	}
	wrong.name("ServerName", c.ServerName)
	// nats-server takes 0 for its own default, of 2 minutes.
	wrong.Want(c.SyncInterval == 0 || c.SyncInterval >= time.Millisecond, "SyncInterval", "must be 0 or at least 1ms")
	wrong.size("MaxFile", c.MaxFile)
	wrong.size("MaxSessionsFile", c.MaxSessionsFile)
	if c.Cluster != nil {
		c.Cluster.check(&wrong)
	}
	c.checkPorts(&wrong)
	return wrong.Err()
}

// checkPorts refuses one port for two things. Two addresses could have it, but hardly
// on purpose.
func (c Config) checkPorts(wrong *fieldErrors) {
	type at struct{ field, address, whose string }
	addresses := []at{{"Listen", c.Listen, "clients have"}, {"Monitor", c.Monitor, "the monitoring page has"}}
	if c.Cluster != nil {
		addresses = append(addresses, at{"Cluster.Listen", c.Cluster.Listen, "the other servers have"})
	}
	taken := map[string]string{}
	for _, a := range addresses {
		_, port, err := net.SplitHostPort(a.address)
		if err != nil || port == "-1" { // the first is an error of its own
			continue
		}
		if other := taken[port]; other != "" {
			wrong.Want(false, a.field, fmt.Sprintf("must not have port %s, which %s", port, other))
		}
		taken[port] = a.whose
	}
}

// checkNames refuses names that would say more than one token of a subject, that are
// the auth service's own, or that are there twice.
func (c Config) checkNames(wrong *fieldErrors) {
	for _, list := range []struct {
		field string
		names []string
	}{
		{"Services", c.Services},
		{"Remote", c.Remote},
		{"Gateways", c.Gateways},
		{"Subscribers", c.Subscribers},
		{"Operators", c.Operators},
	} {
		seen := map[string]bool{}
		for _, name := range list.names {
			wrong.name(list.field, name)
			wrong.Want(!seen[name], list.field, fmt.Sprintf("names %q twice", name))
			wrong.Want(!isOwn(name), list.field, fmt.Sprintf("must not name %q, which is an identity of authbus itself", name))
			seen[name] = true
		}
	}
	// One user is in one account and in one role; only services may read events as well.
	roles := map[string]string{}
	for _, list := range []struct {
		field string
		names []string
	}{{"Services", join(c.Services, c.Remote, c.Subscribers)}, {"Gateways", c.Gateways}, {"Operators", c.Operators}} {
		for _, name := range list.names {
			if other, taken := roles[name]; taken && other != list.field {
				wrong.Want(false, list.field, fmt.Sprintf("must not name %q, which another list has for another role", name))
			}
			roles[name] = list.field
		}
	}
}

func (c Cluster) check(wrong *fieldErrors) {
	wrong.name("Cluster.Name", c.Name)
	wrong.listen("Cluster.Listen", c.Listen)
	wrong.path("Cluster.CertFile", c.CertFile)
	wrong.path("Cluster.KeyFile", c.KeyFile)
	wrong.Want(len(c.Routes) > 0, "Cluster.Routes", "must name the other servers")
	seen := map[string]bool{}
	for _, route := range c.Routes {
		shown := route[strings.LastIndex(route, "@")+1:] // without a password
		if reason := checkRoute(route); reason != "" {
			wrong.Want(false, "Cluster.Routes", fmt.Sprintf("must not have %q: %s", shown, reason))
		}
		wrong.Want(!seen[route], "Cluster.Routes", fmt.Sprintf("names %q twice", shown))
		seen[route] = true
	}
}

// checkRoute returns what is wrong with a route.
func checkRoute(route string) string {
	u, err := url.Parse(route)
	switch {
	case err != nil || u.Scheme != "nats-route" || u.Port() == "" || u.Hostname() == "":
		return "a route is nats-route://HOST:PORT"
	case u.User != nil:
		return "servers prove themselves by certificate, not by a password"
	case net.ParseIP(u.Hostname()) != nil:
		return "servers are recognised by the host names in their certificates, not by addresses"
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "" || !isHostName(u.Hostname()):
		return "a route is nats-route://HOST:PORT and nothing else"
	}
	return checkPort(u.Port(), 1)
}

// fieldErrors gathers what is wrong.
type fieldErrors struct{ field.Checks }

// size refuses what holds nothing, and what could not be summed up.
func (w *fieldErrors) size(field string, bytes int64) {
	w.Want(bytes >= 1<<20 && bytes <= 1<<50, field, "must be 1 MiB to 1 PiB, in bytes")
}

// maxName keeps a name within what file names, consumers and subjects take.
const maxName = 63

// name refuses what would be more than a token of a subject: a dot, wildcards, spaces.
func (w *fieldErrors) name(field, name string) {
	switch {
	case name == "":
		w.Want(false, field, "must not have an empty name")
	case len(name) > maxName:
		w.Want(false, field, fmt.Sprintf("must not have %.20q…, which is longer than %d bytes", name, maxName))
	case !isWord(name):
		w.Want(false, field, fmt.Sprintf("must not have %q: a name has only letters, digits, dash and underscore", name))
	}
}

// path refuses what cannot stand in a quoted string of the configuration.
func (w *fieldErrors) path(field, path string) {
	switch {
	case path == "":
		w.Want(false, field, "is required")
	case strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f || r == '"' || r == '\'' || r == '\\' }):
		w.Want(false, field, fmt.Sprintf("must not have quotes, backslashes or control characters, as %q has", path))
	}
}

func (w *fieldErrors) listen(field, address string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		w.Want(false, field, fmt.Sprintf("must be host:port, not %q", address))
		return
	}
	if net.ParseIP(host) == nil && !isHostName(host) {
		w.Want(false, field, fmt.Sprintf("must have a host name or an IP address, not %q", host))
	}
	if reason := checkPort(port, -1); reason != "" {
		w.Want(false, field, reason)
	}
}

func checkPort(port string, lowest int) string {
	// Nobody writes +4222 or 04222 who knows what they do.
	if n, err := strconv.Atoi(port); err != nil || strconv.Itoa(n) != port || n < lowest || n > 65535 || n == 0 {
		return fmt.Sprintf("must have a port up to 65535, not %q", port)
	}
	return ""
}
