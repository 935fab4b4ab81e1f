package verifier

import (
	"fmt"
	"sync"
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
	nc  *nats.Conn
	sub *nats.Subscription
	// handling is held while a message is handled. Once ended is set, none is:
	// a connection that is being drained delivers what it has all the same.
	handling sync.Mutex
	ended    bool // guarded by handling
	status   chan nats.Status
	noted    chan struct{} // closed after the last change of status was handled
}

// listen subscribes to the live feed: a plain core subscription, which hears a
// publish even while the stream has no quorum. What it misses, the rounds of the
// follower notice.
func listen(nc *nats.Conn, v *Verifier) (*liveFeed, error) {
	f := &liveFeed{nc: nc, noted: make(chan struct{})}
	sub, err := nc.Subscribe(events.SubjectRevocations, func(msg *nats.Msg) {
		f.handling.Lock()
		defer f.handling.Unlock()
		if !f.ended {
			v.receive(msg, fromFeed)
		}
	})
	if err == nil {
		err = sub.SetPendingLimits(pendingMessages, pendingBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("verifier: subscribing to the feed: %w", err)
	}
	f.sub, f.status = sub, nc.StatusChanged(nats.CONNECTED)
	go func() { // ends when close has removed the listener
		defer close(f.noted)
		for range f.status {
			v.follower.kick() // whatever was said meanwhile was not heard
		}
	}()
	return f, nil
}

// close ends the subscription and waits for its handler.
func (f *liveFeed) close() {
	_ = f.sub.Unsubscribe() // fails where the connection is closed, or being drained
	f.handling.Lock()
	f.ended = true
	f.handling.Unlock()
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
// that it covers, even where the record does not fit.
func (v *Verifier) apply(r events.Revocation) error {
	err := v.ledger.apply(r)
	v.watches.revoke(r)
	return err
}
