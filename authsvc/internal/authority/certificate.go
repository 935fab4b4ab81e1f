package authority

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

const (
	// certMargin is how much longer than the certificate its record lives, for
	// clocks that differ: the leeway of verifiers, and as much as their clocks may
	// be behind.
	certMargin = leewayCap + 5*time.Minute
	// longestCertRecord is how long a record lives whose certificate's end is not
	// known: verifiers keep none for longer than a week, of which they need five
	// minutes for clocks that are corrected.
	longestCertRecord = 7*24*time.Hour - 10*time.Minute
)

// CertificateRevoked returns those of the ids ([events.CertificateID]) whose
// certificates are revoked, as the database knows it now: for the auth service's
// own connections, which need no verifier.
func (a *Authority) CertificateRevoked(ctx context.Context, ids ...string) ([]string, error) {
	revoked, err := a.db.Reader(ctx).RevokedCertificates(ids...)
	if err != nil {
		return nil, fmt.Errorf("looking for revoked certificates: %w", err)
	}
	return revoked, nil
}

// RevokedCertificates returns the ids of all certificates that are revoked, as the
// database knows it now.
func (a *Authority) RevokedCertificates(ctx context.Context) ([]string, error) {
	revoked, err := a.db.Reader(ctx).AllRevokedCertificates()
	if err != nil {
		return nil, fmt.Errorf("listing revoked certificates: %w", err)
	}
	return revoked, nil
}

// revokeCertificate ends what runs on a certificate and any other of the same key. A
// live record that says so for as long is enough: whoever revokes it again gets that.
func (a *Authority) revokeCertificate(tx *store.Tx, r RevokeRequest, actor string) (events.Revocation, error) {
	until := tx.Now().Add(longestCertRecord)
	if !r.NotAfter.IsZero() {
		until = r.NotAfter.Add(certMargin)
	}
	known, err := tx.LiveRecord(events.ScopeCert, r.ID)
	switch {
	case err == nil && known.Epoch == tx.Head().Epoch && known.ExpiresAt >= until.Unix():
		return known.Revocation, nil
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return events.Revocation{}, err
	}
	record, err := tx.Revoke(events.ScopeCert, r.ID, until, r.Reason, actor)
	if err != nil {
		return events.Revocation{}, err
	}
	revoked := events.CertificateRevoked{CertificateID: r.ID, Rev: record.Rev, Reason: r.Reason, Actor: actor}
	return record, a.emit(tx, revoked)
}

// checkNotAfter refuses an end that no record could reach, and one that has
// passed: its record would say nothing.
func checkNotAfter(r RevokeRequest) error {
	left := time.Until(r.NotAfter)
	switch {
	case r.NotAfter.IsZero():
		return nil
	case r.Scope != events.ScopeCert:
		return invalidInput(Violation{"not_after", "invalid", "it goes with the scope cert only"})
	case left+certMargin > longestCertRecord:
		return invalidInput(Violation{"not_after", "invalid", "a certificate lives for 6 days at most"})
	case left+certMargin <= 0:
		return invalidInput(Violation{"not_after", "invalid", "the certificate has expired"})
	}
	return nil
}
