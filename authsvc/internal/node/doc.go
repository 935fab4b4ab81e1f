// Package node runs one auth service: database, keys, domain, bus and HTTP,
// wired from one Config.
//
//	n, err := node.Start(ctx, node.Config{DatabaseURL: "sqlite:auth.db", NATSURL: "nats://127.0.0.1:4222"})
//	defer n.Close()
//
// # Start and end
//
// Start returns once HTTP is served, which may be before the bus can be reached.
// Until the database has been compared with the bus once, everything under /v1/
// answers 503, and so does /readyz: a database that came from a backup must not
// mint before it knows what it lacks. From then on outages of the bus stop
// nothing, and /readyz asks the database alone. [Node.AwaitReady] waits for it.
//
// Close stops accepting, lets the requests under way finish, publishes what is
// committed, drains the connections and closes the database, in that order. A
// node that is killed instead loses nothing that was acknowledged.
package node
