// Package verifier verifies access tokens inside a service: locally, with public
// keys, and with a set of revocations that the auth service's bus keeps up to
// date. It can also ask the auth service every time: see Remote below, and what
// the other sections say is of local verification.
//
//	nc, err := nats.Connect(natsURL)
//	v, err := verifier.New(ctx, verifier.Config{Issuer: issuer, Audience: "orders", NATS: nc})
//	defer v.Close()
//	http.ListenAndServe(addr, v.Middleware(mux))
//	// in a handler: claims, ok := verifier.FromContext(r.Context())
//
// # Freshness
//
// If a verifier accepts a token at time s, then no revocation that covers the
// token had been acknowledged at or before s − B, where B is [Config.MaxStale].
// While nothing is broken the delay is that of a message on the bus.
//
// The bound is proved, not assumed. Once a second the verifier asks the
// authority for its read index: the number of the last revocation that its
// database has committed. Once the verifier has applied every revocation up to
// that number, and has the keys that are published now, it is fresh as of the
// moment before it asked. Neither silence nor a healthy connection counts as
// proof. Age is measured on the monotonic and on the wall clock, and the greater
// one counts, so that time spent suspended is noticed.
//
// A context from [Verifier.Watch] ends by the same bound, however many there are and
// however slow the authority is.
//
// A verifier that cannot prove it does not accept on its own: by default it asks
// the authority about each token, and without an answer it refuses with
// [ErrUnavailable]. See [StalePolicy].
//
// # Revocation
//
// A token that was refused as revoked stays refused until it expires: through
// cache pressure, reconnects, a recreated stream, a restored database. A
// revocation of a user reaches the tokens minted before it, decided by the
// token's rev claim and not by clocks, so that whoever logs in again right after
// it is accepted.
//
// What arrives on the feed is applied only if the authority's feed key has
// signed it; what does not verify is counted and changes nothing, because
// completeness comes from the revision numbers. A signed record that this
// version does not understand takes the freshness away until it has expired.
//
// # Certificates
//
// Services have certificates that are revoked in the same log.
// [Verifier.CheckCertificate] says whether one is, from what is known here and with
// the same bound; [Verifier.WatchCertificate] ends what was begun with it. Package
// mtls does both for every connection.
//
// # Shared secrets
//
// With [Config.SharedSecret] tokens are verified with a secret (HS256) that the
// auth service signs with too; see the token package for what counts as one.
// Everything else on this page holds as it does with public keys. What does not
// hold is that only the auth service can mint: every holder can, for every user
// and every audience, so that one service that is broken into is all of them. To
// replace a secret, have every side accept both, each as the current or the
// previous one, before the first signs with the new one; an hour after the last
// has begun to, the old one can go. A secret that was killed is not accepted again,
// as long as the keys of the feed are fetched and not pinned.
//
// Where the authority goes on with a secret or with key pairs that a running verifier
// was not configured for, its new tokens are refused with [ErrUnavailable]
// ([ReasonWrongKeys], [ReasonMixedKeys]) within about a second: nothing is wrong with
// them, and logging in again would not help. What no key could make good stays
// [ErrInvalid]. With pinned keys the verifier is not told, nor which secret signs where
// it has [Config.JWKSURL]; then such tokens are ErrInvalid.
//
// # Remote
//
// In Mode [Remote] the same API has the authority decide about every token. It is one
// field, and without it the service verifies locally; nothing else changes:
//
//	v, err := verifier.New(ctx, verifier.Config{
//		Mode:   verifier.Remote, // the line to leave out
//		Issuer: issuer, Audience: "orders", NATS: nc,
//	})
//
// A service without NATS asks over HTTP (RFC 7662), with credentials in its place:
//
//	Mode: verifier.Remote, Issuer: issuer, Audience: "orders",
//	IntrospectionURL: issuer + "/v1/introspect", ClientID: "orders", ClientSecret: secret,
//
// What it promises: a token is accepted only if the authority has said that it is
// good after the call of [Verifier.Verify] began. So a revocation that was
// acknowledged before the call is never missed, and there is no staleness bound.
// Nothing is kept of an answer. Callers at the same time share one about the same
// token only if it was asked for after each of them came. Every call has its
// outcome within Config.RequestTimeout, and without an answer it is
// [ErrUnavailable]. What no key could make good is refused without asking, and the
// answer must agree with the token: issuer, audience, subject, id and times.
// After five failures in a row the authority is left alone for a pause that
// doubles from 0.2 s to 10 s, and every token is refused meanwhile.
// [Verifier.Watch] learns of a revocation within Config.ProbeInterval and the time
// of the answer, where a quarter of Config.MaxAsks is enough for all watched
// tokens. In any case, with a slow authority or none, no watch goes on for longer than
// [Config.MaxStale] after the last question whose answer was good. It ends earlier,
// with [ErrUnavailable], where three questions about it in a row had no answer: one
// that is lost ends nothing, and an authority that is away ends every watch within
// about three times Config.ProbeInterval and Config.RequestTimeout, which is 9 s by
// default.
//
// What it does not: it is as fast and as available as the authority and the way
// there, and whoever operates either sees every token. Over NATS the answer is
// signed, and tied to its question; over HTTP it is as good as the TLS connection.
// The signature of the token is not checked here a second time. HTTP does not say
// why a token is inactive: the reason is always [ReasonInactive], with
// [ErrInvalid].
//
// Choose it for few requests, for a service that cannot subscribe to the bus, or as
// the first step; choose Mode [Local] for everything else.
//
// Over NATS it needs to publish on auth.verify, a permission of its own, and on
// auth.keys unless [Config.FeedKeys] or [Config.JWKSURL] is set.
//
// # On the bus
//
// A verifier of Mode [Local] needs to subscribe to auth.revocations.> and to its
// own inbox prefix (nats.CustomInboxPrefix, such as _INBOX_orders), and to publish
// on auth.fresh, auth.range, auth.status and auth.keys. With $JS.API.DIRECT.GET.AUTH_REVOCATIONS
// it can spare the authority's database when it has much to catch up on. It needs
// nothing else, and must not be given more: in particular no right to create
// consumers, with which stored messages can be sent to any subject. No bearer
// token crosses the bus then: requests name tokens by their ids.
//
// # Not promised
//
// With keys fetched over the bus (the default), the first fetch trusts whoever
// the broker permits to answer auth.keys; later ones must be signed by a known
// feed key. Pin [Config.Keys] and [Config.FeedKeys], or set [Config.JWKSURL], to
// rest on less. A handler that is already running when its token is revoked is
// not interrupted, unless it holds a context from [Verifier.Watch].
//
// # Concurrency
//
// All methods may be called from many goroutines. Verify on a token seen before
// takes no lock and allocates nothing, in Mode [Local].
package verifier
