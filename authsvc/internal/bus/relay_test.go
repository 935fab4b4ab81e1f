package bus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/node/broker"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/authsvc/internal/store/storetest"
	"github.com/authbus/authbus/events"
)

// sequences returns the order numbers of the events on the stream.
func (w *world) sequences(t *testing.T) []uint64 {
	t.Helper()
	var found []uint64
	for _, msg := range w.messages(t, events.StreamEvents) {
		e, err := events.Decode(msg.Data)
		if err != nil {
			t.Fatal(err)
		}
		if id := msg.Header.Get(nats.MsgIdHdr); id != e.ID {
			t.Errorf("event %d has the message id %q, want %q", e.Sequence, id, e.ID)
		}
		found = append(found, e.Sequence)
	}
	return found
}

// inOrder fails t unless the events are 1 to last, each once, in order.
func inOrder(t *testing.T, found []uint64, last uint64) {
	t.Helper()
	for i, seq := range found {
		if seq != uint64(i)+1 {
			t.Fatalf("event %d is in place %d", seq, i+1)
		}
	}
	if uint64(len(found)) != last {
		t.Fatalf("%d events, want %d", len(found), last)
	}
}

func (r *replica) awaitPublished() {
	r.t.Helper()
	eventually(r.t, "published", func() bool {
		b := r.backlog()
		return b.Events == 0 && b.Revocations == 0
	})
}

