package verifier_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/authsvc/authsvctest"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier"
	"github.com/authbus/authbus/verifier/token"
	"github.com/authbus/authbus/verifier/verifiertest"
)

// start starts an authority and a verifier that follows it.
func start(t *testing.T, change func(*verifier.Config)) (*verifiertest.Authority, *verifier.Verifier) {
	t.Helper()
	a := verifiertest.Start(t, "orders")
	c := a.Config()
	c.MaxStale, c.RequestTimeout = 3*time.Second, 500*time.Millisecond
	if change != nil {
		change(&c)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	v, err := verifier.New(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return a, v
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

func says(v *verifier.Verifier, token string, want error) bool {
	_, err := v.Verify(context.Background(), token)
	return errors.Is(err, want)
}

func TestALogoutReachesTheVerifier(t *testing.T) {
	a, v := start(t, nil)
	laptop, phone := a.Token(t, "ada"), a.Token(t, "ada")
	if !says(v, laptop, nil) || !says(v, phone, nil) {
		t.Fatal("good tokens are refused")
	}
	a.Revoke(t, laptop)
	eventually(t, "the token is refused", func() bool { return says(v, laptop, verifier.ErrRevoked) })
	if !says(v, phone, nil) {
		t.Error("the other session is refused")
	}
	a.RevokeUser(t, "ada")
	again := a.Token(t, "ada")
	if !says(v, again, nil) {
		t.Error("whoever logs in again at once is refused")
	}
	eventually(t, "the old session is refused", func() bool { return says(v, phone, verifier.ErrRevoked) })
	if s := v.Stats(); s.LiveRecords != 2 || s.BadSignature != 0 {
		t.Errorf("stats: %+v", s)
	}
}

func TestABrokerRestart(t *testing.T) {
	a, v := start(t, nil)
	dead, alive := a.Token(t, "ada"), a.Token(t, "bob")
	if !says(v, dead, nil) || !says(v, alive, nil) {
		t.Fatal("good tokens are refused")
	}
	revoker := a.Server()
	revoker.Revoke(t, events.ScopeToken, "t_warmup") // logs the admin in
	revoker.StopBroker()
	a.Revoke(t, dead)
	eventually(t, "nothing can be decided", func() bool { return says(v, alive, verifier.ErrUnavailable) })
	if says(v, dead, nil) {
		t.Error("a revoked token is accepted past the bound")
	}
	revoker.StartBroker(t)
	eventually(t, "the verifier has recovered", func() bool { return says(v, alive, nil) })
	if !says(v, dead, verifier.ErrRevoked) {
		t.Error("a token revoked during the outage is accepted after it")
	}
}

// TestAPartition cuts the cable: no connection is closed.
func TestAPartition(t *testing.T) {
	a, v := start(t, nil)
	dead, alive := a.Token(t, "ada"), a.Token(t, "bob")
	if !says(v, dead, nil) || !says(v, alive, nil) {
		t.Fatal("good tokens are refused")
	}
	a.Partition()
	a.Revoke(t, dead)
	acked := time.Now()
	eventually(t, "the dead token is refused", func() bool { return !says(v, dead, nil) })
	if late := time.Since(acked); late > 4*time.Second {
		t.Errorf("refused %v after the acknowledgement; the bound is 3 s", late)
	}
	a.Heal()
	eventually(t, "the verifier has recovered", func() bool { return says(v, alive, nil) })
	if !says(v, dead, verifier.ErrRevoked) {
		t.Error("the revoked token is accepted after the partition")
	}
}

// TestARecreatedStreamHidesNothing is the case in which a consumer that resumes
// by sequence misses every record.
func TestARecreatedStreamHidesNothing(t *testing.T) {
	a, v := start(t, nil)
	token := a.Token(t, "ada")
	s := a.Server()
	s.RevokeMany(t, events.ScopeToken, ids(500))
	eventually(t, "500 are applied", func() bool { return v.Stats().Revocations == 500 })
	a.Partition()
	s.DeleteFeed(t)
	s.RevokeMany(t, events.ScopeToken, ids(999))
	a.Revoke(t, token)
	a.Heal()
	eventually(t, "all 1,500 are applied", func() bool { return v.Stats().Revocations == 1500 && v.Stats().Fresh })
	if !says(v, token, verifier.ErrRevoked) {
		t.Error("the revoked token is accepted")
	}
}

// TestARestoredDatabaseResurrectsNothing: what was revoked after the backup stays
// revoked, and a new epoch opens.
func TestARestoredDatabaseResurrectsNothing(t *testing.T) {
	a, v := start(t, nil)
	token := a.Token(t, "ada")
	if !says(v, token, nil) {
		t.Fatal("a good token is refused")
	}
	s := a.Server()
	backup := s.Backup(t)
	a.Revoke(t, token)
	certificate := strings.Repeat("ce", 32)
	s.Revoke(t, events.ScopeCert, certificate)
	eventually(t, "the token is refused", func() bool { return says(v, token, verifier.ErrRevoked) })
	epoch := v.Stats().Epoch
	s.Restore(t, backup)
	eventually(t, "the new epoch is followed", func() bool { return v.Stats().Epoch != epoch && v.Stats().Fresh })
	if !says(v, token, verifier.ErrRevoked) {
		t.Error("the revoked token is accepted")
	}
	if !says(v, a.Token(t, "ada"), nil) {
		t.Error("a new token is refused")
	}
	// A verifier that starts now learns it from the authority alone.
	late, err := verifier.New(t.Context(), a.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if !says(late, token, verifier.ErrRevoked) {
		t.Error("the revoked token is accepted by a verifier that has just started")
	}
	for name, who := range map[string]*verifier.Verifier{"the old verifier": v, "the new verifier": late} {
		if err := who.CheckCertificate(certificate); !errors.Is(err, verifier.ErrRevoked) {
			t.Errorf("%s on the revoked certificate: %v", name, err)
		}
	}
}

// TestABurst revokes a burst of ids, and real tokens among them, while others look.
func TestABurst(t *testing.T) {
	a, v := start(t, func(c *verifier.Config) { c.MaxStale = 10 * time.Second })
	s := a.Server()
	s.Revoke(t, events.ScopeToken, "t_warmup")
	tokens := make([]string, 20)
	for i := range tokens {
		tokens[i] = a.Token(t, fmt.Sprint("user", i))
	}
	ctx, stop := context.WithCancel(t.Context())
	revoked := newAcknowledged()
	var lookers sync.WaitGroup
	lookers.Go(func() { revoked.look(ctx, t, v, tokens, 10*time.Second) })
	for i := range tokens {
		s.RevokeMany(t, events.ScopeToken, ids(burst/len(tokens)))
		a.Revoke(t, tokens[i])
		revoked.add(tokens[i])
	}
	eventually(t, "everything is applied", func() bool {
		s := v.Stats()
		return s.Revocations == int64(burst+len(tokens)+1) && s.Fresh
	})
	stop()
	lookers.Wait()
	for i, token := range tokens {
		if !says(v, token, verifier.ErrRevoked) {
			t.Errorf("token %d is accepted", i)
		}
	}
}

// acknowledged notes when the revocation of a token was acknowledged.
type acknowledged struct {
	mu sync.Mutex
	at map[string]time.Time
}

func newAcknowledged() *acknowledged { return &acknowledged{at: make(map[string]time.Time)} }

func (a *acknowledged) add(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at[token] = time.Now()
}

// look verifies the tokens over and over and fails the test if one is accepted
// longer than the bound after its acknowledgement.
func (a *acknowledged) look(ctx context.Context, t *testing.T, v *verifier.Verifier, tokens []string, bound time.Duration) {
	tick := time.NewTicker(time.Millisecond) // leaves the machine to the others
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, token := range tokens {
			began := time.Now()
			if !says(v, token, nil) {
				continue
			}
			a.mu.Lock()
			at, known := a.at[token]
			a.mu.Unlock()
			if known && began.Sub(at) > bound {
				t.Errorf("accepted %v after the acknowledgement", began.Sub(at))
				return
			}
		}
	}
}

// TestARedirectedReplyChangesNothing: whoever sends a request chooses where its
// reply goes, the feed included.
func TestARedirectedReplyChangesNothing(t *testing.T) {
	a, v := start(t, nil)
	token := a.Token(t, "ada")
	attacker := a.Server().Connect(t)
	js, err := jetstream.New(attacker)
	if err != nil {
		t.Fatal(err)
	}
	before := feedLength(t, js)
	for _, subject := range []string{
		events.SubjectFresh, events.SubjectRange, events.SubjectStatus, events.SubjectKeys, events.SubjectVerify,
		"$SRV.PING.authsvc", "$SRV.INFO.authsvc", "$SRV.STATS",
	} {
		for _, reply := range []string{"auth.revocations.token", "auth.events.login.succeeded.-"} {
			if err := attacker.PublishRequest(subject, reply, []byte(`{"nonce":"x","token":"x","audience":"orders"}`)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := attacker.Flush(); err != nil {
		t.Fatal(err)
	}
	second := a.Token(t, "bob")
	a.Revoke(t, second) // after all of the above on the same bus
	eventually(t, "the real record arrives", func() bool { return says(v, second, verifier.ErrRevoked) })
	if after := feedLength(t, js); after != before+1 {
		t.Errorf("the feed has grown by %d, want 1", after-before)
	}
	if s := v.Stats(); !s.Fresh || s.Alarms != 0 || s.Revocations != 1 || !says(v, token, nil) {
		t.Errorf("stats: %+v", s)
	}
}

func feedLength(t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	stream, err := js.Stream(t.Context(), events.StreamRevocations)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs
}

// TestUnknownKeysCauseFewFetches sends 10,000 tokens, each of another kid.
func TestUnknownKeysCauseFewFetches(t *testing.T) {
	a, v := start(t, nil)
	token := a.Token(t, "ada")
	_, rest, _ := strings.Cut(token, ".")
	before := v.Stats().KeyFetches
	for range 10_000 {
		if says(v, forgedHeader(rand.Text())+"."+rest, nil) {
			t.Fatal("a forged token is accepted")
		}
	}
	if n := v.Stats().KeyFetches - before; n > 3 {
		t.Errorf("%d fetches", n)
	}
}

// cache keeps the first answer, and gives it to whoever does not refuse that
// (RFC 9111 §5.2.1.4).
type cache struct {
	mu   sync.Mutex
	kept []byte // guarded by mu
}

func (c *cache) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept != nil && r.Header.Get("Cache-Control") != "no-cache" {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(c.kept)), Request: r}, nil
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	c.kept, err = io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(c.kept))
	return resp, err
}

// TestKilledKeysByURL are gone although a cache between here and the authority has
// kept them: the record in the log does not last as long as a key that has leaked.
func TestKilledKeysByURL(t *testing.T) {
	s := authsvctest.Start(t, authsvctest.Config{SharedSecret: firstSecret})
	c := sharing(t, s, firstSecret, "")
	c.JWKSURL, c.HTTPClient = s.URL()+"/.well-known/jwks.json", &http.Client{Transport: &cache{}}
	v := newVerifier(t, c)
	raw := s.Login(t, s.Register(t, "ada")).AccessToken
	unknown, err := token.SignWithSecret(token.Claims{
		Issuer: s.Issuer(), Audience: []string{"orders"}, Subject: "u", ID: "j", SessionID: "s", ClientID: "test",
		IssuedAt: time.Now().Unix(), ExpiresAt: time.Now().Add(time.Hour).Unix(), AuthTime: time.Now().Unix(),
	}, parseSecret(t, secondSecret))
	if err != nil {
		t.Fatal(err)
	}
	if !says(v, raw, nil) || !says(v, unknown, verifier.ErrInvalid) {
		t.Fatal("a good token is refused, or a bad one is not")
	}
	s.Revoke(t, events.ScopeKey, parseSecret(t, firstSecret).ID())
	eventually(t, "the key is gone, and with it all that there was", func() bool { return says(v, unknown, verifier.ErrUnavailable) })
	if !says(v, raw, verifier.ErrRevoked) {
		t.Error("a token of the killed key is not revoked")
	}
}

func TestKeysByURL(t *testing.T) {
	a, v := start(t, nil)
	c := a.Config()
	c.JWKSURL = a.Server().URL() + "/.well-known/jwks.json"
	byURL, err := verifier.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer byURL.Close()
	token := a.Token(t, "ada")
	if !says(byURL, token, nil) || !says(v, token, nil) {
		t.Fatal("a good token is refused")
	}
	a.Revoke(t, token)
	eventually(t, "the token is refused", func() bool { return says(byURL, token, verifier.ErrRevoked) })
}

func TestNewSaysWhatItWaitsFor(t *testing.T) {
	nc, err := nats.Connect("nats://127.0.0.1:1", nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = verifier.New(ctx, verifier.Config{Issuer: "https://auth.example", Audience: "orders", NATS: nc})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "fetching keys") {
		t.Errorf("got %v", err)
	}
}

func TestConfigurationThatCannotBeRight(t *testing.T) {
	_, err := verifier.New(t.Context(), verifier.Config{MaxStale: time.Second, Leeway: time.Hour, AcceptGrace: 1})
	for _, field := range []string{"Issuer", "Audience", "NATS", "MaxStale", "Leeway", "AcceptGrace"} {
		if err == nil || !strings.Contains(err.Error(), "Config."+field+" ") {
			t.Errorf("the error does not name %s: %v", field, err)
		}
	}
}

// TestTheAuthServiceRestarts with everything in place: nobody notices for long.
func TestTheAuthServiceRestarts(t *testing.T) {
	a, v := start(t, nil)
	dead, alive := a.Token(t, "ada"), a.Token(t, "bob")
	a.Revoke(t, dead)
	eventually(t, "the token is refused", func() bool { return says(v, dead, verifier.ErrRevoked) })
	epoch := v.Stats().Epoch
	a.Server().Restart(t, nil)
	eventually(t, "the verifier is fresh", func() bool { return v.Stats().Staleness >= 0 && v.Stats().Staleness < time.Second })
	if !says(v, dead, verifier.ErrRevoked) || !says(v, alive, nil) || v.Stats().Epoch != epoch {
		t.Errorf("stats: %+v", v.Stats())
	}
}

func ids(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = "t_" + strings.ToLower(rand.Text())
	}
	return list
}

func forgedHeader(kid string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","typ":"at+jwt","kid":"` + kid + `"}`))
}

// TestKeysRotateAndDie: a new key is known before it signs, and a killed one is
// refused at once.
func TestKeysRotateAndDie(t *testing.T) {
	a, v := start(t, nil)
	before := a.Token(t, "ada")
	if !says(v, before, nil) {
		t.Fatal("a good token is refused")
	}
	a.Server().Revoke(t, events.ScopeKey, kidOf(t, before))
	eventually(t, "the killed key's token is refused", func() bool { return says(v, before, verifier.ErrRevoked) })
	after := a.Token(t, "ada")
	if kidOf(t, after) == kidOf(t, before) {
		t.Fatal("the killed key still signs")
	}
	if !says(v, after, nil) {
		t.Error("a token of the new key is refused")
	}
	// By whoever has seen the token, whoever has not, and whoever asks.
	remote := a.Config()
	remote.Mode = verifier.Remote
	for name, v := range map[string]*verifier.Verifier{"Local": v, "a new one": newVerifier(t, a.Config()), "Remote": newVerifier(t, remote)} {
		_, err := v.Verify(t.Context(), before)
		if refused, ok := errors.AsType[*verifier.Error](err); !ok || !errors.Is(err, verifier.ErrRevoked) || refused.Reason != verifier.ReasonRevokedKey {
			t.Errorf("%s says %v", name, err)
		}
	}
}

func kidOf(t *testing.T, raw string) string {
	t.Helper()
	head, _, _ := strings.Cut(raw, ".")
	doc, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		t.Fatal(err)
	}
	var header struct{ Kid string }
	if err := json.Unmarshal(doc, &header); err != nil {
		t.Fatal(err)
	}
	return header.Kid
}

// TestALateVerifierReadsTheStream: much history comes from the stream, in bulk,
// and not from the authority's database.
func TestALateVerifierReadsTheStream(t *testing.T) {
	a := verifiertest.Start(t, "orders")
	token := a.Token(t, "ada")
	a.Server().RevokeMany(t, events.ScopeToken, ids(6_000))
	a.Revoke(t, token)
	v, err := verifier.New(t.Context(), a.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if s := v.Stats(); s.Revocations != 6_001 || s.BulkRecords < 5_500 || s.Applied != 6_001 {
		t.Errorf("stats: %+v", s)
	}
	if !says(v, token, verifier.ErrRevoked) {
		t.Error("the revoked token is accepted")
	}
}

// TestCloseOnAConnectionThatEnds: records that are still delivered have no effect
// after Close has returned, and do no harm.
func TestCloseOnAConnectionThatEnds(t *testing.T) {
	for name, end := range map[string]func(*nats.Conn) error{
		"drained": (*nats.Conn).Drain,
		"closed":  func(nc *nats.Conn) error { nc.Close(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			a := verifiertest.Start(t, "orders")
			c := a.Config()
			c.NATS = a.Server().Connect(t)
			v, err := verifier.New(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			var revoking sync.WaitGroup
			revoking.Go(func() { a.Server().RevokeMany(t, events.ScopeToken, ids(300)) })
			eventually(t, "records arrive", func() bool { return v.Stats().LiveRecords > 20 })
			if err := end(c.NATS); err != nil {
				t.Error(err)
			}
			v.Close()
			applied := v.Stats().LiveRecords
			revoking.Wait()
			if n := v.Stats().LiveRecords; n != applied {
				t.Errorf("%d records applied after Close", n-applied)
			}
		})
	}
}

// TestPinnedKeys: nothing is fetched, and what other keys have signed is nothing.
func TestPinnedKeys(t *testing.T) {
	a := verifiertest.Start(t, "orders")
	published, err := events.RequestKeys(t.Context(), a.Server().Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	set, err := token.ParseJWKS(published.JWKS)
	if err != nil {
		t.Fatal(err)
	}
	c := a.Config()
	c.Keys, c.FeedKeys = set.Keys(), published.Feed
	v, err := verifier.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	raw := a.Token(t, "ada")
	if !says(v, raw, nil) {
		t.Fatal("a good token is refused")
	}
	a.Revoke(t, raw)
	eventually(t, "the token is refused", func() bool { return says(v, raw, verifier.ErrRevoked) })
	if n := v.Stats().KeyFetches; n != 0 {
		t.Errorf("%d fetches", n)
	}

	stranger, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.FeedKeys = []events.FeedKey{{ID: published.Feed[0].ID, Public: stranger}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := verifier.New(ctx, c); err == nil || !strings.Contains(err.Error(), events.ErrForgedReply.Error()) {
		t.Errorf("with another feed key: %v", err)
	}
}
