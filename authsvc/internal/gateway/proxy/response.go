package proxy

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// cleanAnswer takes out of a service's header what it must not tell a client: the
// gateway's cookie, the JWT, and where the service is.
func (x *exchange) cleanAnswer(h http.Header) {
	for name, values := range h {
		if leadsPast(name) || x.holdsToken(values) {
			delete(h, name)
		}
	}
	var kept []string
	for _, cookie := range h["Set-Cookie"] {
		if !x.proxy.isOwnCookie(cookie) {
			kept = append(kept, cookie)
		}
	}
	if len(kept) < len(h["Set-Cookie"]) {
		if h["Set-Cookie"] = kept; kept == nil {
			delete(h, "Set-Cookie")
		}
	}
	for _, name := range []string{"Location", "Content-Location"} {
		if at := h.Get(name); at != "" {
			h.Set(name, x.publicURL(at))
		}
	}
}

// leadsPast reports whether the field leads a client past the gateway, or tells a
// web server in front of it to deliver a file.
func leadsPast(name string) bool {
	return name == "Alt-Svc" || name == "X-Accel-Redirect" || name == "X-Sendfile"
}

func (x *exchange) holdsToken(values []string) bool {
	if x.bearer == "" {
		return false
	}
	for _, value := range values {
		if strings.Contains(value, x.bearer) {
			return true
		}
	}
	return false
}

// publicURL turns a URL that names the service's own place into one that names
// the gateway's.
func (x *exchange) publicURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return text
	}
	for _, t := range x.pool.targets {
		if isAt(u, t.url) {
			u.Scheme, u.Host, u.User = "", "", nil
			switch {
			case u.Path == "":
				u.Path = "/"
			case strings.HasPrefix(u.Path, "//"): // not the host of another one (RFC 3986 §4.2)
				return "/." + u.String()
			}
			return u.String()
		}
	}
	return text
}

// isAt reports whether the URL is at the target's host and port. Services leave
// the port out that the scheme implies.
func isAt(u, target *url.URL) bool {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[cmp.Or(u.Scheme, target.Scheme)]
	}
	return strings.EqualFold(u.Hostname(), target.Hostname()) && port == target.Port()
}

// answer is the client's side of an exchange.
type answer struct {
	http.ResponseWriter
	exchange *exchange
	status   int
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader cleans what comes before the answer proper (103 Early Hints), which
// nobody else has looked at.
func (a *answer) WriteHeader(status int) {
	switch {
	case status >= http.StatusOK:
		a.status = status
	case !a.exchange.early:
		return
	default:
		dropHops(a.Header())
		a.exchange.cleanAnswer(a.Header())
	}
	a.ResponseWriter.WriteHeader(status)
}

// answered takes the service's answer before anything of it goes to the client.
func (x *exchange) answered(res *http.Response) error {
	upgraded := res.StatusCode == http.StatusSwitchingProtocols
	if upgraded && !x.websocket {
		return errors.New("the service switches protocols unasked")
	}
	x.cleanAnswer(res.Header)
	x.cleanTrailer(res.Trailer)
	if upgraded || x.rule.Stream {
		x.time.Stop()
		x.body.unlimit()
	}
	if upgraded {
		x.answer.status = res.StatusCode
	}
	flow := &flow{exchange: x, res: res, body: res.Body}
	x.begin()
	if both, ok := res.Body.(io.ReadWriteCloser); ok && upgraded {
		res.Body = &duplex{flow, both}
		return nil
	}
	res.Body = flow
	return nil
}

func (x *exchange) cleanTrailer(trailer http.Header) {
	if trailer == nil {
		return
	}
	x.cleanAnswer(trailer)
	delete(trailer, "Set-Cookie")
}

// flow is a service's body on its way to the client. Whatever moves puts off the
// end for idleness.
type flow struct {
	exchange *exchange
	res      *http.Response
	body     io.ReadCloser
}

func (f *flow) Read(into []byte) (int, error) {
	n, err := f.body.Read(into)
	f.exchange.moved()
	if errors.Is(err, io.EOF) {
		f.exchange.cleanTrailer(f.res.Trailer)
	}
	return n, err
}

func (f *flow) Close() error { return f.body.Close() }

// duplex is a WebSocket's side of the service.
type duplex struct {
	*flow
	both io.ReadWriteCloser
}

func (d *duplex) Write(from []byte) (int, error) {
	n, err := d.both.Write(from)
	d.exchange.moved()
	return n, err
}
