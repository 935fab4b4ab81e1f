package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/authbus/authbus/events"
)

// Anyone in an allow list is every identity of the trust domain.
const Anyone = "*"

// allowed are the peers that a side of a connection accepts.
type allowed struct {
	ids         map[string]bool
	trustDomain string // not empty where every identity of it is allowed
}

// parseAllowed reads names, of services in the source's trust domain, and whole
// SPIFFE IDs. Nobody is no answer: whoever forgets the list must not open the door.
func (s *Source) parseAllowed(peers []string) (allowed, error) {
	list := allowed{ids: make(map[string]bool, len(peers))}
	if len(peers) == 0 {
		return allowed{}, errors.New("mtls: the list of allowed peers must not be empty")
	}
	for _, peer := range peers {
		if peer == Anyone {
			list.trustDomain = s.config.TrustDomain
			continue
		}
		id := peer
		if !strings.Contains(peer, "://") {
			id = "spiffe://" + s.config.TrustDomain + "/" + peer
		}
		if _, _, err := events.ParseSPIFFEID(id); err != nil {
			return allowed{}, fmt.Errorf("mtls: the allowed peer %q must be the name of a service or a SPIFFE ID: %w", peer, err)
		}
		list.ids[id] = true
	}
	return list, nil
}

// check returns nil where the certificate's one identity is in the list.
func (a allowed) check(leaf *x509.Certificate) error {
	id, err := events.CertificateSPIFFEID(leaf)
	if err != nil {
		return err
	}
	if a.ids[id] {
		return nil
	}
	trustDomain, _, err := events.ParseSPIFFEID(id)
	if err == nil && a.trustDomain != "" && trustDomain == a.trustDomain {
		return nil
	}
	return fmt.Errorf("%s is not allowed here", id)
}

// errNotEnforced is told to nobody but our own log.
var errNotEnforced = errors.New("Source.Enforce has not been called, and Config.ExpiryOnly is not set")

// checkRevoked fails where it is not known that the certificate is not revoked.
func (s *Source) checkRevoked(leaf *x509.Certificate) error {
	r := s.revocations()
	switch {
	case r != nil:
		return r.CheckCertificate(events.CertificateID(leaf))
	case s.config.ExpiryOnly:
		return nil
	default:
		return errNotEnforced
	}
}

// admit decides about a peer whose chain is good, and counts those it refuses. What
// it says reaches the log of this side only; the peer learns "bad certificate".
func (s *Source) admit(state tls.ConnectionState, list allowed) error {
	leaf := state.PeerCertificates[0]
	err := list.check(leaf)
	if err == nil {
		err = s.checkRevoked(leaf)
	}
	if err != nil {
		s.counts.refusedPeers.Add(1)
		return fmt.Errorf("refusing the peer: %w", err)
	}
	return nil
}

// Peer returns who is at the other end of a connection that was accepted with
// [Source.Server]: a name in the trust domain, or a SPIFFE ID of another one. It is
// false where nobody has proved who they are.
//
//	name, ok := source.Peer(*r.TLS)
func (s *Source) Peer(state tls.ConnectionState) (name string, ok bool) {
	if !state.HandshakeComplete || len(state.VerifiedChains) == 0 {
		return "", false
	}
	id, err := events.CertificateSPIFFEID(state.VerifiedChains[0][0])
	if err != nil {
		return "", false
	}
	trustDomain, name, err := events.ParseSPIFFEID(id)
	if err != nil {
		return "", false
	}
	if trustDomain != s.config.TrustDomain {
		return id, true
	}
	return name, true
}
