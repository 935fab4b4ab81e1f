package natsconfig_test

import (
	"testing"

	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
	"github.com/authbus/authbus/authsvc/internal/natsconfig"
	"github.com/authbus/authbus/events"
)

// The border of accounts holds by itself. What a service of APPS does to whom the
// permissions were given away by mistake reaches no stream.
func TestTheBorderHoldsWithoutPermissions(t *testing.T) {
	w := &world{ca: newIssuer(t)}
	opts := w.options(t, everybody())
	for _, user := range opts.Users {
		if user.Username == "spiffe://example.org/orders" {
			user.Permissions = nil
		}
	}
	w.server = run(t, opts)
	w.url = "tls://" + w.server.Addr().String()
	js := w.streams(t, "audit", "mailer")
	for _, subject := range []string{"auth.revocations.token", "auth.events.login.succeeded.u_1"} {
		if _, err := js.Publish(t.Context(), subject, []byte("the first")); err != nil {
			t.Fatal(err)
		}
	}
	sessions, err := vault.Open(t.Context(), jet(t, w.as(t, "gateway")), vault.Config{})
	if err != nil {
		t.Fatal(err)
	}
	token := vault.NewToken()
	if _, err := sessions.Create(t.Context(), token, vault.Session{SID: "s_1"}); err != nil {
		t.Fatal(err)
	}

	nc := w.as(t, "orders")
	attacks := []string{"auth.revocations.token", "auth.revocations.everyone", "auth.events.login.succeeded.u_1", "$KV.gateway_sessions." + token.Name()}
	for _, stream := range []string{events.StreamRevocations, events.StreamEvents, "KV_" + natsconfig.BucketSessions} {
		for _, op := range []string{"DELETE", "PURGE", "UPDATE", "CREATE", "MSG.DELETE", "RESTORE", "SNAPSHOT"} {
			attacks = append(attacks, "$JS.API.STREAM."+op+"."+stream)
		}
		attacks = append(attacks, "$JS.API.CONSUMER.CREATE."+stream+".spy", "$JS.API.CONSUMER.DURABLE.CREATE."+stream+".spy", "$JS.API.CONSUMER.DELETE."+stream+".mailer")
	}
	const (
		update = `{"name":"AUTH_REVOCATIONS","subjects":["other.>"],"stream_name":"AUTH_EVENTS","seq":1,` +
			`"config":{"durable_name":"spy","name":"spy","deliver_subject":"auth.verify","ack_policy":"none"}}`
		read = "$JS.API.DIRECT.GET.AUTH_REVOCATIONS"
	)
	for _, subject := range attacks {
		for _, payload := range []string{"", update} {
			if err := nc.Publish(subject, []byte(payload)); err != nil {
				t.Fatal(err)
			}
		}
		for _, seq := range []string{`{"seq":1}`, `{"seq":99}`} { // and by the reply of the server
			if err := nc.PublishRequest(read, subject, []byte(seq)); err != nil {
				t.Fatal(err)
			}
		}
	}
	settle(t, nc)
	settle(t, w.as(t, natsconfig.Publisher)) // and what went across has been dealt with

	if err := nc.LastError(); err != nil {
		t.Errorf("the service was refused, and nothing was tried: %v", err)
	}
	for _, name := range []string{events.StreamRevocations, events.StreamEvents} {
		s, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if info := s.CachedInfo(); info.State.LastSeq != 1 || info.State.Msgs != 1 || info.Config.Subjects[0] == "other.>" {
			t.Errorf("%s is %+v", name, info)
		}
		if _, err := jet(t, w.as(t, "operator")).Consumer(t.Context(), name, "spy"); err == nil {
			t.Errorf("%s has a consumer more", name)
		}
	}
	if _, err := js.Consumer(t.Context(), events.StreamEvents, "mailer"); err != nil {
		t.Errorf("the consumer of mailer: %v", err)
	}
	if entry, err := sessions.Get(t.Context(), token); err != nil || entry.SID != "s_1" {
		t.Errorf("the session: %v", err)
	}
}
