package authority_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/keyring"
	"github.com/authbus/authbus/authsvc/internal/password"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/authsvc/internal/store/storetest"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

const (
	issuer       = "https://auth.example.com"
	goodPassword = "plover-mizzen-octave-krill"
	newPassword  = "quorum-zephyr-anvil-dahlia"
	badPassword  = "wrong-wrong-wrong-wrong"
	home         = "192.0.2.10"
	elsewhere    = "198.51.100.99"
)

// world is an authority on a real database with real keys.
type world struct {
	t       testing.TB
	address string // of the database
	config  authority.Config
	db      *store.DB
	keys    *keyring.Keyring
	*authority.Authority
}

// newWorld makes an authority on a fresh SQLite database.
func newWorld(t testing.TB, change func(*authority.Config)) *world {
	t.Helper()
	return newWorldAt(t, "sqlite:"+filepath.Join(t.TempDir(), "auth.db"), change)
}

func newWorldAt(t testing.TB, address string, change func(*authority.Config)) *world {
	t.Helper()
	w := &world{t: t, address: address, config: authority.Config{
		Issuer: issuer, Logger: slog.New(slog.DiscardHandler),
	}}
	if change != nil {
		change(&w.config)
	}
	w.start()
	return w
}

// start opens the database and an authority on it, as a process that starts does.
func (w *world) start() {
	w.t.Helper()
	w.db = storetest.Open(w.t, w.address)
	master, err := keyring.ParseMasterKey(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	w.must(err)
	w.keys, err = keyring.Open(w.t.Context(), w.db, keyring.Config{Issuer: issuer, Master: master})
	w.must(err)
	w.Authority, err = authority.New(w.config, w.db, w.keys, w.hasher(password.HasherConfig{}), nil)
	w.must(err)
}

// hasher returns a hasher that is fast enough for tests where config says nothing else.
func (w *world) hasher(config password.HasherConfig) *password.Hasher {
	w.t.Helper()
	if config.MemoryKiB == 0 {
		config.MemoryKiB, config.Passes = 64, 1
	}
	if config.Waiting == 0 {
		config.Waiting = 1000
	}
	h, err := password.NewHasher(config)
	w.must(err)
	return h
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) ctx() context.Context { return w.t.Context() }

// register registers a user with goodPassword.
func (w *world) register(name string) authority.Account {
	w.t.Helper()
	account, err := w.Register(w.ctx(), authority.Registration{
		Username: name, Email: name + "@example.com", Password: goodPassword,
	}, authority.Meta{Address: home})
	w.must(err)
	return account
}

// tryLogin logs in from an address.
func (w *world) tryLogin(login, plain, address string) (*authority.Tokens, error) {
	return w.Login(w.ctx(), authority.Credentials{Login: login, Password: authority.Secret(plain)},
		authority.Meta{Address: address, UserAgent: "test"})
}

// login logs in with goodPassword from home.
func (w *world) login(name string) *authority.Tokens {
	w.t.Helper()
	tokens, err := w.tryLogin(name, goodPassword, home)
	w.must(err)
	return tokens
}

func (w *world) tryRefresh(raw authority.Secret) (*authority.Tokens, error) {
	return w.Refresh(w.ctx(), authority.RefreshRequest{Token: raw}, authority.Meta{Address: home})
}

func (w *world) refresh(raw authority.Secret) *authority.Tokens {
	w.t.Helper()
	tokens, err := w.tryRefresh(raw)
	w.must(err)
	return tokens
}

// claims verifies an access token that must be good.
func (w *world) claims(tokens *authority.Tokens) *token.Claims {
	w.t.Helper()
	c, err := w.Authenticate(w.ctx(), tokens.AccessToken.Reveal())
	w.must(err)
	return c
}

// admin returns the claims of the first admin, whom it makes.
func (w *world) admin() *token.Claims {
	w.t.Helper()
	secret, err := w.NewBootstrapSecret(w.ctx())
	w.must(err)
	_, err = w.BootstrapAdmin(w.ctx(), secret, authority.Registration{
		Username: "root", Email: "root@example.com", Password: goodPassword,
	}, authority.Meta{Address: home})
	w.must(err)
	return w.claims(w.login("root"))
}

// wantCode checks that err is a refusal with the code.
func (w *world) wantCode(err error, code authority.Code, what string) {
	w.t.Helper()
	var refused *authority.Error
	if !errors.As(err, &refused) || refused.Code != code {
		w.t.Errorf("%s: %v, want %s", what, err, code)
	}
}

// wantDead checks that neither token of a session works any more.
func (w *world) wantDead(tokens *authority.Tokens, what string) {
	w.t.Helper()
	_, err := w.Authenticate(w.ctx(), tokens.AccessToken.Reveal())
	w.wantCode(err, authority.CodeInvalidToken, what+": access token")
	if tokens.RefreshToken != "" {
		_, err = w.tryRefresh(tokens.RefreshToken)
		w.wantCode(err, authority.CodeInvalidGrant, what+": refresh token")
	}
}

// wantAlive checks that an access token works.
func (w *world) wantAlive(tokens *authority.Tokens, what string) {
	w.t.Helper()
	if _, err := w.Authenticate(w.ctx(), tokens.AccessToken.Reveal()); err != nil {
		w.t.Errorf("%s: the access token is refused: %v", what, err)
	}
}

// outbox returns all events recorded so far, in order.
func (w *world) outbox() []events.Event {
	w.t.Helper()
	rows, err := w.db.Reader(w.ctx()).PendingEvents(100_000)
	w.must(err)
	var all []events.Event
	for _, row := range rows {
		e, err := events.Decode(row.Document)
		if err != nil {
			w.t.Fatalf("event %d breaks the contract: %v", row.Seq, err)
		}
		if want := events.SubjectOf(e.Data.Type(), e.Data.Subject()); row.Subject != want {
			w.t.Errorf("event %d has the subject %s, want %s", row.Seq, row.Subject, want)
		}
		all = append(all, e)
	}
	return all
}

// eventsOf returns the events of one type.
func eventsOf[T events.Data](w *world) []T {
	w.t.Helper()
	var found []T
	for _, e := range w.outbox() {
		if data, ok := e.Data.(T); ok {
			found = append(found, data)
		}
	}
	return found
}

// records returns the whole log, oldest first.
func (w *world) records() []store.LogEntry {
	w.t.Helper()
	entries, err := w.db.Reader(w.ctx()).Log(store.LogFilter{Limit: 100_000})
	w.must(err)
	for i, j := 0, len(entries)-1; i < j; i, j = i+1, j-1 {
		entries[i], entries[j] = entries[j], entries[i]
	}
	return entries
}

// raw opens the SQLite database beside the store, for what the store has no
// business to do.
func (w *world) raw() *sql.DB {
	w.t.Helper()
	db, err := sql.Open("sqlite", "file:"+w.address[len("sqlite:"):]+"?_pragma=busy_timeout(10000)")
	w.must(err)
	w.t.Cleanup(func() { _ = db.Close() })
	return db
}
