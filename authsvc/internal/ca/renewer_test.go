package ca_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/authbus/authbus/authsvc/authsvctest"
	"github.com/authbus/authbus/authsvc/internal/ca"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/events/eventstest"
	"github.com/authbus/authbus/verifier"
)

func startRenewer(t *testing.T, authority *ca.CA, nc *nats.Conn, revoked func(string) error) {
	t.Helper()
	r, err := ca.StartRenewer(ca.RenewerConfig{CA: authority, Conn: nc, Revoked: revoked, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// TestRenewalOverTheBus goes the whole way: a service renews, its certificate is
// revoked by an admin, and it renews no more.
func TestRenewalOverTheBus(t *testing.T) {
	s := authsvctest.Start(t, authsvctest.Config{})
	nc := s.Connect(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	v, err := verifier.New(ctx, verifier.Config{
		Issuer: s.Issuer(), Audience: "ca", NATS: nc, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	b := eventstest.NewBroker(t) // with permissions that let anybody answer
	authority, _ := newCA(t)
	service := b.Connect(t)
	first := keyPair(t, issue(t, authority, ca.Request{Name: "orders"}))
	if _, err := events.RenewCertificate(ctx, service, first); !errors.Is(err, events.ErrNoCA) {
		t.Errorf("without a CA: %v", err)
	}
	startRenewer(t, authority, b.Connect(t), v.CheckCertificate)

	if err := authority.RotateRoot(""); err != nil { // the service does not know the new root
		t.Fatal(err)
	}
	second, err := events.RenewCertificate(ctx, service, first)
	if err != nil {
		t.Fatal(err)
	}
	if len(second.Roots) != 2 {
		t.Errorf("the bundle has %d roots, want the old and the new", len(second.Roots))
	}
	third, err := events.RenewCertificate(ctx, service, second.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	id := events.CertificateID(third.Certificate.Leaf)
	watched, stop := v.WatchCertificate(ctx, id)
	defer stop()
	s.Revoke(t, events.ScopeCert, id)
	<-watched.Done()
	if cause := context.Cause(watched); !errors.Is(cause, verifier.ErrRevoked) {
		t.Fatalf("the watch ended with %v", cause)
	}
	_, err = events.RenewCertificate(ctx, service, third.Certificate)
	var refused *events.RequestError
	if !errors.As(err, &refused) || refused.Code != events.CodeForbidden {
		t.Errorf("a revoked certificate was renewed: %v", err)
	}
	if _, err := events.RenewCertificate(ctx, service, second.Certificate); err != nil {
		t.Errorf("another one, which was not revoked: %v", err)
	}
}

// TestRequestsCannotBeReplayedOrRedirected: whoever hears a request gets nothing
// by it, and an answer goes to an inbox only.
func TestRequestsCannotBeReplayedOrRedirected(t *testing.T) {
	b := eventstest.NewBroker(t)
	authority, _ := newCA(t)
	startRenewer(t, authority, b.Connect(t), func(string) error { return nil })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	thief := b.Connect(t)
	requests, err := thief.SubscribeSync(events.SubjectCARenew)
	must(t, err)
	feed, err := thief.SubscribeSync(events.SubjectRevocations)
	must(t, err)
	must(t, thief.Flush())
	_, err = events.RenewCertificate(ctx, b.Connect(t), keyPair(t, issue(t, authority, ca.Request{Name: "orders"})))
	must(t, err)
	heard, err := requests.NextMsgWithContext(ctx)
	must(t, err)

	must(t, thief.PublishRequest(events.SubjectCARenew, events.RevocationSubject(events.ScopeToken), heard.Data))
	for want, payload := range map[string][]byte{events.CodeForbidden: heard.Data, events.CodeBadRequest: []byte(`{"nonce":1}`)} {
		answer, err := thief.RequestWithContext(ctx, events.SubjectCARenew, payload)
		must(t, err)
		if code := answer.Header.Get(micro.ErrorCodeHeader); code != want {
			t.Errorf("%.20s: answered with %q, want %q", payload, code, want)
		}
	}
	if n, _, err := feed.Pending(); err != nil || n != 0 {
		t.Errorf("%d answers on the feed, %v", n, err)
	}
}

// TestAFalseCAIsNotBelieved: whoever may answer auth.ca.renew must not become
// trusted by it.
func TestAFalseCAIsNotBelieved(t *testing.T) {
	authority, _ := newCA(t)
	liar, _ := newCA(t)
	mine := keyPair(t, issue(t, authority, ca.Request{Name: "orders"}))
	trusted, err := authority.Info()
	must(t, err)
	its, err := liar.Info()
	must(t, err)
	forged := issue(t, liar, ca.Request{Name: "orders"})
	key := keyPair(t, forged).PrivateKey.(crypto.Signer)
	for name, issuer := range map[string]*x509.Certificate{"in its own name": its.Issuer, "in the name of ours": trusted.Issuer} {
		b := eventstest.NewBroker(t)
		nc := b.Connect(t)
		_, err := nc.Subscribe(events.SubjectCARenew, func(msg *nats.Msg) {
			var req events.CARenewRequest
			payload, header := []byte{}, nats.Header{}
			err := json.Unmarshal(msg.Data, &req)
			if err == nil {
				payload, err = json.Marshal(events.CARenewReply{
					Nonce: req.Nonce, Chain: string(forged.Chain), Bundle: string(forged.Bundle),
				})
			}
			if err == nil {
				header, err = events.SignCARenewal(issuer, key, payload)
			}
			if err := errors.Join(err, msg.RespondMsg(&nats.Msg{Header: header, Data: payload})); err != nil {
				t.Error(err)
			}
		})
		must(t, err)
		must(t, nc.Flush())
		if next, err := events.RenewCertificate(t.Context(), b.Connect(t), mine); !errors.Is(err, events.ErrForgedReply) {
			t.Errorf("%s: %v, %v", name, next, err)
		}
	}
}

func TestImpossibleRenewersAreRefused(t *testing.T) {
	authority, _ := newCA(t)
	good := ca.RenewerConfig{CA: authority, Conn: eventstest.NewBroker(t).Connect(t), Revoked: func(string) error { return nil }}
	for name, spoil := range map[string]func(*ca.RenewerConfig){
		"no CA":            func(c *ca.RenewerConfig) { c.CA = nil },
		"no connection":    func(c *ca.RenewerConfig) { c.Conn = nil },
		"no revocations":   func(c *ca.RenewerConfig) { c.Revoked = nil },
		"hardly any life":  func(c *ca.RenewerConfig) { c.Lifetime = time.Second },
		"a negative life":  func(c *ca.RenewerConfig) { c.Lifetime = -time.Hour },
		"too long a life":  func(c *ca.RenewerConfig) { c.Lifetime = events.MaxCertificateLifetime + time.Second },
		"a life of 5 days": nil,
	} {
		config := good
		if spoil == nil {
			config.Lifetime = 5 * 24 * time.Hour
		} else {
			spoil(&config)
		}
		r, err := ca.StartRenewer(config)
		if (err == nil) != (spoil == nil) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			r.Close()
		}
	}
	for want, config := range map[string]ca.ServiceConfig{
		"Name: ":     {CA: authority, NATSURL: "nats://127.0.0.1:1", Name: "c a", Issuer: "https://auth.example"},
		"Lifetime: ": {CA: authority, NATSURL: "nats://127.0.0.1:1", Name: "ca", Issuer: "https://auth.example", Lifetime: time.Second},
	} {
		if _, err := ca.StartService(t.Context(), config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want it to name %s", err, want)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
