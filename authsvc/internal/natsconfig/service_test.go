package natsconfig_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/bus"
	"github.com/authbus/authbus/authsvc/internal/keyring"
	"github.com/authbus/authbus/authsvc/internal/natsconfig"
	"github.com/authbus/authbus/authsvc/internal/password"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier"
)

const issuerURL = "https://auth.example.org"

// service is a real auth service on the bus, as its two identities.
type service struct {
	*authority.Authority
	publisher *bus.Publisher
}

// serve starts it and waits until the database has been compared with the streams.
func (w *world) serve(t *testing.T, subscribers ...string) *service {
	t.Helper()
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(dir, "auth.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // the test is over
	master, err := keyring.LoadOrCreateMasterKey(filepath.Join(dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keyring.Open(t.Context(), db, keyring.Config{Issuer: issuerURL, Master: master, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	s := &service{}
	s.publisher, err = bus.StartPublisher(bus.PublisherConfig{
		Conn: w.connect(t, natsconfig.Publisher), DB: db, Keys: keys, Log: log, CheckEvery: 100 * time.Millisecond,
		Streams: events.StreamOptions{Subscribers: subscribers},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.publisher.Close(context.Background()) })
	hasher, err := password.NewHasher(password.HasherConfig{MemoryKiB: 64, Passes: 1})
	if err != nil {
		t.Fatal(err)
	}
	config := authority.Config{Issuer: issuerURL, Audiences: []string{"orders", "thin", "gateway"}, Logger: log}
	if s.Authority, err = authority.New(config, db, keys, hasher, s.publisher); err != nil {
		t.Fatal(err)
	}
	responder, err := bus.StartResponder(bus.ResponderConfig{
		Conn: w.connect(t, natsconfig.Answerer), Authority: s.Authority, Keys: keys, Issuer: issuerURL,
		Ready: s.publisher.Ready, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(responder.Close)
	eventually(t, "the auth service is ready", func() bool { return s.publisher.Ready() == nil })
	return s
}

// connect connects as the auth service does, and fails t when anything is refused.
func (w *world) connect(t *testing.T, name string) *nats.Conn {
	t.Helper()
	nc, err := bus.Connect(name, bus.Target{URL: w.url, Options: []nats.Option{
		nats.Secure(&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{w.ca.named(t, name)}, RootCAs: w.ca.pool()}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: %v", name, err)
			}
		}),
	}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// verify starts a verifier as an identity.
func (w *world) verify(t *testing.T, name string, mode verifier.Mode) *verifier.Verifier {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	v, err := verifier.New(ctx, verifier.Config{
		Issuer: issuerURL, Audience: name, NATS: w.connect(t, name), Mode: mode, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// login registers a user and logs in.
func (s *service) login(t *testing.T, name string) (access string) {
	t.Helper()
	const secret = "seven pink walruses waltz"
	_, err := s.Register(t.Context(), authority.Registration{Username: name, Email: name + "@example.org", Password: secret}, authority.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := s.Login(t.Context(), authority.Credentials{Login: name, Password: secret}, authority.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	return tokens.AccessToken.Reveal()
}

// The auth service, verifiers in two other accounts and a subscriber, with the
// permissions that the configuration gives them and without a violation.
func TestLoginAndLogoutReachEveryAccount(t *testing.T) {
	w := newWorld(t, everybody())
	s := w.serve(t, "audit")
	seen := make(chan events.Type, 16)
	audit, err := events.Subscribe(t.Context(), w.connect(t, "audit"), events.Subscription{Durable: "audit"},
		func(_ context.Context, e events.Event) error { seen <- e.Data.Type(); return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer audit.Close()
	verifiers := map[string]*verifier.Verifier{
		"orders": w.verify(t, "orders", verifier.Local), "gateway": w.verify(t, "gateway", verifier.Local),
		"thin": w.verify(t, "thin", verifier.Remote),
	}
	access := s.login(t, "ada")
	for name, v := range verifiers {
		if _, err := v.Verify(t.Context(), access); err != nil {
			t.Errorf("%s refuses a good token: %v", name, err)
		}
	}
	claims, err := s.Authenticate(t.Context(), access)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if ack, err := s.Logout(t.Context(), claims); err != nil || ack.Delivery != authority.Delivered {
		t.Fatalf("logout: %+v, %v", ack, err)
	}
	for name, v := range verifiers {
		eventually(t, name+" refuses it", func() bool {
			_, err := v.Verify(t.Context(), access)
			return errors.Is(err, verifier.ErrRevoked)
		})
	}
	t.Logf("all three refuse the token %s after the logout began", time.Since(began))
	for _, v := range []string{"orders", "gateway"} {
		eventually(t, v+" proves its freshness", func() bool { return verifiers[v].Stats().ProbesFailed == 0 && verifiers[v].Stats().Probes > 1 })
	}
	for _, want := range []events.Type{"key.published", "key.activated", "account.registered", "login.succeeded", "session.ended"} {
		select {
		case got := <-seen:
			if got != want {
				t.Errorf("the subscriber hears of %s, want %s", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("the subscriber does not hear of %s", want)
		}
	}
}

// Trap: the answer to auth.verify, sent to the feed.
func TestTheFeedCannotBeMadeAnAnswer(t *testing.T) {
	w := newWorld(t, everybody())
	w.serve(t)
	orders := w.verify(t, "orders", verifier.Local)
	thin := w.connect(t, "thin")
	if err := thin.PublishRequest("auth.verify", "auth.revocations.token", []byte(`{"nonce":"n","token":"x","audience":"thin"}`)); err != nil {
		t.Fatal(err)
	}
	settle(t, thin)
	// The answer has come where it can come: to who listens in the same account, and there
	// it is no record.
	eventually(t, "the verifier has dropped it", func() bool { return orders.Stats().BadSignature == 1 })
	if n := last(t, jet(t, w.connect(t, natsconfig.Publisher)), events.StreamRevocations); n != 0 {
		t.Errorf("the stream holds %d messages", n)
	}
}

// An operator finds the micro services by nats micro ls.
func TestMicroServicesAreFoundAcrossAccounts(t *testing.T) {
	w := newWorld(t, everybody())
	w.serve(t)
	nc := w.connect(t, "operator")
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []micro.Verb{micro.PingVerb, micro.InfoVerb, micro.StatsVerb} {
		subject, err := micro.ControlSubject(verb, "", "")
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.PublishRequest(subject, inbox, nil); err != nil {
			t.Fatal(err)
		}
		if msg, err := sub.NextMsg(5 * time.Second); err != nil || !bytes.Contains(msg.Data, []byte(`"name":"authsvc"`)) {
			t.Errorf("%s: %v", subject, err)
		}
	}
}
