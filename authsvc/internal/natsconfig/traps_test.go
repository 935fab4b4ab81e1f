package natsconfig_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/authsvc/internal/bus"
	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
	"github.com/authbus/authbus/authsvc/internal/natsconfig"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/events/eventstest"
)

// eager answers requests as carelessly as a responder can: to whatever reply subject
// it is given, once with a text and once with nothing but a header.
func eager(t *testing.T, w *world, asked *atomic.Int64, subjects ...string) *nats.Conn {
	t.Helper()
	nc := w.as(t, "authsvc-answerer")
	for _, subject := range subjects {
		_, err := nc.QueueSubscribe(subject, events.ServiceAuthority, func(m *nats.Msg) {
			asked.Add(1)
			_ = nc.Publish(m.Reply, []byte("an answer"))
			_ = nc.PublishMsg(&nats.Msg{Subject: m.Reply, Header: nats.Header{"Status": []string{"404"}}})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	settle(t, nc)
	return nc
}

// Trap: whoever asks chooses where the answer goes, and it goes there with the rights
// of who answers, or with those of the server itself.
func TestNoReplyReachesAStream(t *testing.T) {
	w := newWorld(t, everybody())
	js := w.streams(t, "audit", "mailer")
	if _, err := js.Publish(t.Context(), "auth.revocations.token", []byte("a record")); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "auth.events.login.succeeded.u_1", []byte("an event")); err != nil {
		t.Fatal(err)
	}
	sessions, err := jet(t, w.as(t, "gateway")).CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "gateway_sessions"})
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	answering := eager(t, w, &asked, "auth.fresh", "auth.verify")
	requests := []struct{ who, subject, body string }{
		{"thin", "auth.verify", ""},
		{"orders", "auth.fresh", ""},
		{"orders", "$JS.API.DIRECT.GET.AUTH_REVOCATIONS", `{"seq":1}`},
		{"orders", "$JS.API.DIRECT.GET.AUTH_REVOCATIONS", `{"seq":99}`},
		{"operator", "$JS.API.DIRECT.GET.AUTH_EVENTS", `{"seq":99}`},
		{"operator", "$JS.API.STREAM.MSG.GET.AUTH_EVENTS", `{"seq":1}`},
		{"audit", "$JS.API.CONSUMER.MSG.NEXT.AUTH_EVENTS.audit", `{"batch":1,"no_wait":true}`},
		{"audit", "$JS.API.CONSUMER.MSG.NEXT.AUTH_EVENTS.audit", `{"batch":1,"no_wait":true}`}, // now it is empty
	}
	for _, replyTo := range []string{
		"auth.revocations.token", "auth.events.login.succeeded.u_1", "auth.verify", "auth.fresh",
		"$JS.API.STREAM.DELETE.AUTH_REVOCATIONS", "$JS.API.STREAM.PURGE.AUTH_EVENTS", "$JS.API.STREAM.DELETE.AUTH_EVENTS",
		"$JS.API.CONSUMER.DELETE.AUTH_EVENTS.mailer", "$JS.API.STREAM.DELETE.KV_gateway_sessions",
	} {
		for _, r := range requests {
			nc := w.as(t, r.who)
			if err := nc.PublishRequest(r.subject, replyTo, []byte(r.body)); err != nil {
				t.Fatal(err)
			}
			settle(t, nc)
			nc.Close()
		}
	}
	settle(t, answering)
	if n := asked.Load(); n < 18 {
		t.Errorf("%d requests reached the one that answers, want 18 at least", n)
	}
	settle(t, answering) // what it answered on the first has been dealt with by the second
	for _, stream := range []string{events.StreamRevocations, events.StreamEvents} {
		if n := last(t, js, stream); n != 1 {
			t.Errorf("%s ends with %d messages, want the 1 that was published", stream, n)
		}
	}
	if _, err := js.Consumer(t.Context(), events.StreamEvents, "mailer"); err != nil {
		t.Errorf("the consumer of mailer: %v", err)
	}
	if _, err := sessions.Status(t.Context()); err != nil {
		t.Errorf("the bucket: %v", err)
	}
}

