package cli

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/authbus/authbus/authsvc/internal/ca"
	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
	"github.com/authbus/authbus/events"
)

type caRevokeCmd struct {
	remote
	reasonFlag
	Target string `arg:"" name:"target" help:"Name, serial number or id of the certificate."`
}

// Run notes the revocations in the records first, so that nothing is renewed any
// more even if the auth service, which ends what runs on them, is out of reach.
func (cmd *caRevokeCmd) Run(ctx context.Context, t *terminal, dir caDir, r *remote) error {
	if err := checkReason(cmd.Reason); err != nil {
		return err
	}
	if _, err := r.anonymous(); err != nil {
		return err
	}
	authority, err := dir.open()
	if err != nil {
		return err
	}
	info, err := authority.Info()
	if err != nil {
		return err
	}
	records, err := authority.Revoke(cmd.Target, cmd.Reason)
	if err != nil {
		return err
	}
	done, err := cmd.tell(ctx, r, info.TrustDomain, records)
	if err != nil {
		return fmt.Errorf("%d of %d certificates are revoked; none of them is renewed any more, but run this again: %w",
			len(done), len(records), err)
	}
	return t.show(done, func() error {
		for _, d := range done {
			text := delivery(d.Ack)
			if d.Already {
				text += "; revoked already, at " + when(d.RevokedAt) + ": " + inert(d.Reason)
			}
			if err := t.say("%s, serial %s: %s", d.Name, d.Serial, text); err != nil {
				return err
			}
		}
		return nil
	})
}

// revokedDoc is what `ca revoke --json` prints of each certificate.
type revokedDoc struct {
	certificateDoc
	RevokedAt time.Time `json:"revoked_at"`
	Reason    string    `json:"reason"`
	Already   bool      `json:"already"`
	wire.Revoked
}

// maxReason is the auth service's bound, in characters.
const maxReason = 256

// checkReason refuses what the auth service would refuse after the fact.
func checkReason(reason string) error {
	switch {
	case strings.TrimSpace(reason) == "":
		return field.New("Reason", "must not be empty")
	case !utf8.ValidString(reason) || strings.ContainsFunc(reason, unicode.IsControl):
		return field.New("Reason", "must have no control characters")
	case utf8.RuneCountInString(reason) > maxReason:
		return field.New("Reason", fmt.Sprintf("must have at most %d characters", maxReason))
	}
	return nil
}

const day = 24 * time.Hour

// revokedUntil is the end of the certificate, and a day from now at least: a connection
// to NATS may outlive it, and a broker that cannot be reached now is caught up with.
// Days count from the revocation, so that whoever repeats it asks for what the auth
// service has, and gets no second record.
func revokedUntil(r ca.Record, now time.Time) time.Time {
	until := r.RevokedAt.Add(now.Sub(r.RevokedAt).Truncate(day) + 2*day)
	if r.NotAfter.Before(until) {
		return until
	}
	return r.NotAfter
}

// tell has the auth service end what runs on the certificates. It does not matter how
// often: there it is one record for each.
func (cmd *caRevokeCmd) tell(ctx context.Context, r *remote, trustDomain string, records []ca.Revoked) ([]revokedDoc, error) {
	c, err := r.loggedIn()
	if err != nil {
		return nil, err
	}
	done := make([]revokedDoc, 0, len(records))
	for _, record := range records {
		reason := record.Reason
		if checkReason(reason) != nil { // noted by an earlier version
			reason = cmd.Reason
		}
		revoked, err := c.Revoke(ctx, wire.RevokeRequest{
			Scope: string(events.ScopeCert), ID: record.ID, Reason: reason, NotAfter: revokedUntil(record.Record, time.Now()),
		})
		if err != nil {
			return done, err
		}
		done = append(done, revokedDoc{
			documentOf(trustDomain, record.Record), record.RevokedAt, record.Reason, record.Already, revoked,
		})
	}
	return done, nil
}
