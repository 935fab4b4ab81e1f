package bus

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/events"
)

// feedState recognises a stream: another creation time, or a last sequence that
// went back, means that it is not the stream we know.
type feedState struct {
	created time.Time
	last    uint64
}

// feedLog is what the stream AUTH_REVOCATIONS holds, compared with the head of
// the database.
type feedLog struct {
	feedState
	// have are the live records with a revision that the database has given out,
	// and where in the stream they are.
	have map[entry]uint64
	// ahead are the records above it that a feed key has signed, live or not.
	ahead []events.Revocation
	// forks are the live and signed ones that the database has not, or has others
	// in place of.
	forks []events.Revocation
	// foreign counts messages above it that are not signed, or no records at all.
	foreign int
}

// entry is a record in short. Two different ones may claim the same revision.
type entry struct{ rev, print uint64 }

// readFeed reads the whole stream. What is above the revision head may only be
// newer than the database if it is still above when the database is asked again.
func (p *Publisher) readFeed(ctx context.Context, head uint64) (*feedLog, error) {
	stream, err := p.js.Stream(ctx, events.StreamRevocations)
	if err != nil {
		return nil, fmt.Errorf("looking at %s: %w", events.StreamRevocations, err)
	}
	info := stream.CachedInfo()
	log := &feedLog{feedState: feedState{info.Created, info.State.LastSeq}, have: map[entry]uint64{}}
	if info.State.Msgs == 0 {
		return log, nil
	}
	reader := feedReader{Publisher: p, log: log, head: head, now: time.Now(), keys: events.FeedKeys(p.keys.FeedKeys())}
	if err := eachMessage(ctx, stream, info.State.LastSeq, reader.add); err != nil {
		return nil, fmt.Errorf("reading %s: %w", events.StreamRevocations, err)
	}
	return log, nil
}

// eachMessage calls fn for every message of the stream up to the sequence last.
func eachMessage(ctx context.Context, stream jetstream.Stream, last uint64, fn func(jetstream.Msg, uint64) error) error {
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{InactiveThreshold: 10 * time.Second})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(2000))
	if err != nil {
		return err
	}
	defer messages.Stop()
	for ctx.Err() == nil {
		msg, err := messages.Next(jetstream.NextMaxWait(ackTimeout))
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		if err := fn(msg, meta.Sequence.Stream); err != nil {
			return err
		}
		// Nothing pending: the messages up to last may have aged out meanwhile.
		if meta.Sequence.Stream >= last || meta.NumPending == 0 {
			return nil
		}
	}
	return ctx.Err()
}

// feedReader sorts the messages of the stream.
type feedReader struct {
	*Publisher
	log  *feedLog
	head uint64
	now  time.Time
	keys map[string]ed25519.PublicKey
}

func (f feedReader) add(msg jetstream.Msg, seq uint64) error {
	r, err := events.DecodeRevocation(msg.Data())
	var newer *events.NotUnderstoodError
	switch {
	case errors.As(err, &newer):
		if newer.Rev > f.head && f.signed(msg.Headers(), msg.Subject(), msg.Data()) {
			return fmt.Errorf("the database is behind a log that a newer program wrote: %w", err)
		}
		f.log.foreign++
	case err != nil:
		f.log.foreign++
	case r.Rev <= f.head:
		// Whether it is genuine need not be known: if it is not what the database
		// has under this number, it is looked at again.
		if !r.Expired(f.now) {
			f.log.have[entry{r.Rev, f.prints.of(r)}] = seq
		}
	case f.signed(msg.Headers(), msg.Subject(), msg.Data()):
		f.log.ahead = append(f.log.ahead, r)
	default:
		f.log.foreign++
	}
	return nil
}

func (f feedReader) signed(header nats.Header, subject string, payload []byte) bool {
	return events.VerifySignature(f.keys, header, subject, payload)
}

// genuine returns the record at a place in the stream if a feed key has signed it.
func (p *Publisher) genuine(ctx context.Context, stream jetstream.Stream, seq uint64) (events.Revocation, bool, error) {
	msg, err := stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return events.Revocation{}, false, nil // aged out meanwhile
	}
	if err != nil {
		return events.Revocation{}, false, err
	}
	keys := events.FeedKeys(p.keys.FeedKeys())
	r, err := events.DecodeRevocation(msg.Data)
	return r, err == nil && events.VerifySignature(keys, msg.Header, msg.Subject, msg.Data), nil
}
