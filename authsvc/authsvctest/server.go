// Package authsvctest runs the real auth service in process, for tests: HTTP on a
// free port of the loopback address, an embedded NATS broker with JetStream, and
// SQLite, all in a temporary directory of the test.
//
//	s := authsvctest.Start(t, authsvctest.Config{})
//	ada := s.Register(t, "ada")
//	tokens := s.Login(t, ada)
//	s.Revoke(t, events.ScopeUser, ada.Sub)
//
// Everything ends with the test. Methods that take a testing.TB fail it where
// something does not work; they may be called from the test's own goroutine only.
package authsvctest

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
	"github.com/authbus/authbus/authsvc/internal/node"
	"github.com/authbus/authbus/events"
)

// Config says how the auth service differs from its defaults. The zero value of
// each field is the auth service's default.
type Config struct {
	// Audiences are the services that tokens are for; default orders, billing.
	Audiences []string
	// AccessLifetime and RefreshGrace are as in `authsvc serve`.
	AccessLifetime, RefreshGrace time.Duration
	// SharedSecret signs tokens in place of a key pair, and PreviousSharedSecret is
	// accepted as well: both as in AUTHSVC_SECRET and AUTHSVC_PREVIOUS_SECRET, see
	// token.ParseSecret. [Server.SignWith] changes them.
	SharedSecret, PreviousSharedSecret string
	// TrustedProxies are the networks whose X-Forwarded-For is believed; default none.
	TrustedProxies []netip.Prefix
	// Log takes what the service logs; nil discards it.
	Log *slog.Logger
}

// Server is a running auth service.
type Server struct {
	dir    string
	config node.Config
	node   *node.Node
	anyone *client.Client

	adminOnce sync.Once
	admin     Tokens
}

// timeout bounds each thing that a test waits for.
const timeout = 30 * time.Second

// Start starts an auth service and returns once it is ready. It ends with t.
func Start(t testing.TB, c Config) *Server {
	t.Helper()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{dir: t.TempDir()}
	s.config = node.Config{
		Listen: "127.0.0.1:0", DatabaseURL: "sqlite:" + s.database(),
		MasterKeyFile: filepath.Join(s.dir, "master.key"),
		// No test cuts the power: syncing each message would only make them slow.
		Embedded:  &node.Embedded{Dir: filepath.Join(s.dir, "nats"), Listen: "127.0.0.1:0", SyncInterval: time.Minute},
		Audiences: c.Audiences, AccessLifetime: c.AccessLifetime, RefreshGrace: c.RefreshGrace,
		TrustedProxies: c.TrustedProxies, Log: c.Log,
	}
	s.sign(c.SharedSecret, c.PreviousSharedSecret)
	s.start(t)
	t.Cleanup(func() {
		if err := s.node.Close(); err != nil {
			t.Errorf("closing the auth service: %v", err)
		}
	})
	return s
}

func (s *Server) database() string { return filepath.Join(s.dir, "auth.db") }

// start starts the node, and keeps the addresses and the issuer for the next time.
func (s *Server) start(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	n, err := node.Start(ctx, s.config)
	if err != nil {
		t.Fatalf("starting the auth service: %v", err)
	}
	s.node = n
	if err := n.AwaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	s.config.Listen = n.URL()[len("http://"):]
	s.config.Issuer = n.Issuer()
	s.config.Embedded.Listen = n.Broker().URL()[len("nats://"):]
	if s.anyone, err = client.New(client.Config{Server: n.URL()}); err != nil {
		t.Fatal(err)
	}
}

// URL is the address of the HTTP API.
func (s *Server) URL() string { return s.node.URL() }

// Issuer is the issuer of the tokens.
func (s *Server) Issuer() string { return s.node.Issuer() }

// NATSURL is the address of the broker.
func (s *Server) NATSURL() string { return s.node.Broker().URL() }

// Connect opens a connection to the broker, as any service would. It closes with t.
func (s *Server) Connect(t testing.TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	return Connect(t, s.NATSURL(), opts...)
}

