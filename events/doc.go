// Package events is the wire contract of authbus: the subjects on the bus, the
// typed events that the auth service publishes, the revocation records of the
// feed, and the requests a verifier may send. It imports nothing of the project,
// so that every service, in this module or outside, can depend on it alone.
//
//	sub, err := events.Subscribe(ctx, nc, events.Subscription{Durable: "audit"},
//		func(ctx context.Context, e events.Event) error {
//			if ended, ok := e.Data.(events.SessionEnded); ok {
//				log.Printf("%s logged out of %s", ended.Sub, ended.SID)
//			}
//			return nil
//		})
//	defer sub.Close()
//
// # Delivery
//
// Events are delivered at least once and in the order of the stream
// AUTH_EVENTS, which is the order in which the auth service's database committed
// them ([Event.Sequence] grows with it). A handler that returns an error gets the
// same event again after a pause; a handler must therefore tolerate a repeat,
// and can recognise one by [Event.ID].
//
// Not promised: exactly-once handling, any bound on when a subscriber hears of
// an event, and events older than the stream's retention. A service that must
// refuse revoked tokens uses the verifier package, not a subscription.
//
// An event that cannot be decoded or breaks its schema is a poison message: it
// is terminated, counted and reported, and the subscription goes on with the
// next one.
//
// # Privacy
//
// No event carries a password, a token, a secret or an e-mail address. Users
// appear as the opaque subject of their tokens.
//
// # Revocations
//
// The feed (stream AUTH_REVOCATIONS) carries [Revocation] records, one a
// message, each signed with the authority's feed key: see [Sign]. Records are a
// set: they may be applied in any order and any number of times. [Revocation.Covers]
// is the one place that decides whether a record kills a token.
package events
