// Package natsconfig writes the configuration of a nats-server for authbus, in which
// a certificate is the only credential and says all that its holder may do.
//
//	conf, err := natsconfig.Generate(natsconfig.Config{
//		TrustDomain: "example.org", Services: []string{"orders"}, Gateways: []string{"gateway"},
//		CertFile: "nats.crt", KeyFile: "nats.key", CAFile: "ca.crt", StoreDir: "/var/lib/nats",
//	})
//
// # Accounts
//
// AUTH owns the streams. Only the auth service and the CA live there. APPS is for
// services, and GATEWAY for gateways, if there are any: it holds the bucket of their
// sessions. SYS is the server's own. What APPS and GATEWAY may have of AUTH is exported
// to them, subject by subject; nothing that anybody in there does reaches a stream.
//
// The border is needed. Whoever may send a request to JetStream chooses the subject of
// its reply, and the server delivers the reply without a look at permissions. A pull
// request or direct get with the reply subject $JS.API.STREAM.DELETE.AUTH_REVOCATIONS
// deletes that stream, where the asker is in the account that owns it. Across a border
// the reply comes back to the asker's account, and APPS has no JetStream.
//
// In AUTH and GATEWAY the border helps nobody. By such a reply the publisher and the CA
// can have the streams deleted, and a gateway the bucket of sessions. The auth service
// makes the streams again, the feed with all records that count; events of the past are
// lost, and without the bucket the gateways' users are logged out. So these identities
// are to be kept as safe as what they can reach.
//
// # Identities
//
// A user is the SPIFFE ID of a certificate. nats-server compares a certificate's e-mail
// addresses, DNS names and URIs with its users, in this order, and takes the first that
// it knows; the CA therefore issues certificates with exactly one name, and ones with
// host names that can be no client. Each identity may publish and subscribe to what
// [Config.Identities] says and to nothing else. Inboxes are private: _INBOX_<name>.>,
// which clients ask for with nats.CustomInboxPrefix("_INBOX_" + name).
//
// # Reading events
//
// The right to create a consumer is the right to have stored messages delivered to any
// subject. Nobody but the auth service has it, so it also makes the durable consumers
// (`authsvc serve --event-subscribers`). A subscriber has one, under its own name.
//
// # Not promised
//
// The subjects of applications are not in the configuration: add to the permissions of
// a service what it publishes and reads itself. Inside APPS a service can have the reply
// to one of its requests delivered to another service; that is why records on the feed
// and replies are signed. The server does not know of revoked certificates: the auth
// service ends their connections, and their holders can come back until they are ended
// again. Nor does it look at the clock once a connection has begun: it outlives its
// certificate, until the key is revoked (authsvc revoke cert) or the server reads a
// configuration without the identity.
package natsconfig
