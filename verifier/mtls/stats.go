package mtls

import (
	"sync/atomic"
	"time"

	"github.com/authbus/authbus/events"
)

// Stats is a snapshot of a Source. Counters count since Open.
type Stats struct {
	// ID is the SPIFFE ID, CertificateID what a revocation of the certificate names.
	ID, CertificateID   string
	NotBefore, NotAfter time.Time

	Connections int // live ones of listeners and transports

	Reloads         uint64 // changed files that were adopted
	RefusedReloads  uint64 // changed files that were not
	Renewals        uint64
	RenewalFailures uint64
	RefusedPeers    uint64 // good chains of others than allowed, and revoked certificates; for clients also bad chains
	Ended           uint64 // connections closed because of the peer's certificate
	Alarms          uint64 // events that an operator should look at; each is logged
}

type counters struct {
	reloads, refusedReloads, renewals, renewalFailures, refusedPeers, ended, alarms atomic.Uint64
}

// NotAfter is when the certificate in force expires.
func (s *Source) NotAfter() time.Time { return s.current.Load().leaf().NotAfter }

// Stats returns a snapshot.
func (s *Source) Stats() Stats {
	now, n := s.current.Load(), &s.counts
	return Stats{
		ID: now.id, CertificateID: events.CertificateID(now.leaf()),
		NotBefore: now.leaf().NotBefore, NotAfter: now.leaf().NotAfter,
		Connections: s.conns.count(),
		Reloads:     n.reloads.Load(), RefusedReloads: n.refusedReloads.Load(),
		Renewals: n.renewals.Load(), RenewalFailures: n.renewalFailures.Load(),
		RefusedPeers: n.refusedPeers.Load(), Ended: n.ended.Load(), Alarms: n.alarms.Load(),
	}
}
