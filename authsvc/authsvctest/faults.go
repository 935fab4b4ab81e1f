package authsvctest

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/node"
	"github.com/authbus/authbus/authsvc/internal/node/broker"
	"github.com/authbus/authbus/events"
)

// StopBroker stops the broker: every connection is lost.
func (s *Server) StopBroker() { s.node.Broker().Stop() }

// StartBroker starts it again, on the same address and data.
func (s *Server) StartBroker(t testing.TB) {
	t.Helper()
	if err := s.node.Broker().Start(); err != nil {
		t.Fatal(err)
	}
}

// DeleteFeed deletes the stream AUTH_REVOCATIONS, as an operator might by
// mistake. The auth service makes it anew within seconds.
func (s *Server) DeleteFeed(t testing.TB) {
	t.Helper()
	nc, err := nats.Connect(s.NATSURL(), s.node.Broker().Options(broker.Publisher)...)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), events.StreamRevocations); err != nil {
		t.Fatal(err)
	}
}

// Restart stops the whole service with its broker, calls meanwhile, and starts it
// again on the same addresses and data.
func (s *Server) Restart(t testing.TB, meanwhile func()) {
	t.Helper()
	if err := s.node.Close(); err != nil {
		t.Fatalf("closing the auth service: %v", err)
	}
	if meanwhile != nil {
		meanwhile()
	}
	s.start(t)
	s.adminOnce = sync.Once{}
}

// SignWith restarts the whole service so that it signs with the shared secret and
// also accepts the previous one; both empty means with key pairs. They are as in
// [Config].
func (s *Server) SignWith(t testing.TB, secret, previous string) {
	t.Helper()
	s.Restart(t, func() { s.sign(secret, previous) })
}

func (s *Server) sign(secret, previous string) {
	s.config.Signing, s.config.Secret, s.config.PreviousSecret = "", secret, previous
	if secret != "" {
		s.config.Signing = node.SharedSecret
	}
}

// Backup is a copy of the database at one time.
type Backup struct{ data []byte }

// Backup stops the service for a moment and copies the database.
func (s *Server) Backup(t testing.TB) Backup {
	t.Helper()
	var b Backup
	s.Restart(t, func() {
		var err error
		if b.data, err = os.ReadFile(s.database()); err != nil {
			t.Fatal(err)
		}
	})
	return b
}

// Restore stops the service and puts the database back to what it was. The
// streams keep what they have.
func (s *Server) Restore(t testing.TB, b Backup) {
	t.Helper()
	s.Restart(t, func() {
		if err := os.WriteFile(s.database(), b.data, 0o600); err != nil {
			t.Fatal(err)
		}
	})
}

// RevokeMany revokes many ids as fast as the service can, and returns once all
// are acknowledged.
func (s *Server) RevokeMany(t testing.TB, scope events.Scope, ids []string) {
	t.Helper()
	const writers = 256
	a := s.node.Authority()
	actor, err := a.Authenticate(t.Context(), s.asAdmin(t).AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	work := make(chan string)
	var wg sync.WaitGroup
	failed := make(chan error, writers)
	for range writers {
		wg.Go(func() {
			for id := range work {
				if _, err := a.Revoke(context.Background(), actor, authority.RevokeRequest{Scope: scope, ID: id, Reason: "test"}); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	for _, id := range ids {
		select {
		case work <- id:
		case err := <-failed:
			close(work)
			wg.Wait()
			t.Fatalf("revoking: %v", err)
		}
	}
	close(work)
	wg.Wait()
	select {
	case err := <-failed:
		t.Fatalf("revoking: %v", err)
	default:
	}
}
