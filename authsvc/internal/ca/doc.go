// Package ca is the internal certificate authority: it gives each service a
// certificate that says who it is, spiffe://<trust domain>/<name>, for mutual TLS
// to NATS and between services.
//
//	err := ca.Init(dir, "example.org")
//	authority, err := ca.Open(dir)
//	issued, err := authority.Issue(ca.Request{Name: "orders"})
//	err = issued.WriteFiles(out, "orders") // orders.crt, orders.key, ca.crt
//	renewer, err := ca.StartRenewer(ca.RenewerConfig{CA: authority, Conn: nc, Revoked: v.CheckCertificate})
//
// # The directory
//
//	root-<id>.key    the root's key; take it away after init, rotate needs it again
//	bundle.crt       the roots that services trust, the current one first
//	issuer.pem       key and certificate of the intermediate that issues, and what
//	                 leads from it to an older root
//	previous/        intermediates that issue no more, and sign renewals of theirs
//	records.jsonl    every certificate issued and every one revoked, one a line
//
// Whoever reads issuer.pem can be any service. Directories have mode 0700 and files
// 0600; [Open] refuses keys that others can read. Everything is written under
// another name, synced, and renamed; a certificate is handed out only after its
// line in the records is on disk. Any number of processes on one machine may use a
// directory at once.
//
// # Certificates
//
// All keys are ECDSA P-256. A service's certificate has exactly one name, the SPIFFE
// ID, and serves as client and as server. One with host names ([Request.Hosts]) is
// for a server that stock clients reach, such as nats-server: it has no SPIFFE ID, so it
// is nobody to services, and can be no client but of its peers ([Request.Peer]).
// Certificates live for 24 hours, and for [events.MaxCertificateLifetime] at most,
// because the record that revokes one must outlive it. Serial numbers are random, of
// 128 bits. No key is certified twice.
//
// The intermediate may issue no further CA and, by its name constraint, no SPIFFE ID
// of another trust domain (or one below it).
//
// # Renewal
//
// Whoever proves that it holds the key of a certificate that is valid, recorded and
// not revoked gets the successor for a new key: see [Renewer]. A certificate that has
// expired is renewed by the operator only. So a thief of a key can renew as well,
// until the certificate is revoked; [CA.Revoke] therefore names all the successors,
// and ends their renewal before it returns. Where only the log of revocations names a
// certificate, its successors are not renewed either while the log knows it.
//
// # Rotation
//
// [CA.RotateIntermediate] begins to issue from a new intermediate below the same
// root. Nothing else changes for anybody.
//
// [CA.RotateRoot] makes a new root and an intermediate below it. The bundle then holds
// the old root and the new one, and chains hold the new root signed by the old one
// as well: services that have only the old bundle go on trusting new certificates.
// Services get the new bundle with their next renewal, and certificates with host names
// are renewed by the operator. When all have done so, after the longest lifetime,
// [CA.DropOldRoots] takes the old root out of the bundle.
//
// Not promised: help against a stolen root key. Then make another CA, and give its
// bundle to all services by hand.
package ca
