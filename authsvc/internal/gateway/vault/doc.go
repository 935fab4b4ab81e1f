// Package vault keeps what stands behind the gateway's opaque tokens: the JWT and
// the refresh token of a session, in a JetStream key-value bucket that all
// replicas of the gateway share.
//
//	v, err := vault.Open(ctx, js, vault.Config{Lifetime: 14 * 24 * time.Hour})
//	opaque := vault.NewToken()
//	entry, err := v.Create(ctx, opaque, vault.Session{Access: jwt, Refresh: refresh})
//	...
//	opaque, err := vault.ParseToken(presented)
//	entry, err := v.Get(ctx, opaque)
//
// # What the bucket tells
//
// Nothing that can be used. An entry's key is the SHA-256 of the opaque token, and
// its value is sealed (AES-256-GCM) with a key derived from the opaque token
// (HKDF, RFC 5869), bound to the entry's key. Whoever reads the bucket, or a
// backup of it, can see how many sessions there are and when they were used, and
// can delete them; the rest takes the opaque tokens, which only the clients hold.
// Whoever may write can put an older value of the same session back: its refresh
// token has been used then, which the auth service notices.
//
// # Lifetime
//
// An entry expires on its own when it has not been written for Config.Lifetime,
// which is the time after which the auth service ends an idle session. A write
// replaces exactly the version that was read: of two replicas that refresh at
// once, one learns that it came second.
//
// # One bucket for all replicas
//
// Open widens the bucket and never narrows it: a replica of the gateway that starts with
// a shorter lifetime or fewer brokers must not end sessions of the others. To give the
// bucket less on purpose, start all replicas with less, and then, at a terminal (it asks):
//
//	nats stream edit KV_gateway_sessions --max-age=24h --replicas=1
//
// and not with nats kv edit, which lets any broker answer reads until the next Open.
//
// # Freshness
//
// A read sees every write that was acknowledged before it began, at whichever broker:
// only the leader of the bucket answers. While there is none, every method fails with
// an error that is neither ErrNotFound nor ErrConflict.
//
// # When the bucket is lost
//
// A stream that somebody has deleted, or a store that is gone: the request that notices
// fails, as one without a leader does, and has the bucket made again, once for all
// requests of some seconds. Only then are its sessions over, which the log says: their
// tokens are unknown, and new ones are kept. Without an answer from the broker that the
// stream does not exist nothing is made, and making it changes nothing where it exists.
// Whoever puts back a backup of the stream must stop all replicas of the gateway first.
package vault
