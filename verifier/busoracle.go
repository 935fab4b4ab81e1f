package verifier

import (
	"context"
	"errors"

	"github.com/authbus/authbus/events"
)

// busOracle asks over NATS, on auth.verify. The whole token crosses the bus. An
// answer counts only if a feed key has signed it for this very question.
type busOracle struct {
	bus      *busAuthority
	keys     *keyring // of which only the feed keys are used
	audience string
}

func newBusOracle(lifetime context.Context, c Config, n *counters) (*busOracle, error) {
	o := &busOracle{bus: &busAuthority{nc: c.NATS, timeout: c.RequestTimeout}, audience: c.Audience}
	var err error
	if o.keys, err = newKeyring(lifetime, c, o.bus, n, func() {}); err != nil {
		return nil, err
	}
	o.bus.feedKeys = o.keys.feed
	return o, nil
}

// ask has the token verified.
func (o *busOracle) ask(ctx context.Context, raw string) (answer, error) {
	if err := o.fetchKeys(ctx); err != nil {
		return answer{}, &askError{reason: ReasonKeysUnknown, err: err}
	}
	reply, err := o.request(ctx, raw)
	if errors.Is(err, events.ErrForgedReply) && o.newKeys(ctx) {
		reply, err = o.request(ctx, raw)
	}
	switch {
	case err != nil:
		return answer{}, askFailure(err)
	case !reply.Active:
		return answer{reason: reply.Reason}, nil
	case len(reply.Claims) > maxAnswer:
		return answer{}, &askError{reason: ReasonBadAnswer, err: errors.New("the claims in the reply are too long")}
	}
	return answer{active: true, claims: reply.Claims}, nil
}

func (o *busOracle) request(ctx context.Context, raw string) (reply events.VerifyReply, err error) {
	err = o.bus.ask(ctx, &events.VerifyRequest{Token: raw, Audience: o.audience}, &reply)
	return reply, err
}

// fetchKeys fetches the feed keys where there are none yet.
func (o *busOracle) fetchKeys(ctx context.Context) error {
	if len(o.keys.feed()) > 0 {
		return nil
	}
	return o.keys.refresh(ctx)
}

// newKeys reports whether the authority has other feed keys than are known here.
func (o *busOracle) newKeys(ctx context.Context) bool {
	before := o.keys.current.Load()
	return o.keys.demand(ctx) == nil && o.keys.current.Load() != before
}

func askFailure(err error) error {
	failed := &askError{reason: ReasonNoAnswer, err: err}
	var refused *events.RequestError
	var invalid *events.ValidationError
	switch {
	case errors.Is(err, events.ErrForgedReply):
		failed.reason = ReasonBadAnswer
	case errors.As(err, &refused):
		failed.alive = refused.Code == events.CodeBadRequest
	case errors.As(err, &invalid):
		failed.reason = ReasonBadAnswer
	}
	return failed
}

func (o *busOracle) close() { o.keys.flights.close() }
