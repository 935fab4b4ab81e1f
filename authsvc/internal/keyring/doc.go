// Package keyring holds the signing keys of the auth service: those of access
// tokens, which rotate, and the one of the feed and of replies on the bus.
//
//	master, err := keyring.LoadOrCreateMasterKey("master.key")
//	keys, err := keyring.Open(ctx, db, keyring.Config{Issuer: issuer, Master: master})
//	go func() { done <- keys.Run(ctx) }()
//	raw, err := keys.SignToken(claims)
//	header := keys.SignFeed(subject, payload)
//
// # The life of a key
//
// A key is published first (event key.published) and is active, that is signs,
// only after [Config].Overlap (key.activated): verifiers have it by then. The one
// before it signs no more, its private half is wiped, and it stays published
// until no token that it signed can be alive; then it is retired (key.retired).
// This happens every [Config].RotateEvery by itself, and when Rotate is called.
//
// Kill is for a key that leaked: the revocation of its kid is written in the same
// transaction that takes it out of the published keys and, if it was the active
// one, activates a new key at once (key.revoked, key.published, key.activated).
//
// # Replicas
//
// The keys and their schedule are rows of the database. Every change of them
// increases the log head's keys version; each replica looks at it every
// [Config].ReloadEvery, and whoever mints a token compares it in the same
// transaction. Several replicas may run the schedule at once: the first one
// carries a step out, and the others find nothing to do.
//
// # Shared secrets
//
// With [Config.Secret] tokens are signed with a secret that every verifier has
// too. No key pair is made, published or used for tokens then; those that are
// there are suspended, and as they were once there is no secret any longer. The
// database holds no secret, only the kids of those there were, so that one that
// was killed is refused for good: [Open] fails with [ErrKilledSecret], and nothing
// is signed where it happens later. The feed is signed as ever.
//
// All replicas must be given the same secrets. One that has others refuses the
// tokens of the rest, and its tokens are refused by all verifiers but those that
// were given the same; it changes nothing for the rest. The kids in the database
// show that, and both sides log it. To replace a secret
// without a gap, start every replica with the new one as the previous one, which
// makes it accepted, and only then with the two in their order.
//
// # At rest
//
// Private keys are sealed with AES-256-GCM under the master key, bound to their
// kid. Without the right master key Open fails. The master key itself is not in
// the database.
//
// Not provided: rotation of the feed key, and hardware keys.
//
// # Concurrency
//
// All methods of [Keyring] may be called from many goroutines.
package keyring
