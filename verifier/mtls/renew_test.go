package mtls

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authbus/authbus/events"
)

// asked is a CA to ask in a bubble, which no socket crosses. It issues as the one
// on the bus does.
type asked struct {
	ca       *testCA
	from     time.Duration // default: now
	lifetime time.Duration
	fail     atomic.Bool

	mu sync.Mutex
	at []time.Time // guarded by mu
}

func (a *asked) renew(_ context.Context, current tls.Certificate) (*events.RenewedCertificate, error) {
	a.mu.Lock()
	a.at = append(a.at, time.Now())
	a.mu.Unlock()
	if a.fail.Load() {
		return nil, events.ErrNoCA
	}
	id, err := events.CertificateSPIFFEID(current.Leaf)
	if err != nil {
		return nil, err
	}
	m := a.ca.issue("", leaf{uris: []string{id}, from: cmp.Or(a.from, -time.Millisecond), to: a.lifetime})
	return &events.RenewedCertificate{ChainPEM: m.cert, KeyPEM: m.key, BundlePEM: m.ca}, nil
}

// times are when somebody asked.
func (a *asked) times() []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.at)
}

// inBubble has do look at an identity of a day's lifetime that renews itself.
func inBubble(t *testing.T, do func(t *testing.T, s *Source, a *asked)) {
	synctest.Test(t, func(t *testing.T) {
		const lifetime = 24 * time.Hour
		a := &asked{ca: newCA(t), lifetime: lifetime}
		s, err := load(a.ca.files("orders", leaf{from: -time.Millisecond, to: lifetime}))
		must(t, err)
		s.loops.Go(func() { s.keepRenewed(a.renew) })
		do(t, s, a)
		must(t, s.Close())
	})
}

func TestRenewalAtTwoThirds(t *testing.T) {
	inBubble(t, func(t *testing.T, s *Source, a *asked) {
		began, first := time.Now(), s.current.Load().leaf()
		time.Sleep(14 * time.Hour)
		if at := a.times(); len(at) != 0 {
			t.Fatalf("it was renewed at %v", at)
		}
		time.Sleep(2*time.Hour + 2*lastRetry)
		synctest.Wait()
		at := a.times()
		if len(at) != 1 {
			t.Fatalf("it was renewed %d times", len(at))
		}
		if after := at[0].Sub(began); after < 14*time.Hour+48*time.Minute || after > 16*time.Hour+lastRetry {
			t.Errorf("it was renewed after %v", after)
		}
		second := s.current.Load().leaf()
		if events.CertificateID(second) == events.CertificateID(first) {
			t.Error("the key is the same")
		}
		written, err := load(s.config)
		must(t, err)
		if !written.current.Load().leaf().Equal(second) {
			t.Error("the files hold another one")
		}
		if info, err := os.Stat(s.config.KeyFile); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the key: %v, %v", info, err)
		}
		s.reload(time.Now())
		time.Sleep(7 * 24 * time.Hour)
		synctest.Wait()
		if n := s.Stats(); n.Renewals < 11 || n.Renewals > 13 || n.RenewalFailures != 0 || n.Alarms != 0 || n.Reloads != 0 {
			t.Errorf("after a week: %+v", n)
		}
	})
}

func TestARenewalThatFailsIsTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, s *Source, a *asked) {
		a.fail.Store(true)
		time.Sleep(19 * time.Hour)
		synctest.Wait()
		if n := s.Stats(); n.RenewalFailures < 100 || n.RenewalFailures > 1000 || n.Alarms != 0 || n.Renewals != 0 {
			t.Errorf("after 19 hours: %+v", n)
		}
		at := a.times()
		for i := 2; i < len(at); i++ {
			if gap := at[i].Sub(at[i-1]); gap > lastRetry || gap < firstRetry/2 {
				t.Fatalf("attempt %d came after %v", i, gap)
			}
		}
		time.Sleep(2 * time.Hour) // less than a sixth is left
		synctest.Wait()
		if n := s.Stats(); n.Alarms < 3 || n.Alarms > 7 {
			t.Errorf("%d alarms in an hour, want one in ten minutes", n.Alarms)
		}
		a.fail.Store(false)
		time.Sleep(2 * lastRetry)
		synctest.Wait()
		alarms := s.Stats().Alarms
		if n := s.Stats(); n.Renewals != 1 {
			t.Errorf("when the CA is back: %+v", n)
		}
		time.Sleep(12 * time.Hour)
		if n := s.Stats(); n.Alarms != alarms {
			t.Errorf("and the alarm goes on: %+v", n)
		}
	})
}

