package verifier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/authbus/authbus/verifier/token"
)

// introspector asks over HTTP (RFC 7662).
type introspector struct {
	url, id, secret string
	client          *http.Client
	own             *http.Transport // to clean up; nil where the client is the user's
}

func newIntrospector(c Config) *introspector {
	i := &introspector{url: c.IntrospectionURL, id: c.ClientID, secret: string(c.ClientSecret)}
	if c.HTTPClient == nil {
		i.own = transportFor(c.MaxAsks, c.RequestTimeout)
		i.client = &http.Client{Transport: i.own}
	} else {
		theirs := *c.HTTPClient // which stays as it is
		i.client = &theirs
	}
	// The request carries a token and a secret: they go where they were meant to go.
	i.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return i
}

// transportFor keeps a connection for each request that may be under way, so that
// a busy service does not open one for every token. One of HTTP/2 whose peer has
// vanished would take all requests with it until TCP gives up, a quarter of an hour
// later; so silence is answered with a ping.
func transportFor(requests int, timeout time.Duration) *http.Transport {
	return &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		ForceAttemptHTTP2: true,
		MaxConnsPerHost:   requests, MaxIdleConnsPerHost: requests, MaxIdleConns: requests,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: max(timeout, time.Second), PingTimeout: timeout},
	}
}

// ask introspects the token.
func (i *introspector) ask(ctx context.Context, raw string) (a answer, err error) {
	req, err := i.request(ctx, raw)
	if err != nil {
		return answer{}, &askError{reason: ReasonNoAnswer, err: err}
	}
	resp, err := i.client.Do(req)
	if err != nil {
		return answer{}, &askError{reason: ReasonNoAnswer, err: fmt.Errorf("introspecting: %w", err)}
	}
	// Closing cannot fail in a way that matters: the answer has been read by then,
	// to its end where that is near, so that the connection can be used again.
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return answer{}, &askError{reason: ReasonNoAnswer, err: fmt.Errorf("introspecting: reading the answer: %w", err)}
	}
	return readIntrospection(resp, body)
}

func (i *introspector) request(ctx context.Context, raw string) (*http.Request, error) {
	form := url.Values{"token": {raw}, "token_type_hint": {"access_token"}}
	if i.secret == "" && i.id != "" {
		form.Set("client_id", i.id) // RFC 8705 §2: the certificate authenticates it
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, i.url, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("introspecting: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	// The question can be asked again where a kept connection turns out to be dead.
	// An empty value says so to the transport and is not sent.
	req.Header["Idempotency-Key"] = []string{}
	if i.secret != "" {
		// RFC 6749 §2.3.1: both are form-encoded before they are joined.
		req.SetBasicAuth(url.QueryEscape(i.id), url.QueryEscape(i.secret))
	}
	return req, nil
}

// readIntrospection makes an answer of a response. Nothing of the body reaches an
// error: it may repeat the token.
func readIntrospection(resp *http.Response, body []byte) (answer, error) {
	failed := func(reason, why string) (answer, error) {
		return answer{}, &askError{reason: reason, err: errors.New("introspecting: " + why)}
	}
	status := fmt.Sprintf("the endpoint answered %d", resp.StatusCode)
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return failed(ReasonClientRefused, status+": it does not accept this service's credentials")
	case http.StatusBadRequest:
		return answer{}, &askError{reason: ReasonNoAnswer, err: errors.New("introspecting: " + status), alive: true}
	case http.StatusTooManyRequests:
		return failed(ReasonNoAnswer, status+": too many requests, or too many with wrong credentials")
	default:
		return failed(ReasonNoAnswer, status)
	}
	if media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return failed(ReasonBadAnswer, "the answer is not application/json")
	}
	if len(body) > maxAnswer {
		return failed(ReasonBadAnswer, "the answer is too long")
	}
	active, err := token.ReadActive(body)
	if err != nil {
		return failed(ReasonBadAnswer, "the answer is no introspection response")
	}
	if !active {
		return answer{}, nil
	}
	return answer{active: true, claims: body}, nil
}

func (i *introspector) close() {
	if i.own != nil {
		i.own.CloseIdleConnections()
	}
}