// The subjects by which the server finds its way back, and by which messages are
// acknowledged, cannot be asked for as a reply.
func TestReservedReplySubjectsAreRefused(t *testing.T) {
	w := newWorld(t, everybody())
	for _, reply := range []string{"_R_.abc.def", "$JS.ACK.AUTH_EVENTS.audit.1.1.1.1.0"} {
		nc := w.as(t, "orders")
		if err := nc.PublishRequest("auth.fresh", reply, nil); err != nil {
			t.Fatal(err)
		}
		settle(t, nc)
		if !refused(nc, `with Reply of "`+reply+`"`) {
			t.Errorf("a request with the reply subject %s: %v", reply, nc.LastError())
		}
	}
}

// Trap: allow_responses lets whoever answers publish anywhere, against explicit denials.
func TestNobodyHasAllowResponses(t *testing.T) {
	opts := (&world{ca: newIssuer(t)}).options(t, everybody())
	if len(opts.Users) != 11 || len(opts.Nkeys) != 0 || opts.NoAuthUser != "" {
		t.Errorf("%d users, %d keys, no_auth_user %q", len(opts.Users), len(opts.Nkeys), opts.NoAuthUser)
	}
	for _, user := range opts.Users {
		p := user.Permissions
		if p == nil || p.Response != nil || p.Publish == nil || p.Subscribe == nil ||
			len(p.Publish.Allow) == 0 || len(p.Subscribe.Allow) == 0 {
			t.Errorf("%s: permissions %+v", user.Username, p)
		}
		if user.Password != "" || user.Account == nil || user.Account.Name == "$G" {
			t.Errorf("%s: account %v", user.Username, user.Account)
		}
	}
}

