package ca

import (
	"cmp"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/time/rate"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier"
)

const (
	// renewWindow is how far a request's time may be from ours.
	renewWindow = 5 * time.Minute
	// A service may renew a few times in a row, then once a minute, or four times in
	// a shorter lifetime.
	renewBurst = 5
	renewEvery = time.Minute
	// maxLimits bounds the services whose rate is remembered at once.
	maxLimits = 10_000
)

// refusal is what the asker is told.
type refusal struct{ code, description string }

func (e *refusal) Error() string { return e.description + " (" + e.code + ")" }

var (
	errNotOurs     = &refusal{events.CodeForbidden, "the certificate is not a valid one of this CA"}
	errRevoked     = &refusal{events.CodeForbidden, "the certificate is revoked"}
	errTime        = &refusal{events.CodeBadRequest, "the request's time is more than 5 minutes from the CA's clock"}
	errTooMany     = &refusal{events.CodeOverloaded, "this service renews too often: ask again in a minute"}
	errKeyAgain    = &refusal{events.CodeForbidden, errKeyKnown.Error()}
	errOverloaded  = &refusal{events.CodeOverloaded, "too many requests at once: ask again later"}
	errUnavailable = &refusal{events.CodeUnavailable, "the CA cannot answer now"}
	errUndecided   = &refusal{events.CodeUnavailable, "the CA cannot tell now whether the certificate is revoked"}
)

// decider answers one request. It holds no connection.
type decider struct {
	ca       *CA
	revoked  func(id string) error
	lifetime time.Duration

	mu     sync.Mutex
	limits map[string]*rate.Limiter // guarded by mu
}

func newDecider(ca *CA, revoked func(id string) error, lifetime time.Duration) *decider {
	return &decider{
		ca: ca, revoked: revoked, lifetime: cmp.Or(lifetime, DefaultLifetime), limits: map[string]*rate.Limiter{},
	}
}

// answer returns the payload of the reply and its signature's headers. The error
// is a *refusal, or means that the CA cannot work now.
func (d *decider) answer(payload []byte) ([]byte, nats.Header, *Record, error) {
	var req events.CARenewRequest
	if err := events.DecodeRequest(payload, &req); err != nil {
		return nil, nil, nil, &refusal{events.CodeBadRequest, err.Error()}
	}
	if time.Since(time.UnixMilli(req.Time)).Abs() > renewWindow {
		return nil, nil, nil, errTime
	}
	asked, err := req.Open()
	if err != nil {
		return nil, nil, nil, &refusal{events.CodeBadRequest, err.Error()}
	}
	var reply []byte
	var header nats.Header
	var record *Record
	err = d.ca.locked(func(s *state) error {
		former, issued, err := d.issue(s, asked)
		if err != nil {
			return err
		}
		record = &issued.Record
		reply, err = json.Marshal(events.CARenewReply{
			Nonce: req.Nonce, Chain: string(issued.Chain), Bundle: string(issued.Bundle),
		})
		if err != nil {
			return fmt.Errorf("encoding a reply: %w", err)
		}
		header, err = events.SignCARenewal(former.cert, former.key, reply)
		return err
	})
	return reply, header, record, err
}

// issue issues the successor, and returns the issuer of the predecessor as well.
func (d *decider) issue(s *state, asked events.CARenewal) (*issuer, *Issued, error) {
	former, record, err := d.ca.holder(s, asked)
	if err != nil {
		return nil, nil, err
	}
	if err := d.checkRevoked(record); err != nil {
		return nil, nil, err
	}
	// A request that is sent once more must not use up what its sender may ask for.
	switch known, err := d.ca.records.knows(asked.Key); {
	case err != nil:
		return nil, nil, err
	case known:
		return nil, nil, errKeyAgain
	}
	if !d.allowed(record.Name) {
		return nil, nil, errTooMany
	}
	issued, err := d.ca.issue(s, Request{
		Name: record.Name, Lifetime: d.lifetime, key: asked.Key, renews: record.ID,
	})
	return former, issued, err
}

// checkRevoked fails where the certificate or one that it succeeds, from renewal to
// renewal, is revoked: in the records, or in the log as far as it is known here. The
// log forgets those that have expired.
func (d *decider) checkRevoked(r *Record) error {
	for ; r != nil; r = d.ca.records.byID[r.Renews] {
		if !r.RevokedAt.IsZero() {
			return errRevoked
		}
		switch err := d.revoked(r.ID); {
		case errors.Is(err, verifier.ErrRevoked):
			return errRevoked
		case err != nil:
			return errUndecided
		}
	}
	return nil
}

// holder returns the record of the valid certificate that the request shows, and its
// issuer.
func (c *CA) holder(s *state, asked events.CARenewal) (*issuer, *Record, error) {
	options := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, cert := range s.roots {
		options.Roots.AddCert(cert)
	}
	for _, cert := range asked.Issuers {
		options.Intermediates.AddCert(cert)
	}
	chains, err := asked.Leaf.Verify(options)
	if err != nil {
		return nil, nil, errNotOurs
	}
	id, err := events.CertificateSPIFFEID(asked.Leaf)
	if err != nil {
		return nil, nil, errNotOurs
	}
	trustDomain, name, err := events.ParseSPIFFEID(id)
	record := c.records.byID[events.CertificateID(asked.Leaf)]
	// What is not in the records was made with a stolen key of an intermediate.
	if err != nil || trustDomain != s.trustDomain || record == nil || record.Name != name ||
		record.Serial != asked.Leaf.SerialNumber.Text(16) {
		return nil, nil, errNotOurs
	}
	former, err := c.issuerOf(s, chains[0][1])
	return former, record, err
}

// allowed counts one renewal of a service.
func (d *decider) allowed(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	limit := d.limits[name]
	if limit == nil {
		if len(d.limits) >= maxLimits {
			d.forget()
		}
		limit = rate.NewLimiter(rate.Every(min(renewEvery, d.lifetime/4)), renewBurst)
		d.limits[name] = limit
	}
	return limit.Allow()
}

// forget drops the limits that limit nobody, or all: names come from the records,
// and a service that has renewed a few times too often does little harm.
func (d *decider) forget() {
	for name, limit := range d.limits {
		if limit.Tokens() >= renewBurst {
			delete(d.limits, name)
		}
	}
	if len(d.limits) >= maxLimits {
		clear(d.limits)
	}
}
