package events

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// The bounds of the SPIFFE ID specification, in bytes (SPIFFE-ID §2.3, §2.1).
const (
	maxSPIFFEID    = 2048
	maxTrustDomain = 255

	spiffeScheme = "spiffe://"
)

// ParseSPIFFEID splits a SPIFFE ID into its trust domain and the name behind it,
// which has one or more segments: spiffe://<trust domain>/<name>. It takes only
// the one spelling that the specification allows (SPIFFE-ID §2): no percent
// encoding, port, query, empty or dot segment, and no capital in the trust domain.
// So two IDs are the same service if, and only if, they are the same text.
func ParseSPIFFEID(id string) (trustDomain, name string, err error) {
	rest, ok := strings.CutPrefix(id, spiffeScheme)
	if !ok || len(id) > maxSPIFFEID {
		return "", "", fmt.Errorf("a SPIFFE ID begins with %s and has at most %d bytes", spiffeScheme, maxSPIFFEID)
	}
	trustDomain, name, _ = strings.Cut(rest, "/")
	if err := CheckTrustDomain(trustDomain); err != nil {
		return "", "", err
	}
	if err := CheckServiceName(name); err != nil {
		return "", "", err
	}
	return trustDomain, name, nil
}

// SPIFFEID joins a trust domain and a name, or says what is wrong with them.
func SPIFFEID(trustDomain, name string) (string, error) {
	id := spiffeScheme + trustDomain + "/" + name
	if _, _, err := ParseSPIFFEID(id); err != nil {
		return "", err
	}
	return id, nil
}

// CheckTrustDomain says what is wrong with the name of a trust domain (SPIFFE-ID §2.1).
func CheckTrustDomain(name string) error {
	if name == "" || len(name) > maxTrustDomain {
		return fmt.Errorf("a trust domain has 1 to %d bytes", maxTrustDomain)
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return fmt.Errorf("the trust domain %q has something else than a-z, 0-9, dot, dash and underscore", name)
		}
	}
	return nil
}

// CheckServiceName says what is wrong with the path of a SPIFFE ID, given without
// its first slash (SPIFFE-ID §2.2).
func CheckServiceName(name string) error {
	for segment := range strings.SplitSeq(name, "/") {
		switch segment {
		case "":
			return fmt.Errorf("the name %q has an empty segment", name)
		case ".", "..":
			return fmt.Errorf("the name %q has a segment of dots", name)
		}
		for _, c := range []byte(segment) {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
				return fmt.Errorf("the name %q has something else than letters, digits, dot, dash, underscore and slash", name)
			}
		}
	}
	return nil
}

// CertificateSPIFFEID returns the identity of a service's certificate. It must have
// exactly one URI, and no other name by which some software could take it for
// somebody else (X509-SVID §2, and more strictly here).
func CertificateSPIFFEID(cert *x509.Certificate) (string, error) {
	if len(cert.URIs) != 1 {
		return "", fmt.Errorf("the certificate has %d URIs and must have one SPIFFE ID", len(cert.URIs))
	}
	if len(cert.DNSNames) > 0 || len(cert.EmailAddresses) > 0 || len(cert.IPAddresses) > 0 {
		return "", errors.New("the certificate has other names beside its SPIFFE ID")
	}
	id := cert.URIs[0].String()
	if _, _, err := ParseSPIFFEID(id); err != nil {
		return "", err
	}
	return id, nil
}
