// Package authority is the domain of the auth service: accounts, sessions,
// refresh tokens, access tokens, revocation, introspection and administration.
// It knows nothing of HTTP or NATS; what those say to the world is decided here.
//
//	a, err := authority.New(authority.Config{Issuer: issuer}, db, keys, hasher, feed)
//	tokens, err := a.Login(ctx, authority.Credentials{Login: "alice", Password: secret}, meta)
//	claims, err := a.Authenticate(ctx, bearer)
//	ack, err := a.Logout(ctx, claims)
//
// # Consistency
//
// Every change of state, its events and, where it ends anything, its record in
// the revocation log are one transaction: there is none without the others. A
// method that returns an error has changed nothing, but for what the refusal
// itself calls for: a failed login is counted, and the reuse of a refresh token
// ends its session. If the commit itself broke off, its outcome is unknown to the
// caller, and repeating the call is safe.
//
// # Acknowledgement
//
// An [Ack] is given only after the database has committed durably. Its Delivery
// says whether the bus has the record too; where it is [Pending], the relay
// publishes it later, and until then no verifier can prove that it is fresh.
//
// # Tokens
//
// An access token's rev claim is the revision of the log in the very transaction
// that found its session alive. A session or account that is revoked at the same
// time either is seen dead there, or its record covers the token.
//
// # Errors
//
// A refusal is an [*Error] with a stable [Code]. Every other error means that the
// service could not decide; nothing was granted.
//
// # Concurrency
//
// All methods of [Authority] may be called from many goroutines, and on any
// number of replicas with the same database.
package authority
