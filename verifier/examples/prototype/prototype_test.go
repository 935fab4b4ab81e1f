package main_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/authsvctest"
	"github.com/authbus/authbus/events"
)

// The prototype in each of its forms, and what it does where they differ.
var forms = []struct {
	name   string
	python bool
	args   []string
	// afterLogout is the status of the first request after a forced logout that is
	// acknowledged: 0 where the logout is honoured a moment later, but not at once.
	afterLogout int
	// alone is the status of a good token while the auth service is stopped.
	alone int
}{
	{"Go local", false, []string{"-mode", "local", "-nats", "NATS"}, 0, 200},
	{"Go remote over the bus", false, []string{"-mode", "remote", "-nats", "NATS"}, 401, 503},
	{"Go remote over HTTP", false, []string{"-mode", "remote", "-introspection", "INTROSPECTION"}, 401, 503},
	{"Python remote", true, []string{"--mode", "remote", "--introspection", "INTROSPECTION"}, 401, 503},
	{"Python local", true, []string{"--mode", "local"}, 200, 200},
}

// TestEveryForm takes each form through a day of a service: nobody, strangers,
// users, a forced logout, and an auth service that is away for a while.
func TestEveryForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t, authsvctest.Config{})
	ada := w.Register(t, "ada")
	running := make([]*service, len(forms))
	for i, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			if f.python {
				requirePython(t)
			}
			s := w.run(w.t, f.python, f.args...) // until the end of the whole test
			running[i] = s
			w.checkStrangers(t, s)
			tokens := w.Login(t, ada)
			if got := s.get(t, tokens.AccessToken); got.status != 200 || got.Message != "token validated" || got.Sub != ada.Sub {
				t.Errorf("a good token: %+v", got)
			}
			w.checkLogout(t, s, tokens, f.afterLogout)
		})
	}
	tokens := w.Login(t, ada)
	for _, s := range running {
		if s != nil {
			s.await(t, tokens.AccessToken, 200)
		}
	}
	w.Restart(t, func() {
		for i, s := range running {
			if s == nil {
				continue
			}
			if got := s.get(t, tokens.AccessToken); got.status != forms[i].alone {
				t.Errorf("%s without the auth service: %+v, want %d", forms[i].name, got, forms[i].alone)
			}
			if got := s.get(t, ""); got.status != 401 || got.Title != "not authenticated" {
				t.Errorf("%s, nobody without the auth service: %+v", forms[i].name, got)
			}
		}
	})
	for _, s := range running {
		if s != nil {
			s.await(t, tokens.AccessToken, 200)
		}
	}
}

