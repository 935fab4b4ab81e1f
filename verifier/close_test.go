package verifier

import (
	"context"
	"crypto/ed25519"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authbus/authbus/events"
)

// lingeringLog is a log that, while it is told to, does not answer until the request
// is cancelled, and takes some time to go then.
type lingeringLog struct {
	*memoryLog
	linger atomic.Bool
	under  atomic.Int64 // requests under way
}

func (l *lingeringLog) wait(ctx context.Context) {
	l.under.Add(1)
	defer l.under.Add(-1)
	if l.linger.Load() {
		<-ctx.Done()
		time.Sleep(time.Second)
	}
}

func (l *lingeringLog) status(ctx context.Context, t events.TokenRef) (events.StatusReply, error) {
	l.wait(ctx)
	return l.memoryLog.status(ctx, t)
}

func (l *lingeringLog) keys(ctx context.Context, trusted map[string]ed25519.PublicKey) (events.KeysReply, error) {
	l.wait(ctx)
	return l.memoryLog.keys(ctx, trusted)
}

// TestCloseWaitsForWhatWasAsked, also where whoever asked has left.
func TestCloseWaitsForWhatWasAsked(t *testing.T) {
	for name, prepare := range map[string]func(v *Verifier, l *lingeringLog){
		"about a token": func(v *Verifier, l *lingeringLog) { v.ledger.disprove(); l.set(true, true) },
		"for keys":      func(v *Verifier, _ *lingeringLog) { forgetKeys(v) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &lingeringLog{memoryLog: newMemoryLog()}
				v := newBubbleVerifier(t, l, nil)
				if err := v.awaitFresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				m := l.mint(t, "u", "s", "j")
				prepare(v, l)
				l.linger.Store(true)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
				defer cancel()
				_, err := v.Verify(ctx, m.raw)
				if verdict(err) != "token state unavailable: no_answer" && verdict(err) != "token state unavailable: keys_unknown" {
					t.Errorf("without an answer: %v", err)
				}
				if l.under.Load() == 0 {
					t.Error("nothing was asked, or the request ended with who asked")
				}
				v.Close()
				if n := l.under.Load(); n != 0 {
					t.Errorf("%d requests are under way after Close", n)
				}
				check(t, v, m, "token state unavailable: closed")
			})
		})
	}
}

// TestASlowKeyDocumentHoldsNothingUp: neither a server that does not answer nor one
// whose answer never ends, for a client that has no patience of its own.
func TestASlowKeyDocumentHoldsNothingUp(t *testing.T) {
	for name, begin := range map[string]func(w http.ResponseWriter){
		"no answer": func(http.ResponseWriter) {},
		"a trickle": func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(`{"keys":[`))
			_ = http.NewResponseController(w).Flush()
		},
	} {
		t.Run(name, func(t *testing.T) {
			var asked sync.WaitGroup
			asked.Add(1)
			var once sync.Once
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				begin(w)
				once.Do(asked.Done)
				<-r.Context().Done()
			}))
			defer server.Close()
			c := Config{
				Issuer: testIssuer, Audience: testAudience, JWKSURL: server.URL,
				HTTPClient: &http.Client{}, RequestTimeout: 100 * time.Millisecond,
			}
			k, err := newKeyring(t.Context(), c, nil, &counters{}, func() {})
			if err != nil {
				t.Fatal(err)
			}
			if err := k.refresh(t.Context()); err == nil {
				t.Error("keys were fetched")
			}
			asked.Wait()
		})
	}
}
