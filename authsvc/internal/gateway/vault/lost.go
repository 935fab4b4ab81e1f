package vault

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"
)

// search is the search for a bucket that may be lost.
type search struct {
	mu    sync.Mutex // held while one goes on
	ended time.Time  // of the last one; guarded by mu
	quiet rate.Sometimes
}

const (
	// searchPause is between two searches, however many requests fail.
	searchPause = 2 * time.Second
	// searchTimeout bounds one.
	searchTimeout = 5 * time.Second
)

// noticed has the bucket made again if err, of a request, says that there is none. It
// changes nothing for that request: only a bucket that exists can say that an entry
// does not.
//
// A read learns it from whoever knows all streams. A write gets no answer, as it does
// from a stream without a leader; and no timeout or lost connection says anything. So
// the stream is asked for by name, and made only where the answer is that there is none:
// brokers that cannot tell do not answer that. Making it does nothing to one that exists.
func (v *Vault) noticed(ctx context.Context, err error) {
	if !errors.Is(err, jetstream.ErrStreamNotFound) && !errors.Is(err, jetstream.ErrNoStreamResponse) {
		return
	}
	if !v.search.mu.TryLock() {
		return // somebody searches already
	}
	defer v.search.mu.Unlock()
	if time.Since(v.search.ended) < searchPause {
		return
	}
	defer func() { v.search.ended = time.Now() }()
	// Whoever asked may leave; the others need the bucket.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), searchTimeout)
	defer cancel()
	if _, err := v.js.Stream(ctx, v.stream.Name); errors.Is(err, jetstream.ErrStreamNotFound) {
		v.makeAgain(ctx)
	}
}

// makeAgain makes the bucket as it was when this vault was opened.
func (v *Vault) makeAgain(ctx context.Context) {
	_, err := v.js.CreateStream(ctx, v.stream)
	switch {
	case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse): // another replica was faster
	case err != nil:
		v.search.quiet.Do(func() {
			v.log.Error("the bucket of the sessions is lost and cannot be made again", "stream", v.stream.Name, "error", err)
		})
	default:
		v.log.Error("the bucket of the sessions was lost and has been made again; the sessions in it are over: clients have to log in again",
			"stream", v.stream.Name)
	}
}
