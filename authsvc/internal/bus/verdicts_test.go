package bus

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/httpapi"
	"github.com/authbus/authbus/authsvc/internal/keyring"
	"github.com/authbus/authbus/authsvc/internal/password"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier"
	"github.com/authbus/authbus/verifier/token"
)

// attacks are tokens, most of them bad, with what they were made for.
type attacks struct {
	keys     *token.KeySet
	secrets  []token.Secret // in place of keys
	audience string
	tokens   map[string]string // by title
}

// What every attack was made for.
const (
	attackIssuer = "https://auth.test.example"
	attackTime   = 1798761600
	attackSub    = "018f3c2e-7d1a-7c43-9a55-0a1b2c3d4e5f"
	attackSID    = "s-0001"
	attackRev    = 7
)

const vectorDir = "../../../verifier/token/testdata/"

// TestTheSameVerdictOnEveryAttack puts the vectors of package token, and those of
// the external corpus, to everything that judges a token: the library, the
// authority over the bus, introspection and verification over HTTP, and a verifier
// of Mode Remote. A token that one of them accepts and another refuses is a way in.
func TestTheSameVerdictOnEveryAttack(t *testing.T) {
	t.Run("vectors", func(t *testing.T) {
		a := attacks{keys: publicKeys(t, readFile(t, vectorDir+"keys/public.json")), audience: "orders"}
		a.read(t, vectorDir+"*.json")
		a.judge(t)
	})
	t.Run("vectors of shared secrets", func(t *testing.T) {
		a := attacks{audience: "orders"}
		var secrets [][]byte
		decodeFile(t, vectorDir+"keys/secrets.json", &secrets)
		for _, b := range secrets {
			a.secrets = append(a.secrets, orFatal(token.NewSecret(b))(t))
		}
		a.keys = orFatal(token.NewSecretSet(a.secrets...))(t)
		a.read(t, vectorDir+"shared/*.json")
		a.judge(t)
	})
	for _, name := range []string{"wycheproof_rebased.json", "jsontestsuite.json"} {
		t.Run(name, func(t *testing.T) { corpus(t, name).judge(t) })
	}
}

// attack is a token as the files have it.
type attack struct {
	Class, Title, Token string
	Parts               []struct {
		S string
		N int
	} `json:"token_parts"`
}

func (a *attacks) add(all []attack) {
	if a.tokens == nil {
		a.tokens = map[string]string{}
	}
	for _, v := range all {
		raw := v.Token
		for _, p := range v.Parts {
			raw += strings.Repeat(p.S, max(1, p.N))
		}
		a.tokens[fmt.Sprintf("%s/%s #%d", v.Class, v.Title, len(a.tokens))] = raw
	}
}

func (a *attacks) read(t *testing.T, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors in %s: %v", pattern, err)
	}
	for _, name := range files {
		var all []attack
		decodeFile(t, name, &all)
		a.add(all)
	}
}

// corpus reads a file of the external corpus, or skips.
func corpus(t *testing.T, name string) attacks {
	t.Helper()
	dir := os.Getenv("AUTHBUS_TEST_CORPUS")
	if dir == "" {
		const missing = "AUTHBUS_TEST_CORPUS is not set: it names the folder of the token corpus"
		if os.Getenv("AUTHBUS_TEST_REQUIRE") == "all" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	var file struct {
		JWKS    json.RawMessage
		Profile struct{ Aud string }
		Cases   []attack
	}
	decodeFile(t, filepath.Join(dir, name), &file)
	a := attacks{keys: publicKeys(t, file.JWKS), audience: file.Profile.Aud}
	a.add(file.Cases)
	return a
}

func publicKeys(t *testing.T, jwks []byte) *token.KeySet {
	t.Helper()
	return orFatal(token.ParseJWKS(jwks))(t)
}

// judge has everybody judge every attack at the time that they were made for.
func (a attacks) judge(t *testing.T) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Unix(attackTime, 0)))
		c := newCourt(t, a)
		accepted := 0
		for title, raw := range a.tokens {
			if c.hear(t, title, raw) {
				accepted++
			}
		}
		if now := time.Since(time.Unix(attackTime, 0)); now >= time.Second {
			t.Errorf("it took %v of the bubble's time: the vectors are made for one second", now)
		}
		t.Logf("%d tokens, %d of them accepted", len(a.tokens), accepted)
		if accepted == 0 {
			t.Error("not one was accepted: a judge who refuses everything proves nothing")
		}
	})
}

