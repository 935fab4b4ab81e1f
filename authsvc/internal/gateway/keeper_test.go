package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
)

// TestBoundsOfTheKeeper: at them, neither vault nor auth service is asked, which
// are not there.
func TestBoundsOfTheKeeper(t *testing.T) {
	k := &keeper{looks: make(chan struct{}, 1), unsure: make(map[vault.Token]struct{})}
	k.looks <- struct{}{} // somebody looks already
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.look(ctx, vault.NewToken()); !errors.Is(err, context.Canceled) {
		t.Errorf("with all looks taken: %v", err)
	}
	for range maxMending {
		k.unsure[vault.NewToken()] = struct{}{}
	}
	if _, err := k.refresh(t.Context(), vault.NewToken(), vault.Entry{}); !errors.Is(err, errUnsaved) {
		t.Errorf("with as much to mend as can be: %v", err)
	}
}

// silence is an auth service that takes requests and does not answer.
type silence struct{ asked atomic.Int64 }

func (s *silence) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked.Add(1)
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// TestRefreshesUnderWayCountAsThoseToMend, because all of them may go wrong; and what is
// to be mended may be, however much it is.
func TestRefreshesUnderWayCountAsThoseToMend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var way silence
		auth, err := client.New(client.Config{Server: "http://auth.test.example", HTTP: &http.Client{Transport: &way}})
		if err != nil {
			t.Fatal(err)
		}
		lifetime, stop := context.WithCancel(t.Context())
		k := &keeper{
			lifetime: lifetime, auth: auth, counters: newCounters(prometheus.NewRegistry()),
			unsaved: make(map[vault.Token]vault.Session), unsure: make(map[vault.Token]struct{}),
		}
		asking, leave := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		var refused atomic.Int64
		const more = 10
		for range maxMending + more {
			callers.Go(func() {
				if _, err := k.refresh(asking, vault.NewToken(), vault.Entry{}); errors.Is(err, errUnsaved) {
					refused.Add(1)
				}
			})
		}
		synctest.Wait()
		if asked := way.asked.Load(); asked != maxMending || refused.Load() != more {
			t.Errorf("%d asked, %d refused", asked, refused.Load())
		}
		leave()
		callers.Wait()
		k.mu.Lock()
		unsure := len(k.unsure)
		var one vault.Token
		for one = range k.unsure {
			break
		}
		k.mu.Unlock()
		if unsure > maxMending {
			t.Errorf("%d are unsure", unsure)
		}
		if _, err := k.refresh(asking, one, vault.Entry{}); errors.Is(err, errUnsaved) {
			t.Error("a refresh of unknown outcome is not repeated")
		}
		stop()
		k.stopMending()
	})
}

// TestAnUnsavedSessionGoesOn with the JWT that it has, though the cache has lost it.
func TestAnUnsavedSessionGoesOn(t *testing.T) {
	token, now := vault.NewToken(), time.Now()
	s := vault.Session{Access: "a", RefreshAt: now.Unix(), ExpiresAt: now.Add(time.Minute).Unix()}
	k := &keeper{
		lifetime: t.Context(), log: slog.New(slog.DiscardHandler), quiet: &rate.Sometimes{},
		unsaved: map[vault.Token]vault.Session{token: s},
	}
	if got, err := k.open(t.Context(), token); err != nil || got.Access != s.Access {
		t.Errorf("%v %v", got, err)
	}
}

// TestWhatIsSavedLateForgetsNothingNewer: the vault may have taken it from somebody else
// long before, and another refresh be unsaved by then.
func TestWhatIsSavedLateForgetsNothingNewer(t *testing.T) {
	token := vault.NewToken()
	older, newer := vault.Session{Access: "older"}, vault.Session{Access: "newer"}
	k := &keeper{counters: newCounters(prometheus.NewRegistry()), unsaved: map[vault.Token]vault.Session{token: newer}}
	k.saved(token, older)
	if s, ok := k.notSaved(token); !ok || s != newer {
		t.Errorf("%v %v", s, ok)
	}
	k.saved(token, newer)
	if _, ok := k.notSaved(token); ok {
		t.Error("what is saved counts as unsaved")
	}
}
