package bus_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/bus"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/schemas"
	"github.com/authbus/authbus/verifier/token"
)

// ask sends a request as verifiers do, and holds request and reply against the
// documents of schemas.
func (w *world) ask(t *testing.T, keys map[string]ed25519.PublicKey, req events.Asking, reply events.Answering) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := events.Request(ctx, w.client, keys, req, reply); err != nil {
		return err
	}
	matches(t, req)
	matches(t, reply)
	return nil
}

// matches fails t unless the message is what its schema says.
func matches(t *testing.T, message any) {
	t.Helper()
	doc, err := json.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := schemas.Schema(schemaName(message))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("urn:test", parsed); err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiler.MustCompile("urn:test").Validate(value); err != nil {
		t.Errorf("%s breaks its schema: %v", schemaName(message), err)
	}
}

func schemaName(message any) string {
	switch message.(type) {
	case *events.FreshRequest:
		return "FreshRequest.v1"
	case *events.FreshReply:
		return "FreshReply.v1"
	case *events.RangeRequest:
		return "RangeRequest.v1"
	case *events.RangeReply:
		return "RangeReply.v1"
	case *events.StatusRequest:
		return "StatusRequest.v1"
	case *events.StatusReply:
		return "StatusReply.v1"
	case *events.KeysReply:
		return "KeysReply.v1"
	case *events.VerifyRequest:
		return "VerifyRequest.v1"
	case *events.VerifyReply:
		return "VerifyReply.v1"
	}
	return ""
}

func probe() *events.FreshRequest {
	return &events.FreshRequest{Verifier: "orders", Instance: "i1", StaleMS: -1, MaxStaleMS: 30000}
}

// login registers a user and logs in.
func (r *replica) login() *authority.Tokens {
	r.t.Helper()
	const secret = authority.Secret("plum-orbit-canvas-7341-teapot")
	ctx, meta := r.t.Context(), authority.Meta{Address: "192.0.2.1"}
	_, err := r.authority.Register(ctx, authority.Registration{
		Username: "ada", Email: "ada@example.org", Password: secret,
	}, meta)
	if err != nil {
		r.t.Fatal(err)
	}
	tokens, err := r.authority.Login(ctx, authority.Credentials{Login: "ada", Password: secret}, meta)
	if err != nil {
		r.t.Fatal(err)
	}
	return tokens
}

func (r *replica) verified(tokens *authority.Tokens) *token.Claims {
	r.t.Helper()
	claims, err := r.authority.Verify(r.t.Context(), tokens.AccessToken.Reveal(), "orders")
	if err != nil {
		r.t.Fatal(err)
	}
	return claims
}

func TestRequests(t *testing.T) {
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	published, err := events.RequestKeys(ctx, w.client)
	if err != nil {
		t.Fatal(err)
	}
	matches(t, &published)
	keys := events.FeedKeys(published.Feed)
	if published.Issuer != issuer {
		t.Errorf("issuer %q, want %q", published.Issuer, issuer)
	}
	records := r.revoke(7)
	tokens := r.login()
	claims := r.verified(tokens)

	t.Run("auth.fresh tells the head of the log", func(t *testing.T) {
		var reply events.FreshReply
		if err := w.ask(t, keys, probe(), &reply); err != nil {
			t.Fatal(err)
		}
		if reply.Rev != 7 || reply.Floor != 1 || reply.Epoch != r.head().Epoch || reply.Keys != published.Keys {
			t.Errorf("reply %+v", reply)
		}
	})
	t.Run("auth.range pages through the log", func(t *testing.T) {
		var reply events.RangeReply
		req := &events.RangeRequest{Epoch: r.head().Epoch, After: 2, Limit: 3}
		if err := w.ask(t, keys, req, &reply); err != nil {
			t.Fatal(err)
		}
		if reply.After != 2 || reply.Through != 5 || reply.Rev != 7 || len(reply.Records) != 3 {
			t.Fatalf("reply %+v", reply)
		}
		if got, err := events.DecodeRevocation(reply.Records[0]); err != nil || got != records[2] {
			t.Errorf("first record %+v (%v), want %+v", got, err, records[2])
		}
	})
	t.Run("auth.verify judges a whole token", func(t *testing.T) {
		var reply events.VerifyReply
		req := &events.VerifyRequest{Token: tokens.AccessToken.Reveal(), Audience: "orders"}
		if err := w.ask(t, keys, req, &reply); err != nil {
			t.Fatal(err)
		}
		var got struct{ Sub, Sid string }
		if err := json.Unmarshal(reply.Claims, &got); err != nil || !reply.Active || got.Sub != tokens.Sub || got.Sid != tokens.SID {
			t.Errorf("reply %+v with claims %+v (%v)", reply, got, err)
		}
	})
	t.Run("auth.verify refuses another audience", func(t *testing.T) {
		var reply events.VerifyReply
		req := &events.VerifyRequest{Token: tokens.AccessToken.Reveal(), Audience: "elsewhere"}
		if err := w.ask(t, keys, req, &reply); err != nil || reply.Active || reply.Reason == "" || reply.Claims != nil {
			t.Errorf("reply %+v (%v), want it refused with a reason", reply, err)
		}
	})
	status := &events.StatusRequest{Token: claims.Ref()}
	t.Run("auth.status judges a token by its ids", func(t *testing.T) {
		var reply events.StatusReply
		if err := w.ask(t, keys, status, &reply); err != nil || !reply.Active || reply.Rev != 7 {
			t.Errorf("reply %+v (%v), want active at 7", reply, err)
		}
	})
	if _, err := r.authority.Logout(t.Context(), claims); err != nil {
		t.Fatal(err)
	}
	t.Run("after the logout auth.status names the record", func(t *testing.T) {
		var reply events.StatusReply
		if err := w.ask(t, keys, status, &reply); err != nil || reply.Active || len(reply.Records) != 1 {
			t.Errorf("reply %+v (%v), want inactive by one record", reply, err)
		}
	})
	t.Run("after the logout auth.verify says revoked", func(t *testing.T) {
		var reply events.VerifyReply
		req := &events.VerifyRequest{Token: tokens.AccessToken.Reveal(), Audience: "orders"}
		if err := w.ask(t, keys, req, &reply); err != nil || reply.Active || reply.Reason != "revoked" {
			t.Errorf("reply %+v (%v), want revoked", reply, err)
		}
	})
}

func TestRequestsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	w.replica(t, "a.db").awaitReady()
	for _, tc := range []struct{ name, subject, payload, want string }{
		{"not JSON", "auth.fresh", "hello", events.CodeBadRequest},
		{"empty", "auth.keys", "", events.CodeBadRequest},
		{"a duplicate name", "auth.keys", `{"nonce":"a","nonce":"b"}`, events.CodeBadRequest},
		{"no nonce", "auth.keys", `{}`, events.CodeBadRequest},
		{"a limit above the bound", "auth.range", `{"nonce":"n","after":0,"limit":5001}`, events.CodeBadRequest},
		{"a token without ids", "auth.status", `{"nonce":"n","token":{}}`, events.CodeBadRequest},
		{"no audience", "auth.verify", `{"nonce":"n","token":"a.b.c"}`, events.CodeBadRequest},
		{"a probe of 100 KB", "auth.fresh", `{"nonce":"` + strings.Repeat("x", 100_000) + `"}`, events.CodeBadRequest},
		{"a token of 100 KB", "auth.verify", `{"token":"` + strings.Repeat("x", 100_000) + `"}`, events.CodeBadRequest},
	} {
		t.Run(tc.name, func(t *testing.T) {
			msg, err := w.client.Request(tc.subject, []byte(tc.payload), 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if code := msg.Header.Get(micro.ErrorCodeHeader); code != tc.want || msg.Header.Get(micro.ErrorHeader) == "" {
				t.Errorf("headers %v, want code %s with a description", msg.Header, tc.want)
			}
		})
	}
}

