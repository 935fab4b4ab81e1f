package vault_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
	"github.com/authbus/authbus/authsvc/internal/logtest"
	"github.com/authbus/authbus/events/eventstest"
)

const patience = 20 * time.Second

// lose deletes the bucket's stream.
func lose(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	if err := js.DeleteStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
}

// wantMade calls until there is a bucket again. No call may say that there is no session
// while there is none.
func wantMade(t *testing.T, js jetstream.JetStream, call func() error) {
	t.Helper()
	for began := time.Now(); ; {
		err := call()
		_, there := js.Stream(t.Context(), stream)
		if there == nil {
			return
		}
		answered := err == nil || errors.Is(err, vault.ErrNotFound) || errors.Is(err, vault.ErrConflict)
		if answered && errors.Is(there, jetstream.ErrStreamNotFound) {
			t.Fatalf("without a bucket: %v", err)
		}
		if time.Since(began) > patience {
			t.Fatalf("the bucket is not made again: %v (%v)", err, there)
		}
	}
}

func TestALostBucketIsMadeAgain(t *testing.T) {
	for name, call := range map[string]func(context.Context, *vault.Vault, vault.Token, vault.Entry) error{
		"by a read": func(ctx context.Context, v *vault.Vault, token vault.Token, _ vault.Entry) error {
			_, err := v.Get(ctx, token)
			return err
		},
		"by a login": func(ctx context.Context, v *vault.Vault, _ vault.Token, _ vault.Entry) error {
			_, err := v.Create(ctx, vault.NewToken(), session)
			return err
		},
		"by a refresh": func(ctx context.Context, v *vault.Vault, token vault.Token, e vault.Entry) error {
			_, err := v.Replace(ctx, token, e, session)
			return err
		},
		"by a logout": func(ctx context.Context, v *vault.Vault, token vault.Token, _ vault.Entry) error {
			return v.Delete(ctx, token)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, log := eventstest.NewBroker(t), &logtest.Buffer{}
			js := b.Streams(t)
			v, _ := open(t, b, vault.Config{Lifetime: time.Hour, Log: log.Logger()})
			old := vault.NewToken()
			entry, err := v.Create(t.Context(), old, session)
			if err != nil {
				t.Fatal(err)
			}
			lose(t, js)
			wantMade(t, js, func() error { return call(t.Context(), v, old, entry) })
			if _, err := v.Get(t.Context(), old); !errors.Is(err, vault.ErrNotFound) {
				t.Errorf("a session from before: %v, want ErrNotFound", err)
			}
			another := vault.NewToken()
			if _, err := v.Create(t.Context(), another, session); err != nil {
				t.Errorf("a new session: %v", err)
			}
			if e, err := v.Get(t.Context(), another); err != nil || e.Session != session {
				t.Errorf("reading it: %v, %v", e, err)
			}
			s, err := js.Stream(t.Context(), stream)
			if err != nil || s.CachedInfo().Config.MaxAge != time.Hour || s.CachedInfo().Config.AllowDirect {
				t.Errorf("it is another bucket: %+v, %v", s, err)
			}
			if said := strings.Count(log.String(), "log in again"); said != 1 {
				t.Errorf("it is said %d times: %s", said, log)
			}
		})
	}
}

// TestALostStoreIsMadeAgain: the broker comes back with nothing.
func TestALostStoreIsMadeAgain(t *testing.T) {
	b := eventstest.NewBroker(t)
	v, _ := open(t, b, vault.Config{Log: slog.New(slog.DiscardHandler)})
	old := vault.NewToken()
	if _, err := v.Create(t.Context(), old, session); err != nil {
		t.Fatal(err)
	}
	store := b.Server().StoreDir()
	b.Stop()
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	b.Start()
	js := b.Streams(t)
	wantMade(t, js, func() error { _, err := v.Get(t.Context(), old); return err })
	if _, err := v.Get(t.Context(), old); !errors.Is(err, vault.ErrNotFound) {
		t.Errorf("a session from before: %v, want ErrNotFound", err)
	}
}

// TestReplicasMakeItOnce: whatever one of them has kept since, the others have too.
func TestReplicasMakeItOnce(t *testing.T) {
	b, log := eventstest.NewBroker(t), &logtest.Buffer{}
	js := b.Streams(t)
	var replicas []*vault.Vault
	for _, lifetime := range []time.Duration{time.Hour, 2 * time.Hour, 3 * time.Hour} {
		v, _ := open(t, b, vault.Config{Lifetime: lifetime, Log: log.Logger()})
		replicas = append(replicas, v)
	}
	lose(t, js)
	var serving sync.WaitGroup
	for _, v := range replicas {
		for range 8 {
			serving.Go(func() {
				var token vault.Token
				for began := time.Now(); ; {
					token = vault.NewToken()
					if _, err := v.Create(t.Context(), token, session); err == nil {
						break
					} else if time.Since(began) > patience {
						t.Errorf("the bucket is not made again: %v", err)
						return
					}
				}
				for range 20 {
					for _, v := range replicas {
						if _, err := v.Get(t.Context(), token); err != nil {
							t.Errorf("a session that was kept: %v", err)
							return
						}
					}
				}
			})
		}
	}
	serving.Wait()
	if said := strings.Count(log.String(), "log in again"); said != 1 {
		t.Errorf("it is said %d times: %s", said, log)
	}
}

// TestABucketThatCannotBeMade is asked for now and then, and not with every request.
func TestABucketThatCannotBeMade(t *testing.T) {
	b, log := eventstest.NewBroker(t), &logtest.Buffer{}
	js := b.Streams(t)
	v, _ := open(t, b, vault.Config{Log: log.Logger()})
	lose(t, js)
	// What another stream has, none can have.
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"$KV.>"}}); err != nil {
		t.Fatal(err)
	}
	asked, err := b.Connect(t).SubscribeSync("$JS.API.STREAM.*." + stream)
	if err != nil {
		t.Fatal(err)
	}
	const requests = 200
	var serving sync.WaitGroup
	for range requests {
		serving.Go(func() {
			if _, err := v.Get(t.Context(), vault.NewToken()); err == nil || errors.Is(err, vault.ErrNotFound) {
				t.Errorf("without a bucket: %v", err)
			}
		})
	}
	serving.Wait()
	if count, _, err := asked.Pending(); err != nil || count > requests/10 {
		t.Errorf("asked for it %d times, %v", count, err)
	}
	if !strings.Contains(log.String(), "cannot be made again") {
		t.Errorf("nothing is said: %s", log)
	}
}

// TestASilentBrokerHasLostNothing: no answer is no answer.
func TestASilentBrokerHasLostNothing(t *testing.T) {
	b, log := eventstest.NewBroker(t), &logtest.Buffer{}
	v, _ := open(t, b, vault.Config{Log: log.Logger()})
	token := vault.NewToken()
	if _, err := v.Create(t.Context(), token, session); err != nil {
		t.Fatal(err)
	}
	late, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	if _, err := v.Get(late, token); err == nil || errors.Is(err, vault.ErrNotFound) {
		t.Errorf("in no time: %v", err)
	}
	b.Stop()
	if _, err := v.Get(t.Context(), token); err == nil || errors.Is(err, vault.ErrNotFound) {
		t.Errorf("without a broker: %v", err)
	}
	b.Start()
	for began := time.Now(); ; {
		_, err := v.Get(t.Context(), token)
		if err == nil {
			break
		}
		if errors.Is(err, vault.ErrNotFound) || time.Since(began) > patience {
			t.Fatalf("the session is lost: %v", err)
		}
	}
	if log.String() != "" {
		t.Errorf("something is said: %s", log)
	}
}
