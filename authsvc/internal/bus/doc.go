// Package bus is the auth service's side of NATS. The database is the truth;
// this package makes the bus say the same.
//
//	publisher, err := bus.StartPublisher(bus.PublisherConfig{Conn: publishing, DB: db, Keys: keys})
//	authority, err := authority.New(config, db, keys, hasher, publisher)
//	responder, err := bus.StartResponder(bus.ResponderConfig{
//		Conn: answering, Authority: authority, Keys: keys, Ready: publisher.Ready})
//	defer responder.Close()
//	defer publisher.Close(ctx)
//
// # Two connections
//
// Whoever sends a request chooses the subject of its reply. The connection that
// answers requests is therefore another one than the connection that publishes,
// with permissions of its own (none on auth.>), and answers to inboxes only.
//
// # Reconciliation
//
// Before anything is published or answered, the database is compared with the
// streams. Streams that know more than the database mean that it came from a
// backup: what it lacks is taken back from the feed, as far as a feed key that the
// database knows has signed it, and a new epoch opens. What the feed lacks is
// published again. Until that has succeeded once, [Publisher.Ready] says so, and
// the service must mint no token and judge none: it fails closed. From then on an
// outage of the bus stops nothing. The comparison is repeated when a stream was
// lost, emptied or created anew, and when the database went back in time.
//
// It needs no lock among replicas: taking back happens in one transaction that
// looks again at what is missing, and a record that is published twice has the
// same Nats-Msg-Id.
//
// # Delivery
//
// A committed revocation is published at once by the process that committed it,
// which waits a second at most for the stream's acknowledgement. Where that fails,
// one process at a time, the holder of the lease "relay", publishes it later; the
// same process publishes the events of the outbox. Events are in the stream in the
// order of their sequence numbers: each is published on the condition that the
// one before it is the stream's last message, so that neither a lost
// acknowledgement nor two relays at once can change the order.
//
// Not promised: that a revocation that is acknowledged as pending has reached
// anybody. The verifiers' bound on staleness covers that time.
//
// # Certificates
//
// nats-server knows no revocation list. An [Enforcer], on a connection of the
// brokers' system account, closes the connections whose certificates the database
// says are revoked: those that are open, and each new one.
package bus
