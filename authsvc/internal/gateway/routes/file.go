package routes

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settleTime is how long after a change the file is read: one replacement
	// makes several notifications.
	settleTime = 50 * time.Millisecond
	// pollInterval is how often the file is read without any notification.
	pollInterval = 10 * time.Second
)

// File keeps the table of a file that may change.
type File struct {
	path    string
	log     *slog.Logger
	adopt   func(*Table) error
	current atomic.Pointer[Table]
	stop    context.CancelFunc
	done    chan struct{}

	mu    sync.Mutex
	stats Stats // guarded by mu

	// judged is what was read when the file was judged last, and seen when it was
	// looked at last. Only the goroutine of watch uses them.
	judged, seen reading
}

// reading tells apart what reading the file may bring.
type reading struct {
	sum [sha256.Size]byte
	err string
}

// Stats tells what became of the file's changes.
type Stats struct {
	// Adopted counts the tables that came into force, the first among them.
	Adopted uint64
	// Refused counts the changes that did not, and Err says what is wrong with
	// the file as it is now; nil if nothing is.
	Refused uint64
	Err     error
}

// Open reads the file and watches it until Close. adopt, which may be nil, is
// called with every table before it comes into force, and can refuse it: for
// whoever must be ready for its upstreams, or knows of more mistakes.
func Open(path string, log *slog.Logger, adopt func(*Table) error) (*File, error) {
	f, ctx := newFile(path, log, adopt)
	notify := f.notifications()
	if err := f.judge(f.read()); err != nil {
		f.stop()
		if notify != nil {
			err = errors.Join(err, notify.Close())
		}
		return nil, err
	}
	go f.watch(ctx, notify)
	return f, nil
}

// newFile returns a file that is not read yet, and the context that Close ends.
func newFile(path string, log *slog.Logger, adopt func(*Table) error) (*File, context.Context) {
	if log == nil {
		log = slog.Default()
	}
	if adopt == nil {
		adopt = func(*Table) error { return nil }
	}
	ctx, stop := context.WithCancel(context.Background())
	return &File{path: path, log: log, adopt: adopt, stop: stop, done: make(chan struct{})}, ctx
}

// notifications begins to watch the folder, before the first look, so that no
// change falls between. Where that is not possible it returns nil.
func (f *File) notifications() *fsnotify.Watcher {
	notify, err := fsnotify.NewWatcher()
	if err == nil {
		if err = notify.Add(filepath.Dir(f.path)); err == nil {
			return notify
		}
		err = errors.Join(err, notify.Close())
	}
	f.log.Warn("the folder of the routes cannot be watched; they are read now and then instead",
		"path", f.path, "every", pollInterval, "error", err)
	return nil
}

// Current returns the table in force.
func (f *File) Current() *Table { return f.current.Load() }

// Stats tells what became of the file's changes.
func (f *File) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stats
}

// Err says what is wrong with the file as it is now, so that another table is in
// force; nil if nothing is.
func (f *File) Err() error { return f.Stats().Err }

// Close stops watching. The table stays.
func (f *File) Close() error {
	f.stop()
	<-f.done
	return nil
}

// watch is the goroutine of Open: it reads the file again soon after its folder
// has changed, and from time to time.
func (f *File) watch(ctx context.Context, notify *fsnotify.Watcher) {
	defer close(f.done)
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
		case err := <-failures:
			// Notifications may have been lost.
			f.log.Warn("watching the routes", "path", f.path, "error", err)
		case <-next.C:
			if soon = f.look(); soon {
				next.Reset(settleTime)
			} else {
				next.Reset(pollInterval)
			}
			continue
		case <-ctx.Done():
			return
		}
		if !soon {
			next.Reset(settleTime)
			soon = true
		}
	}
}

// look reads the file again and, if it has changed, judges it and logs what came
// of it. It reports whether it has to be called again soon: only what is the same
// twice is judged, because a file may be looked at while it is written.
func (f *File) look() (again bool) {
	text, now, err := f.read()
	last := f.seen
	f.seen = now
	switch {
	case now == f.judged:
		return false
	case now != last:
		return true
	}
	if err := f.judge(text, now, err); err != nil {
		f.log.Error("the new routes are refused, the old ones stay", "path", f.path, "error", err)
	} else {
		f.log.Info("the routes have changed", "path", f.path, "rules", len(f.Current().rules))
	}
	return false
}

func (f *File) read() ([]byte, reading, error) {
	text, err := readFile(f.path)
	if err != nil {
		return nil, reading{err: err.Error()}, err
	}
	return text, reading{sum: sha256.Sum256(text)}, nil
}

// judge adopts the table that was read, or says why not.
func (f *File) judge(text []byte, as reading, err error) error {
	f.judged = as
	var table *Table
	if err == nil {
		table, err = Parse(f.path, text)
	}
	if err == nil {
		err = f.adopted(table)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats.Err = err
	if err != nil {
		f.stats.Refused++
		return err
	}
	f.stats.Adopted++
	f.current.Store(table)
	return nil
}

// adopted asks the file's user, whose errors may have lines or not.
func (f *File) adopted(table *Table) error {
	err := f.adopt(table)
	if _, placed := errors.AsType[*mistakeError](err); err == nil || placed {
		return err
	}
	return fmt.Errorf("%s: %w", f.path, err)
}
