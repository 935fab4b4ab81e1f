package events

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// contentType marks a message as a CloudEvent in structured mode for the
// libraries of other languages.
const contentType = "application/cloudevents+json"

// Message returns the event as the message to publish, validated and with
// Event.ID as its Nats-Msg-Id. It is for whoever publishes in batches; everybody
// else calls [Publish].
func Message(e Event) (*nats.Msg, error) {
	if err := e.validate(); err != nil {
		return nil, fmt.Errorf("encoding event: %w", err)
	}
	doc, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	msg := nats.NewMsg(SubjectOf(e.Data.Type(), e.Data.Subject()))
	msg.Header.Set(nats.MsgIdHdr, e.ID)
	msg.Header.Set("Content-Type", contentType)
	msg.Data = doc
	return msg, nil
}

// Publish publishes an event on the stream AUTH_EVENTS and returns once the
// stream has it. Publishing the same event again is harmless: the stream drops
// it within its deduplication window, and subscribers tolerate a repeat beyond it.
func Publish(ctx context.Context, js jetstream.JetStream, e Event) error {
	msg, err := Message(e)
	if err != nil {
		return err
	}
	if _, err := js.PublishMsg(ctx, msg, jetstream.WithExpectStream(StreamEvents)); err != nil {
		return fmt.Errorf("publishing event %s: %w", e.ID, err)
	}
	return nil
}

// RevocationMessage returns the record as the message to publish, signed with
// the feed key named kid, with <epoch>-<rev> as its Nats-Msg-Id and [RevocationTTL]. It refuses a
// record that [DecodeRevocation] would refuse.
func RevocationMessage(kid string, key ed25519.PrivateKey, r Revocation) (*nats.Msg, error) {
	payload, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding revocation: %w", err)
	}
	if _, err := DecodeRevocation(payload); err != nil {
		return nil, fmt.Errorf("encoding revocation: %w", err)
	}
	subject := RevocationSubject(r.Scope)
	msg := &nats.Msg{Subject: subject, Header: Sign(kid, key, subject, payload), Data: payload}
	msg.Header.Set(nats.MsgIdHdr, r.Epoch+"-"+strconv.FormatUint(r.Rev, 10))
	msg.Header.Set(jetstream.MsgTTLHeader, RevocationTTL(r, time.Now()).String())
	return msg, nil
}

// PublishRevocation publishes a record on the feed, the stream AUTH_REVOCATIONS,
// and returns once the stream has it. Publishing it again is harmless.
func PublishRevocation(
	ctx context.Context, js jetstream.JetStream, kid string, key ed25519.PrivateKey, r Revocation,
) error {
	msg, err := RevocationMessage(kid, key, r)
	if err != nil {
		return err
	}
	if _, err := js.PublishMsg(ctx, msg, jetstream.WithExpectStream(StreamRevocations)); err != nil {
		return fmt.Errorf("publishing revocation %d: %w", r.Rev, err)
	}
	return nil
}