// Connect opens a connection to a broker that reconnects fast and for ever. It
// closes with t.
func Connect(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, append([]nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond),
		nats.ReconnectJitter(10*time.Millisecond, 10*time.Millisecond),
	}, opts...)...)
	if err != nil {
		t.Fatalf("connecting to the broker: %v", err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// User is a registered user.
type User struct{ Sub, Username, Password string }

// Tokens are what a login gives.
type Tokens struct{ AccessToken, RefreshToken, Sub, SID string }

// Register registers a user of the given name with a random password.
func (s *Server) Register(t testing.TB, username string) User {
	t.Helper()
	u := User{Username: username, Password: rand.Text()}
	for strings.Contains(strings.ToLower(u.Password), username) {
		u.Password = rand.Text() // it may not hold the user's name
	}
	account, err := s.anyone.Register(t.Context(), wire.RegisterRequest{
		Username: u.Username, Email: username + "@example.org", Password: wire.Secret(u.Password),
	})
	if err != nil {
		t.Fatalf("registering %s: %v", username, err)
	}
	u.Sub = account.Sub
	return u
}

// Login begins a session.
func (s *Server) Login(t testing.TB, u User) Tokens {
	t.Helper()
	got, err := s.anyone.Login(t.Context(), wire.LoginRequest{Login: u.Username, Password: wire.Secret(u.Password)})
	if err != nil {
		t.Fatalf("logging in %s: %v", u.Username, err)
	}
	return tokens(got)
}

// Refresh trades the refresh token for new tokens.
func (s *Server) Refresh(t testing.TB, old Tokens) Tokens {
	t.Helper()
	got, err := s.anyone.Refresh(t.Context(), wire.RefreshRequest{RefreshToken: wire.Secret(old.RefreshToken)})
	if err != nil {
		t.Fatalf("refreshing session %s: %v", old.SID, err)
	}
	return tokens(got)
}

func tokens(w wire.Tokens) Tokens {
	return Tokens{AccessToken: w.AccessToken, RefreshToken: w.RefreshToken, Sub: w.Sub, SID: w.SID}
}

// Ack is the acknowledgement of a revocation.
type Ack struct {
	Epoch string
	Rev   uint64
	// Delivered says whether the stream had it by then.
	Delivered bool
}

func ack(w wire.Ack) Ack { return Ack{w.Epoch, w.Rev, w.Delivery == wire.Delivered} }

// Logout ends the session of the tokens.
func (s *Server) Logout(t testing.TB, of Tokens) Ack {
	t.Helper()
	got, err := s.as(of).Logout(t.Context())
	if err != nil {
		t.Fatalf("logging out: %v", err)
	}
	return ack(got)
}

// Revoke revokes as an admin.
func (s *Server) Revoke(t testing.TB, scope events.Scope, id string) Ack {
	t.Helper()
	got, err := s.as(s.asAdmin(t)).Revoke(t.Context(), wire.RevokeRequest{
		Scope: string(scope), ID: id, Reason: "test", Confirm: true,
	})
	if err != nil {
		t.Fatalf("revoking %s %s: %v", scope, id, err)
	}
	if scope == events.ScopeEveryone || scope == events.ScopeKey {
		s.adminOnce = sync.Once{} // the admin as well
	}
	return ack(got.Ack)
}

// AddService adds the service that an audience stands for, and returns the secret
// with which it may introspect and revoke; the audience is its client id.
func (s *Server) AddService(t testing.TB, audience string) (secret string) {
	t.Helper()
	added, err := s.as(s.asAdmin(t)).AddService(t.Context(), wire.ServiceRequest{ID: audience})
	if err != nil {
		t.Fatalf("adding service %s: %v", audience, err)
	}
	return added.Secret
}

func (s *Server) as(who Tokens) *client.Client {
	return s.anyone.As(func(context.Context) (string, error) { return who.AccessToken, nil })
}

// root is the first admin.
var root = User{Username: "root", Password: "nine quiet otters juggle"}

// asAdmin logs in as admin, who is made the first time.
func (s *Server) asAdmin(t testing.TB) Tokens {
	t.Helper()
	s.adminOnce.Do(func() {
		secret, needed, err := s.node.BootstrapSecret(t.Context())
		if err != nil {
			t.Fatalf("making the first admin: %v", err)
		}
		if needed {
			_, err := s.anyone.Bootstrap(t.Context(), wire.BootstrapRequest{
				Secret: wire.Secret(secret), Username: root.Username, Email: "root@example.org", Password: wire.Secret(root.Password),
			})
			if err != nil {
				t.Fatalf("making the first admin: %v", err)
			}
		}
		s.admin = s.Login(t, root)
	})
	return s.admin
}