// TestTheLifetimeCountsFromIssue and not from when the certificate begins, which is
// five minutes earlier: by that, half of ten minutes would be two thirds, and a
// failure then an alarm.
func TestTheLifetimeCountsFromIssue(t *testing.T) {
	for _, lifetime := range []time.Duration{90 * time.Second, 4 * time.Minute, 10 * time.Minute, 18 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			a := &asked{ca: newCA(t), from: -events.CertificateBackdating, lifetime: lifetime}
			a.fail.Store(true)
			s, err := load(a.ca.files("orders", leaf{from: a.from, to: lifetime}))
			must(t, err)
			s.loops.Go(func() { s.keepRenewed(a.renew) })
			time.Sleep(lifetime * 61 / 100)
			synctest.Wait()
			if at := a.times(); len(at) != 0 {
				t.Errorf("of %v, it was to be renewed %v before the end", lifetime, s.NotAfter().Sub(at[0]))
			}
			time.Sleep(lifetime*3/4 - lifetime*61/100)
			synctest.Wait()
			if n := s.Stats(); n.RenewalFailures == 0 || n.Alarms != 0 {
				t.Errorf("of %v, after three quarters: %+v", lifetime, n)
			}
			must(t, s.Close())
		})
	}
}

// TestACertificateThatDoesNotBeginEarlier is another CA's.
func TestACertificateThatDoesNotBeginEarlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lifetime = 6 * time.Minute
		a := &asked{ca: newCA(t), lifetime: lifetime}
		s, err := load(a.ca.files("orders", leaf{from: -time.Millisecond, to: lifetime}))
		must(t, err)
		s.loops.Go(func() { s.keepRenewed(a.renew) })
		time.Sleep(lifetime * 2 / 3)
		synctest.Wait()
		if n := s.Stats(); n.Renewals != 1 {
			t.Errorf("after two thirds: %+v", n)
		}
		must(t, s.Close())
	})
}

// TestTheEndIsAnnouncedOnce more when it has come, however soon after it was
// foreseen.
func TestTheEndIsAnnouncedOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lifetime = 30 * time.Minute
		config := newCA(t).files("orders", leaf{from: -events.CertificateBackdating, to: lifetime})
		var out bytes.Buffer
		config.Logger = slog.New(slog.NewTextHandler(&out, nil))
		s, err := load(config)
		must(t, err)
		s.loops.Go(func() { s.watch(nil) })
		time.Sleep(lifetime - time.Minute)
		if n := s.Stats(); n.Alarms != 1 {
			t.Errorf("a minute before the end: %+v", n)
		}
		time.Sleep(time.Minute + pollInterval)
		synctest.Wait()
		if n := s.Stats(); n.Alarms != 2 {
			t.Errorf("after the end: %+v", n)
		}
		time.Sleep(alarmInterval - 2*pollInterval)
		if n := s.Stats(); n.Alarms != 2 {
			t.Errorf("and then, not once in ten minutes: %+v", n)
		}
		must(t, s.Close())
		if text := out.String(); strings.Count(text, "will expire") != 1 || strings.Count(text, "has expired") != 1 {
			t.Errorf("logged: %s", text)
		}
	})
}

