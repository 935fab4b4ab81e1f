package verifier

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/events"
)

// authority is whoever answers for the revocation log. The real one is on the
// bus; tests of time have one inside their synctest bubble, which no socket
// crosses.
type authority interface {
	fresh(ctx context.Context, req events.FreshRequest) (events.FreshReply, error)
	page(ctx context.Context, req events.RangeRequest) (events.RangeReply, error)
	status(ctx context.Context, t events.TokenRef) (events.StatusReply, error)
	// keys asks for the published keys; trusted are the feed keys known so far.
	keys(ctx context.Context, trusted map[string]ed25519.PublicKey) (events.KeysReply, error)
	// history reads the records of the feed's stream that were stored at or after
	// since, in bulk.
	history(ctx context.Context, since time.Time, receive func(*nats.Msg)) error
}

// busAuthority asks over NATS.
type busAuthority struct {
	nc       *nats.Conn
	timeout  time.Duration
	feedKeys func() map[string]ed25519.PublicKey
}

// ask sends one request. It fails at once while there is no connection, instead
// of waiting for one until the timeout.
func (b *busAuthority) ask(ctx context.Context, req events.Asking, reply events.Answering) error {
	if !b.nc.IsConnected() {
		return fmt.Errorf("requesting %s: %w", req.Subject(), nats.ErrDisconnected)
	}
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	return events.Request(ctx, b.nc, b.feedKeys(), req, reply)
}

func (b *busAuthority) fresh(ctx context.Context, req events.FreshRequest) (reply events.FreshReply, err error) {
	err = b.ask(ctx, &req, &reply)
	return reply, err
}

func (b *busAuthority) page(ctx context.Context, req events.RangeRequest) (reply events.RangeReply, err error) {
	err = b.ask(ctx, &req, &reply)
	return reply, err
}

func (b *busAuthority) status(ctx context.Context, t events.TokenRef) (reply events.StatusReply, err error) {
	err = b.ask(ctx, &events.StatusRequest{Token: t}, &reply)
	return reply, err
}

func (b *busAuthority) keys(ctx context.Context, trusted map[string]ed25519.PublicKey) (reply events.KeysReply, err error) {
	if !b.nc.IsConnected() {
		return reply, fmt.Errorf("requesting %s: %w", events.SubjectKeys, nats.ErrDisconnected)
	}
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	if len(trusted) == 0 {
		return events.RequestKeys(ctx, b.nc)
	}
	err = events.Request(ctx, b.nc, trusted, &events.KeysRequest{}, &reply)
	return reply, err
}

// historyBatch is small because direct-get replies share the broker's outbound
// queue with its publish acknowledgements.
const historyBatch = 250

// directGet is the body of a request to $JS.API.DIRECT.GET.<stream>.
type directGet struct {
	Seq       uint64     `json:"seq,omitempty"`
	Batch     int        `json:"batch"`
	StartTime *time.Time `json:"start_time,omitempty"`
}

// errNoHistory says that the stream cannot be read, for lack of the stream or of
// the permission; the log itself can still be asked.
var errNoHistory = errors.New("reading the feed's stream")

func (b *busAuthority) history(ctx context.Context, since time.Time, receive func(*nats.Msg)) error {
	inbox := b.nc.NewInbox() // not one for replies: the connection listens to those as well
	sub, err := b.nc.SubscribeSync(inbox)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoHistory, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only if the connection is closed

	get := directGet{Seq: 1, Batch: historyBatch}
	if !since.IsZero() {
		get.Seq, get.StartTime = 0, &since
	}
	for {
		last, more, err := b.batch(ctx, sub, get, receive)
		if err != nil || !more {
			return err
		}
		get.Seq, get.StartTime = last+1, nil
	}
}

// batch requests one batch and hands on what comes. It returns the sequence of
// the last message, and whether there are more.
func (b *busAuthority) batch(
	ctx context.Context, sub *nats.Subscription, get directGet, receive func(*nats.Msg),
) (last uint64, more bool, err error) {
	body, err := json.Marshal(get)
	if err != nil {
		return 0, false, fmt.Errorf("%w: %w", errNoHistory, err)
	}
	subject := "$JS.API.DIRECT.GET." + events.StreamRevocations
	if err := b.nc.PublishRequest(subject, sub.Subject, body); err != nil {
		return 0, false, fmt.Errorf("%w: %w", errNoHistory, err)
	}
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	for {
		msg, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return 0, false, fmt.Errorf("%w: %w", errNoHistory, err)
		}
		switch status := msg.Header.Get("Status"); status {
		case "":
		case "204": // end of batch
			return last, last > 0 && msg.Header.Get("Nats-Num-Pending") != "0", nil
		case "404": // nothing there
			return last, false, nil
		default:
			return 0, false, fmt.Errorf("%w: status %s %s", errNoHistory, status, msg.Header.Get("Description"))
		}
		if last, err = strconv.ParseUint(msg.Header.Get("Nats-Sequence"), 10, 64); err != nil {
			return 0, false, fmt.Errorf("%w: sequence of a stored record: %w", errNoHistory, err)
		}
		msg.Subject = msg.Header.Get("Nats-Subject") // what the record was signed for
		receive(msg)
	}
}
