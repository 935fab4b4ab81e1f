// Package mtls gives a service its identity, a certificate of the internal CA, and
// has it talk to those services only that prove theirs.
//
//	id, err := mtls.Open(mtls.Files("/etc/orders", "orders")) // orders.crt, orders.key, ca.crt
//	defer id.Close()
//	nc, err := nats.Connect("tls://nats.internal:4222", id.NATS())
//	v, err := verifier.New(ctx, verifier.Config{Issuer: issuer, Audience: "orders", NATS: nc})
//	id.Enforce(v) // revoked certificates are refused
//	id.Renew(nc)  // and this one is renewed in time
//	listener, err := id.Listener(tcp, "gateway")
//	http.Serve(listener, v.Middleware(mux)) // in a handler: name, ok := id.Peer(*r.TLS)
//	billing, err := id.Transport(nil, "billing")
//	resp, err := (&http.Client{Transport: billing}).Get("https://10.0.0.7:8443/")
//
// # Identity
//
// A certificate names exactly one service: one SPIFFE ID,
// spiffe://<trust domain>/<name>, and nothing else. It is compared whole with the
// list of those that a listener or a client allows; host names and the certificate's
// subject count for nothing. Chains must lead to the roots of Config.CAFile, never
// to those of the system. TLS 1.3 is the only version, and no session is resumed:
// each connection is judged anew.
//
// # Files
//
// The files are watched. A new set counts for the next handshake once all three
// fit together; one that is wrong is logged, counted and changes nothing. Replacing
// them by rename, one by one, or by the swap of a symbolic link (Kubernetes) works.
// No connection is dropped for it, but those whose peers lead to no root of a new
// bundle. A file of another service's identity is refused: that is another program.
//
// # Revocation
//
// Certificates are short-lived; a stolen one is revoked in the log that tokens are
// revoked in (scope cert). Connections of [Source.Listener] and [Source.Transport]
// are closed as fast as a token is refused: in milliseconds, and when the bus is
// silent within the verifier's bound. Then also those whose state cannot be proved
// any longer are closed, and new ones refused: the bound is a promise.
//
// A connection also ends with the peer's certificate, at the latest a second later.
// Peers renew at two thirds of the lifetime; a [Transport] leaves connections made
// before, as soon as what is under way on them has ended, so that nothing fails. A
// stream that lasts longer than its certificate is cut and has to be opened again.
//
// # What it does not do
//
// It does not follow certificate revocation lists or OCSP. It does not check the
// broker's certificate against revocations, which come over that connection. And
// nothing ends connections of [Source.Server] and [Source.Client], which return
// plain configurations, once they are made.
package mtls
