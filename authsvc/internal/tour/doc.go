// Package tour does authbus's main job on a stack of its own and shows it, step
// by step: log in once, be verified locally by two services, be logged out of
// both within milliseconds, and what happens when the broker stops. Then it puts up
// the other answers to the same question beside it, on the same account, and
// prints what each of them costs, once more over mutual TLS.
//
//	err := tour.Run(ctx, tour.Config{Out: os.Stdout})
//
// Each answer is measured in the same way: 100 protected calls of one client, one
// after the other, after 20 to warm up; what the auth service itself has counted
// meanwhile; five forced logouts, each of a new session, with a client that calls
// without a pause until it is refused; and calls that go on while the auth service is
// stopped. The handler behind all of them is the same.
//
// Everything is real: an auth service with SQLite, a NATS broker on disk, services
// with their own verifiers and connections, a gateway, and HTTP between them, on
// free ports of the loopback address and in a temporary directory that is removed
// at the end. Only two settings differ from the defaults, so that the tour is
// short: the staleness bound is 3 s instead of 30 s, and the grace for repeated
// refreshes 1 s instead of 10 s.
package tour
