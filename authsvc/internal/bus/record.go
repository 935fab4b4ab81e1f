package bus

import (
	"encoding/json"
	"fmt"
	"hash/maphash"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/events"
)

// message returns the record as the signed message to publish on the feed.
func (p *Publisher) message(r events.Revocation) (*nats.Msg, error) {
	payload, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding revocation %d: %w", r.Rev, err)
	}
	// Every verifier would stop trusting its state at a record that it cannot read.
	if _, err := events.DecodeRevocation(payload); err != nil {
		return nil, fmt.Errorf("encoding revocation %d: %w", r.Rev, err)
	}
	subject := events.RevocationSubject(r.Scope)
	msg := &nats.Msg{Subject: subject, Header: p.keys.SignFeed(subject, payload), Data: payload}
	msg.Header.Set(nats.MsgIdHdr, r.Epoch+"-"+strconv.FormatUint(r.Rev, 10))
	msg.Header.Set(jetstream.MsgTTLHeader, events.RevocationTTL(r, time.Now()).String())
	return msg, nil
}

// contentType marks an event on the stream for the CloudEvents libraries.
const contentType = "application/cloudevents+json"

// eventMessage returns a document of the outbox as the message to publish. The
// document is complete; only its id is needed again, as the Nats-Msg-Id.
func eventMessage(subject string, document []byte) (*nats.Msg, error) {
	var envelope struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(document, &envelope); err != nil {
		return nil, fmt.Errorf("reading event for %s: %w", subject, err)
	}
	if envelope.ID == "" {
		return nil, fmt.Errorf("reading event for %s: it has no id", subject)
	}
	msg := nats.NewMsg(subject)
	msg.Header.Set(nats.MsgIdHdr, envelope.ID)
	msg.Header.Set("Content-Type", contentType)
	msg.Data = document
	return msg, nil
}

// fingerprints tells records apart in 8 bytes each, so that a feed of a million
// can be compared with the database in memory.
type fingerprints struct{ seed maphash.Seed }

func (f fingerprints) of(r events.Revocation) uint64 { return maphash.Comparable(f.seed, r) }
