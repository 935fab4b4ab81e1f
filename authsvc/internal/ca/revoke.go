package ca

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/authbus/authbus/events"
)

// ErrUnknown is returned where no certificate is meant that matters still.
var ErrUnknown = errors.New("no live certificate has this name, serial number or id")

// lingering is how long a connection to NATS may outlive the certificate that it was
// made with: nats-server does not look at it again, and the auth service ends
// connections that are older than any certificate.
const lingering = events.MaxCertificateLifetime + time.Hour

// Revoked is a certificate that is revoked.
type Revoked struct {
	Record
	// Already says that it had been before: time and reason are those of then.
	Already bool
}

// Revoke notes that certificates are revoked: all of a name, or the one of a serial
// number or ID, and every one that was renewed from any of them, but not those that
// have expired so long ago that no connection is left of them. From then on the CA
// renews none of them. It returns them, those included that had been noted before,
// of which nothing is noted again: somebody may still have to tell the auth service,
// because only its log ends connections, and it writes no second record either.
func (c *CA) Revoke(target, reason string) ([]Revoked, error) {
	var revoked []Revoked
	err := c.locked(func(s *state) error {
		now := time.Now()
		var lines []line
		var meant []*Record
		already := map[string]bool{}
		for _, r := range c.meant(s, target) {
			if now.After(r.NotAfter.Add(lingering)) {
				continue
			}
			if already[r.ID] = !r.RevokedAt.IsZero(); !already[r.ID] {
				lines = append(lines, line{Event: eventRevoked, Record: Record{
					ID: r.ID, Serial: r.Serial, Name: r.Name, NotBefore: r.NotBefore, NotAfter: r.NotAfter,
					RevokedAt: now.UTC().Truncate(time.Second), Reason: reason,
				}})
			}
			meant = append(meant, r)
		}
		if len(meant) == 0 {
			return ErrUnknown
		}
		if err := c.records.add(lines...); err != nil {
			return err
		}
		for _, r := range meant {
			revoked = append(revoked, Revoked{*r, already[r.ID]})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("revoking %q: %w", target, err)
	}
	return revoked, nil
}

// meant returns what a name, serial number or ID names, and all successors of
// it. A predecessor comes before its successors in the records.
func (c *CA) meant(s *state, target string) []*Record {
	name := strings.TrimPrefix(target, "spiffe://"+s.trustDomain+"/")
	byName := false
	for _, r := range c.records.list {
		byName = byName || r.Name == name
	}
	var meant []*Record
	ids := map[string]bool{}
	for _, r := range c.records.list {
		if byName && r.Name == name || !byName && (r.Serial == target || r.ID == target) || ids[r.Renews] {
			meant, ids[r.ID] = append(meant, r), true
		}
	}
	return meant
}

// Renew issues the successor of the latest certificate of a name, with its hosts and
// a new key, on the operator's word: the old one may have expired. It refuses where
// that one is revoked; then Issue is the word for a new beginning. A lifetime of 0
// means DefaultLifetime, or that of the predecessor where it was longer, as far as the
// intermediate has it. What is wrong with the lifetime is a [*field.Error].
func (c *CA) Renew(name string, lifetime time.Duration) (*Issued, error) {
	var issued *Issued
	err := c.locked(func(s *state) (err error) {
		var last *Record
		for _, r := range c.records.list {
			if r.Name == name {
				last = r
			}
		}
		switch {
		case last == nil:
			return errors.New("it was never issued one")
		case !last.RevokedAt.IsZero():
			return errors.New("its latest is revoked: issue a new one")
		}
		if err := s.outlives(lifetime); err != nil {
			return err
		}
		if lifetime == 0 {
			lifetime = max(DefaultLifetime, last.NotAfter.Sub(last.NotBefore)-backdated)
		}
		issued, err = c.issue(s, Request{Name: name, Hosts: last.Hosts, Peer: last.Peer, Lifetime: lifetime, renews: last.ID})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("renewing the certificate of %q: %w", name, err)
	}
	return issued, nil
}
