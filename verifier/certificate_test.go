package verifier

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/events"
)

var (
	goodCert = strings.Repeat("0a", 32)
	badCert  = strings.Repeat("0b", 32)
)

// revokeCert commits a record that lives as long as one of a certificate may.
func (l *memoryLog) revokeCert(id string, life time.Duration) {
	l.mu.Lock()
	r := events.Revocation{
		Version: 1, Epoch: l.epoch, Rev: l.rev + 1, Scope: events.ScopeCert, ID: id,
		ExpiresAt: time.Now().Add(life).Unix(), Reason: "test", At: time.Now().UnixMilli(),
	}
	l.mu.Unlock()
	l.commit(r)
}

func TestCertificatesAreCheckedWithoutAsking(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		log.revokeCert(badCert, 6*24*time.Hour)
		synctest.Wait()
		check := func(when string, wantGood, wantBad error) {
			t.Helper()
			if err := v.CheckCertificate(goodCert); !errors.Is(err, wantGood) {
				t.Errorf("%s: the good one: %v, want %v", when, err, wantGood)
			}
			if err := v.CheckCertificate(badCert); !errors.Is(err, wantBad) {
				t.Errorf("%s: the revoked one: %v, want %v", when, err, wantBad)
			}
		}
		check("at once", nil, ErrRevoked)
		time.Sleep(6 * 24 * time.Hour)
		check("six days later", nil, ErrRevoked)

		log.set(true, true)
		time.Sleep(31 * time.Second)
		check("when nothing can be proved", ErrUnavailable, ErrRevoked)
		log.set(false, false)
		time.Sleep(10 * time.Second)
		check("after that", nil, ErrRevoked)
		if log.asked != 0 {
			t.Errorf("the authority was asked %d times", log.asked)
		}
		v.Close()
		check("closed", ErrUnavailable, ErrUnavailable)
	})
}

// TestWhatIsNoIDIsNotGood: no record could ever name it.
func TestWhatIsNoIDIsNotGood(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, _ *memoryLog) {
		for _, id := range []string{"", strings.ToUpper(goodCert), goodCert[:40], goodCert + "\n"} {
			if err := v.CheckCertificate(id); !errors.Is(err, ErrInvalid) {
				t.Errorf("%q: %v", id, err)
			}
			watched, cancel := v.WatchCertificate(t.Context(), id)
			if cause := context.Cause(watched); !errors.Is(cause, ErrInvalid) {
				t.Errorf("watching %q: %v", id, cause)
			}
			cancel()
		}
	})
}

// TestARevokedCertificateKillsNoToken, whatever its id is.
func TestARevokedCertificateKillsNoToken(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		m := log.mint(t, goodCert, goodCert, goodCert)
		log.revokeCert(goodCert, time.Hour)
		log.revoke(events.ScopeToken, badCert)
		synctest.Wait()
		if _, err := v.Verify(t.Context(), m.raw); err != nil {
			t.Error(err)
		}
		if err := v.CheckCertificate(badCert); err != nil {
			t.Errorf("a token's id revoked a certificate: %v", err)
		}
	})
}

