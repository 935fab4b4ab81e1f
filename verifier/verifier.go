package verifier

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/authbus/authbus/verifier/token"
)

// Verifier verifies access tokens for one audience. Create it with [New].
type Verifier struct {
	// remote decides in Mode Remote. It is nil in Mode Local, for which all the rest is.
	remote *remote

	config    Config
	profile   token.Profile
	authority authority
	keys      *keyring
	tokens    *tokenCache
	ledger    *ledger
	asker     *asker
	watches   *watches
	counters  counters
	follower  *follower

	feed *liveFeed // nil without a bus

	stop      context.CancelFunc
	stopped   context.Context // done once Close was called
	running   sync.WaitGroup
	closeOnce sync.Once
}

// New connects a verifier to the log and returns once it is complete and fresh,
// so that a service that starts serving then never decides without knowing. While
// the bus or the authority cannot be reached it waits; when ctx ends first, the
// error says what it was waiting for. It also waits while the tokens that the
// authority signs now would all be refused, for want of its key or shared secret.
// ctx bounds only New.
//
// In Mode [Remote] it returns once the authority has answered a question. It fails
// at once where the authority refuses this service's credentials.
func New(ctx context.Context, c Config) (*Verifier, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	if c.Mode == Remote {
		return newRemote(ctx, c)
	}
	c.warnShared()
	bus := &busAuthority{nc: c.NATS, timeout: c.RequestTimeout}
	v, err := assemble(c, bus)
	if err != nil {
		return nil, err
	}
	bus.feedKeys = v.keys.feed
	if v.feed, err = listen(c.NATS, v); err != nil {
		v.Close()
		return nil, err
	}
	v.start()
	if err := v.awaitFresh(ctx); err != nil {
		v.Close()
		return nil, err
	}
	return v, nil
}

// assemble builds the parts, of which none runs yet.
func assemble(c Config, a authority) (*Verifier, error) {
	profile, err := token.Profile{
		Issuer: c.Issuer, Audience: c.Audience, Leeway: c.Leeway, MaxLifetime: c.MaxLifetime,
	}.Normalize()
	if err != nil {
		return nil, fmt.Errorf("verifier: %w", err)
	}
	v := &Verifier{config: c, profile: profile, authority: a, tokens: newTokenCache(c.TokenCacheBytes)}
	v.stopped, v.stop = context.WithCancel(context.Background())
	if v.ledger, err = newLedger(c.RevokedDetails, c.MaxRevocations); err != nil {
		return nil, fmt.Errorf("verifier: %w", err)
	}
	bump := func() { v.ledger.generation.Add(1) }
	if v.keys, err = newKeyring(v.stopped, c, a, &v.counters, bump); err != nil {
		v.ledger.close()
		return nil, err
	}
	v.asker = newAsker(v.stopped, a, c.MaxAsks, &v.counters)
	v.watches = newWatches()
	v.follower = newFollower(v)
	return v, nil
}

// start begins to follow the log. The goroutines end with Close.
func (v *Verifier) start() {
	v.running.Go(func() { v.follower.run(v.stopped) })
	v.running.Go(func() { v.sweep(v.stopped) })
	v.running.Go(func() { v.guard(v.stopped) })
	v.running.Go(func() { v.inquire(v.stopped) })
}

// awaitFresh waits for the first proof.
func (v *Verifier) awaitFresh(ctx context.Context) error {
	select {
	case <-v.follower.first:
		return nil
	case <-ctx.Done():
		waiting := "the first answer of the authority"
		if p := v.counters.waiting.Load(); p != nil {
			waiting = *p
		}
		return fmt.Errorf("verifier: not fresh yet (%s): %w", waiting, ctx.Err())
	}
}

// Close ends the verifier's work on the bus, and waits until it has ended, with every
// request under way. From then on every token is refused with [ErrUnavailable], and
// every watched context has ended with it. The connection stays open.
func (v *Verifier) Close() {
	v.closeOnce.Do(func() {
		v.stop()
		if v.remote != nil {
			v.running.Wait()
			v.remote.close()
			return
		}
		if v.feed != nil {
			v.feed.close()
		}
		v.running.Wait()
		v.asker.flights.close()
		v.keys.flights.close()
		v.ledger.disprove()
		v.watches.endAll(unavailable(ReasonClosed, "the verifier has been closed"))
		v.ledger.close()
	})
}

// sweep drops expired marks once a minute.
func (v *Verifier) sweep(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			// A clock that was just set far ahead makes stale, and is not believed.
			if now := time.Now(); v.freshAt(now) {
				v.ledger.sweep(now)
			}
		case <-ctx.Done():
			return
		}
	}
}