func TestEventsOfManyWritersArePublishedInOrder(t *testing.T) {
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for i := range 100 {
				err := r.db.Write(t.Context(), func(tx *store.Tx) error {
					return tx.Emit(issuer, events.AccountRegistered{Sub: fmt.Sprintf("u_%d", i)})
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	r.awaitPublished()
	inOrder(t, w.sequences(t), r.head().EventSeq)
}

func TestOutboxSurvivesAnOutageOfTheBroker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	r.deliver(r.revoke(3))
	r.awaitPublished()
	w.broker.Stop()
	eventually(t, "cut off", func() bool { return !r.conns[0].IsConnected() })
	for _, record := range r.revoke(20) {
		if d := r.publisher.Deliver(t.Context(), record); d != authority.Pending {
			t.Fatalf("delivery of revocation %d without a broker is %s", record.Rev, d)
		}
	}
	if err := r.publisher.Ready(); err != nil {
		t.Errorf("an outage must not stop the service: %v", err)
	}
	if b := r.backlog(); b.Revocations != 20 || b.Events != 20 {
		t.Errorf("%d revocations and %d events wait, want 20 and 20", b.Revocations, b.Events)
	}
	if err := w.broker.Start(); err != nil {
		t.Fatal(err)
	}
	r.awaitPublished()
	if revs := w.onFeed(t); len(revs) != 23 {
		t.Errorf("the feed holds %d records, want 23", len(revs))
	}
	inOrder(t, w.sequences(t), r.head().EventSeq)
}

func TestOutboxSurvivesARestart(t *testing.T) {
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	r.awaitPublished()
	w.broker.Stop()
	eventually(t, "cut off", func() bool { return !r.conns[0].IsConnected() })
	r.revoke(10)
	r.close()
	if err := w.broker.Start(); err != nil {
		t.Fatal(err)
	}
	r = w.replica(t, "a.db").awaitReady()
	r.awaitPublished()
	if revs := w.onFeed(t); len(revs) != 10 {
		t.Errorf("the feed holds %d records, want 10", len(revs))
	}
	inOrder(t, w.sequences(t), r.head().EventSeq)
}

func TestCleanShutdownPublishesWhatIsCommitted(t *testing.T) {
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	for range 5 {
		r.revoke(50)
	}
	last := r.head().EventSeq
	r.close()
	inOrder(t, w.sequences(t), last)
}

func TestCloseDoesNotWaitForABrokerThatIsGone(t *testing.T) {
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	w.broker.Stop()
	r.revoke(1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() { r.publisher.Close(ctx); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("Close hangs")
	}
}

func TestRevocationReachesLiveVerifiersWithoutJetStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	live, err := w.client.SubscribeSync(events.SubjectRevocations)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.client.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := w.js(t).DeleteStream(t.Context(), events.StreamRevocations); err != nil {
		t.Fatal(err)
	}
	record := r.revoke(1)[0]
	began := time.Now()
	r.publisher.Deliver(t.Context(), record)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("Deliver took %s, want about a second at most", took)
	}
	msg, err := live.NextMsg(5 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	got, err := events.DecodeRevocation(msg.Data)
	if err != nil || got != record {
		t.Errorf("heard %+v (%v), want %+v", got, err, record)
	}
	if !events.VerifySignature(events.FeedKeys(r.keys.FeedKeys()), msg.Header, msg.Subject, msg.Data) {
		t.Error("the record is not signed")
	}
}

func TestDeliveredOnceIsNotPublishedAgain(t *testing.T) {
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	record := r.revoke(1)
	r.deliver(record)
	r.deliver(record)
	r.awaitPublished()
	if revs := w.onFeed(t); len(revs) != 1 {
		t.Errorf("the feed holds %v, want one record", revs)
	}
}

func TestOneReplicaRelaysAndAnotherTakesOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.replica(t, "a.db").awaitReady()
	b := w.replica(t, "a.db").awaitReady()
	leading := func(r *replica) bool { return r.metric("relay_leading") == 1 }
	eventually(t, "led", func() bool { return leading(a) || leading(b) })
	first, second := a, b
	if leading(b) {
		first, second = b, a
	}
	for range 20 {
		second.revoke(1)
		first.revoke(1)
	}
	second.awaitPublished()
	if leading(second) {
		t.Error("both replicas hold the lease")
	}
	first.close()
	second.revoke(5)
	eventually(t, "taken over", func() bool { return leading(second) })
	second.awaitPublished()
	inOrder(t, w.sequences(t), second.head().EventSeq)
}

func TestReplicasOnPostgreSQLKeepOneOrder(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres(t)
	w := newWorld(t)
	a, b := w.replica(t, database).awaitReady(), w.replica(t, database).awaitReady()
	var writing sync.WaitGroup
	for _, r := range []*replica{a, b} {
		writing.Go(func() {
			for range 100 {
				record, err := r.revokeOne()
				if err != nil {
					t.Error(err)
					return
				}
				r.publisher.Deliver(t.Context(), record)
			}
		})
	}
	writing.Wait()
	a.awaitPublished()
	inOrder(t, w.sequences(t), a.head().EventSeq)
	if revs := w.onFeed(t); len(revs) != 200 {
		t.Errorf("the feed holds %d records, want 200", len(revs))
	}
}

func TestRelayGoesOnBehindWhatItHadPublishedBefore(t *testing.T) {
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	r.awaitPublished()
	w.broker.Stop()
	eventually(t, "cut off", func() bool { return !r.conns[0].IsConnected() })
	r.revoke(30)
	pending, err := r.db.Reader(t.Context()).PendingEvents(100)
	if err != nil {
		t.Fatal(err)
	}
	r.close()
	if err := w.broker.Start(); err != nil {
		t.Fatal(err)
	}
	// An earlier relay published ten of them and died before it noted that.
	js := w.js(t)
	for _, e := range pending[:10] {
		publishOutbox(t, js, e)
	}
	r = w.replica(t, "a.db").awaitReady()
	r.awaitPublished()
	inOrder(t, w.sequences(t), r.head().EventSeq)
}

func publishOutbox(t *testing.T, js jetstream.JetStream, e store.OutboxEvent) {
	t.Helper()
	var envelope struct{ ID string }
	if err := json.Unmarshal(e.Document, &envelope); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), e.Subject, e.Document, jetstream.WithMsgID(envelope.ID)); err != nil {
		t.Fatal(err)
	}
}

func TestPublishingNeedsItsOwnIdentity(t *testing.T) {
	w := newWorld(t)
	w.replica(t, "a.db").awaitReady()
	answering := w.connect(t, w.broker.Options(broker.Answerer)...)
	if err := answering.Publish("auth.revocations.token", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if err := answering.Flush(); err != nil {
		t.Fatal(err)
	}
	if found := w.messages(t, events.StreamRevocations); len(found) != 0 {
		t.Errorf("the feed holds %d messages, want none", len(found))
	}
}
