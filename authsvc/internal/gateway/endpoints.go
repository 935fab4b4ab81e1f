package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/gateway/proxy"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
	"github.com/authbus/authbus/verifier"
)

// The gateway's own paths, which no rule may name.
const (
	pathLogin   = "/login"
	pathRefresh = "/refresh"
	pathLogout  = "/logout"
)

// maxBody bounds the body of a login, in bytes.
const maxBody = 16 << 10

// loginRequest is the body of POST /login: that of the auth service, and how the
// token shall come.
type loginRequest struct {
	wire.LoginRequest
	// Cookie asks for the token as a cookie only, for browsers.
	Cookie bool `json:"cookie"`
}

// granted is the answer to a login and a refresh, with the names of RFC 6749 §5.1.
type granted struct {
	TokenType string `json:"token_type,omitempty"`
	// AccessToken is the opaque token. It is absent where the client has a cookie,
	// or has it already.
	AccessToken string `json:"access_token,omitempty"`
	// ExpiresIn is how many seconds the session lives if it is not used.
	ExpiresIn int64  `json:"expires_in"`
	Sub       string `json:"sub"`
	SID       string `json:"sid"`
}

// own answers the gateway's own paths, and reports whether this was one.
func (g *Gateway) own(w http.ResponseWriter, r *http.Request, path string) bool {
	var answer http.HandlerFunc
	switch path {
	case pathLogin:
		answer = g.login
	case pathRefresh:
		answer = g.refresh
	case pathLogout:
		answer = g.logout
	default:
		return false
	}
	if r.Method != http.MethodPost {
		answer = postOnly
	}
	w.Header().Set("Cache-Control", "no-store")
	g.counters.counted(path, answer)(w, r)
	return true
}