// checkStrangers: who shows nothing is not authenticated, and nobody is asked; who
// shows something bad shall log in again.
func (w *world) checkStrangers(t *testing.T, s *service) {
	t.Helper()
	asked := w.asked.Load()
	if got := s.get(t, ""); got.status != 401 || got.Title != "not authenticated" || got.challenge != "Bearer" {
		t.Errorf("no token: %+v", got)
	}
	if w.asked.Load() != asked {
		t.Error("the auth service was asked although there is no token")
	}
	tokens := w.Login(t, w.Register(t, "user-of-"+strings.ToLower(strings.ReplaceAll(t.Name()[len("TestEveryForm/"):], "_", "-"))))
	good := tokens.AccessToken
	for name, bad := range map[string]string{
		"nonsense": "nonsense", "three parts": "a.b.c", "no signature": good[:strings.LastIndex(good, ".")+1],
		"tampered": good[:len(good)-8] + "AAAAAAAA", "a refresh token": tokens.RefreshToken,
		"two at once": good + "," + good, "a long one": strings.Repeat("a", 20_000),
	} {
		if got := s.get(t, bad); got.status != 401 || got.Title != "please log in again" || !strings.Contains(got.challenge, `error="invalid_token"`) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// checkLogout forces a logout and holds the service to what it promises.
func (w *world) checkLogout(t *testing.T, s *service, tokens authsvctest.Tokens, status int) {
	t.Helper()
	w.Revoke(t, events.ScopeSession, tokens.SID)
	began := time.Now()
	if status == 0 {
		s.await(t, tokens.AccessToken, 401)
		t.Logf("a forced logout is honoured %v after it is acknowledged", time.Since(began).Round(time.Microsecond))
		return
	}
	if got := s.get(t, tokens.AccessToken); got.status != status {
		t.Errorf("after a forced logout: %+v, want %d", got, status)
	}
	t.Logf("the next request after a forced logout has its answer, %d, in %v", status, time.Since(began).Round(time.Microsecond))
}

// TestPythonLocalLearnsOfALogoutOnlyAtExpiry pins what prototype.py says of
// itself: by the JWKS alone a token that is revoked works until it expires.
func TestPythonLocalLearnsOfALogoutOnlyAtExpiry(t *testing.T) {
	t.Parallel()
	requirePython(t)
	w := newWorld(t, authsvctest.Config{AccessLifetime: 3 * time.Second})
	s := w.run(t, true, "--mode", "local", "--leeway", "0")
	tokens := w.Login(t, w.Register(t, "ada"))
	w.Revoke(t, events.ScopeSession, tokens.SID)
	if got := s.get(t, tokens.AccessToken); got.status != 200 {
		t.Errorf("a revoked token that has not expired: %+v; prototype.py should say so", got)
	}
	s.await(t, tokens.AccessToken, 401)
}

// world is the real auth service, and a way to its introspection that counts.
type world struct {
	*authsvctest.Server
	t             *testing.T
	binary        string
	environment   []string
	introspection string
	asked         atomic.Int64
}

func newWorld(t *testing.T, c authsvctest.Config) *world {
	t.Helper()
	w := &world{Server: authsvctest.Start(t, c), t: t, binary: filepath.Join(t.TempDir(), "prototype")}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", w.binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	w.environment = append(os.Environ(), "CLIENT_ID=orders", "CLIENT_SECRET="+w.AddService(t, "orders"))
	target, err := url.Parse(w.URL())
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		w.asked.Add(1)
		r.SetURL(target)
	}}
	counting := httptest.NewServer(proxy)
	t.Cleanup(counting.Close)
	w.introspection = counting.URL + "/v1/introspect"
	return w
}

// service is a prototype that runs.
type service struct{ url string }

// run starts a prototype on a free port and ends it with t.
func (w *world) run(t *testing.T, python bool, args ...string) *service {
	t.Helper()
	name, flags := w.binary, []string{"-listen", "127.0.0.1:0", "-issuer", w.Issuer()}
	if python {
		name, flags = interpreter, []string{"prototype.py", "--listen", "127.0.0.1:0", "--issuer", w.Issuer()}
	}
	fill := strings.NewReplacer("NATS", w.NATSURL(), "INTROSPECTION", w.introspection)
	for _, arg := range args {
		flags = append(flags, fill.Replace(arg))
	}
	cmd := exec.CommandContext(t.Context(), name, flags...)
	cmd.Env, cmd.Stderr = w.environment, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // the end of t's context has told it to end
	line, err := bufio.NewReader(stdout).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("it says %q: %v", line, err)
	}
	return &service{address}
}

// answer is what the prototype answers.
type answer struct {
	status              int
	challenge           string
	Message, Sub, Title string
}

var anyone = &http.Client{Timeout: 10 * time.Second}

// get asks with a token, unless it is empty.
func (s *service) get(t *testing.T, token string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := anyone.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	a := answer{status: resp.StatusCode, challenge: resp.Header.Get("WWW-Authenticate")}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		t.Fatalf("%d with a body that is no JSON: %v", a.status, err)
	}
	return a
}

// await asks until the answer has the status.
func (s *service) await(t *testing.T, token string, status int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		got := s.get(t, token)
		if got.status == status {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v, want %d", got, status)
		}
	}
}

// interpreter is Debian's, which has Debian's packages.
const interpreter = "/usr/bin/python3"

func requirePython(t *testing.T) {
	t.Helper()
	err := exec.CommandContext(t.Context(), interpreter, "-c", "import fastapi, uvicorn, httpx, jwt, cryptography").Run()
	if err == nil {
		return
	}
	const missing = "Debian's python3-fastapi, -uvicorn, -httpx, -jwt and -cryptography are not all installed"
	if os.Getenv("AUTHBUS_TEST_REQUIRE") == "all" {
		t.Fatal(missing)
	}
	t.Skip(missing)
}
