package verifier_test

import (
	"context"
	"errors"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/authsvctest"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier"
	"github.com/authbus/authbus/verifier/token"
)

// world is an auth service with two audiences, and what a remote verifier of the
// first needs to ask it.
type world struct {
	*authsvctest.Server
	ada    authsvctest.User
	config map[string]verifier.Config // by transport
}

func newRemoteWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Server: authsvctest.Start(t, authsvctest.Config{Audiences: []string{"orders", "billing"}})}
	w.ada = w.Register(t, "ada")
	common := verifier.Config{
		Mode: verifier.Remote, Issuer: w.Issuer(), Audience: "orders",
		RequestTimeout: time.Second, ProbeInterval: 50 * time.Millisecond,
	}
	bus, http := common, common
	bus.NATS = w.Connect(t)
	http.IntrospectionURL = w.URL() + "/v1/introspect"
	http.ClientID, http.ClientSecret = "orders", verifier.ClientSecret(w.AddService(t, "orders"))
	w.config = map[string]verifier.Config{"NATS": bus, "HTTP": http}
	return w
}

// verifier starts one, which ends with the test.
func newVerifier(t *testing.T, c verifier.Config) *verifier.Verifier {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	v, err := verifier.New(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// overBoth runs a test with a verifier over each transport.
func overBoth(t *testing.T, w *world, test func(t *testing.T, v *verifier.Verifier)) {
	t.Helper()
	for transport, c := range w.config {
		t.Run(transport, func(t *testing.T) { test(t, newVerifier(t, c)) })
	}
}

func wants(t *testing.T, v *verifier.Verifier, what, raw string, want error, reasons ...string) {
	t.Helper()
	_, err := v.Verify(t.Context(), raw)
	if !errors.Is(err, want) || (err == nil) != (want == nil) {
		t.Errorf("%s: %v, want %v", what, err, want)
		return
	}
	var refused *verifier.Error
	if errors.As(err, &refused) && len(reasons) > 0 && !strings.Contains(strings.Join(reasons, " "), refused.Reason) {
		t.Errorf("%s: reason %q, want one of %q", what, refused.Reason, reasons)
	}
}

func TestRemoteVerdicts(t *testing.T) {
	w := newRemoteWorld(t)
	local := w.config["NATS"]
	local.Mode = verifier.Local
	near := newVerifier(t, local)
	overBoth(t, w, func(t *testing.T, v *verifier.Verifier) {
		phone, laptop := w.Login(t, w.ada), w.Login(t, w.ada)
		claims, err := v.Verify(t.Context(), phone.AccessToken)
		if err != nil {
			t.Fatal(err)
		}
		same, err := near.Verify(t.Context(), phone.AccessToken)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := claims.Claims, same.Claims; !equalClaims(got, want) {
			t.Errorf("claims differ from those of local verification:\n%+v\n%+v", got, want)
		}
		wants(t, v, "no token", "", verifier.ErrNoToken, verifier.ReasonNoToken)
		good := phone.AccessToken
		wants(t, v, "tampered", good[:len(good)-8]+"AAAAAAAA", verifier.ErrInvalid, "bad_signature", verifier.ReasonInactive)

		w.Revoke(t, events.ScopeSession, phone.SID)
		wants(t, v, "revoked, at the very next call", good, revokedOrInactive(v, good), "revoked", verifier.ReasonInactive)
		wants(t, v, "another session", laptop.AccessToken, nil)
		w.Logout(t, laptop)
		if _, err := v.Verify(t.Context(), laptop.AccessToken); err == nil {
			t.Error("a session that has logged out is accepted")
		}
	})
}

// revokedOrInactive: introspection does not say why.
func revokedOrInactive(v *verifier.Verifier, raw string) error {
	if _, err := v.Verify(context.Background(), raw); errors.Is(err, verifier.ErrInvalid) {
		return verifier.ErrInvalid
	}
	return verifier.ErrRevoked
}

func equalClaims(a, b token.Claims) bool {
	same := a.Issuer == b.Issuer && a.Subject == b.Subject && a.ID == b.ID && a.SessionID == b.SessionID &&
		a.ExpiresAt == b.ExpiresAt && a.IssuedAt == b.IssuedAt && a.ClientID == b.ClientID && a.Rev == b.Rev &&
		a.AuthTime == b.AuthTime && a.KeyID == b.KeyID
	return same && strings.Join(a.Audience, " ") == strings.Join(b.Audience, " ") &&
		strings.Join(a.Scope, " ") == strings.Join(b.Scope, " ") && strings.Join(a.Roles, " ") == strings.Join(b.Roles, " ")
}

func TestRemoteMiddleware(t *testing.T) {
	w := newRemoteWorld(t)
	overBoth(t, w, func(t *testing.T, v *verifier.Verifier) {
		tokens := w.Login(t, w.ada)
		handler := v.Middleware(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			claims, ok := verifier.FromContext(r.Context())
			if !ok || claims.Subject != w.ada.Sub {
				t.Errorf("claims in the handler: %+v", claims)
			}
		}))
		get := func(authorization string) int {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			if authorization != "" {
				r.Header.Set("Authorization", authorization)
			}
			rw := httptest.NewRecorder()
			handler.ServeHTTP(rw, r)
			return rw.Code
		}
		before := v.Stats().Asked
		if code := get(""); code != http.StatusUnauthorized {
			t.Errorf("no token: %d", code)
		}
		if code := get("Bearer garbage"); code != http.StatusUnauthorized {
			t.Errorf("garbage: %d", code)
		}
		if asked := v.Stats().Asked - before; asked != 0 {
			t.Errorf("the authority was asked %d times about nothing", asked)
		}
		if code := get("Bearer " + tokens.AccessToken); code != http.StatusOK {
			t.Errorf("a good token: %d", code)
		}
		if s := v.Stats(); s.Asked-before != 1 || s.Mode != verifier.Remote || !s.Fresh || s.Staleness < 0 || s.Accepted != 1 {
			t.Errorf("stats: %+v", s)
		}
	})
}