func TestReplyIsNotRedirected(t *testing.T) {
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	victim, err := w.client.SubscribeSync("orders.>")
	if err != nil {
		t.Fatal(err)
	}
	targets := []string{"auth.revocations.token", "auth.events.login.succeeded.u_x", "orders.created", "_INBOX", "_INBOX.>"}
	subjects := []string{"auth.fresh", "auth.range", "auth.status", "auth.keys", "auth.verify", "$SRV.PING", "$SRV.INFO.authsvc"}
	redirected := 0
	for _, target := range targets {
		for _, subject := range subjects {
			if err := w.client.PublishRequest(subject, target, []byte(`{"nonce":"n"}`)); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(subject, "auth.") {
				redirected++
			}
		}
	}
	eventually(t, "all counted", func() bool { return r.metric("bus_redirected_total") == float64(redirected) })
	// A request that is answered shows that those before it have been dealt with.
	if _, err := w.client.Request("auth.keys", []byte(`{"nonce":"n"}`), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	for _, stream := range []string{events.StreamRevocations, events.StreamEvents} {
		for _, msg := range w.messages(t, stream) {
			if msg.Header.Get(events.HeaderSignature) != "" || msg.Header.Get(nats.MsgIdHdr) == "" {
				t.Errorf("%s holds a reply: %s", stream, msg.Data)
			}
		}
	}
	if msg, err := victim.NextMsg(50 * time.Millisecond); err == nil && strings.Contains(string(msg.Data), "nonce") {
		t.Errorf("a reply reached %s: %s", msg.Subject, msg.Data)
	}
}

func TestProbesThatArriveDuringAReadShareTheNext(t *testing.T) {
	const probes = 1000
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	r.responder.Close()
	reading, goOn := make(chan struct{}, probes), make(chan struct{})
	metrics := prometheus.NewRegistry()
	responder, err := bus.StartResponder(bus.ResponderConfig{
		Conn: r.conns[1], Authority: r.authority, Keys: r.keys, Issuer: issuer, Log: quiet(), Metrics: metrics,
		Ready: func() error { reading <- struct{}{}; <-goOn; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer responder.Close()
	var asking sync.WaitGroup
	ask := func() {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := events.Request(ctx, w.client, events.FeedKeys(r.keys.FeedKeys()), probe(), &events.FreshReply{})
		if err != nil {
			t.Error(err)
		}
	}
	asking.Go(ask)
	select {
	case <-reading: // the first probe alone
	case <-time.After(10 * time.Second):
		t.Fatal("no read began")
	}
	for range probes {
		asking.Go(ask)
	}
	eventually(t, "all arrived", func() bool { return w.arrived(t, "fresh") == probes+1 })
	close(goOn)
	asking.Wait()
	r.metrics = metrics
	if reads := r.metric("bus_probe_reads_total"); reads != 2 {
		t.Errorf("%d probes took %v reads of the database, want 2", probes+1, reads)
	}
}

// arrived is how many requests an endpoint has seen, as it tells the bus.
func (w *world) arrived(t *testing.T, endpoint string) int {
	t.Helper()
	msg, err := w.client.Request("$SRV.STATS.authsvc", nil, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var stats micro.Stats
	if err := json.Unmarshal(msg.Data, &stats); err != nil {
		t.Fatal(err)
	}
	for _, e := range stats.Endpoints {
		if e.Name == endpoint {
			return e.NumRequests
		}
	}
	return 0
}

// Whatever is committed before a probe is sent must be in its answer.
func TestProbeSeesWhatWasCommittedBefore(t *testing.T) {
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	keys := events.FeedKeys(r.keys.FeedKeys())
	for range 50 {
		rev := r.revoke(1)[0].Rev
		var reply events.FreshReply
		if err := events.Request(t.Context(), w.client, keys, probe(), &reply); err != nil {
			t.Fatal(err)
		}
		if reply.Rev < rev {
			t.Fatalf("the answer is %d, but %d was committed before", reply.Rev, rev)
		}
	}
}

func TestUnreadableDatabaseIsUnavailable(t *testing.T) {
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	keys := events.FeedKeys(r.keys.FeedKeys())
	w.tamper(t, "a.db", "ALTER TABLE log_head RENAME TO lost")
	for name, ask := range map[string]func() error{
		"auth.fresh":  func() error { return w.ask(t, keys, probe(), &events.FreshReply{}) },
		"auth.range":  func() error { return w.ask(t, keys, &events.RangeRequest{Limit: 1}, &events.RangeReply{}) },
		"auth.status": func() error { return w.ask(t, keys, &events.StatusRequest{Token: someToken()}, &events.StatusReply{}) },
	} {
		var refused *events.RequestError
		if err := ask(); !errors.As(err, &refused) || refused.Code != events.CodeUnavailable {
			t.Errorf("%s answers %v, want code %s", name, err, events.CodeUnavailable)
		}
	}
}

func someToken() events.TokenRef {
	return events.TokenRef{JTI: "t_1", Sub: "u_1", KID: "k_1", Exp: time.Now().Add(time.Minute).Unix()}
}

// A database that may have come from a backup must not answer for the log.
func TestNothingIsAnsweredBeforeTheReconciliation(t *testing.T) {
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	record := r.revoke(1)[0]
	r.deliver([]events.Revocation{record})
	record.Rev, record.Version = 50, 2
	msg := unsigned(t, record)
	msg.Header = r.keys.SignFeed(msg.Subject, msg.Data)
	r.close()
	w.inject(t, msg) // keeps the reconciliation from succeeding

	r = w.replica(t, "a.db")
	keys := events.FeedKeys(r.keys.FeedKeys())
	eventually(t, "listening", func() bool {
		_, err := events.RequestKeys(t.Context(), w.client)
		return err == nil
	})
	var refused *events.RequestError
	err := w.ask(t, keys, probe(), &events.FreshReply{})
	if !errors.As(err, &refused) || refused.Code != events.CodeUnavailable {
		t.Errorf("auth.fresh answers %v, want code %s", err, events.CodeUnavailable)
	}
	if d := r.publisher.Deliver(t.Context(), events.Revocation{Rev: 2}); d != authority.Pending {
		t.Errorf("a revocation is %s, want pending", d)
	}
}

func TestServiceShowsItselfToTheBus(t *testing.T) {
	w := newWorld(t)
	w.replica(t, "a.db").awaitReady()
	msg, err := w.client.Request("$SRV.INFO.authsvc", nil, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var info micro.Info
	if err := json.Unmarshal(msg.Data, &info); err != nil {
		t.Fatal(err)
	}
	if info.Name != events.ServiceAuthority || len(info.Endpoints) != 5 {
		t.Errorf("info %+v, want service authsvc with five endpoints", info)
	}
	for _, e := range info.Endpoints {
		if e.QueueGroup != events.ServiceAuthority {
			t.Errorf("endpoint %s is in the queue group %q", e.Name, e.QueueGroup)
		}
	}
}
