package mtls

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/authbus/authbus/events"
)

// Source is a service's identity, kept up to date from its files.
type Source struct {
	config  Config
	log     *slog.Logger
	current atomic.Pointer[identity]
	revoked atomic.Pointer[Revocations] // nil before Enforce
	conns   *connections
	counts  counters

	lifetime context.Context
	stop     context.CancelFunc
	loops    sync.WaitGroup // watch, sweep, renew

	// loading is held while the files are read or written.
	loading sync.Mutex
	read    [sha256.Size]byte // sum of what was judged last; guarded by loading
	failing time.Time         // since when the files cannot be used; guarded by loading
	refused string            // what was said about them; guarded by loading
	// unwritten is the certificate in the files whose successor is in force and could
	// not be written; else nil. Guarded by loading.
	unwritten *x509.Certificate

	alarming sync.Mutex
	alarmed  time.Time // guarded by alarming
}

// Open reads the identity and watches its files until Close. The error names the
// field of Config that cannot be right, and why.
func Open(config Config) (*Source, error) {
	s, err := load(config)
	if err != nil {
		return nil, err
	}
	s.loops.Go(s.sweep)
	notify := s.notify()
	// A change between the first reading and this moment is found here.
	s.reload(time.Now())
	s.loops.Go(func() { s.watch(notify) })
	return s, nil
}

// load makes a Source that nothing keeps up to date yet.
func load(config Config) (*Source, error) {
	if err := config.normalize(); err != nil {
		return nil, err
	}
	if err := config.finishWrite(); err != nil {
		return nil, err
	}
	m, err := config.read()
	if err != nil {
		return nil, err
	}
	id, err := config.check(m, time.Now())
	if err != nil {
		return nil, err
	}
	config.TrustDomain = id.trustDomain
	lifetime, stop := context.WithCancel(context.Background())
	s := &Source{config: config, log: config.Logger.With("identity", id.id), conns: newConnections(), lifetime: lifetime, stop: stop, read: m.sum()}
	s.current.Store(id)
	return s, nil
}

// Close stops watching, renewing and enforcing, and waits for that. Connections
// stay as they are; those of [Source.Listener] and [Source.Transport] should be
// closed before it.
func (s *Source) Close() error {
	s.stop()
	s.loops.Wait()
	return nil
}

// ID is the identity: spiffe://<trust domain>/<name>.
func (s *Source) ID() string { return s.current.Load().id }

// Name is the identity without its trust domain.
func (s *Source) Name() string {
	_, name, _ := events.ParseSPIFFEID(s.ID()) // it was parsed when it was loaded
	return name
}

// Revocations tells which certificates are revoked, by their
// [events.CertificateID]. A verifier.Verifier is one.
type Revocations interface {
	// CheckCertificate returns nil where the certificate is known not to be revoked.
	CheckCertificate(id string) error
	// WatchCertificate returns a context that ends when it is revoked, or when
	// nobody can tell any longer.
	WatchCertificate(ctx context.Context, id string) (context.Context, context.CancelFunc)
}

// Enforce has peers refused whose certificates are revoked, and their connections
// closed. It counts from now on, for connections that are open already as well.
func (s *Source) Enforce(r Revocations) {
	s.revoked.Store(&r)
	for _, c := range s.conns.all() {
		c.enforce(r)
	}
}

// revocations returns what Enforce was given; nil where nothing is enforced.
func (s *Source) revocations() Revocations {
	if r := s.revoked.Load(); r != nil {
		return *r
	}
	return nil
}

// adopt makes a checked set the one in force.
func (s *Source) adopt(id *identity) {
	before := s.current.Swap(id)
	if !before.roots.Equal(id.roots) {
		s.conns.judge(id.roots, time.Now())
	}
}

