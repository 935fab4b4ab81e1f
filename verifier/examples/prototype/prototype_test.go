package main_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
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
	"github.com/authbus/authbus/verifier/token"
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
	running := make([]*service, len(forms))
	for i, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			if f.python {
				requirePython(t)
			}
			s := w.run(w.t, f.python, f.args...) // until the end of the whole test
			running[i] = s
			w.checkStrangers(t, s)
			tokens := w.Login(t, w.user)
			if got := s.get(t, tokens.AccessToken); got.status != 200 || got.Message != "token validated" || got.Sub != w.user.Sub {
				t.Errorf("a good token: %+v", got)
			}
			w.checkLogout(t, s, tokens, f.afterLogout)
		})
	}
	tokens := w.Login(t, w.user)
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
	for name, header := range map[string]http.Header{
		"no token": {}, "an empty one": {"Authorization": {"Bearer"}}, "another scheme": {"Authorization": {"Basic YTpi"}},
	} {
		if got := s.ask(t, header); got.status != 401 || got.Title != "not authenticated" || got.challenge != "Bearer" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if w.asked.Load() != asked {
		t.Error("the auth service was asked although there is no token")
	}
	tokens := w.Login(t, w.user)
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
	if got := s.ask(t, http.Header{"Authorization": {"Bearer " + good, "Bearer " + good}}); got.status != 400 {
		t.Errorf("two headers: %+v", got)
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

// TestPythonRemoteBelievesNoStrangeAnswer: what is not clearly an active access
// token for this service is not accepted, whatever the endpoint answers.
func TestPythonRemoteBelievesNoStrangeAnswer(t *testing.T) {
	t.Parallel()
	requirePython(t)
	w := newWorld(t, authsvctest.Config{})
	const silent = 0
	var status atomic.Int64
	var body atomic.Value
	endpoint := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if status.Load() == silent {
			_, _ = io.Copy(io.Discard, r.Body) // else the server does not notice that the client has left
			<-r.Context().Done()
			return
		}
		rw.Header().Set("Location", "/elsewhere")
		rw.WriteHeader(int(status.Load()))
		_, _ = rw.Write([]byte(body.Load().(string)))
	}))
	t.Cleanup(endpoint.Close)
	s := w.run(t, true, "--mode", "remote", "--introspection", endpoint.URL)
	good := `{"active":true,"sub":"u_1","token_type":"Bearer","aud":["orders"],"iss":"` + w.Issuer() + `"}`
	for name, c := range map[string]struct {
		status int64
		body   string
		want   int
	}{
		"a good one":            {200, good, 200},
		"inactive":              {200, `{"active":false}`, 401},
		"a refresh token":       {200, strings.Replace(good, "Bearer", "refresh_token", 1), 401},
		"of another issuer":     {200, strings.Replace(good, "http:", "https:", 1), 401},
		"for another audience":  {200, strings.Replace(good, "orders", "orders-old", 1), 401},
		"for a longer audience": {200, strings.Replace(good, `["orders"]`, `"orders-old"`, 1), 401},
		"for nobody":            {200, strings.Replace(good, `["orders"]`, `null`, 1), 401},
		"active in words":       {200, strings.Replace(good, "true", `"true"`, 1), 503},
		"active by number":      {200, strings.Replace(good, "true", "1", 1), 503},
		"nobody's":              {200, strings.Replace(good, `"u_1"`, "null", 1), 503},
		"a list":                {200, "[" + good + "]", 503},
		"no JSON":               {200, "OK", 503},
		"nothing":               {200, "", 503},
		"a redirect":            {302, good, 503},
		"refused credentials":   {401, good, 503},
		"throttled":             {429, good, 503},
		"an error":              {500, good, 503},
		"unavailable":           {503, good, 503},
		"no answer":             {silent, "", 503},
	} {
		status.Store(c.status)
		body.Store(c.body)
		if got := s.get(t, "a.b.c"); got.status != c.want {
			t.Errorf("%s: %+v, want %d", name, got, c.want)
		}
	}
}