func TestRemoteWatchEndsWithTheToken(t *testing.T) {
	w := newRemoteWorld(t)
	overBoth(t, w, func(t *testing.T, v *verifier.Verifier) {
		tokens := w.Login(t, w.ada)
		claims, err := v.Verify(t.Context(), tokens.AccessToken)
		if err != nil {
			t.Fatal(err)
		}
		const streams = 20
		var contexts [streams]context.Context
		for i := range contexts {
			ctx, cancel := v.Watch(t.Context(), claims)
			defer cancel()
			contexts[i] = ctx
		}
		before := v.Stats().Asked
		eventually(t, "some rounds", func() bool { return v.Stats().Asked >= before+3 })
		if s := v.Stats(); s.Watches != streams {
			t.Errorf("%d watches", s.Watches)
		}
		w.Revoke(t, events.ScopeUser, w.ada.Sub)
		for _, ctx := range contexts {
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Second):
				t.Fatal("a watch goes on after the revocation")
			}
			if !errors.Is(context.Cause(ctx), verifier.ErrRevoked) {
				t.Errorf("cause %v", context.Cause(ctx))
			}
		}
		eventually(t, "nothing is watched", func() bool { return v.Stats().Watches == 0 })
		ctx, cancel := v.Watch(t.Context(), &verifier.Claims{Claims: claims.Claims})
		defer cancel()
		var why *verifier.Error
		if !errors.As(context.Cause(ctx), &why) || why.Reason != verifier.ReasonUnwatchable {
			t.Errorf("claims made by hand: %v", context.Cause(ctx))
		}
	})
}

// TestRemoteWithoutAuthority stops the authority and starts it again.
func TestRemoteWithoutAuthority(t *testing.T) {
	w := newRemoteWorld(t)
	tokens := w.Login(t, w.ada)
	var verifiers []*verifier.Verifier
	var contexts []context.Context
	for _, c := range w.config {
		v := newVerifier(t, c)
		claims, err := v.Verify(t.Context(), tokens.AccessToken)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := v.Watch(t.Context(), claims)
		defer cancel()
		verifiers, contexts = append(verifiers, v), append(contexts, ctx)
	}
	w.Restart(t, func() {
		for i, v := range verifiers {
			began := time.Now()
			wants(t, v, "stopped", tokens.AccessToken, verifier.ErrUnavailable)
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("an outcome after %v; the deadline is 1 s", took)
			}
			eventually(t, "the breaker opens", func() bool {
				_, err := v.Verify(t.Context(), tokens.AccessToken)
				var refused *verifier.Error
				return errors.As(err, &refused) && refused.Reason == verifier.ReasonBreakerOpen
			})
			if s := v.Stats(); s.BreakerOpened == 0 || s.Waiting == "" {
				t.Errorf("stats: %+v", s)
			}
			select {
			case <-contexts[i].Done():
			case <-time.After(20 * time.Second):
				t.Fatal("a watch goes on without the authority")
			}
			if !errors.Is(context.Cause(contexts[i]), verifier.ErrUnavailable) {
				t.Errorf("cause %v", context.Cause(contexts[i]))
			}
		}
	})
	for _, v := range verifiers {
		eventually(t, "it has recovered", func() bool { return says(v, tokens.AccessToken, nil) })
		if s := v.Stats(); !s.Fresh || s.Waiting != "" {
			t.Errorf("stats: %+v", s)
		}
	}
}