const (
	// settleTime is how long after a change the files are read: one replacement
	// makes several notifications.
	settleTime = 50 * time.Millisecond
	// pollInterval is how often the files are read without any notification.
	pollInterval = 10 * time.Second
	// halfWritten is for how long files that do not fit together are looked at
	// again in quiet: somebody may be about to write the second of them.
	halfWritten = 2 * time.Second
)

// notify returns nil where folders cannot be watched; then they are read every
// now and then.
func (s *Source) notify() *fsnotify.Watcher {
	notify, err := fsnotify.NewWatcher()
	if err == nil {
		for _, dir := range s.config.folders() {
			if err = notify.Add(dir); err != nil {
				break
			}
		}
	}
	if err == nil {
		return notify
	}
	s.log.Warn("the folder of the identity cannot be watched; it is read every now and then instead", "every", pollInterval, "error", err)
	if notify != nil {
		_ = notify.Close() // nothing was seen through it
	}
	return nil
}

// watch reads the files again soon after one of their folders has changed, and
// from time to time.
func (s *Source) watch(notify *fsnotify.Watcher) {
	var changes chan fsnotify.Event
	var failures chan error
	if notify != nil {
		defer notify.Close() //nolint:errcheck // nobody is left to tell
		changes, failures = notify.Events, notify.Errors
	}
	next := time.NewTimer(pollInterval)
	defer next.Stop()
	soon := false // a folder that is never quiet must not put the look off for ever
	for {
		select {
		case <-changes:
		case err := <-failures: // notifications may have been lost
			s.log.Warn("watching the identity", "error", err)
		case <-next.C:
			next.Reset(s.reload(time.Now()))
			s.alarm(time.Now())
			soon = false
			continue
		case <-s.lifetime.Done():
			return
		}
		if !soon {
			next.Reset(settleTime)
			soon = true
		}
	}
}

// reload adopts the files if they have changed and are good. It returns when to
// look again.
func (s *Source) reload(now time.Time) time.Duration {
	s.loading.Lock()
	defer s.loading.Unlock()
	m, err := s.config.read()
	if err == nil {
		sum := m.sum()
		if sum == s.read {
			s.failing, s.refused = time.Time{}, ""
			return pollInterval
		}
		var id *identity
		if id, err = s.config.check(m, now); err == nil {
			if err = s.sameIdentity(id); err == nil {
				s.read, s.failing, s.refused = sum, time.Time{}, ""
				id = s.latest(id, now)
				s.adopt(id)
				s.counts.reloads.Add(1)
				s.log.Info("the identity's files have changed", "not_after", id.leaf().NotAfter)
				return pollInterval
			}
		}
	}
	return s.postpone(err, now)
}

// latest keeps the certificate in force where the files hold its predecessor, because
// it could not be written. Of such files the roots count.
func (s *Source) latest(id *identity, now time.Time) *identity {
	if s.unwritten == nil || !id.leaf().Equal(s.unwritten) {
		s.unwritten = nil
		return id
	}
	latest := *s.current.Load()
	latest.roots = id.roots
	if latest.check(now) != nil {
		return id // it is not good with these roots, or no longer
	}
	return &latest
}

// sameIdentity refuses another service's certificate: allow lists and permissions
// were made for this one.
func (s *Source) sameIdentity(id *identity) error {
	if id.id != s.ID() {
		return fmt.Errorf("mtls: Config.CertFile: %s must stay the certificate of %s, and is now that of %s", s.config.CertFile, s.ID(), id.id)
	}
	return nil
}

// postpone keeps the identity in force and tells of what is wrong with the files,
// once they have been so for a while.
func (s *Source) postpone(err error, now time.Time) time.Duration {
	if s.failing.IsZero() {
		s.failing = now
	}
	if now.Sub(s.failing) < halfWritten {
		return 4 * settleTime
	}
	if s.refused != err.Error() {
		s.refused = err.Error()
		s.counts.refusedReloads.Add(1)
		s.log.Error("the identity's new files are refused, the old ones stay", "error", err, "not_after", s.current.Load().leaf().NotAfter)
	}
	return pollInterval
}
