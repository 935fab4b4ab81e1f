package httpapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
	"github.com/authbus/authbus/authsvc/internal/keyring"
	"github.com/authbus/authbus/authsvc/internal/logtest"
	"github.com/authbus/authbus/authsvc/internal/password"
	"github.com/authbus/authbus/authsvc/internal/store"
)

// world is a whole auth service over SQLite, but for the bus.
type world struct {
	url       string
	db        *store.DB
	keys      *keyring.Keyring
	authority *authority.Authority
	client    *client.Client // not logged in
	http      *http.Client   // holds every answer against openapi.yaml
	logs      *logtest.Buffer

	loseDatabase func()
}

const (
	testIssuer   = "https://auth.example.org"
	goodPassword = "seven pink walruses waltz"
)

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{logs: &logtest.Buffer{}}
	logger := slog.New(slog.NewJSONHandler(w.logs, nil))
	var err error
	if w.db, err = store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "authsvc.db")); err != nil {
		t.Fatal(err)
	}
	w.loseDatabase = sync.OnceFunc(func() { _ = w.db.Close() })
	t.Cleanup(w.loseDatabase)
	master, err := keyring.ParseMasterKey(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	w.keys, err = keyring.Open(t.Context(), w.db, keyring.Config{Issuer: testIssuer, Master: master, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	hasher, err := password.NewHasher(password.HasherConfig{MemoryKiB: 256, Passes: 1})
	if err != nil {
		t.Fatal(err)
	}
	w.authority, err = authority.New(authority.Config{Issuer: testIssuer, Logger: logger}, w.db, w.keys, hasher, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Authority: w.authority, JWKS: w.keys.JWKS, Issuer: testIssuer, Logger: logger, Registry: prometheus.NewRegistry(),
	}
	for _, c := range change {
		c(&cfg)
	}
	server := httptest.NewServer(New(cfg))
	t.Cleanup(server.Close)
	w.url = server.URL
	w.http = &http.Client{
		Transport:     checking{t, loadContract(t)},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if w.client, err = client.New(client.Config{Server: w.url, HTTP: w.http}); err != nil {
		t.Fatal(err)
	}
	return w
}

// person is somebody who is logged in.
type person struct {
	*client.Client
	tokens wire.Tokens
}

// join registers somebody and logs them in.
func (w *world) join(t *testing.T, name string) person {
	t.Helper()
	_, err := w.client.Register(t.Context(), wire.RegisterRequest{
		Username: name, Email: name + "@example.org", Password: goodPassword,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w.logIn(t, name)
}

func (w *world) logIn(t *testing.T, name string) person {
	t.Helper()
	tokens, err := w.client.Login(t.Context(), wire.LoginRequest{Login: name, Password: goodPassword})
	if err != nil {
		t.Fatal(err)
	}
	return w.holding(tokens)
}

func (w *world) holding(tokens wire.Tokens) person {
	source := func(context.Context) (string, error) { return tokens.AccessToken, nil }
	return person{w.client.As(source), tokens}
}

// admin returns the first admin.
func (w *world) admin(t *testing.T) person {
	t.Helper()
	secret, err := w.authority.NewBootstrapSecret(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.client.Bootstrap(t.Context(), wire.BootstrapRequest{
		Secret: wire.Secret(secret.Reveal()), Username: "root", Email: "root@example.org", Password: goodPassword,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w.logIn(t, "root")
}

// request is a raw request of a test.
type request struct {
	method, path string
	header       http.Header
	body         string
}

// answer is what came back.
type answer struct {
	status  int
	header  http.Header
	body    string
	problem wire.Problem // where there is one
}

func (w *world) send(t *testing.T, r request) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), r.method, w.url+r.path, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, r.header)
	resp, err := w.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(body)}
	if resp.StatusCode >= 400 {
		if err := json.Unmarshal(body, &a.problem); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// as returns the headers of somebody who sends JSON.
func (p person) as() http.Header {
	return http.Header{"Authorization": {"Bearer " + p.tokens.AccessToken}, "Content-Type": {"application/json"}}
}

func jsonHeader() http.Header { return http.Header{"Content-Type": {"application/json"}} }

// wantCode fails the test unless err is a refusal with the code.
func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if !client.HasCode(err, code) {
		t.Errorf("got %v, want the code %s", err, code)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
