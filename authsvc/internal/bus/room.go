package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/events"
)

// Both streams are in one account, whose limit on disk stops whichever stream comes
// next. So the events, of which anybody who logs in makes some, get a bound of their
// own, and the rest is the feed's.
const (
	eventsShare = 3
	ofShares    = 4
	// maxReplicas is the most copies that a stream can have.
	maxReplicas = 5
)

// eventsBound is that bound. The limit of an account in a cluster counts every copy of
// a stream, and is a multiple of what one server may hold, by a number of servers that
// is not known here but no more than maxReplicas: a bound beyond one server's would be
// refused.
func eventsBound(limit int64, clustered bool) int64 {
	if clustered {
		limit /= maxReplicas
	}
	return max(1, limit/ofShares*eventsShare)
}

// leaveRoom bounds the events by the limit of the account, unless they have a bound or
// the account has none. The error means that the limit is not known.
func leaveRoom(ctx context.Context, js jetstream.JetStream, o events.StreamOptions) (events.StreamOptions, error) {
	if o.EventsMaxBytes != 0 {
		return o, nil
	}
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	account, err := js.AccountInfo(ctx)
	if err != nil {
		return o, fmt.Errorf("asking what the account may hold: %w", err)
	}
	if limit := account.Limits.MaxStore; limit > 0 {
		o.EventsMaxBytes = eventsBound(limit, js.Conn().ConnectedClusterName() != "")
	}
	return o, nil
}

// ensureStreams makes the streams, or brings them to what they should be. While the
// limit of the account is not known, the events keep the bound that they have.
func (p *Publisher) ensureStreams(ctx context.Context) error {
	options, unknown := leaveRoom(ctx, p.js, p.streams)
	if unknown != nil {
		stream, err := p.js.Stream(ctx, events.StreamEvents)
		switch {
		case err == nil:
			options.EventsMaxBytes = stream.CachedInfo().Config.MaxBytes
		case !errors.Is(err, jetstream.ErrStreamNotFound):
			return fmt.Errorf("looking at %s: %w", events.StreamEvents, err)
		}
	}
	if err := events.EnsureStreams(ctx, p.js, options); err != nil {
		return err
	}
	if unknown != nil && options.EventsMaxBytes <= 0 && ctx.Err() == nil {
		p.log.Warn("events are not bounded, and could take the room of revocations: write the configuration of nats-server again (authsvc nats-config)",
			"error", unknown)
	}
	return nil
}
