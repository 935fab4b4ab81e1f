// Package verifiertest gives the tests of a service that embeds a verifier a real
// authority in process: an auth service with its broker and database.
//
//	a := verifiertest.Start(t, "orders")
//	v, err := verifier.New(ctx, a.Config())
//	token := a.Token(t, "ada")
//	a.Revoke(t, token)     // v refuses it within milliseconds
//	a.Partition()          // v hears nothing: past MaxStale it refuses everything
//	a.Heal()
//
// Everything ends with the test and leaves nothing behind. This package brings a
// broker and a database with it: import it in tests only.
package verifiertest

import (
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/authsvctest"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier"
)

// Authority is a running auth service, and a connection to it that can be cut.
type Authority struct {
	server   *authsvctest.Server
	link     *link
	nc       *nats.Conn
	audience string

	mu    sync.Mutex
	users map[string]authsvctest.User   // by name; guarded by mu
	sids  map[string]authsvctest.Tokens // by access token; guarded by mu
}

// Start starts an authority whose tokens are for one service, the audience. It
// ends with t.
func Start(t testing.TB, audience string) *Authority {
	t.Helper()
	a := &Authority{
		server: authsvctest.Start(t, authsvctest.Config{Audiences: []string{audience}}), audience: audience,
		users: make(map[string]authsvctest.User), sids: make(map[string]authsvctest.Tokens),
	}
	var err error
	if a.link, err = newLink(a.server.NATSURL()[len("nats://"):]); err != nil {
		t.Fatalf("starting the link: %v", err)
	}
	t.Cleanup(func() {
		if err := a.link.close(); err != nil {
			t.Errorf("closing the link: %v", err)
		}
	})
	a.nc = authsvctest.Connect(t, a.link.url(), nats.PingInterval(500*time.Millisecond), nats.Timeout(500*time.Millisecond))
	return a
}

// Config is the configuration of a verifier that trusts this authority, over a
// connection that [Authority.Partition] cuts.
func (a *Authority) Config() verifier.Config {
	return verifier.Config{Issuer: a.server.Issuer(), Audience: a.audience, NATS: a.nc}
}

// Token logs the user in and returns the access token of a new session. A user
// is registered the first time its name is used: lower-case letters, digits, hyphens.
func (a *Authority) Token(t testing.TB, user string) string {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	u, known := a.users[user]
	if !known {
		u = a.server.Register(t, user)
		a.users[user] = u
	}
	tokens := a.server.Login(t, u)
	a.sids[tokens.AccessToken] = tokens
	return tokens.AccessToken
}

// Revoke ends the session of a token that [Authority.Token] gave, and returns once
// that is acknowledged.
func (a *Authority) Revoke(t testing.TB, token string) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	tokens, known := a.sids[token]
	if !known {
		t.Fatal("Revoke: not a token of this authority")
	}
	a.server.Revoke(t, events.ScopeSession, tokens.SID)
}

// RevokeUser logs a user out everywhere, and returns once that is acknowledged.
func (a *Authority) RevokeUser(t testing.TB, user string) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	u, known := a.users[user]
	if !known {
		t.Fatalf("RevokeUser: no user %q", user)
	}
	a.server.Revoke(t, events.ScopeUser, u.Sub)
}

// Partition cuts the verifier off, as when a cable is pulled: nothing arrives any
// longer, in either direction, and no connection is closed. The authority itself
// goes on.
func (a *Authority) Partition() { a.link.set(true) }

// Heal undoes Partition.
func (a *Authority) Heal() { a.link.set(false) }

// Server is the auth service, for tests that need more of it.
func (a *Authority) Server() *authsvctest.Server { return a.server }
