package verifier_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authbus/authbus/verifier"
	"github.com/authbus/authbus/verifier/token"
)

const (
	endpointIssuer = "https://auth.test.example"
	endpointSecret = "s3cr:t +&%/ü"
)

// endpoint is an introspection endpoint that answers as told. Unless it is, a
// token is active if it is one.
type endpoint struct {
	*httptest.Server
	log    bytes.Buffer // what the verifier logs
	answer atomic.Pointer[http.HandlerFunc]
	seen   struct {
		sync.Mutex
		requests []*http.Request // with their forms
		remotes  map[string]bool // client addresses: connections
	}
}

func newEndpoint(t *testing.T) *endpoint {
	t.Helper()
	e := &endpoint{}
	e.seen.remotes = make(map[string]bool)
	e.Server = httptest.NewUnstartedServer(http.HandlerFunc(e.serve))
	e.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	e.StartTLS()
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) serve(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	e.seen.Lock()
	e.seen.requests = append(e.seen.requests, r)
	e.seen.remotes[r.RemoteAddr] = true
	e.seen.Unlock()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(r.PostForm.Get("token")+"..", ".")[1])
	genuine := err == nil && bytes.HasPrefix(payload, []byte("{"))
	switch answer := e.answer.Load(); {
	case !genuine:
		respond(http.StatusOK, "application/json", `{"active":false}`)(w, r)
	case answer != nil:
		(*answer)(w, r)
	default:
		respond(http.StatusOK, "application/json;charset=UTF-8", `{"active":true,`+string(payload[1:]))(w, r)
	}
}

func respond(status int, media, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // the client may have gone
	}
}

func (e *endpoint) last() *http.Request {
	e.seen.Lock()
	defer e.seen.Unlock()
	return e.seen.requests[len(e.seen.requests)-1]
}

func (e *endpoint) count() int {
	e.seen.Lock()
	defer e.seen.Unlock()
	return len(e.seen.requests)
}

func (e *endpoint) config() verifier.Config {
	return verifier.Config{
		Mode: verifier.Remote, Issuer: endpointIssuer, Audience: "orders", IntrospectionURL: e.URL + "/introspect",
		ClientID: "or:ders", ClientSecret: endpointSecret, HTTPClient: e.Client(), RequestTimeout: 10 * time.Second,
		Logger: slog.New(slog.NewTextHandler(&e.log, nil)),
	}
}

