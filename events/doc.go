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
// an event, and events older than the stream's retention. An event whose publish
// had to be repeated after a long time may occur in the stream twice. A service
// that must refuse revoked tokens uses the verifier package, not a subscription.
//
// One event is in flight at a time, among all processes that share a durable
// name: the next is delivered when it is settled, so an event that has to be
// repeated holds up those behind it and is not overtaken. An event is settled by
// the handler's nil, or by being poison:
//
//   - It cannot be decoded: it is malformed, of an unknown type or version, or
//     breaks its schema.
//   - The handler returns [ErrPoison].
//   - The handler has panicked on it three times. A panic counts as an error
//     otherwise, and never ends the process.
//   - It was delivered Subscription.MaxTries times, where that is set. By default
//     an event whose handler returns errors is repeated without end.
//
// A poison message is terminated, counted and reported, and the subscription
// goes on with the next one. It stays in the stream until it ages out.
//
// [Subscriber.Close] waits for the handler and gives back what is not settled. A
// process that dies keeps its event from the others for Subscription.AckWait.
//
// # Compatibility
//
// The type of an event carries its version. Within a version members are only
// added, and readers ignore those that they do not know; names are lower case,
// occur once, and null is no value. Package schemas has the same contract for
// other languages.
//
// # Requests
//
// [Request] asks the auth service; what it returns was signed by the authority
// for that very request. [DecodeRequest] and [Sign] are the other side of it.
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
//
// A record of the scope cert names a certificate of a service by [CertificateID];
// it ends connections and covers no token. A verifier of an earlier version, which
// does not know the scope, cannot prove its freshness from the first such record on
// until it has expired: update the verifiers before the first certificate is revoked.
//
// # Certificates
//
// The internal CA (authsvc ca) says who a service is with one SPIFFE ID in its
// certificate: [CertificateSPIFFEID]. [RenewCertificate] gets the successor of a
// certificate over the bus; its answer is believed because the intermediate that
// issued the old one has signed it, so it also brings new roots.
//
// # Streams
//
// Records of tokens live for about an hour, those of certificates for days. So each
// record is published with a time to live of its own ([RevocationTTL]), and the
// stream's age is only the bound above all of them ([FeedMaxAge]): the feed holds
// what counts, a restored database gets back from it also the certificates that
// were revoked days ago, and whoever reads its history meets hardly any dead records.
// [EnsureStreams] brings older feeds to that; what they hold without a time to
// live stays for FeedMaxAge once, which costs room and nothing else. A feed that
// has it cannot be given back to an older auth service.
package events