func TestAWatchedCertificate(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(v *Verifier, log *memoryLog)
		want error
	}{
		{"it is revoked", func(_ *Verifier, log *memoryLog) { log.revokeCert(goodCert, time.Hour) }, ErrRevoked},
		{"it is revoked while the bus is silent", func(_ *Verifier, log *memoryLog) {
			log.set(false, true)
			log.revokeCert(goodCert, time.Hour)
			time.Sleep(2 * time.Second)
		}, ErrRevoked},
		{"another one is revoked", func(_ *Verifier, log *memoryLog) { log.revokeCert(badCert, time.Hour) }, nil},
		{"everyone is logged out", func(_ *Verifier, log *memoryLog) { log.revoke(events.ScopeEveryone, "") }, nil},
		{"a token of that id is revoked", func(_ *Verifier, log *memoryLog) { log.revoke(events.ScopeToken, goodCert) }, nil},
		{"nobody can tell any longer", func(_ *Verifier, log *memoryLog) { log.set(true, true); time.Sleep(36 * time.Second) }, ErrUnavailable},
		{"nobody can tell when the bound is reached", func(_ *Verifier, log *memoryLog) { log.set(true, true); time.Sleep(30 * time.Second) }, ErrUnavailable},
		{"nobody can tell for less than the bound", func(_ *Verifier, log *memoryLog) {
			log.set(true, true)
			time.Sleep(27 * time.Second)
			log.set(false, false)
			time.Sleep(time.Minute)
		}, nil},
		{"days pass", func(*Verifier, *memoryLog) { time.Sleep(5 * 24 * time.Hour) }, nil},
		{"the verifier is closed", func(v *Verifier, _ *memoryLog) { v.Close() }, ErrUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
				ctx, cancel := v.WatchCertificate(t.Context(), goodCert)
				defer cancel()
				c.do(v, log)
				synctest.Wait()
				if cause := context.Cause(ctx); !errors.Is(cause, c.want) {
					t.Errorf("the cause is %v, want %v", cause, c.want)
				}
				cancel()
				synctest.Wait()
				if n := v.Stats().Watches; n != 0 {
					t.Errorf("%d watches left", n)
				}
			})
		})
	}
}

func TestAWatchOfARevokedCertificateHasEndedAlready(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, v *Verifier, log *memoryLog) {
		log.revokeCert(badCert, time.Hour)
		synctest.Wait()
		ctx, cancel := v.WatchCertificate(t.Context(), badCert)
		defer cancel()
		if !errors.Is(context.Cause(ctx), ErrRevoked) {
			t.Errorf("the cause is %v", context.Cause(ctx))
		}
	})
}

// sparseLog is a log whose floor a record of days ago holds down; all between it
// and the last few has expired.
type sparseLog struct {
	*memoryLog
	histories int
}

func (l *sparseLog) page(ctx context.Context, req events.RangeRequest) (events.RangeReply, error) {
	reply, err := l.memoryLog.page(ctx, events.RangeRequest{After: req.After, Limit: 1 << 30})
	if err != nil {
		return reply, err
	}
	through := reply.Through
	kept := reply.Records[:0:0]
	for _, raw := range reply.Records {
		r, err := events.DecodeRevocation(raw)
		if err != nil {
			return reply, err
		}
		if r.Expired(time.Now()) {
			continue
		}
		if kept = append(kept, raw); len(kept) == req.Limit {
			through = r.Rev
			break
		}
	}
	reply.Records, reply.Through = kept, through
	return reply, nil
}

func (l *sparseLog) history(ctx context.Context, since time.Time, receive func(*nats.Msg)) error {
	l.histories++
	return l.memoryLog.history(ctx, since, receive)
}

// TestALowFloorIsNoReasonToReadHistory: a verifier that starts gets over what has
// expired with one page.
func TestALowFloorIsNoReasonToReadHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &sparseLog{memoryLog: newMemoryLog()}
		log.revokeCert(badCert, 6*24*time.Hour)
		for n := range 2 * bulkFrom {
			log.revoke(events.ScopeToken, fmt.Sprint("t", n))
		}
		time.Sleep(24 * time.Hour)
		log.revoke(events.ScopeToken, "last")
		v := newBubbleVerifier(t, log, nil)
		defer v.Close()
		began := time.Now()
		if err := v.awaitFresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); log.histories != 0 || took > time.Second {
			t.Errorf("the history was read %d times, and it took %v", log.histories, took)
		}
		if err := v.CheckCertificate(badCert); !errors.Is(err, ErrRevoked) {
			t.Error(err)
		}
		if n := v.Stats().RepairedRecords; n != 2 {
			t.Errorf("%d records were fetched, want 2", n)
		}
	})
}
