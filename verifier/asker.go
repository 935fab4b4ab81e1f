package verifier

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/authbus/authbus/events"
)

// asker asks the authority about single tokens, for when the verifier cannot
// decide alone. Askers of one token share a request; the number of requests
// under way is bounded; and after a failure the next ones fail at once for a
// moment, so that an outage is not met with a queue.
type asker struct {
	lifetime  context.Context // of the verifier: whoever asked first may leave before the others
	authority authority
	flights   flights
	slots     chan struct{}
	pause     atomic.Pointer[time.Time] // no asking before
	counters  *counters
}

// answered is the authority's word on a token.
type answered struct {
	at         time.Time // before the request was sent
	generation uint64    // the ledger's, before the request was sent
	reply      events.StatusReply
}

const (
	// pauseAfterFailure is how long nobody asks after a failure.
	pauseAfterFailure = 200 * time.Millisecond
	// answerLife is how long an answer that a token is active serves: with it a
	// stale verifier asks at most once a second about each token. It is always
	// below the bound, so it takes nothing from P1.
	answerLife = time.Second
)

var (
	errOverloaded = errors.New("too many requests about tokens are under way")
	errOtherLog   = errors.New("the authority's log has changed")
	errLate       = errors.New("the authority's answer is older than the bound")
	errPaused     = errors.New("the authority did not answer a moment ago")
)

func newAsker(lifetime context.Context, a authority, maxAsks int, n *counters) *asker {
	return &asker{lifetime: lifetime, authority: a, slots: make(chan struct{}, maxAsks), counters: n}
}

// ask returns the authority's word on the token. generation is the ledger's,
// read before.
func (a *asker) ask(ctx context.Context, t events.TokenRef, generation uint64) (*answered, error) {
	if until := a.pause.Load(); until != nil && time.Now().Before(*until) {
		return nil, errPaused
	}
	// Whoever has learned of a revocation since must not share an older answer.
	key := t.KID + "\x00" + t.JTI + "\x00" + strconv.FormatUint(generation, 10)
	done := a.flights.join(key, func() (any, error) {
		return a.request(t, generation)
	})
	select {
	case r := <-done:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*answered), nil // request returns nothing else
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (a *asker) request(t events.TokenRef, generation uint64) (*answered, error) {
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	default:
		return nil, errOverloaded
	}
	a.counters.asked.Add(1)
	at := time.Now()
	reply, err := a.authority.status(a.lifetime, t)
	if err != nil {
		a.counters.askFailed.Add(1)
		until := time.Now().Add(pauseAfterFailure)
		a.pause.Store(&until)
		return nil, err
	}
	return &answered{at: at, generation: generation, reply: reply}, nil
}
