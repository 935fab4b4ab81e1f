package gateway

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authbus/authbus/authsvc/internal/gateway/proxy"
	"github.com/authbus/authbus/authsvc/internal/gateway/routes"
	"github.com/authbus/authbus/verifier"
)

// ServeHTTP answers one request, whatever it is.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer g.recovered()
	if r.ContentLength != 0 { // what never ends would hold the connection for ever
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(g.config.BodyTimeout))
	}
	path, err := routes.CleanPath(r)
	if err != nil {
		(&proxy.Problem{Status: http.StatusBadRequest, Code: "bad_path", Detail: err.Error()}).Write(w)
		return
	}
	r = r.WithContext(withPeer(r.Context(), peer{g.address(r), r.UserAgent()}))
	if g.own(w, r, path) {
		return
	}
	rule, allowed := g.routes.Current().Match(r.Host, r.Method, path)
	switch {
	case rule == nil && len(allowed) == 0:
		(&proxy.Problem{Status: http.StatusNotFound, Code: "not_found"}).Write(w)
	case rule == nil:
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		(&proxy.Problem{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed"}).Write(w)
	case g.proxy.HasCarried(r):
		g.quiet.Do(func() {
			g.config.Log.Warn("an upstream leads back to the gateway", "rule", rule.Name)
		})
		proxy.LoopDetected().Write(w)
	case rule.Public:
		g.proxy.Serve(w, r, rule, nil)
	default:
		g.carry(w, r, rule)
	}
}

// carry lets a request through that needs a session.
func (g *Gateway) carry(w http.ResponseWriter, r *http.Request, rule *routes.Rule) {
	c, err := credentialOf(r)
	if err != nil {
		denyCredential(w, err)
		return
	}
	if c.cookie && sameOrigin(r) != nil {
		denyOrigin(w)
		return
	}
	p, err := g.enter(r, c)
	if err != nil {
		g.deny(w, c, err)
		return
	}
	if !slices.Contains(p.claims.Audience, rule.Upstream.Audience) || !rule.Permits(p.claims.Scope, p.claims.Roles) {
		denyScope(w, rule)
		return
	}
	attended, end := g.attend(r.Context(), c.token, p)
	defer end()
	g.proxy.Serve(w, r.WithContext(attended), rule, &proxy.Identity{Bearer: p.session.Access, Client: p.claims.Subject})
}

// strangers bounds the tokens of one network that nobody knows: each costs a look
// into the vault. Those of sessions do not count, however many come from there.
var strangers = routes.Rate{Requests: 50, Per: time.Second, Burst: 200}

// enter admits the session of a credential.
func (g *Gateway) enter(r *http.Request, c credential) (*passenger, error) {
	if _, known := g.keeper.cached(c.token); known {
		return g.admit(r.Context(), c.token)
	}
	from := proxy.ClientNetwork(g.proxy.ClientAddress(r))
	if g.unknown.Wait("unknown token", from, strangers) > 0 {
		return nil, &verifier.Error{Err: verifier.ErrUnavailable, Reason: verifier.ReasonOverloaded, Detail: "too many unknown tokens"}
	}
	p, err := g.admit(r.Context(), c.token)
	if err != nil && over(err) {
		g.unknown.Allow("unknown token", from, strangers)
	}
	return p, err
}

// deny answers a request whose session is not let in. A browser forgets its cookie.
func (g *Gateway) deny(w http.ResponseWriter, c credential, err error) {
	if c.cookie && over(err) {
		http.SetCookie(w, g.cookie("", -1))
	}
	verifier.Deny(w, err)
}

// denyScope refuses a session that lacks what the rule demands (RFC 6750 §3.1).
func denyScope(w http.ResponseWriter, rule *routes.Rule) {
	challenge := `Bearer error="insufficient_scope"`
	if len(rule.Scopes) > 0 {
		challenge += `, scope="` + strings.Join(rule.Scopes, " ") + `"`
	}
	w.Header().Set("WWW-Authenticate", challenge)
	(&proxy.Problem{Status: http.StatusForbidden, Code: "insufficient_scope"}).Write(w)
}

// address is the client's, "" where unknown.
func (g *Gateway) address(r *http.Request) string {
	if addr := g.proxy.ClientAddress(r); addr.IsValid() {
		return addr.String()
	}
	return ""
}

func seconds(d time.Duration) string { return strconv.Itoa(int((d + time.Second - 1) / time.Second)) }
