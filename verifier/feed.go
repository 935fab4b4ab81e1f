package verifier

import (
	"fmt"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/events"
)

// The live feed may run this far ahead of the handler before NATS drops
// messages, which the next round then repairs.
const (
	pendingMessages = 1 << 18
	pendingBytes    = 128 << 20
)

// source says how a record came, for the counters.
type source struct {
	count func(*counters) *atomic.Uint64
}

var (
	fromFeed    = &source{func(c *counters) *atomic.Uint64 { return &c.live }}
	fromHistory = &source{func(c *counters) *atomic.Uint64 { return &c.bulk }}
)

// liveFeed is the verifier's ear on the bus.
type liveFeed struct {
	nc     *nats.Conn
	sub    *nats.Subscription
	closed chan struct{} // closed after the last message was handled
	status chan nats.Status
	noted  chan struct{} // closed after the last change of status was handled
}

// listen subscribes to the live feed: a plain core subscription, which hears a
// publish even while the stream has no quorum. What it misses, the rounds of the
// follower notice.
func listen(nc *nats.Conn, v *Verifier) (*liveFeed, error) {
	sub, err := nc.Subscribe(events.SubjectRevocations, func(msg *nats.Msg) { v.receive(msg, fromFeed) })
	if err == nil {
		err = sub.SetPendingLimits(pendingMessages, pendingBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("verifier: subscribing to the feed: %w", err)
	}
	f := &liveFeed{
		nc: nc, sub: sub, closed: make(chan struct{}),
		status: nc.StatusChanged(nats.CONNECTED), noted: make(chan struct{}),
	}
	sub.SetClosedHandler(func(string) { close(f.closed) })
	go func() { // ends when close has removed the listener
		defer close(f.noted)
		for range f.status {
			v.follower.kick() // whatever was said meanwhile was not heard
		}
	}()
	return f, nil
}

// close ends the subscription and waits for its handlers.
func (f *liveFeed) close() {
	if err := f.sub.Unsubscribe(); err == nil {
		<-f.closed
	}
	f.nc.RemoveStatusListener(f.status)
	<-f.noted
}

// dropped is the number of messages lost because the handler was slow.
func (f *liveFeed) dropped() uint64 {
	n, err := f.sub.Dropped()
	if err != nil {
		return 0 // the connection is closed
	}
	return uint64(max(0, n))
}

// receive takes in one message of the feed. Nothing that is not signed by a feed
// key has any effect.
func (v *Verifier) receive(msg *nats.Msg, from *source) {
	r, err := events.DecodeRevocation(msg.Data)
	if err == nil && v.ledger.seen(r.Epoch, r.Rev) {
		v.counters.repeated.Add(1) // spares the signature
		return
	}
	if !events.VerifySignature(v.keys.feed(), msg.Header, msg.Subject, msg.Data) {
		v.counters.badSignature.Add(1)
		return
	}
	if err == nil {
		err = v.apply(r)
	}
	if err != nil {
		v.follower.reject(r.Epoch, err)
		return
	}
	from.count(&v.counters).Add(1)
	if epoch, _, _ := v.ledger.position(); epoch != r.Epoch {
		v.follower.kick() // the authority has begun another log
	}
}

// apply takes a genuine record in, and ends what was going on with the tokens
// that it covers.
func (v *Verifier) apply(r events.Revocation) error {
	if err := v.ledger.apply(r); err != nil {
		return err
	}
	v.watches.revoke(r)
	return nil
}
