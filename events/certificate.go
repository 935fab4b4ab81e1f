package events

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"time"
)

// MaxCertificateLifetime is the longest that a certificate of the internal CA
// lives. The record that revokes one must outlive it, and verifiers keep no
// record for longer than a week.
const MaxCertificateLifetime = 6 * 24 * time.Hour

// CertificateBackdating is how long before its making a certificate of the internal CA
// begins (NotBefore), for clocks that are behind.
const CertificateBackdating = 5 * time.Minute

// CertificateID names a certificate in the revocation log: the SHA-256 of its
// SubjectPublicKeyInfo in lower-case hex, which nats-server shows of its clients
// as spki_sha256. It names the key and not the signed document, because the key is
// what a thief has, and because an ECDSA signature has a second spelling: the same
// certificate has more than one fingerprint.
func CertificateID(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// IsCertificateID reports whether id can be one: 64 lower-case hex digits.
func IsCertificateID(id string) bool {
	if len(id) != 2*sha256.Size {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
