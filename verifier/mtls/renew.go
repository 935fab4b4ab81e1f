package mtls

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/events"
)

const (
	// A certificate is renewed after this part of its lifetime.
	renewNumerator, renewDenominator = 2, 3
	// jitterShare spreads the renewals of a fleet that was issued at once: by up to
	// one such part of the lifetime, earlier.
	jitterShare = 20
	// alarmShare: an operator must look when less than one such part is left.
	alarmShare = 6

	renewTimeout = 10 * time.Second
	firstRetry   = time.Second
	// lastRetry is also how long the clock is not looked at, which may be set, or
	// go on while the machine sleeps.
	lastRetry     = time.Minute
	alarmInterval = 10 * time.Minute
)

// renewer asks for the successor of a certificate. It is the bus, but in tests of
// time, which no socket crosses.
type renewer func(ctx context.Context, current tls.Certificate) (*events.RenewedCertificate, error)

// Renew has the certificate renewed over the bus after two thirds of its lifetime,
// counted from when it was issued, each time with a new key, until Close. The files are replaced, the roots among
// them where the CA has new ones. It is for one process only of those that share
// the files; the others notice. nc needs the right to publish on
// [events.SubjectCARenew] and to read its own inbox.
//
// A renewal that fails is tried again. When less than a sixth of the lifetime is
// left, an alarm is logged and counted every ten minutes, and one when it is over.
func (s *Source) Renew(nc *nats.Conn) {
	s.loops.Go(func() {
		s.keepRenewed(func(ctx context.Context, current tls.Certificate) (*events.RenewedCertificate, error) {
			if !nc.IsConnected() {
				return nil, nats.ErrDisconnected
			}
			return events.RenewCertificate(ctx, nc, current)
		})
	})
}

// keepRenewed is the goroutine of Renew.
func (s *Source) keepRenewed(renew renewer) {
	jitter := rand.Float64()
	retry := firstRetry
	var notBefore time.Time
	for {
		at := s.renewAt(jitter)
		if at.Before(notBefore) {
			at = notBefore
		}
		wait := min(time.Until(at), lastRetry)
		if wait <= 0 {
			if err := s.renewOnce(renew); err == nil {
				jitter, retry = rand.Float64(), firstRetry
				// By a clock that is ahead of the CA's, two thirds of a short lifetime may
				// be over when the certificate is issued.
				notBefore = time.Now().Add(time.Until(s.NotAfter()) / 2)
				continue
			} else if s.lifetime.Err() == nil {
				s.counts.renewalFailures.Add(1)
				s.log.Warn("the certificate could not be renewed", "error", err, "not_after", s.NotAfter(), "retry", retry)
			}
			s.alarm(time.Now())
			wait = retry/2 + rand.N(retry/2)
			retry = min(2*retry, lastRetry)
		}
		select {
		case <-time.After(wait):
		case <-s.lifetime.Done():
			return
		}
	}
}

// renewAt is when the certificate in force is to be renewed. Files that another
// program has replaced put it off.
func (s *Source) renewAt(jitter float64) time.Time {
	now := s.current.Load()
	lifetime := now.lifetime()
	early := time.Duration(jitter * float64(lifetime/jitterShare))
	return now.issued.Add(lifetime/renewDenominator*renewNumerator - early)
}

// renewOnce asks, checks the answer as if it had come from files, and takes it over.
func (s *Source) renewOnce(renew renewer) error {
	ctx, cancel := context.WithTimeout(s.lifetime, renewTimeout)
	defer cancel()
	next, err := renew(ctx, s.current.Load().certificate)
	if err != nil {
		return err
	}
	m := material{cert: next.ChainPEM, key: next.KeyPEM, ca: next.BundlePEM}
	id, err := s.config.check(m, time.Now())
	if err == nil {
		err = s.sameIdentity(id)
	}
	if err != nil {
		return fmt.Errorf("the certificate that the CA has issued: %w", err)
	}
	s.loading.Lock()
	defer s.loading.Unlock()
	// The new one is good, whether it can be kept or not.
	before := s.current.Load()
	s.adopt(id)
	s.counts.renewals.Add(1)
	if err := s.config.write(m); err != nil {
		if s.unwritten == nil {
			s.unwritten = before.leaf()
		}
		s.counts.alarms.Add(1)
		s.log.Error("the renewed certificate could not be written: it is lost with this process", "error", err, "not_after", id.leaf().NotAfter)
		return nil
	}
	s.read, s.unwritten = m.sum(), nil
	s.log.Info("the certificate was renewed", "not_after", id.leaf().NotAfter)
	return nil
}

// alarm tells, now and then, that time is running out: whoever was to renew the
// certificate, this process or another, has not.
func (s *Source) alarm(now time.Time) {
	current := s.current.Load()
	leaf := current.leaf()
	left := leaf.NotAfter.Sub(now)
	s.alarming.Lock()
	defer s.alarming.Unlock()
	// That it has expired is news, however soon after the last alarm.
	quiet := now.Sub(s.alarmed) < alarmInterval && (left > 0 || !s.alarmed.Before(leaf.NotAfter))
	if quiet || left > current.lifetime()/alarmShare {
		return
	}
	s.alarmed = now
	s.counts.alarms.Add(1)
	if left <= 0 {
		s.log.Error("the certificate has expired, and nobody has renewed it: a new one must be issued", "not_after", leaf.NotAfter)
	} else {
		s.log.Error("the certificate will expire, and nobody has renewed it", "left", left, "not_after", leaf.NotAfter)
	}
}
