package natsconfig_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/natsconfig"
	"github.com/authbus/authbus/events"
)

// TestEventsLeaveRoomForRevocations: both streams are in one account, and a flood of
// events, such as logins that fail, must not keep a revocation out of the feed.
func TestEventsLeaveRoomForRevocations(t *testing.T) {
	c := everybody()
	c.MaxFile = 1 << 20
	w := newWorld(t, c)
	s := w.serve(t)
	t.Cleanup(func() { // what does not fit in the end is not waited for
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.publisher.Close(ctx)
	})
	js := jet(t, w.as(t, natsconfig.Publisher))
	for _, size := range []int{8 << 10, 100} { // to the brim
		var err error
		for n := 0; err == nil; n++ {
			if n > 1_500 {
				t.Fatal("there is no end to events")
			}
			_, err = js.Publish(t.Context(), "auth.events.login.failed.u_1", bytes.Repeat([]byte("x"), size), jetstream.WithRetryAttempts(0))
		}
		if !strings.Contains(err.Error(), "maximum bytes exceeded") && !strings.Contains(err.Error(), "resource limits exceeded") {
			t.Fatal(err)
		}
	}
	before := last(t, js, events.StreamRevocations)
	secret, err := s.NewBootstrapSecret(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const password = "seven pink walruses waltz"
	_, err = s.BootstrapAdmin(t.Context(), secret, authority.Registration{Username: "root", Email: "root@example.org", Password: password}, authority.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := s.Login(t.Context(), authority.Credentials{Login: "root", Password: password}, authority.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	admin, err := s.Authenticate(t.Context(), tokens.AccessToken.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	for n := range 100 {
		done, err := s.Revoke(t.Context(), admin, authority.RevokeRequest{
			Scope: events.ScopeCert, ID: fmt.Sprintf("%064x", n), Reason: "key copied", NotAfter: time.Now().Add(time.Hour),
		})
		if err != nil || done.Delivery != authority.Delivered {
			t.Fatalf("revocation %d: %+v, %v", n, done, err)
		}
	}
	if after := last(t, js, events.StreamRevocations); after < before+100 {
		t.Errorf("the feed has %d messages, and had %d", after, before)
	}
}
