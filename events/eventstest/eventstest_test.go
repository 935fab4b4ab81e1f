package eventstest_test

import (
	"os"
	"testing"
	"time"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/events/eventstest"
)

func TestBroker(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	js := b.Streams(t)
	seen := eventstest.Collect(t, b.Connect(t), events.Subscription{})
	want := eventstest.Event(1, events.LoginSucceeded{Sub: "u1", SID: "s1", ClientID: "web"})
	if err := events.Publish(t.Context(), js, want); err != nil {
		t.Fatal(err)
	}
	got := eventstest.Await(t, seen, func(e events.LoginSucceeded) bool { return e.SID == "s1" })
	if got != want {
		t.Errorf("heard %+v, want %+v", got, want)
	}
	if _, err := js.Publish(t.Context(), "auth.events.x", nil); err != nil {
		t.Fatal(err)
	}
	if err := events.Publish(t.Context(), js, eventstest.Event(2, events.SessionEnded{Sub: "u1", SID: "s1", Rev: 1})); err != nil {
		t.Fatal(err)
	}
	if n := len(seen.AwaitCount(t, 2)); n != 2 || len(seen.Poison()) != 1 {
		t.Errorf("heard %d events and %d poison messages", n, len(seen.Poison()))
	}
}

func TestBrokerKeepsWhatItStored(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	js := b.Streams(t)
	if err := events.Publish(t.Context(), js, eventstest.Event(1, events.AccountRegistered{Sub: "u1"})); err != nil {
		t.Fatal(err)
	}
	url := b.URL()
	b.Stop()
	b.Stop() // once more is harmless
	b.Start()
	if b.URL() != url {
		t.Errorf("the broker moved from %s to %s", url, b.URL())
	}
	b.AwaitConnected(t, js.Conn())
	stored := eventstest.Collect(t, b.Connect(t), events.Subscription{})
	eventstest.Await[events.AccountRegistered](t, stored, nil)
}

func TestBrokersAreApart(t *testing.T) {
	t.Parallel()
	a, b := eventstest.NewBroker(t), eventstest.NewBroker(t)
	if a.URL() == b.URL() || a.Server().Name() == b.Server().Name() {
		t.Errorf("two brokers are %s at %s and %s at %s", a.Server().Name(), a.URL(), b.Server().Name(), b.URL())
	}
	if err := a.Streams(t).Conn().FlushTimeout(5 * time.Second); err != nil {
		t.Error(err)
	}
}

func TestBrokerLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	var store string
	t.Run("a test with a broker", func(t *testing.T) {
		b := eventstest.NewBroker(t)
		b.Streams(t)
		store = b.Server().StoreDir()
		if _, err := os.Stat(store); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := os.Stat(store); !os.IsNotExist(err) {
		t.Errorf("the store %s is still there: %v", store, err)
	}
}