func TestInboxesArePrivate(t *testing.T) {
	w := newWorld(t, everybody())
	eager(t, w, new(atomic.Int64), "auth.fresh")
	orders, billing := w.as(t, "orders"), w.as(t, "billing")
	heard := make(chan *nats.Msg, 8)
	for _, subject := range []string{"_INBOX.>", "_INBOX_orders.>", "_INBOX_billing.>"} {
		if _, err := billing.ChanSubscribe(subject, heard); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, billing)
	for range 10 {
		if _, err := orders.Request("auth.fresh", nil, 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, billing)
	if len(heard) != 0 {
		t.Errorf("billing hears the replies to orders: %q", (<-heard).Subject)
	}
}

// Trap: with the right to create a consumer one has messages delivered anywhere. So a
// subscriber is given one.
func TestSubscribersReadByTheConsumerTheyAreGiven(t *testing.T) {
	c := everybody()
	c.Subscribers = append(c.Subscribers, "late")
	w := newWorld(t, c)
	js := w.streams(t, "audit", "mailer")
	var sent []events.Event
	for n := range 20 {
		e := eventstest.Event(uint64(n+1), events.SessionEnded{Sub: "u1", SID: fmt.Sprint("s", n), Rev: uint64(n + 1)})
		if err := events.Publish(t.Context(), js, e); err != nil {
			t.Fatal(err)
		}
		sent = append(sent, e)
	}
	got := make(chan events.Event, len(sent))
	handler := func(_ context.Context, e events.Event) error { got <- e; return nil }
	s, err := events.Subscribe(t.Context(), w.as(t, "audit"), events.Subscription{Durable: "audit"}, handler)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, want := range sent {
		select {
		case e := <-got:
			if e.ID != want.ID {
				t.Fatalf("event %s, want %s", e.ID, want.ID)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("event %d does not come: %+v", want.Sequence, s.Stats())
		}
	}
	refuse := func(what, who, durable string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		other, err := events.Subscribe(ctx, w.as(t, who), events.Subscription{Durable: durable}, handler)
		if err == nil {
			other.Close()
			t.Errorf("%s: subscribed", what)
		}
	}
	refuse("a consumer of one's own making", "audit", "")
	refuse("that of another subscriber", "mailer", "audit")
	refuse("one that was not made yet", "late", "late")
	refuse("a service without the right", "orders", "audit")
}

// A verifier that has much to catch up on reads the feed's history in batches.
func TestHistoryIsReadAcrossAccounts(t *testing.T) {
	w := newWorld(t, everybody())
	js := w.streams(t)
	const records = 600
	for range records {
		if _, err := js.Publish(t.Context(), "auth.revocations.token", []byte("a record")); err != nil {
			t.Fatal(err)
		}
	}
	for _, who := range []string{"orders", "gateway"} {
		nc := w.as(t, who)
		inbox := nc.NewInbox()
		sub, err := nc.SubscribeSync(inbox)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for more := true; more; {
			if err := nc.PublishRequest("$JS.API.DIRECT.GET.AUTH_REVOCATIONS", inbox, fmt.Appendf(nil, `{"seq":%d,"batch":250}`, n+1)); err != nil {
				t.Fatal(err)
			}
			for {
				msg, err := sub.NextMsg(5 * time.Second)
				if err != nil {
					t.Fatalf("%s after %d: %v", who, n, err)
				}
				if msg.Header.Get("Status") != "" {
					more = msg.Header.Get("Nats-Num-Pending") != "0" && msg.Header.Get("Status") == "204"
					break
				}
				n++
			}
		}
		if n != records {
			t.Errorf("%s got %d records, want %d", who, n, records)
		}
	}
}

func TestGatewaysHaveTheirBucketAndNoOther(t *testing.T) {
	w := newWorld(t, everybody())
	js := jet(t, w.as(t, "gateway"))
	sessions, err := vault.Open(t.Context(), js, vault.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = vault.Open(t.Context(), js, vault.Config{Lifetime: time.Hour}); err != nil {
		t.Fatalf("changing it: %v", err)
	}
	token := vault.NewToken()
	entry, err := sessions.Create(t.Context(), token, vault.Session{Sub: "u_1"})
	if err == nil {
		_, err = sessions.Replace(t.Context(), token, entry, vault.Session{Sub: "u_2"})
	}
	if err != nil {
		t.Fatal(err)
	}
	if got, err := sessions.Get(t.Context(), token); err != nil || got.Sub != "u_2" {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := sessions.Delete(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	if _, err := sessions.Get(t.Context(), token); !errors.Is(err, vault.ErrNotFound) {
		t.Errorf("after the deletion: %v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond) // a refusal is silence
	defer cancel()
	if _, err := js.CreateKeyValue(short, jetstream.KeyValueConfig{Bucket: "other"}); err == nil {
		t.Error("another bucket was created")
	}
	if err := js.DeleteKeyValue(short, natsconfig.BucketSessions); err == nil {
		t.Error("the bucket was deleted")
	}
	// The same subjects elsewhere are nobody's.
	if _, err := jet(t, w.as(t, "orders")).KeyValue(short, natsconfig.BucketSessions); err == nil {
		t.Error("a service found the bucket")
	}
}

// The enforcer finds a connection by its certificate and ends it, also where that has
// expired meanwhile: the server lets the connection go on.
func TestTheEnforcerEndsConnections(t *testing.T) {
	w := newWorld(t, everybody())
	cert := w.ca.certificate(t, func(c *x509.Certificate) {
		c.URIs, c.NotAfter = uri(t, "spiffe://example.org/orders"), time.Now().Add(4*time.Second)
	})
	var revoked atomic.Pointer[[]string]
	revoked.Store(&[]string{})
	enforcer, err := bus.StartEnforcer(bus.EnforcerConfig{
		Conn: w.as(t, "authsvc-enforcer"), Log: slog.New(slog.DiscardHandler),
		Revoked: func(context.Context) ([]string, error) { return *revoked.Load(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer enforcer.Close()
	closed := make(chan struct{})
	nc, err := w.dial(cert, "_INBOX_orders", nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	other := w.as(t, "orders") // the same identity by another certificate
	eventually(t, "the certificate expires", func() bool { return time.Now().After(cert.Leaf.NotAfter) })
	settle(t, nc)
	revoked.Store(&[]string{events.CertificateID(cert.Leaf)})
	enforcer.Wake()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Fatal("the connection lives on")
	}
	settle(t, other)
}