func postOnly(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Allow", http.MethodPost)
	(&proxy.Problem{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed"}).Write(w)
}

func (g *Gateway) login(w http.ResponseWriter, r *http.Request) {
	if err := sameOrigin(r); err != nil {
		denyOrigin(w)
		return
	}
	var req loginRequest
	if problem := decode(w, r, &req); problem != nil {
		problem.Write(w)
		return
	}
	tokens, err := g.auth.Login(r.Context(), req.LoginRequest)
	if err != nil {
		g.passOn(w, err)
		return
	}
	opaque, err := g.keeper.begin(r.Context(), tokens, req.ClientID)
	if err != nil {
		g.config.Log.Warn("a login could not be kept", "sid", tokens.SID, "error", err)
		// Nobody will ever use that session.
		if _, err := g.as(tokens.AccessToken).Logout(context.WithoutCancel(r.Context())); err != nil {
			g.config.Log.Warn("a session that nobody has stays open until it is idle for too long", "sid", tokens.SID, "error", err)
		}
		g.passOn(w, err)
		return
	}
	answer := granted{ExpiresIn: g.idle(), Sub: tokens.Sub, SID: tokens.SID}
	if req.Cookie {
		g.supersede(r)
		http.SetCookie(w, g.cookie(opaque.Reveal(), int(cookieLife/time.Second)))
	} else {
		answer.TokenType, answer.AccessToken = "Bearer", opaque.Reveal()
	}
	reply(w, http.StatusCreated, answer)
}

func (g *Gateway) refresh(w http.ResponseWriter, r *http.Request) {
	c, p, ok := g.present(w, r)
	if !ok {
		return
	}
	next, err := g.keeper.renew(r.Context(), c.token, p.session.Access)
	switch {
	case errors.Is(err, errRenewed):
		next = p.session
	case err != nil:
		g.deny(w, c, refusal(err))
		return
	}
	if c.cookie {
		http.SetCookie(w, g.cookie(c.token.Reveal(), int(cookieLife/time.Second)))
	}
	reply(w, http.StatusOK, granted{ExpiresIn: g.idle(), Sub: next.Sub, SID: next.SID})
}

// supersede ends the session whose cookie the browser loses by logging in again
// (OWASP ASVS 5.0, 7.2.4). One that cannot be ended now ends when it is idle for too long.
func (g *Gateway) supersede(r *http.Request) {
	old, err := credentialOf(r)
	if err != nil || !old.cookie {
		return
	}
	p, err := g.enter(r, old)
	if err == nil {
		_, err = g.end(context.WithoutCancel(r.Context()), old, p)
	}
	if err != nil && !errors.Is(err, verifier.ErrRevoked) && !errors.Is(err, errEnded) {
		g.quiet.Do(func() { g.config.Log.Warn("a session that another login replaces goes on", "error", err) })
	}
}

func (g *Gateway) logout(w http.ResponseWriter, r *http.Request) {
	c, p, ok := g.present(w, r)
	if !ok {
		return
	}
	// A browser that leaves the page has logged out all the same.
	ack, err := g.end(context.WithoutCancel(r.Context()), c, p)
	switch {
	case errors.Is(err, errEnded):
		g.deny(w, c, refusal(err))
		return
	case err != nil:
		g.passOn(w, err)
		return
	}
	if c.cookie {
		http.SetCookie(w, g.cookie("", -1))
	}
	reply(w, http.StatusOK, ack)
}

// end ends the session at the auth service and in the vault. The error is errEnded if
// somebody else has.
func (g *Gateway) end(ctx context.Context, c credential, p *passenger) (wire.Ack, error) {
	renew := func(ctx context.Context, refused string) (string, error) {
		s, err := g.keeper.renew(ctx, c.token, refused)
		return s.Access, err
	}
	ack, err := g.as(p.session.Access).Renewing(renew).Logout(ctx)
	if err != nil {
		return wire.Ack{}, err
	}
	if err := g.keeper.forget(ctx, c.token); err != nil { // it is revoked all the same
		g.config.Log.Warn("a session that has ended stays in the vault until it expires", "session", p.session, "error", err)
	}
	return ack, nil
}

// as returns a client of the auth service with the JWT.
func (g *Gateway) as(jwt string) *client.Client {
	return g.auth.As(func(context.Context) (string, error) { return jwt, nil })
}

// present admits the session that a request to one of the gateway's own paths
// shows, or answers it.
func (g *Gateway) present(w http.ResponseWriter, r *http.Request) (credential, *passenger, bool) {
	c, err := credentialOf(r)
	if err != nil {
		denyCredential(w, err)
		return c, nil, false
	}
	if c.cookie && sameOrigin(r) != nil {
		denyOrigin(w)
		return c, nil, false
	}
	p, err := g.enter(r, c)
	if err != nil {
		g.deny(w, c, err)
		return c, nil, false
	}
	return c, p, true
}

// idle is how long a session lives that is not used, in seconds.
func (g *Gateway) idle() int64 { return int64(g.config.SessionIdle / time.Second) }

func (g *Gateway) cookie(value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: cookieName, Value: value, Path: "/", MaxAge: maxAge,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

// decode reads a JSON body.
func decode(w http.ResponseWriter, r *http.Request, into any) *proxy.Problem {
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return &proxy.Problem{Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Detail: "the body must be application/json"}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &proxy.Problem{Status: http.StatusRequestTimeout, Code: "body_timeout", Detail: "the body did not come in time"}
	case err != nil:
		return &proxy.Problem{Status: http.StatusBadRequest, Code: "bad_body", Detail: "the body is broken"}
	case len(body) > maxBody:
		return &proxy.Problem{Status: http.StatusRequestEntityTooLarge, Code: "body_too_large"}
	}
	if err := json.Unmarshal(body, into); err != nil {
		return &proxy.Problem{Status: http.StatusBadRequest, Code: "bad_body", Detail: "the body is not the JSON of a login"}
	}
	// From here on the server reads to learn whether the client has gone.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return nil
}

// passOn answers with what the auth service said, or that it cannot be asked.
func (g *Gateway) passOn(w http.ResponseWriter, err error) {
	said, ok := errors.AsType[*client.Problem](err)
	if !ok || strings.HasPrefix(said.Code, "http_") { // something else answered in its place
		g.quiet.Do(func() { g.config.Log.Warn("the auth service or the vault cannot be reached", "error", err) })
		(&proxy.Problem{Status: http.StatusServiceUnavailable, Code: "unavailable", RetryAfter: time.Second}).Write(w)
		return
	}
	w.Header().Set("Content-Type", wire.ProblemType)
	if said.RetryAfter > 0 {
		w.Header().Set("Retry-After", seconds(said.RetryAfter))
	}
	w.WriteHeader(said.Status)
	_ = json.NewEncoder(w).Encode(said.Problem) // a client that has gone away is no concern
}

func denyOrigin(w http.ResponseWriter) {
	(&proxy.Problem{Status: http.StatusForbidden, Code: "cross_origin", Detail: errCrossOrigin.Error()}).Write(w)
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that has gone away is no concern
}