// TestACrowdSharesQuestions has many ask about one token at a time.
func TestACrowdSharesQuestions(t *testing.T) {
	w := newRemoteWorld(t)
	overBoth(t, w, func(t *testing.T, v *verifier.Verifier) {
		tokens := w.Login(t, w.ada)
		before := v.Stats()
		const callers = 100
		var crowd sync.WaitGroup
		for range callers {
			crowd.Go(func() {
				if _, err := v.Verify(context.Background(), tokens.AccessToken); err != nil {
					t.Error(err)
				}
			})
		}
		crowd.Wait()
		s := v.Stats()
		asked, shared := s.Asked-before.Asked, s.AskShared-before.AskShared
		if asked+shared != callers || asked > callers/2 {
			t.Errorf("%d callers: %d questions, %d shared", callers, asked, shared)
		}
		t.Logf("%d callers: %d questions", callers, asked)
	})
}

// TestNoAnswerIsSharedAcrossAudiences has two services ask about one token at the
// same time, of which it is meant for one.
func TestNoAnswerIsSharedAcrossAudiences(t *testing.T) {
	w := newRemoteWorld(t)
	for transport, ours := range w.config {
		theirs := ours
		theirs.Audience = "reports" // the endpoint would tell the service "orders" of it
		us, others := newVerifier(t, ours), newVerifier(t, theirs)
		good := w.Login(t, w.ada).AccessToken
		var crowd sync.WaitGroup
		for range 50 {
			crowd.Go(func() { wants(t, us, transport+", ours", good, nil) })
			crowd.Go(func() { wants(t, others, transport+", for others", good, verifier.ErrInvalid, "bad_audience") })
		}
		crowd.Wait()
	}
}

// TestTheSameVerdictEverywhere puts mutations of real tokens to local verification,
// to the authority over NATS and to the authority over HTTP.
func TestTheSameVerdictEverywhere(t *testing.T) {
	w := newRemoteWorld(t)
	local := w.config["NATS"]
	local.Mode = verifier.Local
	near, bus, web := newVerifier(t, local), newVerifier(t, w.config["NATS"]), newVerifier(t, w.config["HTTP"])
	tokens := w.Login(t, w.ada)
	good := tokens.AccessToken
	raws := []string{good, tokens.RefreshToken, good + ".", good + "=", "Bearer " + good, good + "\n", strings.ToUpper(good), good[1:]}
	random := mathrand.New(mathrand.NewPCG(1, 2)) // the same each time
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
	for range 300 {
		mutant := []byte(good)
		at := random.IntN(len(mutant))
		switch random.IntN(3) {
		case 0:
			mutant[at] = alphabet[random.IntN(len(alphabet))]
		case 1:
			mutant = append(mutant[:at], mutant[at+1:]...)
		case 2:
			mutant = []byte(good[:at] + string(alphabet[random.IntN(len(alphabet))]) + good[at:])
		}
		raws = append(raws, string(mutant))
	}
	accepted := 0
	for _, raw := range raws {
		_, nearErr := near.Verify(t.Context(), raw)
		_, busErr := bus.Verify(t.Context(), raw)
		_, webErr := web.Verify(t.Context(), raw)
		if (nearErr == nil) != (busErr == nil) || (nearErr == nil) != (webErr == nil) {
			t.Errorf("%s\nlocal: %v\nNATS: %v\nHTTP: %v", raw, nearErr, busErr, webErr)
		}
		// Over NATS the reason is the same too.
		if reason(nearErr) != reason(busErr) {
			t.Errorf("%s\nlocal: %v\nNATS: %v", raw, nearErr, busErr)
		}
		if nearErr == nil {
			accepted++
		}
	}
	if accepted == 0 || accepted > len(raws)/10 {
		t.Errorf("%d of %d are accepted", accepted, len(raws))
	}
}

func reason(err error) string {
	if refused, ok := errors.AsType[*verifier.Error](err); ok {
		return refused.Reason
	}
	return "none"
}

// TestTokensForOthers: the authority is asked for one audience, ours.
func TestTokensForOthers(t *testing.T) {
	w := newRemoteWorld(t)
	good := w.Login(t, w.ada).AccessToken
	c := w.config["NATS"]
	c.Audience = "reports"
	wants(t, newVerifier(t, c), "a token for others", good, verifier.ErrInvalid, "bad_audience")
	c = w.config["NATS"]
	c.FeedKeys = []events.FeedKey{{ID: "f_none", Public: make([]byte, 32)}}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := verifier.New(ctx, c); !errors.Is(err, events.ErrForgedReply) {
		t.Errorf("an answer that no pinned feed key has signed: %v", err)
	}
}
