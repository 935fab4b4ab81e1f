// Package client speaks authsvc's HTTP API.
//
//	c, err := client.New(client.Config{Server: "https://auth.example.org"})
//	tokens, err := c.Login(ctx, wire.LoginRequest{Login: "ada", Password: password})
//	admin := c.As(func(context.Context) (string, error) { return tokens.AccessToken, nil })
//	ack, err := admin.Revoke(ctx, wire.RevokeRequest{Scope: "user", ID: sub, Reason: "laptop stolen"})
//
// # Errors
//
// What the service refuses comes back as a [*Problem] with a stable code; what
// never reached it, or was answered by something else, as any other error.
//
// # Concurrency
//
// A Client may be used by any number of goroutines. It keeps no state but its
// connections and repeats nothing on its own, but for [Client.Renewing].
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 16 << 20

// Config says whom to speak to.
type Config struct {
	// Server is the base URL of the service, http or https. Required.
	Server string
	// HTTP does the requests. The default has a timeout of 30 s and follows no
	// redirect, because a token goes where it was sent and nowhere else.
	HTTP *http.Client
}

// TokenSource returns a good access token.
type TokenSource func(context.Context) (string, error)

// Client speaks to one service.
type Client struct {
	server string
	http   *http.Client
	token  TokenSource  // nil for one who is not logged in
	renew  TokenRenewal // nil for one who takes a refusal for the last word
}

// New returns a client that is not logged in.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.Server)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		// It is not repeated, because it may hold a password.
		return nil, errors.New("the server's URL must be like https://auth.example.org")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the server's URL must have no user, query or fragment")
	}
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{
			Timeout:       30 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return &Client{server: strings.TrimSuffix(u.String(), "/"), http: cfg.HTTP}, nil
}

// As returns a client for the same service that shows the tokens of source.
func (c *Client) As(source TokenSource) *Client {
	return &Client{server: c.server, http: c.http, token: source}
}

// TokenRenewal returns another access token than the one that was refused.
type TokenRenewal func(ctx context.Context, refused string) (string, error)

// Renewing returns a client that asks renew when the service takes its token for
// invalid, once for each request, and repeats the request: a token that has not
// expired yet may be signed with a key that is no longer good.
func (c *Client) Renewing(renew TokenRenewal) *Client {
	renewing := *c
	renewing.renew = renew
	return &renewing
}

// Server is the base URL that the client speaks to, without a slash at its end.
func (c *Client) Server() string { return c.server }

// Problem is a refusal by the service.
type Problem struct {
	wire.Problem
	// RetryAfter is how long the service asks to wait; 0 where it does not say.
	RetryAfter time.Duration
}

// Error tells what was refused and names every violation, on one line.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Detail)
	if p.Detail == "" {
		b.WriteString(p.Title)
	}
	for i, v := range p.Errors {
		sep := "; "
		if i == 0 {
			sep = " – "
		}
		b.WriteString(sep + v.Field + ": " + v.Message)
	}
	return b.String() + " (" + p.Code + ")"
}

// HasCode reports whether err is a [*Problem] with the code.
func HasCode(err error, code string) bool {
	var p *Problem
	return errors.As(err, &p) && p.Code == code
}

// call sends body as JSON, unless it is nil, and decodes the answer.
func call[Resp any](ctx context.Context, c *Client, method, path string, body any) (Resp, error) {
	var resp Resp
	var payload []byte
	if body != nil {
		var err error
		if payload, err = json.Marshal(body); err != nil {
			return resp, fmt.Errorf("encoding the request: %w", err)
		}
	}
	token := ""
	if c.token != nil {
		var err error
		if token, err = c.token(ctx); err != nil {
			return resp, err
		}
	}
	resp, err := send[Resp](ctx, c, method, path, payload, token)
	if c.renew == nil || !HasCode(err, codeInvalidToken) {
		return resp, err
	}
	if token, err = c.renew(ctx, token); err != nil {
		return resp, err
	}
	return send[Resp](ctx, c, method, path, payload, token)
}

// codeInvalidToken is the code of a request that was refused for its token alone
// (RFC 6750 §3.1), and not carried out.
const codeInvalidToken = "invalid_token"

func send[Resp any](ctx context.Context, c *Client, method, path string, payload []byte, token string) (Resp, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.server+path, bytes.NewReader(payload))
	if err != nil {
		var none Resp
		return none, fmt.Errorf("making the request: %w", err)
	}
	if payload != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return do[Resp](c, req)
}

// form sends a form with a service's credentials.
func form[Resp any](ctx context.Context, c *Client, path string, service ServiceCredentials, values url.Values) (Resp, error) {
	var resp Resp
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.server+path, strings.NewReader(values.Encode()))
	if err != nil {
		return resp, fmt.Errorf("making the request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	// RFC 6749 §2.3.1: both parts are form-encoded before they become Basic.
	req.SetBasicAuth(url.QueryEscape(service.ID), url.QueryEscape(service.Secret.Reveal()))
	return do[Resp](c, req)
}

func do[Resp any](c *Client, req *http.Request) (Resp, error) {
	var resp Resp
	req.Header.Set("Accept", "application/json, "+wire.ProblemType)
	answer, err := c.http.Do(req)
	if err != nil {
		return resp, fmt.Errorf("asking the service: %w", err)
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end, or given up
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return resp, fmt.Errorf("reading the answer: %w", err)
	case len(body) > maxAnswer:
		return resp, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	case answer.StatusCode < 200 || answer.StatusCode > 299:
		return resp, refusal(answer, body)
	case len(body) == 0:
		return resp, nil
	}
	if err := json.Unmarshal(body, &resp); err != nil {
		return resp, fmt.Errorf("decoding the answer to %s %s: %w", req.Method, req.URL.Path, err)
	}
	return resp, nil
}

// isRefusal: introspection and revocation say it in the media type of RFC 6749 §5.2.
func isRefusal(mediaType string) bool {
	return mediaType == wire.ProblemType || mediaType == "application/json"
}

// refusal reads a problem document. Whatever else answers in the service's place,
// a proxy perhaps, becomes a problem with a code made of its status.
func refusal(answer *http.Response, body []byte) error {
	p := &Problem{}
	mediaType, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if !isRefusal(mediaType) || json.Unmarshal(body, &p.Problem) != nil || p.Code == "" {
		p.Problem = wire.Problem{
			Title: answer.Status, Code: "http_" + strconv.Itoa(answer.StatusCode),
			Detail: "something that is not authsvc answered " + answer.Status,
		}
	}
	p.Status = answer.StatusCode
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && seconds > 0 {
		p.RetryAfter = time.Duration(seconds) * time.Second
	}
	return p
}
