package events_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/events/eventstest"
)

func TestPublish(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	js := b.Streams(t)
	e := eventstest.Event(1, events.EveryoneRevoked{Rev: 3, Actor: "admin"})
	for range 2 { // the second is the same event
		if err := events.Publish(t.Context(), js, e); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := js.Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 1 {
		t.Errorf("the stream holds %d messages, want 1", n)
	}
	msg, err := stream.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if msg.Subject != "auth.events.everyone.revoked.-" || msg.Header.Get("Nats-Msg-Id") != e.ID ||
		msg.Header.Get("Content-Type") != "application/cloudevents+json" {
		t.Errorf("published on %s with headers %v", msg.Subject, msg.Header)
	}
	if got, err := events.Decode(msg.Data); err != nil || got != e {
		t.Errorf("published %+v, %v", got, err)
	}
}

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	js, err := jetstream.New(b.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	var invalid *events.ValidationError
	if err := events.Publish(t.Context(), js, eventstest.Event(1, events.SessionEnded{})); !errors.As(err, &invalid) {
		t.Errorf("an invalid event: %v", err)
	}
	if err := events.Publish(t.Context(), js, events.Event{}); err == nil {
		t.Error("an event without data was accepted")
	}
	if err := events.Publish(t.Context(), js, eventstest.Event(1, ended(1))); err == nil {
		t.Error("without a stream the event was acknowledged")
	}
	_, private := feedKey('a')
	if err := events.PublishRevocation(t.Context(), js, "f1", private, events.Revocation{}); err == nil {
		t.Error("an empty record was accepted")
	}
}

func TestPublishRevocation(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	js := b.Streams(t)
	nc := b.Connect(t)
	live, err := nc.SubscribeSync(events.SubjectRevocations)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	public, private := feedKey('a')
	r := events.Revocation{
		Version: events.RevocationVersion, Epoch: "e", Rev: 9, Scope: events.ScopeUser, ID: "u1",
		ExpiresAt: time.Now().Add(time.Hour).Unix(), Reason: "logout", At: time.Now().UnixMilli(),
	}
	for range 2 { // the second is the same record
		if err := events.PublishRevocation(t.Context(), js, "f1", private, r); err != nil {
			t.Fatal(err)
		}
	}
	msg, err := live.NextMsg(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]ed25519.PublicKey{"f1": public}
	if msg.Subject != "auth.revocations.user" || msg.Header.Get("Nats-Msg-Id") != "e-9" ||
		!events.VerifySignature(keys, msg.Header, msg.Subject, msg.Data) {
		t.Errorf("published on %s with headers %v", msg.Subject, msg.Header)
	}
	if got, err := events.DecodeRevocation(msg.Data); err != nil || got != r {
		t.Errorf("published %+v, %v", got, err)
	}
	stream, err := js.Stream(t.Context(), events.StreamRevocations)
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 1 {
		t.Errorf("the feed holds %d messages, want 1", n)
	}
}

func TestStreamsAreAppendOnly(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	js := b.Streams(t)
	publish(t, js, 1, 1)
	o := events.StreamOptions{EventsMaxAge: time.Hour, RevocationsMaxAge: time.Minute, EventsMaxBytes: 10_000}
	if err := events.EnsureStreams(t.Context(), js, o); err != nil {
		t.Fatalf("updating: %v", err)
	}
	for _, name := range []string{events.StreamEvents, events.StreamRevocations} {
		stream, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		c := stream.CachedInfo().Config
		if c.Storage != jetstream.FileStorage || c.Discard != jetstream.DiscardNew || !c.AllowDirect || c.Duplicates > c.MaxAge {
			t.Errorf("stream %s is configured as %+v", name, c)
		}
		if err := stream.Purge(t.Context()); err == nil {
			t.Errorf("stream %s could be purged", name)
		}
		if err := stream.DeleteMsg(t.Context(), 1); err == nil {
			t.Errorf("a message of stream %s could be deleted", name)
		}
	}
	var err error
	for seq := uint64(2); err == nil && seq < 100; seq++ {
		err = events.Publish(t.Context(), js, eventstest.Event(seq, ended(seq)))
	}
	if err == nil {
		t.Error("a full stream took another event")
	}
	stream, err := js.Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	if first := stream.CachedInfo().State.FirstSeq; first != 1 {
		t.Errorf("a full stream dropped the first %d", first-1)
	}
}

// TestAnOlderFeedLearnsToExpireRecords: streams of a deployment that knew no
// times to live are brought to them, and keep what they hold.
func TestAnOlderFeedLearnsToExpireRecords(t *testing.T) {
	t.Parallel()
	b := eventstest.NewBroker(t)
	js, err := jetstream.New(b.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: events.StreamRevocations, Subjects: []string{events.SubjectRevocations}, MaxAge: 2 * time.Hour,
		Discard: jetstream.DiscardNew, DenyDelete: true, DenyPurge: true, AllowDirect: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), events.RevocationSubject(events.ScopeToken), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if err := events.EnsureStreams(t.Context(), js, events.StreamOptions{}); err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), events.StreamRevocations)
	if err != nil {
		t.Fatal(err)
	}
	info := stream.CachedInfo()
	if info.State.Msgs != 1 || !info.Config.AllowMsgTTL || info.Config.MaxAge != events.FeedMaxAge {
		t.Errorf("the feed is %+v and holds %d", info.Config, info.State.Msgs)
	}
	// A broker that honours no times to live would refuse or keep this.
	msg := nats.NewMsg(events.RevocationSubject(events.ScopeToken))
	msg.Header.Set(jetstream.MsgTTLHeader, "1s")
	ack, err := js.PublishMsg(t.Context(), msg)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		_, err := stream.GetMsg(t.Context(), ack.Sequence)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the message is still there (%v)", err)
		}
	}
}

func TestMarshalWithoutData(t *testing.T) {
	if doc, err := json.Marshal(events.Event{}); err == nil {
		t.Errorf("encoded as %s", doc)
	}
}