// court is everybody who judges tokens, on one database.
type court struct {
	attacks
	profile   token.Profile
	responder *Responder
	handler   http.Handler
	basic     http.Header // the credentials of a service, and the media type of a form
	remote    *verifier.Verifier
}

func newCourt(t *testing.T, a attacks) *court {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	db := orFatal(store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "auth.db")))(t)
	t.Cleanup(func() { _ = db.Close() })
	master := orFatal(keyring.ParseMasterKey(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))))(t)
	config := keyring.Config{Issuer: attackIssuer, Master: master, Logger: quiet}
	if len(a.secrets) > 0 {
		config.Secret, config.PreviousSecret = a.secrets[0], a.secrets[1]
	}
	keys := orFatal(keyring.Open(t.Context(), db, config))(t)
	secret := a.prepare(t, db)
	if err := keys.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	hasher := orFatal(password.NewHasher(password.HasherConfig{MemoryKiB: 64, Passes: 1}))(t)
	auth := orFatal(authority.New(authority.Config{Issuer: attackIssuer, Audiences: []string{a.audience}, Logger: quiet}, db, keys, hasher, nil))(t)
	c := &court{
		attacks: a, profile: token.Profile{Issuer: attackIssuer, Audience: a.audience},
		responder: &Responder{authority: auth, keys: keys, issuer: attackIssuer, ready: func() error { return nil }},
		handler: httpapi.New(httpapi.Config{
			Authority: auth, JWKS: keys.JWKS, Issuer: attackIssuer, Logger: quiet, Registry: prometheus.NewRegistry(),
		}),
	}
	basic := http.Request{Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}
	basic.SetBasicAuth("court", secret)
	c.basic = basic.Header
	c.remote = orFatal(verifier.New(t.Context(), verifier.Config{
		Mode: verifier.Remote, Issuer: attackIssuer, Audience: a.audience, Logger: quiet,
		IntrospectionURL: attackIssuer + "/v1/introspect", ClientID: "court", ClientSecret: verifier.ClientSecret(secret),
		HTTPClient: &http.Client{Transport: c},
	}))(t)
	t.Cleanup(c.remote.Close)
	return c
}

