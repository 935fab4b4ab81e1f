package verifier_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/authsvctest"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier"
	"github.com/authbus/authbus/verifier/token"
)

// Secrets that are good for nothing but these tests.
const (
	firstSecret  = "bSVuzW1FVmWUbkxcHCGUX7xYTDe6Cd8GIsGJ8iODVuQ="
	secondSecret = "kHFhP2YWv1cIfm1vGiAyOyNHQyi2sWBMYFWQu0gLbqE="
	thirdSecret  = "8vUqk0y3xEzWcR5dT1nJgHs9bLmPaQfV7oIuXeY2NtA="
)

func parseSecret(t *testing.T, text string) token.Secret {
	t.Helper()
	s, err := token.ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sharing is the configuration of a verifier with these secrets, either of which
// may be empty.
func sharing(t *testing.T, s *authsvctest.Server, current, previous string) verifier.Config {
	t.Helper()
	c := verifier.Config{Issuer: s.Issuer(), Audience: "orders", NATS: s.Connect(t), MaxStale: 10 * time.Second}
	if current != "" {
		c.SharedSecret = parseSecret(t, current)
	}
	if previous != "" {
		c.PreviousSharedSecret = parseSecret(t, previous)
	}
	return c
}

// send sends a request with a JSON body or a bearer token, and returns status and answer.
func send(t *testing.T, method, url, body, bearer string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(answer)
}

// authorityAccepts asks the authority over HTTP and over the bus, which must agree.
func authorityAccepts(t *testing.T, s *authsvctest.Server, raw string) bool {
	t.Helper()
	status, answer := send(t, http.MethodGet, s.URL()+"/v1/verify?audience=orders", "", raw)
	nc := s.Connect(t)
	published, err := events.RequestKeys(t.Context(), nc)
	if err != nil {
		t.Fatal(err)
	}
	var reply events.VerifyReply
	err = events.Request(t.Context(), nc, events.FeedKeys(published.Feed), &events.VerifyRequest{Token: raw, Audience: "orders"}, &reply)
	if err != nil {
		t.Fatal(err)
	}
	if reply.Active != (status == http.StatusOK) {
		t.Errorf("over HTTP %d %s, over the bus %+v", status, answer, reply)
	}
	return reply.Active
}

// refuses makes sure that a verifier does not start, and why.
func refuses(t *testing.T, c verifier.Config, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	v, err := verifier.New(ctx, c)
	if err == nil {
		v.Close()
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("starting: %v; want %q", err, want)
	}
}

// TestSharedSecretOnTheBus: everything but the signature is as with public keys.
func TestSharedSecretOnTheBus(t *testing.T) {
	s := authsvctest.Start(t, authsvctest.Config{SharedSecret: firstSecret})
	v := newVerifier(t, sharing(t, s, firstSecret, ""))
	ada := s.Register(t, "ada")
	laptop, phone := s.Login(t, ada), s.Login(t, ada)
	claims, err := v.Verify(t.Context(), laptop.AccessToken)
	if err != nil || claims.KeyID != parseSecret(t, firstSecret).ID() || claims.Subject != ada.Sub || claims.SessionID != laptop.SID {
		t.Fatalf("%+v, %v", claims, err)
	}
	if !says(v, phone.AccessToken, nil) || !authorityAccepts(t, s, phone.AccessToken) {
		t.Fatal("a good token is refused")
	}
	watched, stop := v.Watch(t.Context(), claims)
	defer stop()

	s.Revoke(t, events.ScopeSession, laptop.SID)
	eventually(t, "the ended session is refused", func() bool { return says(v, laptop.AccessToken, verifier.ErrRevoked) })
	eventually(t, "the watched connection has ended", func() bool { return watched.Err() != nil })
	if !errors.Is(context.Cause(watched), verifier.ErrRevoked) {
		t.Errorf("it ended with %v", context.Cause(watched))
	}
	s.Revoke(t, events.ScopeUser, ada.Sub)
	again := s.Login(t, ada)
	if !says(v, again.AccessToken, nil) {
		t.Error("whoever logs in again at once is refused")
	}
	eventually(t, "the old session is refused", func() bool { return says(v, phone.AccessToken, verifier.ErrRevoked) })

	if status, doc := send(t, http.MethodGet, s.URL()+"/.well-known/jwks.json", "", ""); status != http.StatusOK || !strings.Contains(doc, `"keys":[]`) ||
		!strings.Contains(doc, `"authbus_feed":[{`) || strings.Contains(doc, "hs_") {
		t.Errorf("published: %s", doc)
	}
	refuses(t, sharing(t, s, "", ""), "publishes no keys for tokens")
	refuses(t, sharing(t, s, secondSecret, ""), "signs with the shared secret "+claims.KeyID)
	remote := sharing(t, s, "", "")
	remote.Mode = verifier.Remote
	if v := newVerifier(t, remote); !says(v, again.AccessToken, nil) || !says(v, phone.AccessToken, verifier.ErrInvalid) && !says(v, phone.AccessToken, verifier.ErrRevoked) {
		t.Error("a verifier that asks about everything does not decide alike")
	}
	introspecting := verifier.Config{
		Mode: verifier.Remote, Issuer: s.Issuer(), Audience: "orders", IntrospectionURL: s.URL() + "/v1/introspect",
		ClientID: "orders", ClientSecret: verifier.ClientSecret(s.AddService(t, "orders")),
	}
	if v := newVerifier(t, introspecting); !says(v, again.AccessToken, nil) || says(v, phone.AccessToken, nil) {
		t.Error("introspection does not decide alike")
	}
	byURL := sharing(t, s, firstSecret, "")
	byURL.JWKSURL = s.URL() + "/.well-known/jwks.json"
	if !says(newVerifier(t, byURL), again.AccessToken, nil) {
		t.Error("refused with the keys of the feed fetched by URL")
	}
	pinned := sharing(t, s, firstSecret, "")
	published, err := events.RequestKeys(t.Context(), pinned.NATS)
	if err != nil {
		t.Fatal(err)
	}
	pinned.FeedKeys = published.Feed
	if v := newVerifier(t, pinned); !says(v, again.AccessToken, nil) || v.Stats().KeyFetches != 0 {
		t.Error("refused with pinned keys of the feed")
	}
}

// TestASharedSecretIsReplaced without refusing anybody: first everybody accepts
// both, then the authority signs with the new one, then the old one goes.
func TestASharedSecretIsReplaced(t *testing.T) {
	s := authsvctest.Start(t, authsvctest.Config{SharedSecret: firstSecret})
	before := newVerifier(t, sharing(t, s, firstSecret, secondSecret))
	after := newVerifier(t, sharing(t, s, secondSecret, firstSecret))
	old := newVerifier(t, sharing(t, s, firstSecret, ""))
	ada := s.Register(t, "ada")
	first := s.Login(t, ada)
	s.SignWith(t, secondSecret, firstSecret)
	second := s.Refresh(t, first)
	for name, v := range map[string]*verifier.Verifier{"before": before, "after": after} {
		for _, raw := range []string{first.AccessToken, second.AccessToken} {
			eventually(t, name+" accepts", func() bool { return says(v, raw, nil) })
		}
	}
	if !authorityAccepts(t, s, first.AccessToken) || !authorityAccepts(t, s, second.AccessToken) {
		t.Error("the authority refuses a good token")
	}
	eventually(t, "a verifier without the new secret cannot decide about its token", func() bool {
		return says(old, second.AccessToken, verifier.ErrUnavailable)
	})
	s.SignWith(t, secondSecret, "")
	if authorityAccepts(t, s, first.AccessToken) || !authorityAccepts(t, s, second.AccessToken) {
		t.Error("the authority does not go by its secrets")
	}
}

// TestAKilledSecretMintsNothing, uses up no refresh token meanwhile, and sessions
// go on with the next one.
func TestAKilledSecretMintsNothing(t *testing.T) {
	s := authsvctest.Start(t, authsvctest.Config{SharedSecret: firstSecret})
	v := newVerifier(t, sharing(t, s, firstSecret, secondSecret))
	ada := s.Register(t, "ada")
	tokens := s.Login(t, ada)
	if !says(v, tokens.AccessToken, nil) {
		t.Fatal("a good token is refused")
	}
	s.Revoke(t, events.ScopeKey, parseSecret(t, firstSecret).ID())
	dead := func() bool { return says(v, tokens.AccessToken, verifier.ErrRevoked) }
	eventually(t, "tokens of the killed secret are refused", dead)
	if authorityAccepts(t, s, tokens.AccessToken) {
		t.Error("the authority accepts a token of the killed secret")
	}
	byURL := sharing(t, s, firstSecret, "")
	byURL.JWKSURL = s.URL() + "/.well-known/jwks.json"
	refuses(t, byURL, "have been killed")
	refuses(t, sharing(t, s, firstSecret, ""), "have been killed")
	login, err := json.Marshal(map[string]string{"login": ada.Username, "password": ada.Password})
	if err != nil {
		t.Fatal(err)
	}
	for path, body := range map[string]string{
		"/v1/sessions": string(login), "/v1/sessions/refresh": `{"refresh_token":"` + tokens.RefreshToken + `"}`,
	} {
		status, answer := send(t, http.MethodPost, s.URL()+path, body, "")
		if status != http.StatusServiceUnavailable || !strings.Contains(answer, `"code":"cannot_mint"`) {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
	s.SignWith(t, secondSecret, "")
	next := s.Refresh(t, tokens)
	eventually(t, "the session goes on", func() bool { return says(v, next.AccessToken, nil) })
	if next.SID != tokens.SID || !dead() {
		t.Error("the killed secret is alive again, or the session is another one")
	}
}

// TestFromKeyPairsToASecretAndBack: accounts, sessions, refresh tokens and the
// revocation log are the same all the way.
func TestFromKeyPairsToASecretAndBack(t *testing.T) {
	s := authsvctest.Start(t, authsvctest.Config{})
	public := newVerifier(t, sharing(t, s, "", ""))
	ada := s.Register(t, "ada")
	kept, ended := s.Login(t, ada), s.Login(t, ada)
	if !says(public, kept.AccessToken, nil) {
		t.Fatal("a good token is refused")
	}
	s.Revoke(t, events.ScopeSession, ended.SID)
	epoch, byPair := public.Stats().Epoch, kept.AccessToken

	refuses(t, sharing(t, s, firstSecret, ""), token.ErrMixed.Error())

	s.SignWith(t, firstSecret, "")
	shared := newVerifier(t, sharing(t, s, firstSecret, ""))
	kept = s.Refresh(t, kept)
	eventually(t, "the same session is accepted", func() bool { return says(shared, kept.AccessToken, nil) })
	if !authorityAccepts(t, s, kept.AccessToken) || authorityAccepts(t, s, byPair) {
		t.Error("the authority mixes secrets and key pairs")
	}
	if !says(shared, byPair, verifier.ErrInvalid) {
		t.Error("a verifier mixes secrets and key pairs")
	}
	eventually(t, "a verifier of public keys cannot decide about the secret's tokens", func() bool {
		return says(public, kept.AccessToken, verifier.ErrUnavailable)
	})
	if status, answer := send(t, http.MethodPost, s.URL()+"/v1/sessions/refresh", `{"refresh_token":"`+ended.RefreshToken+`"}`, ""); status != http.StatusUnauthorized {
		t.Errorf("the ended session goes on: %d %s", status, answer)
	}
	if got := shared.Stats(); got.Epoch != epoch || got.Applied != 1 {
		t.Errorf("another log than before: %+v", got)
	}
	other := s.Login(t, ada)
	s.Revoke(t, events.ScopeSession, other.SID)
	eventually(t, "the ended session is refused", func() bool { return says(shared, other.AccessToken, verifier.ErrRevoked) })

	s.SignWith(t, "", "")
	kept = s.Refresh(t, kept)
	eventually(t, "the same session is accepted by public keys", func() bool { return says(public, kept.AccessToken, nil) })
	if kidOf(t, kept.AccessToken) != kidOf(t, byPair) {
		t.Error("the key pair is another one than before")
	}
	eventually(t, "the verifier of the secret notices", func() bool {
		_, err := shared.Verify(t.Context(), other.AccessToken)
		refused, ok := errors.AsType[*verifier.Error](err)
		return ok && refused.Reason == verifier.ReasonMixedKeys
	})
	if got := public.Stats(); got.Epoch != epoch || got.Applied != 2 || got.Alarms != 0 {
		t.Errorf("another log than before: %+v", got)
	}
}
