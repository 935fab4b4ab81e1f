package verifier

import (
	"context"
	"time"

	"github.com/authbus/authbus/events"
)

// CheckCertificate returns nil where no live record names the certificate or
// another of the same key; id is its [events.CertificateID]. Otherwise the error is
// an [*Error] that wraps [ErrRevoked], or [ErrUnavailable] where this verifier
// cannot prove its freshness: the authority is not asked about certificates, so
// Config.Stale changes nothing here; or [ErrInvalid] where id cannot be one, such as
// another hash of the certificate. Chain, validity and name of the certificate are the
// caller's to check.
//
// In Mode [Remote] the error is always ErrUnavailable: who follows no log knows of
// no certificate.
func (v *Verifier) CheckCertificate(id string) error {
	if v.remote != nil {
		return errFollowsNoLog
	}
	if v.stopped.Err() != nil {
		return unavailable(ReasonClosed, "the verifier has been closed")
	}
	if !events.IsCertificateID(id) {
		return &Error{Err: ErrInvalid, Reason: ReasonNoCertificate, Detail: "an id of a certificate is 64 lower-case hex digits"}
	}
	now := time.Now()
	fresh := v.freshAt(now) // before the marks that it stands for
	if r, revoked := v.ledger.lookCertificate(id); revoked {
		return revokedBy(r)
	}
	if !fresh {
		return v.notFresh(now)
	}
	return nil
}

// WatchCertificate returns a context that ends when the certificate is revoked, for
// a connection that was accepted with it: see [Verifier.CheckCertificate]. Its cause
// ([context.Cause]) is then an [*Error] that wraps [ErrRevoked] or, before the last proof
// of freshness is older than Config.MaxStale, [ErrUnavailable]. It also ends
// with ctx, and with cancel, which must be called. That the certificate expires does
// not end it.
func (v *Verifier) WatchCertificate(ctx context.Context, id string) (watched context.Context, cancel context.CancelFunc) {
	if v.remote != nil {
		watched, end := context.WithCancelCause(ctx)
		end(errFollowsNoLog)
		return watched, func() {}
	}
	return v.watch(ctx, &watch{certificate: id})
}

// lookCertificate returns the record that names a certificate. A mark without its
// record revokes all the same: there is nobody to ask.
func (l *ledger) lookCertificate(id string) (events.Revocation, bool) {
	if _, marked := l.named.lookup(kindCert, id); !marked {
		return events.Revocation{}, false
	}
	l.ending.RLock()
	defer l.ending.RUnlock()
	if !l.ended {
		if r, ok := l.details.Get(detailKey(events.ScopeCert, id)); ok {
			return r, true
		}
	}
	return events.Revocation{Scope: events.ScopeCert, ID: id, Reason: "its record is not at hand"}, true
}