// TestPythonLocalRefusesForgeries: what the algorithm, the key or the claims are wrong
// with is refused by prototype.py alone. PyJWT does not do all of it by itself.
func TestPythonLocalRefusesForgeries(t *testing.T) {
	t.Parallel()
	requirePython(t)
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := token.MarshalJWKS([]token.Key{{ID: "k1", Alg: token.AlgEdDSA, Public: public}})
	if err != nil {
		t.Fatal(err)
	}
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(jwks) }))
	t.Cleanup(issuer.Close)
	s := start(t, os.Environ(), interpreter, "prototype.py", "--listen", "127.0.0.1:0", "--issuer", issuer.URL, "--mode", "local")
	type object = map[string]any
	now := time.Now().Unix()
	forge := func(sign func(input string) []byte, header, claims object) string {
		h, p := object{"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"}, object{
			"iss": issuer.URL, "sub": "u_1", "aud": "orders", "exp": now + 300, "iat": now, "jti": "j1",
		}
		change(h, header)
		change(p, claims)
		input := encode(t, h) + "." + encode(t, p)
		return input + "." + base64.RawURLEncoding.EncodeToString(sign(input))
	}
	genuine := func(input string) []byte { return ed25519.Sign(private, []byte(input)) }
	mac := func(key []byte) func(string) []byte {
		return func(input string) []byte {
			m := hmac.New(sha256.New, key)
			m.Write([]byte(input))
			return m.Sum(nil)
		}
	}
	for name, c := range map[string]struct {
		token string
		want  int
	}{
		"a good one":                 {forge(genuine, nil, nil), 200},
		"for several":                {forge(genuine, nil, object{"aud": []string{"billing", "orders"}}), 200},
		"typ as a media type":        {forge(genuine, object{"typ": "application/at+JWT"}, nil), 200},
		"alg none":                   {forge(func(string) []byte { return []byte("x") }, object{"alg": "none"}, nil), 401},
		"the public key as secret":   {forge(mac(public), object{"alg": "HS256"}, nil), 401},
		"the JWKS as secret":         {forge(mac(jwks), object{"alg": "HS256"}, nil), 401},
		"another alg than the key":   {forge(genuine, object{"alg": "ES256"}, nil), 401},
		"an ID token's typ":          {forge(genuine, object{"typ": "JWT"}, nil), 401},
		"no typ":                     {forge(genuine, object{"typ": nil}, nil), 401},
		"no kid":                     {forge(genuine, object{"kid": nil}, nil), 401},
		"a kid that is no text":      {forge(genuine, object{"kid": 1}, nil), 401},
		"crit":                       {forge(genuine, object{"crit": []string{"b64"}, "b64": false}, nil), 401},
		"another issuer":             {forge(genuine, nil, object{"iss": issuer.URL + "/"}), 401},
		"no issuer":                  {forge(genuine, nil, object{"iss": nil}), 401},
		"for another":                {forge(genuine, nil, object{"aud": "billing"}), 401},
		"for one with a longer name": {forge(genuine, nil, object{"aud": "orders-old"}), 401},
		"for nobody":                 {forge(genuine, nil, object{"aud": nil}), 401},
		"expired":                    {forge(genuine, nil, object{"exp": now - 11}), 401},
		"without an end":             {forge(genuine, nil, object{"exp": nil}), 401},
		"not valid yet":              {forge(genuine, nil, object{"nbf": now + 60}), 401},
		"from the future":            {forge(genuine, nil, object{"iat": now + 60}), 401},
		"without an id":              {forge(genuine, nil, object{"jti": nil}), 401},
		"nobody's":                   {forge(genuine, nil, object{"sub": nil}), 401},
		"of a number":                {forge(genuine, nil, object{"sub": 1}), 401},
	} {
		if got := s.get(t, c.token); got.status != c.want {
			t.Errorf("%s: %+v, want %d", name, got, c.want)
		}
	}
}

