package mtls

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// settled reports whether the files, as last looked at, are those in force.
func (s *Source) settled() bool {
	s.loading.Lock()
	defer s.loading.Unlock()
	return s.failing.IsZero()
}

// inForce reports whether the certificate of m is in force.
func inForce(t testing.TB, s *Source, m material) bool {
	t.Helper()
	id, err := s.config.check(m, time.Now())
	must(t, err)
	return s.current.Load().leaf().Equal(id.leaf())
}

func TestChangedFilesComeIntoForce(t *testing.T) {
	ca := newCA(t)
	for name, change := range map[string]func(t *testing.T, c Config, m material){
		"by rename": func(t *testing.T, c Config, m material) { must(t, c.write(m)) },
		"in place": func(t *testing.T, c Config, m material) {
			put(t, c.CertFile, m.cert, 0o644)
			put(t, c.KeyFile, m.key, 0o600)
		},
		"in place, the key first": func(t *testing.T, c Config, m material) {
			put(t, c.KeyFile, m.key, 0o600)
			put(t, c.CertFile, m.cert, 0o644)
		},
		"removed and written again": func(t *testing.T, c Config, m material) {
			must(t, os.Remove(c.CertFile))
			must(t, os.Remove(c.KeyFile))
			put(t, c.CertFile, m.cert, 0o644)
			put(t, c.KeyFile, m.key, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := ca.files("orders", leaf{})
			s := open(t, config)
			next := ca.issue("orders", leaf{})
			change(t, config, next)
			until(t, "the new certificate is in force", func() bool { return inForce(t, s, next) })
			if n := s.Stats(); n.Reloads != 1 || n.RefusedReloads != 0 {
				t.Errorf("%+v", n)
			}
		})
	}
}

// TestTheSwapOfALink is how Kubernetes replaces a secret: nothing happens to the
// files that are named.
func TestTheSwapOfALink(t *testing.T) {
	ca, dir := newCA(t), t.TempDir()
	write := func(version string) material {
		m := ca.issue("tls", leaf{})
		must(t, os.Mkdir(filepath.Join(dir, version), 0o755))
		must(t, func() error { c := Files(filepath.Join(dir, version), "tls"); return c.write(m) }())
		return m
	}
	write("v1")
	link(t, "v1", filepath.Join(dir, "data"))
	for _, name := range []string{"tls.crt", "tls.key", "ca.crt"} {
		must(t, os.Symlink(filepath.Join("data", name), filepath.Join(dir, name)))
	}
	s := open(t, Files(dir, "tls"))
	next := write("v2")
	link(t, "v2", filepath.Join(dir, "data"))
	until(t, "the new certificate is in force", func() bool { return inForce(t, s, next) })
}

func TestABadSetIsRefusedAndTheOldStays(t *testing.T) {
	ca := newCA(t)
	config := ca.files("orders", leaf{})
	first, err := config.read()
	must(t, err)
	s := open(t, config)
	before := s.current.Load()
	for name, bad := range map[string]material{
		"it is another service's": ca.issue("billing", leaf{}),
		"it is another CA's":      newCA(t).issue("orders", leaf{}),
		"it has expired":          ca.issue("orders", leaf{to: -time.Minute}),
	} {
		refused := s.Stats().RefusedReloads
		if name == "it is another CA's" {
			bad.ca = ca.issue("orders", leaf{}).ca
		}
		must(t, config.write(bad))
		until(t, name+": it is refused", func() bool { return s.Stats().RefusedReloads > refused })
		if s.current.Load() != before {
			t.Fatalf("%s: it is in force", name)
		}
	}
	// What was refused before, and has been taken back since, is news again.
	again := ca.issue("reports", leaf{})
	must(t, config.write(again))
	until(t, "it is refused", func() bool { return s.Stats().RefusedReloads == 4 })
	must(t, config.write(first))
	until(t, "the files are those in force", func() bool { return s.settled() })
	must(t, config.write(again))
	until(t, "it is refused again", func() bool { return s.Stats().RefusedReloads == 5 })

	good := ca.issue("orders", leaf{})
	must(t, config.write(good))
	until(t, "a good one is in force again", func() bool { return inForce(t, s, good) })
}

// TestAHalfWrittenPairIsAwaited without a word, for a while.
func TestAHalfWrittenPairIsAwaited(t *testing.T) {
	ca := newCA(t)
	config := ca.files("orders", leaf{})
	s, err := load(config) // looks at the files when told to
	must(t, err)
	defer func() { must(t, s.Close()) }()
	next, now := ca.issue("orders", leaf{}), time.Now()
	put(t, config.CertFile, next.cert, 0o644)
	for _, c := range []struct {
		after   time.Duration
		refused uint64
	}{{0, 0}, {time.Second, 0}, {halfWritten + time.Second, 1}, {time.Minute, 1}} {
		if again := s.reload(now.Add(c.after)); again > pollInterval || again <= 0 {
			t.Errorf("the next look is after %v", again)
		}
		if n := s.Stats(); n.RefusedReloads != c.refused || n.Reloads != 0 {
			t.Errorf("after %v: %+v", c.after, n)
		}
	}
	put(t, config.KeyFile, next.key, 0o600)
	s.reload(now.Add(time.Minute))
	if n := s.Stats(); n.Reloads != 1 || !inForce(t, s, next) {
		t.Errorf("whole again: %+v", n)
	}
}

// TestACrashBetweenTheRenames: the pair is whole when it is opened.
func TestACrashBetweenTheRenames(t *testing.T) {
	ca := newCA(t)
	for name, crash := range map[string]func(c Config, next material) (wantNew bool){
		"before the key has moved": func(c Config, next material) bool {
			must(t, place(c.CertFile+unfinished, next.cert, 0o644))
			return false
		},
		"half of the certificate is written": func(c Config, next material) bool {
			must(t, place(c.CertFile+unfinished, next.cert[:100], 0o644))
			return false
		},
		"between key and certificate": func(c Config, next material) bool {
			must(t, place(c.CertFile+unfinished, next.cert, 0o644))
			must(t, replace(c.KeyFile, next.key, 0o600))
			return true
		},
	} {
		config, next := ca.files("orders", leaf{}), ca.issue("orders", leaf{})
		wantNew := crash(config, next)
		s, err := Open(config)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if inForce(t, s, next) != wantNew {
			t.Errorf("%s: the wrong one is in force", name)
		}
		must(t, s.Close())
		if info, err := os.Stat(config.KeyFile); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: the key: %v, %v", name, info, err)
		}
	}
}
