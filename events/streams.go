package events

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// StreamOptions are the properties of the two streams that differ between
// installations. The zero value suits one broker.
type StreamOptions struct {
	// Replicas is how many brokers hold each stream; 0 means 1. A cluster of
	// three brokers wants 3.
	Replicas int
	// EventsMaxAge is how long events are kept; 0 means 90 days.
	EventsMaxAge time.Duration
	// EventsMaxBytes bounds the stream of events; 0 means no bound. A full
	// stream refuses new events until old ones have aged out.
	EventsMaxBytes int64
	// RevocationsMaxAge is the longest that a record is kept on the feed; 0 means
	// [FeedMaxAge]. Each record goes earlier, by its own time to live: see
	// [RevocationTTL]. It must exceed the longest life of a record, that of a
	// certificate, or a restored database cannot get it back from the feed.
	RevocationsMaxAge time.Duration
	// RevocationsMaxBytes bounds the feed; 0 means no bound. A full feed refuses
	// new records: it never forgets one to make room.
	RevocationsMaxBytes int64
	// Duplicates is the window in which a repeated publish is dropped; 0 means 5
	// minutes. It is cut to the age of the stream.
	Duplicates time.Duration
	// Subscribers are the names of durable consumers of AUTH_EVENTS to make, for
	// subscribers that may not make their own: see [Subscribe]. They deliver every
	// event from the oldest on. One that is no longer named is left as it is.
	Subscribers []string
}

// The defaults of StreamOptions.
const (
	defaultEventsMaxAge = 90 * 24 * time.Hour
	defaultDuplicates   = 5 * time.Minute
)

// FeedMaxAge is above the longest life of a record, which is a week.
const FeedMaxAge = 7*24*time.Hour + time.Hour

// ttlMargin is how much longer than it counts a record stays on the feed, for
// clocks that differ.
const ttlMargin = 10 * time.Minute

// RevocationTTL is the Nats-TTL of a record that is published at now: the rest of
// its life and ten minutes. With it the feed holds the records that count, of
// tokens for an hour and of certificates for days, and a reader of its history
// meets hardly any that are dead.
func RevocationTTL(r Revocation, now time.Time) time.Duration {
	left := time.Unix(r.ExpiresAt, 0).Sub(now)
	return min(max(left, 0), FeedMaxAge).Truncate(time.Second) + ttlMargin
}

func (o StreamOptions) withDefaults() StreamOptions {
	o.Replicas = cmp.Or(o.Replicas, 1)
	o.EventsMaxAge = cmp.Or(o.EventsMaxAge, defaultEventsMaxAge)
	o.RevocationsMaxAge = cmp.Or(o.RevocationsMaxAge, FeedMaxAge)
	o.Duplicates = cmp.Or(o.Duplicates, defaultDuplicates)
	o.EventsMaxBytes = cmp.Or(o.EventsMaxBytes, -1)
	o.RevocationsMaxBytes = cmp.Or(o.RevocationsMaxBytes, -1)
	return o
}

// EnsureStreams creates the streams AUTH_EVENTS and AUTH_REVOCATIONS, or brings
// them to these options where they exist. Both are append-only: on disk, nothing
// can be deleted or purged through the API, and when full they refuse what is new.
func EnsureStreams(ctx context.Context, js jetstream.JetStream, o StreamOptions) error {
	o = o.withDefaults()
	streams := []jetstream.StreamConfig{
		{
			Name: StreamEvents, Subjects: []string{SubjectEvents},
			Description: "Everything that happened in the auth service, as CloudEvents",
			MaxAge:      o.EventsMaxAge, MaxBytes: o.EventsMaxBytes,
		},
		{
			Name: StreamRevocations, Subjects: []string{SubjectRevocations},
			Description: "The revocation feed: signed records of the revocation log",
			MaxAge:      o.RevocationsMaxAge, MaxBytes: o.RevocationsMaxBytes,
			AllowMsgTTL: true,
		},
	}
	for _, s := range streams {
		if _, err := js.CreateOrUpdateStream(ctx, o.appendOnly(s)); err != nil {
			return fmt.Errorf("creating or updating stream %s: %w", s.Name, err)
		}
	}
	for _, name := range o.Subscribers {
		opts, err := Subscription{Durable: name}.withDefaults()
		if err != nil {
			return err
		}
		p := place{js: js, opts: opts}
		if _, err := p.open(ctx); err != nil {
			return fmt.Errorf("making the consumer of subscriber %s: %w", name, err)
		}
	}
	return nil
}

// appendOnly adds to a stream's configuration what both streams have in common.
func (o StreamOptions) appendOnly(s jetstream.StreamConfig) jetstream.StreamConfig {
	s.Retention = jetstream.LimitsPolicy
	s.Storage = jetstream.FileStorage
	s.Discard = jetstream.DiscardNew
	s.DenyDelete = true
	s.DenyPurge = true
	s.AllowDirect = true
	s.MaxMsgSize = maxDocument
	s.Replicas = o.Replicas
	s.Duplicates = min(o.Duplicates, s.MaxAge)
	return s
}