// change sets members; nil takes one away.
func change(object, members map[string]any) {
	for name, value := range members {
		object[name] = value
		if value == nil {
			delete(object, name)
		}
	}
}

func encode(t *testing.T, object map[string]any) string {
	t.Helper()
	doc, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(doc)
}

// TestPythonRemoteNeedsCredentials: what is missing is said at start.
// TestMistakesAreNamed in one line, by the flag, before anything is asked.
func TestMistakesAreNamed(t *testing.T) {
	t.Parallel()
	binary := build(t)
	for _, c := range []struct {
		python bool
		flags  string
		want   string
	}{
		{false, "-mode both", "-mode "},
		{false, "-mode local extra", "extra"},
		{false, "-issuer=", "-issuer "},
		{false, "-audience=", "-audience "},
		{false, "-nats nats://127.0.0.1:1", "-nats:"},
		{false, "-nats=", "-nats "},
		{false, "-listen nonsense", "-listen:"},
		{false, "-listen 127.0.0.1:99999", "-listen:"},
		{false, "-introspection http://127.0.0.1:1/", "-mode remote"},
		{false, "-mode remote -introspection nonsense", "-introspection:"},
		{false, "-mode remote -introspection http://auth.example/", "-introspection:"},
		{true, "--mode both", "--mode"},
		{true, "--mode local extra", "extra"},
		{true, "--issuer=", "--issuer"},
		{true, "--issuer nonsense", "--issuer"},
		{true, "--audience=", "--audience"},
		{true, "--listen nonsense", "--listen"},
		{true, "--listen 127.0.0.1:99999", "--listen"},
		{true, "--listen 192.0.2.1:0", "--listen"},
		{true, "--introspection nonsense", "--introspection"},
		{true, "--introspection ftp://127.0.0.1/", "--introspection"},
		{true, "--leeway x", "--leeway"},
		{true, "--leeway=-5", "--leeway"},
		{true, "--leeway nan", "--leeway"},
	} {
		t.Run(c.flags, func(t *testing.T) {
			name, flags := binary, strings.Fields(c.flags)
			if c.python {
				requirePython(t)
				name, flags = interpreter, append([]string{"prototype.py"}, flags...)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // what is not refused serves
			defer cancel()
			cmd := exec.CommandContext(ctx, name, flags...)
			cmd.Env = []string{"CLIENT_ID=orders", "CLIENT_SECRET=x"}
			out, err := cmd.CombinedOutput()
			text := strings.TrimSpace(string(out))
			last := text[strings.LastIndex(text, "\n")+1:]
			if err == nil || !strings.Contains(last, c.want) || strings.Contains(text, "Traceback") || !c.python && last != text {
				t.Errorf("%v\n%s", err, text)
			}
		})
	}
}

// TestPythonLocalStartsWithoutTheAuthService, and says what it waits for.
func TestPythonLocalStartsWithoutTheAuthService(t *testing.T) {
	t.Parallel()
	requirePython(t)
	s := start(t, os.Environ(), interpreter, "prototype.py", "--mode", "local", "--listen", "127.0.0.1:0", "--issuer", "http://127.0.0.1:1")
	const token = "eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCIsImtpZCI6ImsifQ.e30.AAAA"
	if got := s.get(t, token); got.status != 503 {
		t.Errorf("a token without any keys: %+v", got)
	}
}

func TestRemoteOverHTTPNeedsCredentials(t *testing.T) {
	t.Parallel()
	requirePython(t)
	for _, command := range [][]string{
		{interpreter, "prototype.py", "--mode", "remote", "--listen", "127.0.0.1:0"},
		{build(t), "-mode", "remote", "-introspection", "http://127.0.0.1:1/"},
	} {
		cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
		cmd.Env = []string{"CLIENT_ID=orders"}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "CLIENT_SECRET") || strings.Contains(string(out), "Traceback") {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

// TestPythonLocalLearnsOfALogoutOnlyAtExpiry pins what prototype.py says of
// itself: by the JWKS alone a token that is revoked works until it expires.
func TestPythonLocalLearnsOfALogoutOnlyAtExpiry(t *testing.T) {
	t.Parallel()
	requirePython(t)
	w := newWorld(t, authsvctest.Config{AccessLifetime: 3 * time.Second})
	s := w.run(t, true, "--mode", "local", "--leeway", "0")
	tokens := w.Login(t, w.user)
	w.Revoke(t, events.ScopeSession, tokens.SID)
	if got := s.get(t, tokens.AccessToken); got.status != 200 {
		t.Errorf("a revoked token that has not expired: %+v; prototype.py should say so", got)
	}
	s.await(t, tokens.AccessToken, 401)
}

// TestPythonLocalNoticesAKilledKey: a key that was killed leaves the JWKS, and
// whatever has the document fetched again makes prototype.py forget it.
func TestPythonLocalNoticesAKilledKey(t *testing.T) {
	t.Parallel()
	requirePython(t)
	w := newWorld(t, authsvctest.Config{})
	s := w.run(t, true, "--mode", "local")
	old := w.Login(t, w.user)
	s.await(t, old.AccessToken, 200)
	header, err := base64.RawURLEncoding.DecodeString(strings.Split(old.AccessToken, ".")[0])
	if err != nil {
		t.Fatal(err)
	}
	var signed struct{ KID string }
	if err := json.Unmarshal(header, &signed); err != nil {
		t.Fatal(err)
	}
	w.Revoke(t, events.ScopeKey, signed.KID)
	next := w.Login(t, w.user)
	if got := s.get(t, next.AccessToken); got.status != 503 && got.status != 200 {
		t.Errorf("a token of a key that is too new: %+v", got)
	}
	s.await(t, next.AccessToken, 200)
	if got := s.get(t, old.AccessToken); got.status == 200 {
		t.Errorf("a token of the killed key: %+v", got)
	}
	s.await(t, old.AccessToken, 401) // as soon as the keys may be fetched again: it could be a new one
}

// world is the real auth service, and a way to its introspection that counts.
type world struct {
	*authsvctest.Server
	t             *testing.T
	user          authsvctest.User
	environment   []string // with the service's credentials
	introspection string
	asked         atomic.Int64
}

func newWorld(t *testing.T, c authsvctest.Config) *world {
	t.Helper()
	w := &world{Server: authsvctest.Start(t, c), t: t}
	w.user = w.Register(t, "ada")
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
	name, flags := interpreter, []string{"prototype.py", "--listen", "127.0.0.1:0", "--issuer", w.Issuer()}
	if !python {
		name, flags = build(t), []string{"-listen", "127.0.0.1:0", "-issuer", w.Issuer()}
	}
	fill := strings.NewReplacer("NATS", w.NATSURL(), "INTROSPECTION", w.introspection)
	for _, arg := range args {
		flags = append(flags, fill.Replace(arg))
	}
	return start(t, w.environment, name, flags...)
}

// start starts a program that says where it listens, and ends it with t.
func start(t *testing.T, environment []string, name string, flags ...string) *service {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, flags...)
	cmd.Env, cmd.Stderr = environment, os.Stderr
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

// build builds main.go; but for the first time Go has it in its cache.
func build(t *testing.T) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "prototype")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return binary
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
	if token == "" {
		return s.ask(t, http.Header{})
	}
	return s.ask(t, http.Header{"Authorization": {"Bearer " + token}})
}

func (s *service) ask(t *testing.T, header http.Header) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
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
	deadline := time.After(20 * time.Second)
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for {
		got := s.get(t, token)
		if got.status == status {
			return
		}
		select {
		case <-again.C:
		case <-deadline:
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