// TestShortLifetimesAreNoLoop, with a clock that is ahead of the CA's either: of the
// three minutes that a certificate lives, two are over when it comes.
func TestShortLifetimesAreNoLoop(t *testing.T) {
	for _, ahead := range []time.Duration{0, 2*time.Minute + 10*time.Second} {
		synctest.Test(t, func(t *testing.T) {
			a := &asked{ca: newCA(t), from: -events.CertificateBackdating - ahead, lifetime: 3*time.Minute - ahead}
			s, err := load(a.ca.files("orders", leaf{from: a.from, to: a.lifetime}))
			must(t, err)
			s.loops.Go(func() { s.keepRenewed(a.renew) })
			time.Sleep(time.Hour)
			synctest.Wait()
			if n := s.Stats(); n.Renewals < 30 || n.Renewals > 150 || n.Alarms != 0 || n.NotAfter.Before(time.Now()) {
				t.Errorf("after an hour, %v ahead: %+v", ahead, n)
			}
			must(t, s.Close())
		})
	}
}

// TestTheEndIsAnnounced also where another program was to renew the certificate.
func TestTheEndIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := load(newCA(t).files("orders", leaf{from: -time.Millisecond, to: 24 * time.Hour}))
		must(t, err)
		s.loops.Go(func() { s.watch(nil) })
		time.Sleep(19 * time.Hour)
		if n := s.Stats(); n.Alarms != 0 {
			t.Errorf("after 19 hours: %+v", n)
		}
		time.Sleep(2 * time.Hour)
		if n := s.Stats(); n.Alarms < 5 || n.Alarms > 7 {
			t.Errorf("%d alarms in an hour, want one in ten minutes", n.Alarms)
		}
		must(t, s.Close())
	})
}

// TestTheGroupMayGoOnReading the key, where the operator has let it.
func TestTheGroupMayGoOnReading(t *testing.T) {
	ca := newCA(t)
	for before, want := range map[os.FileMode]os.FileMode{0o600: 0o600, 0o400: 0o600, 0o640: 0o640, 0o440: 0o640} {
		config := ca.files("orders", leaf{})
		must(t, os.Chmod(config.KeyFile, before))
		s, err := load(config)
		must(t, err)
		must(t, s.renewOnce((&asked{ca: ca, lifetime: time.Hour}).renew))
		if info, err := os.Stat(config.KeyFile); err != nil || info.Mode().Perm() != want {
			t.Errorf("%04o became %04o, want %04o (%v)", before, info.Mode().Perm(), want, err)
		}
	}
}

// TestFilesOfAnotherPutTheRenewalOff: somebody else keeps the identity up to date.
func TestFilesOfAnotherPutTheRenewalOff(t *testing.T) {
	inBubble(t, func(t *testing.T, s *Source, a *asked) {
		for range 10 {
			time.Sleep(10 * time.Hour)
			must(t, s.config.write(a.ca.issue("orders", leaf{from: -time.Millisecond, to: a.lifetime})))
			s.reload(time.Now())
		}
		if n := s.Stats(); len(a.times()) != 0 || n.Reloads != 10 {
			t.Errorf("it was renewed %d times all the same: %+v", len(a.times()), n)
		}
	})
}

func TestWhatTheCAIssuesIsChecked(t *testing.T) {
	ca := newCA(t)
	good := ca.issue("orders", leaf{})
	for name, issued := range map[string]material{
		"another name":      ca.issue("billing", leaf{}),
		"two names":         ca.issue("", leaf{uris: []string{"spiffe://example.org/orders", "spiffe://example.org/billing"}}),
		"an expired one":    ca.issue("orders", leaf{to: -time.Second}),
		"another key":       {cert: good.cert, key: ca.issue("orders", leaf{}).key, ca: good.ca},
		"other roots":       {cert: good.cert, key: good.key, ca: newCA(t).issue("orders", leaf{}).ca},
		"no roots":          {cert: good.cert, key: good.key},
		"nothing whatever":  {},
		"another CA's leaf": {cert: newCA(t).issue("orders", leaf{}).cert, key: good.key, ca: good.ca},
	} {
		s, err := load(ca.files("orders", leaf{}))
		must(t, err)
		before := s.current.Load()
		err = s.renewOnce(func(context.Context, tls.Certificate) (*events.RenewedCertificate, error) {
			return &events.RenewedCertificate{ChainPEM: issued.cert, KeyPEM: issued.key, BundlePEM: issued.ca}, nil
		})
		if err == nil || s.current.Load() != before {
			t.Errorf("%s: %v", name, err)
		}
		written, err := load(s.config)
		must(t, err)
		if !written.current.Load().leaf().Equal(before.leaf()) {
			t.Errorf("%s was written", name)
		}
	}
}

