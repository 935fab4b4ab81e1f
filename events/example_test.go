package events_test

import (
	"context"
	"fmt"
	"log"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/events/eventstest"
)

func ExampleSubscribe() {
	nc, err := nats.Connect(nats.DefaultURL, nats.MaxReconnects(-1))
	if err != nil {
		log.Fatal(err)
	}
	sub, err := events.Subscribe(context.Background(), nc, events.Subscription{
		Durable: "farewell",
		Types:   []events.Type{events.TypeSessionEnded, events.TypeAccountDeleted},
	}, func(_ context.Context, e events.Event) error {
		switch data := e.Data.(type) {
		case events.SessionEnded:
			fmt.Println(data.Sub, "logged out of", data.SID)
		case events.AccountDeleted:
			fmt.Println(data.Sub, "is gone")
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Close()
}

func BenchmarkDecode(b *testing.B) {
	doc := encode(b, eventstest.Event(1, ended(1)))
	for b.Loop() {
		if _, err := events.Decode(doc); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSubscribe(b *testing.B) {
	broker := eventstest.NewBroker(b)
	js := broker.Streams(b)
	const batch = 2000
	for seq := uint64(1); seq <= batch; seq++ {
		msg, err := events.Message(eventstest.Event(seq, ended(seq)))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := js.PublishMsgAsync(msg); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	nc := broker.Connect(b)
	b.ResetTimer()
	for b.Loop() {
		done, n := make(chan struct{}), 0
		sub, err := events.Subscribe(b.Context(), nc, events.Subscription{}, func(context.Context, events.Event) error {
			if n++; n == batch {
				close(done)
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		<-done
		sub.Close()
	}
	b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "events/s")
}