// prepare makes a database to which the good ones among the tokens are good: with
// their keys, their session and a log that is long enough. It returns the secret
// of the service "court".
func (a attacks) prepare(t *testing.T, db *store.DB) (secret string) {
	t.Helper()
	secret = "x_" + strings.Repeat("A", 43)
	err := db.Write(t.Context(), func(tx *store.Tx) error {
		now := tx.Now()
		errs := []error{
			tx.CreateAccount(store.Account{Sub: attackSub, Username: "ada", UsernameKey: "ada", Email: "a@b.example", EmailKey: "a@b.example"}),
			tx.CreateSession(store.Session{
				SID: attackSID, Sub: attackSub, ClientID: "web-1", CreatedAt: now, LastUsedAt: now, ExpiresAt: now.Add(time.Hour), AuthTime: now,
			}),
			tx.PutService(store.Service{ClientID: "court", Name: "court", SecretHash: hashOf(secret), Audiences: []string{a.audience}}),
		}
		for i := range attackRev {
			_, err := tx.Revoke(events.ScopeToken, fmt.Sprintf("another-%d", i), now.Add(time.Hour), "", "")
			errs = append(errs, err)
		}
		for _, k := range a.keys.Keys() {
			if len(a.secrets) > 0 {
				break // they are in the configuration
			}
			public, err := x509.MarshalPKIXPublicKey(k.Public)
			errs = append(errs, err, tx.AddKey(store.SigningKey{
				KID: k.ID, Purpose: store.KeyForTokens, Alg: string(k.Alg), Public: public,
				State: store.KeyPublished, RetireAt: now.Add(time.Hour),
			}))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// hear has everybody judge a token and compares what they say with the library.
func (c *court) hear(t *testing.T, title, raw string) (accepted bool) {
	t.Helper()
	claims, err := c.profile.Verify(raw, c.keys, time.Now())
	want := err == nil && claims.Subject == attackSub && claims.SessionID == attackSID && claims.Rev <= attackRev
	active, reason := c.overBus(t, raw)
	if active != want {
		t.Errorf("%s: over the bus active is %v (%s), the library says %v", title, active, reason, err)
	}
	if refused, ok := errors.AsType[*token.Error](err); ok && raw != "" && len(raw) <= token.MaxSize && reason != string(refused.Reason) {
		t.Errorf("%s: over the bus the reason is %s, the library says %v", title, reason, err)
	}
	if status, body := c.introspect(t, raw); want != strings.HasPrefix(body, `{"active":true,`) || status >= 500 {
		t.Errorf("%s: introspection answers %d %s, the library says %v", title, status, body, err)
	}
	if status := c.present(t, raw); want != (status == http.StatusOK) || status >= 500 {
		t.Errorf("%s: /v1/verify answers %d, the library says %v", title, status, err)
	}
	said, remoteErr := c.remote.Verify(t.Context(), raw)
	switch {
	case want != (remoteErr == nil), errors.Is(remoteErr, verifier.ErrUnavailable):
		t.Errorf("%s: Mode Remote says %v, the library says %v", title, remoteErr, err)
	case want && (said.Subject != claims.Subject || said.ID != claims.ID || said.ExpiresAt != claims.ExpiresAt || said.Rev != claims.Rev):
		t.Errorf("%s: Mode Remote finds %+v, the library finds %+v", title, said.Claims, claims)
	}
	return want
}

// overBus asks as a verifier asks on auth.verify.
func (c *court) overBus(t *testing.T, raw string) (active bool, reason string) {
	t.Helper()
	req := orFatal(json.Marshal(events.VerifyRequest{Nonce: "n", Token: raw, Audience: c.audience}))(t)
	reply, err := c.responder.answerVerify(t.Context(), req)
	if told, ok := errors.AsType[*refusal](err); ok {
		return false, told.code
	}
	verdict, ok := reply.(events.VerifyReply)
	if err != nil || !ok {
		t.Fatalf("auth.verify: %v, %v", reply, err)
	}
	return verdict.Active, verdict.Reason
}

func (c *court) introspect(t *testing.T, raw string) (status int, body string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/introspect", strings.NewReader(url.Values{"token": {raw}}.Encode()))
	r.Header = c.basic
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// present shows the token at /v1/verify.
func (c *court) present(t *testing.T, raw string) (status int) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/verify?audience="+url.QueryEscape(c.audience), nil)
	r.Header.Set("Authorization", "Bearer "+raw)
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	return w.Code
}

// RoundTrip is the way to the auth service without a network, which knows nothing
// of the bubble's time.
func (c *court) RoundTrip(req *http.Request) (*http.Response, error) {
	defer req.Body.Close() //nolint:errcheck // it is a string
	r := httptest.NewRequestWithContext(req.Context(), req.Method, req.URL.String(), req.Body)
	r.Header = req.Header
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	return w.Result(), nil
}

func hashOf(secret string) store.Hash { return sha256.Sum256([]byte(secret)) }

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	return orFatal(os.ReadFile(name))(t)
}

func decodeFile(t *testing.T, name string, to any) {
	t.Helper()
	if err := json.Unmarshal(readFile(t, name), to); err != nil {
		t.Fatalf("reading %s: %v", name, err)
	}
}

// orFatal returns the value, unless there is an error.
func orFatal[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