// mint signs a token that no endpoint here verifies.
func mint(t *testing.T, id string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	raw, err := token.Sign(token.Claims{
		Issuer: endpointIssuer, Subject: "u_ada", Audience: []string{"orders", "billing"}, ID: id, SessionID: "s",
		ClientID: "web", ExpiresAt: now + 600, IssuedAt: now, Scope: []string{"read", "write"}, Rev: 7,
	}, "k1", token.AlgES256, key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestIntrospectionRequest(t *testing.T) {
	e := newEndpoint(t)
	v := newVerifier(t, e.config())
	raw := mint(t, "j1")
	claims, err := v.Verify(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	if claims.Subject != "u_ada" || !claims.HasScope("write") || claims.Rev != 7 || claims.KeyID != "k1" {
		t.Errorf("claims %+v", claims)
	}
	r := e.last()
	id, secret, _ := r.BasicAuth()
	if id != "or%3Aders" || secret != "s3cr%3At+%2B%26%25%2F%C3%BC" {
		t.Errorf("credentials %q %q", id, secret) // RFC 6749 §2.3.1
	}
	if r.Method != http.MethodPost || r.PostForm.Get("token") != raw || r.PostForm.Get("token_type_hint") != "access_token" ||
		r.URL.RawQuery != "" || r.Header.Get("Accept") != "application/json" || len(r.Header.Values("Idempotency-Key")) != 0 {
		t.Errorf("request %s %s %v %v", r.Method, r.URL, r.Header, r.PostForm)
	}
}

// TestAnswersOfAnEndpoint: only the one that says so, about this token, accepts.
func TestAnswersOfAnEndpoint(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	redirect := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, status) }
	}
	const media = "application/json"
	e := newEndpoint(t)
	config := e.config()
	v := newVerifier(t, config)
	config.RequestTimeout = 500 * time.Millisecond
	hasty := newVerifier(t, config) // for the answers that never end
	raw := mint(t, "j1")
	for _, c := range []struct {
		title  string
		answer http.HandlerFunc
		want   error
		reason string
	}{
		{"inactive", respond(200, media, `{"active":false}`), verifier.ErrInvalid, verifier.ReasonInactive},
		{"inactive, and more", respond(200, media, `{"active":false,"sub":"u_ada"}`), verifier.ErrInvalid, verifier.ReasonInactive},
		{"without active", respond(200, media, `{}`), verifier.ErrUnavailable, verifier.ReasonBadAnswer},
		{"active without claims", respond(200, media, `{"active":true}`), verifier.ErrUnavailable, verifier.ReasonBadAnswer},
		{"a web page", respond(200, "text/html", `<html>{"active":true}</html>`), verifier.ErrUnavailable, verifier.ReasonBadAnswer},
		{"JSON that does not say so", respond(200, "text/plain", `{"active":false}`), verifier.ErrUnavailable, verifier.ReasonBadAnswer},
		{"nothing", respond(200, media, ``), verifier.ErrUnavailable, verifier.ReasonBadAnswer},
		{"endless", respond(200, media, `{"active":true,"x":"`+strings.Repeat("x", 1<<20)+`"}`), verifier.ErrUnavailable, verifier.ReasonBadAnswer},
		{"inactive, and endless white space", respond(200, media, `{"active":false}`+strings.Repeat(" ", 1<<20)), verifier.ErrUnavailable, verifier.ReasonBadAnswer},
		{"no content", respond(204, "", ``), verifier.ErrUnavailable, verifier.ReasonNoAnswer},
		{"created", respond(201, media, `{"active":false}`), verifier.ErrUnavailable, verifier.ReasonNoAnswer},
		{"bad request", respond(400, media, `{"error":"invalid_request"}`), verifier.ErrUnavailable, verifier.ReasonNoAnswer},
		{"unauthorized", respond(401, media, `{"error":"invalid_client"}`), verifier.ErrUnavailable, verifier.ReasonClientRefused},
		{"forbidden", respond(403, media, `{}`), verifier.ErrUnavailable, verifier.ReasonClientRefused},
		{"not found", respond(404, media, `{"active":true}`), verifier.ErrUnavailable, verifier.ReasonNoAnswer},
		{"compressed, and endless then", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", media)
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, `{"active":true,"x":"`+strings.Repeat("x", 4<<20))
			_ = z.Close()
		}, verifier.ErrUnavailable, verifier.ReasonBadAnswer},
		{"too many", respond(429, media, `{"active":false}`), verifier.ErrUnavailable, verifier.ReasonNoAnswer},
		{"broken", respond(500, media, `{"active":true}`), verifier.ErrUnavailable, verifier.ReasonNoAnswer},
		{"down", respond(503, media, ``), verifier.ErrUnavailable, verifier.ReasonNoAnswer},
		{"moved", redirect(302), verifier.ErrUnavailable, verifier.ReasonNoAnswer},
		{"moved, keep the body", redirect(307), verifier.ErrUnavailable, verifier.ReasonNoAnswer},
		{"moved for good, keep the body", redirect(308), verifier.ErrUnavailable, verifier.ReasonNoAnswer},
		{"a cut connection", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, verifier.ErrUnavailable, verifier.ReasonNoAnswer},
		{"a cut body", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"active":true,`)
		}, verifier.ErrUnavailable, verifier.ReasonNoAnswer},
		{"drop by drop", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", media)
			drop := time.NewTicker(10 * time.Millisecond)
			defer drop.Stop()
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush() // fails once the client has left
				<-drop.C
			}
		}, verifier.ErrUnavailable, verifier.ReasonNoAnswer},
		{"silence", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, verifier.ErrUnavailable, verifier.ReasonNoAnswer},
	} {
		t.Run(c.title, func(t *testing.T) {
			e.answer.Store(&c.answer)
			asked := v
			if c.title == "drop by drop" || c.title == "silence" {
				asked = hasty
			}
			_, err := asked.Verify(t.Context(), raw)
			var refused *verifier.Error
			if !errors.Is(err, c.want) || !errors.As(err, &refused) || refused.Reason != c.reason {
				t.Errorf("got %v", err)
			}
			discreet(t, fmt.Sprint(err), raw)
			e.answer.Store(nil)
			wants(t, v, "a good answer after it", raw, nil) // and the breaker stays closed
		})
	}
	if elsewhere.Load() != 0 {
		t.Error("a redirect was followed: the token went elsewhere")
	}
	if s := v.Stats(); s.Alarms == 0 || s.BreakerOpened != 0 {
		t.Errorf("stats: %+v", s)
	}
	v.Close()
	discreet(t, e.log.String(), raw)
	discreet(t, fmt.Sprintf("%v %+v %#v", v, v, v), raw)
}

// discreet checks that a text holds neither the token nor the secret.
func discreet(t *testing.T, text, raw string) {
	t.Helper()
	for _, secret := range []string{endpointSecret, "s3cr", raw, raw[strings.LastIndexByte(raw, '.'):]} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in %s", secret, text)
		}
	}
}

// A configuration that is printed shows no secret.
func TestSecretsHideThemselves(t *testing.T) {
	c := verifier.Config{ClientSecret: endpointSecret}
	var text bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("config", "c", c, "secret", c.ClientSecret)
	slog.New(slog.NewJSONHandler(&text, nil)).Info("config", "secret", c.ClientSecret)
	fmt.Fprintf(&text, "%v %+v %#v %s %q", c, c, c, c.ClientSecret, c.ClientSecret)
	if strings.Contains(text.String(), "s3cr") {
		t.Errorf("the secret is in %s", text.String())
	}
}

func TestConnectionsAreReused(t *testing.T) {
	e := newEndpoint(t)
	c := e.config()
	v := newVerifier(t, c)
	before := e.count()
	for i := range 50 {
		wants(t, v, "a good token", mint(t, fmt.Sprint(i)), nil)
	}
	e.seen.Lock()
	defer e.seen.Unlock()
	if n := len(e.seen.requests) - before; n != 50 || len(e.seen.remotes) > 2 {
		t.Errorf("%d requests over %d connections", n, len(e.seen.remotes))
	}
}

func TestCredentialsThatAreRefusedAtStart(t *testing.T) {
	w := newRemoteWorld(t)
	c := w.config["HTTP"]
	c.ClientSecret = "not the secret"
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := verifier.New(ctx, c)
	if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "credentials") || strings.Contains(err.Error(), "not the secret") {
		t.Errorf("got %v", err)
	}
	// Another service's credentials are good, but not for tokens for orders.
	c.ClientID, c.ClientSecret = "billing", verifier.ClientSecret(w.AddService(t, "billing"))
	c.Audience = "billing"
	good := w.Login(t, w.ada).AccessToken
	wants(t, newVerifier(t, c), "its own audience", good, nil)
	c.Audience = "reports"
	wants(t, newVerifier(t, c), "a token for others", good, verifier.ErrInvalid)
}

func TestAnEndpointThatAcceptsEverything(t *testing.T) {
	gullible := httptest.NewServer(respond(http.StatusOK, "application/json", `{"active":true}`))
	defer gullible.Close()
	_, err := verifier.New(t.Context(), verifier.Config{
		Mode: verifier.Remote, Issuer: endpointIssuer, Audience: "orders", IntrospectionURL: gullible.URL,
		ClientID: "orders", ClientSecret: endpointSecret,
	})
	if err == nil || !strings.Contains(err.Error(), "active") {
		t.Errorf("got %v", err)
	}
}

func TestNewWaitsForTheAuthority(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	gone := httptest.NewServer(nil)
	gone.Close()
	_, err := verifier.New(ctx, verifier.Config{
		Mode: verifier.Remote, Issuer: endpointIssuer, Audience: "orders", IntrospectionURL: gone.URL,
		ClientID: "orders", ClientSecret: endpointSecret,
	})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer from the authority yet") {
		t.Errorf("got %v", err)
	}
	discreet(t, err.Error(), mint(t, "j"))
}

// TestACertificateInPlaceOfASecret is RFC 8705 §2.
func TestACertificateInPlaceOfASecret(t *testing.T) {
	e := newEndpoint(t)
	e.Close()
	e.Server = httptest.NewUnstartedServer(http.HandlerFunc(e.serve))
	e.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13}
	e.StartTLS()
	t.Cleanup(e.Close)
	c := e.config()
	c.ClientSecret, c.HTTPClient = "", e.Client()
	transport, ok := c.HTTPClient.Transport.(*http.Transport)
	if !ok {
		t.Fatal("the test client has no *http.Transport")
	}
	transport.TLSClientConfig.Certificates = []tls.Certificate{selfSigned(t)}
	v := newVerifier(t, c)
	wants(t, v, "a good token", mint(t, "j"), nil)
	r := e.last()
	if r.Header.Get("Authorization") != "" || r.PostForm.Get("client_id") != "or:ders" || len(r.TLS.PeerCertificates) != 1 {
		t.Errorf("request %v %v", r.Header, r.PostForm)
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