// TestARenewalThatCannotBeWritten serves this process, and says so.
func TestARenewalThatCannotBeWritten(t *testing.T) {
	ca := newCA(t)
	config := ca.files("orders", leaf{})
	s, err := load(config)
	must(t, err)
	must(t, os.Mkdir(config.CertFile+unfinished, 0o700))
	a := &asked{ca: ca, lifetime: time.Hour}
	must(t, s.renewOnce(a.renew))
	if n := s.Stats(); n.Renewals != 1 || n.Alarms != 1 {
		t.Errorf("%+v", n)
	}
	if s.reload(time.Now()); s.Stats().Reloads != 0 {
		t.Error("the old files came back")
	}
}

// TestTheOldCertificateDoesNotComeBack with new roots, where those could be written
// and the renewed certificate could not. The roots count all the same.
func TestTheOldCertificateDoesNotComeBack(t *testing.T) {
	ca, next := newCA(t), newCA(t)
	config := ca.files("orders", leaf{})
	s, err := load(config)
	must(t, err)
	must(t, os.Mkdir(config.CertFile+unfinished, 0o700))
	both := events.EncodeCertificates(ca.root, next.root)
	for range 2 { // in vain
		must(t, s.renewOnce(func(context.Context, tls.Certificate) (*events.RenewedCertificate, error) {
			m := ca.issue("orders", leaf{to: 2 * time.Hour})
			return &events.RenewedCertificate{ChainPEM: m.cert, KeyPEM: m.key, BundlePEM: both}, nil
		}))
	}
	renewed := s.current.Load()
	s.reload(time.Now())
	if now := s.current.Load(); !now.leaf().Equal(renewed.leaf()) || !now.roots.Equal(renewed.roots) {
		t.Error("the old certificate is in force again")
	}
	put(t, config.CAFile, events.EncodeCertificates(ca.root), 0o644)
	s.reload(time.Now())
	if now := s.current.Load(); !now.leaf().Equal(renewed.leaf()) || now.roots.Equal(renewed.roots) {
		t.Error("with other roots, the old certificate is in force again, or the roots are not")
	}
	must(t, os.Remove(config.CertFile+unfinished))
	other := ca.issue("orders", leaf{})
	must(t, config.write(other))
	s.reload(time.Now())
	if !inForce(t, s, other) {
		t.Error("a new certificate in the files is not in force")
	}
}

func TestRenewalAsksNobodyAfterClose(t *testing.T) {
	ca := newCA(t)
	config := ca.files("orders", leaf{to: 2 * time.Second}) // due at once
	s := open(t, config)
	waiting := make(chan struct{})
	s.loops.Go(func() {
		s.keepRenewed(func(ctx context.Context, _ tls.Certificate) (*events.RenewedCertificate, error) {
			close(waiting)
			<-ctx.Done()
			return nil, errors.New("gave up")
		})
	})
	<-waiting
	must(t, s.Close())
	if n := s.Stats(); n.RenewalFailures != 0 {
		t.Errorf("%+v", n)
	}
}

// TestConnectionsToAShortLivedServerAreLeftInTime: a sixth of a minute before the end,
// and not a sixth of the six minutes that the certificate covers.
func TestConnectionsToAShortLivedServerAreLeftInTime(t *testing.T) {
	now := time.Now()
	peer := &x509.Certificate{NotBefore: now.Add(-events.CertificateBackdating), NotAfter: now.Add(time.Minute)}
	var g generation
	g.meet(peer, now)
	if left := peer.NotAfter.Sub(g.drainAt); left != 10*time.Second {
		t.Errorf("they are left %v before the certificate ends", left)
	}
}
