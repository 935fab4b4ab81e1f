package verifier

import (
	"sync"

	"golang.org/x/sync/singleflight"
)

// flights are requests that callers at the same time share. Whoever asked first may
// leave before the others, so that each is a goroutine of nobody's; close waits for
// all of them.
type flights struct {
	group singleflight.Group

	mu      sync.Mutex
	closed  bool           // guarded by mu
	running sync.WaitGroup // added to under mu, before closed
}

// join returns the outcome of the request under that key, which it makes if there is
// none. fly must return soon after the verifier's lifetime has ended.
func (f *flights) join(key string, fly func() (any, error)) <-chan singleflight.Result {
	return f.group.DoChan(key, func() (any, error) {
		if !f.begin() {
			return nil, errClosed
		}
		defer f.running.Done()
		return fly()
	})
}

func (f *flights) begin() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.running.Add(1)
	}
	return !f.closed
}

// forget has the next caller make a request of its own.
func (f *flights) forget(key string) { f.group.Forget(key) }

// close refuses new requests and waits for those that there are. The lifetime is over.
func (f *flights) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.running.Wait()
}
