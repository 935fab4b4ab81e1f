package bus_test

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/bus"
	"github.com/authbus/authbus/authsvc/internal/node/broker"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

func TestFeedThatIsGoneIsRefilled(t *testing.T) {
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	r.deliver(r.revoke(300))
	r.close()
	if err := w.js(t).DeleteStream(t.Context(), events.StreamRevocations); err != nil {
		t.Fatal(err)
	}
	r = w.replica(t, "a.db").awaitReady()
	revs := w.onFeed(t)
	slices.Sort(revs)
	if len(revs) != 300 || revs[0] != 1 || revs[299] != 300 {
		t.Errorf("the feed holds %d records after the restart, want 1 to 300", len(revs))
	}
	if got := r.metric("reconcile_republished_total"); got != 300 {
		t.Errorf("%v records counted as republished, want 300", got)
	}
}

func TestFeedThatIsBehindGetsOnlyWhatItLacks(t *testing.T) {
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	r.deliver(r.revoke(20))
	r.close()
	// The broker loses power: of the messages, the later ones are gone.
	kept := w.messages(t, events.StreamRevocations)[:12]
	w.wipe(t)
	for _, msg := range kept {
		w.inject(t, &nats.Msg{Subject: msg.Subject, Header: msg.Header, Data: msg.Data})
	}
	r = w.replica(t, "a.db").awaitReady()
	if revs := w.onFeed(t); len(revs) != 20 || r.metric("reconcile_republished_total") != 8 {
		t.Errorf("feed %v with %v republished, want 20 records with 8 republished", revs, r.metric("reconcile_republished_total"))
	}
	if epoch := r.head().Epoch; epoch == "" || r.metric("reconcile_taken_back_total") != 0 {
		t.Error("a feed that is behind must not be taken for a restored database")
	}
}

func TestExpiredRecordsAreNotRefilled(t *testing.T) {
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	err := r.db.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Revoke(events.ScopeToken, "t_old", time.Now().Add(-time.Minute), "test", "tester")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r.revoke(1)
	r.close()
	if err := w.js(t).DeleteStream(t.Context(), events.StreamRevocations); err != nil {
		t.Fatal(err)
	}
	w.replica(t, "a.db").awaitReady()
	if revs := w.onFeed(t); !slices.Equal(revs, []uint64{2}) {
		t.Errorf("the feed holds %v, want only the live record 2", revs)
	}
}

// restored is a database from a backup taken at revision 5, while the streams
// have gone on to 12.
func restored(t *testing.T, w *world) (before store.ReadIndex) {
	t.Helper()
	r := w.replica(t, "a.db").awaitReady()
	r.deliver(r.revoke(5))
	r.close()
	w.backup(t, "a.db", "backup.db")
	r = w.replica(t, "a.db").awaitReady()
	r.deliver(r.revoke(7))
	before = r.head()
	r.close()
	return before
}

// TestRestoredDatabaseTakesBackCertificatesOfDaysAgo: by the time that the backup
// is put back, all else has expired and left the feed.
func TestRestoredDatabaseTakesBackCertificatesOfDaysAgo(t *testing.T) {
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	r.deliver(r.revoke(5))
	r.close()
	w.backup(t, "a.db", "backup.db")
	r = w.replica(t, "a.db").awaitReady()
	id := strings.Repeat("ab", 32)
	var record events.Revocation
	err := r.db.Write(t.Context(), func(tx *store.Tx) (err error) {
		record, err = tx.Revoke(events.ScopeCert, id, tx.Now().Add(events.MaxCertificateLifetime), "key copied", "u_admin")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r.deliver(append([]events.Revocation{record}, r.revoke(50)...))
	r.close()

	messages := w.messages(t, events.StreamRevocations)
	w.wipe(t)
	left := 0
	for _, msg := range messages {
		ttl, err := time.ParseDuration(msg.Header.Get(jetstream.MsgTTLHeader))
		if err != nil {
			t.Fatalf("a record without a time to live: %v", err)
		}
		if ttl > 5*24*time.Hour { // the broker has dropped the others by then
			w.inject(t, &nats.Msg{Subject: msg.Subject, Header: msg.Header, Data: msg.Data})
			left++
		}
	}
	if left != 1 {
		t.Fatalf("%d records of %d stay for days, want that of the certificate alone", left, len(messages))
	}
	r = w.replica(t, "backup.db").awaitReady()
	revoked, err := r.db.Reader(t.Context()).RevokedCertificates(id)
	if err != nil || len(revoked) != 1 {
		t.Errorf("after the restore %v are revoked (%v)", revoked, err)
	}
	if head := r.head(); head.Epoch == record.Epoch || head.Rev <= record.Rev {
		t.Errorf("the log goes on at %d of %s", head.Rev, head.Epoch)
	}
}

func TestRestoredDatabaseTakesBackWhatTheFeedKnows(t *testing.T) {
	w := newWorld(t)
	before := restored(t, w)
	r := w.replica(t, "backup.db").awaitReady()
	head := r.head()
	if head.Epoch == before.Epoch {
		t.Error("the epoch is the same as before the backup was put back")
	}
	if want := before.Rev + 1<<32; head.Rev != want {
		t.Errorf("revision %d, want %d: far above all that were given out", head.Rev, want)
	}
	if head.EventSeq <= before.EventSeq {
		t.Errorf("event sequence %d, want above %d", head.EventSeq, before.EventSeq)
	}
	page, err := r.db.Reader(t.Context()).Range(0, 100)
	if err != nil || len(page.Records) != 12 {
		t.Fatalf("the database holds %d records (%v), want all 12", len(page.Records), err)
	}
	if got := r.metric("reconcile_taken_back_total"); got != 7 {
		t.Errorf("%v records taken back, want 7", got)
	}
	next := r.revoke(1)
	r.deliver(next)
	if next[0].Epoch != head.Epoch || next[0].Rev != head.Rev+1 {
		t.Errorf("the next record is %d of %s, want %d of %s", next[0].Rev, next[0].Epoch, head.Rev+1, head.Epoch)
	}
	r.close()
	if again := w.replica(t, "backup.db").awaitReady().head(); again.Epoch != head.Epoch || again.Rev != head.Rev+1 {
		t.Errorf("after another restart the log is at %d of %s, want nothing changed", again.Rev, again.Epoch)
	}
}

func TestTwoReplicasOfARestoredDatabaseAgreeOnOneEpoch(t *testing.T) {
	w := newWorld(t)
	before := restored(t, w)
	a, b := w.replica(t, "backup.db"), w.replica(t, "backup.db")
	a.awaitReady()
	b.awaitReady()
	if head := b.head(); head.Rev != before.Rev+1<<32 || a.head() != head {
		t.Errorf("the log is at %d, want one jump to %d", head.Rev, before.Rev+1<<32)
	}
	if got := a.metric("reconcile_taken_back_total") + b.metric("reconcile_taken_back_total"); got != 7 {
		t.Errorf("%v records taken back by both, want 7", got)
	}
}

func TestBackupOlderThanAnEpochGoesAboveIt(t *testing.T) {
	w := newWorld(t)
	restored(t, w)
	w.backup(t, "backup.db", "older.db")
	r := w.replica(t, "backup.db").awaitReady()
	r.deliver(r.revoke(3)) // in an epoch that the older backup has never heard of
	second := r.head()
	r.close()
	third := w.replica(t, "older.db").awaitReady().head()
	if third.Epoch == second.Epoch || third.Rev <= second.Rev || third.EventSeq <= second.EventSeq {
		t.Errorf("log at %d of %s with event %d; want above %d and %d in another epoch",
			third.Rev, third.Epoch, third.EventSeq, second.Rev, second.EventSeq)
	}
}

func TestBackupIsNoticedByTheEventsAlone(t *testing.T) {
	w := newWorld(t)
	before := restored(t, w)
	w.wipe(t) // as if all records had aged out
	r := w.replica(t, "backup.db").awaitReady()
	if head := r.head(); head.Epoch == before.Epoch || head.Rev < 1<<32 || head.EventSeq <= before.EventSeq {
		t.Errorf("log at %d of %s, want a new epoch", head.Rev, head.Epoch)
	}
}

func TestDatabaseThatWroteAfterItWasPutBack(t *testing.T) {
	w := newWorld(t)
	restored(t, w)
	// Somebody runs the backup against an empty broker for a while.
	elsewhere := newWorld(t)
	for _, name := range []string{"backup.db", "master.key"} {
		w.backup(t, name, name)
	}
	elsewhere.dir = w.dir
	r := elsewhere.replica(t, "backup.db").awaitReady()
	r.revoke(4) // 6 to 9, which the first broker's feed has as other records
	r.close()

	r = w.replica(t, "backup.db").awaitReady()
	page, err := r.db.Reader(t.Context()).Range(0, 100)
	if err != nil || len(page.Records) != 16 {
		t.Fatalf("the database holds %d records (%v), want 5 + 7 + 4", len(page.Records), err)
	}
	head := r.head()
	r.close()
	if again := w.replica(t, "backup.db").awaitReady().head(); again != head {
		t.Errorf("after another restart the log is at %d of %s, was %d of %s", again.Rev, again.Epoch, head.Rev, head.Epoch)
	}
}

func TestGarbageOnTheFeedChangesNothing(t *testing.T) {
	ours := events.Revocation{
		Version: 1, Rev: 1000, Scope: events.ScopeUser, ID: "u_victim",
		ExpiresAt: time.Now().Add(time.Hour).Unix(), At: time.Now().UnixMilli(),
	}
	_, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		msg  func(t *testing.T, r events.Revocation) *nats.Msg
	}{
		{"an unsigned record", unsigned},
		{"a record signed by a stranger", func(t *testing.T, r events.Revocation) *nats.Msg {
			t.Helper()
			msg, err := events.RevocationMessage("k_stranger", stranger, r)
			if err != nil {
				t.Fatal(err)
			}
			return msg
		}},
		{"an unsigned record of a newer version", func(t *testing.T, r events.Revocation) *nats.Msg {
			t.Helper()
			r.Version = 2
			return unsigned(t, r)
		}},
		{"an unsigned record in the place of ours", func(t *testing.T, r events.Revocation) *nats.Msg {
			t.Helper()
			r.Rev = 2
			return unsigned(t, r)
		}},
		{"something else altogether", func(*testing.T, events.Revocation) *nats.Msg {
			return &nats.Msg{Subject: "auth.revocations.token", Data: []byte("\x00 not JSON")}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			r := w.replica(t, "a.db").awaitReady()
			r.deliver(r.revoke(3))
			before := r.head()
			r.close()
			ours.Epoch = before.Epoch
			w.inject(t, tc.msg(t, ours))
			r = w.replica(t, "a.db").awaitReady()
			after := r.head()
			if after.Epoch != before.Epoch || after.Rev != before.Rev {
				t.Errorf("the log moved to %d of %s", after.Rev, after.Epoch)
			}
			if r.metric("reconcile_foreign_total") != 1 {
				t.Errorf("%v messages counted as foreign, want 1", r.metric("reconcile_foreign_total"))
			}
		})
	}
}

func TestRecordThatANewerProgramSignedKeepsTheServiceUnready(t *testing.T) {
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	record := r.revoke(1)[0]
	record.Rev, record.Version = 50, 2
	msg := unsigned(t, record)
	msg.Header = r.keys.SignFeed(msg.Subject, msg.Data)
	r.close()
	w.inject(t, msg)
	r = w.replica(t, "a.db")
	eventually(t, "tried", func() bool { return r.metric("reconciliations_total") > 0 })
	err := r.publisher.Ready()
	var newer *events.NotUnderstoodError
	if !errors.Is(err, bus.ErrNotReconciled) || !errors.As(err, &newer) {
		t.Errorf("Ready says %v, want that a newer program wrote the log", err)
	}
}

func TestStreamsThatVanishWhileRunningComeBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	r.deliver(r.revoke(10))
	epoch := r.head().Epoch
	for _, tc := range []struct {
		name string
		lose func(t *testing.T)
	}{
		{"the feed is created anew", w.wipe},
		{"the feed is deleted", func(t *testing.T) {
			t.Helper()
			if err := w.js(t).DeleteStream(t.Context(), events.StreamRevocations); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.lose(t)
			eventually(t, "refilled", func() bool {
				s, err := w.js(t).Stream(t.Context(), events.StreamRevocations)
				return err == nil && s.CachedInfo().State.Msgs == 10
			})
			if err := r.publisher.Ready(); err != nil {
				t.Errorf("a lost stream must not stop the service: %v", err)
			}
		})
	}
	t.Run("the events are deleted", func(t *testing.T) {
		if err := w.js(t).DeleteStream(t.Context(), events.StreamEvents); err != nil {
			t.Fatal(err)
		}
		r.revoke(1)
		eventually(t, "published", func() bool { return r.backlog().Events == 0 })
	})
	if r.head().Epoch != epoch {
		t.Error("the epoch changed")
	}
}

func TestDatabaseThatGoesBackWhileRunning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	r.deliver(r.revoke(10))
	before := r.head()
	// As after the loss of a PostgreSQL primary whose standby had not got everything.
	w.tamper(t, "a.db", "DELETE FROM revocations WHERE rev > 6", "UPDATE log_head SET rev = 6")
	eventually(t, "in a new epoch", func() bool { return r.publisher.Ready() == nil && r.head().Epoch != before.Epoch })
	if count, err := r.db.Reader(t.Context()).RevocationCount(); err != nil || count != 10 {
		t.Errorf("%d records (%v), want all 10 back", count, err)
	}
}

// TestARevocationDuringALookIsNoStepBack: what was committed since the look at the
// database began is not missing there.
func TestARevocationDuringALookIsNoStepBack(t *testing.T) {
	w := newWorld(t)
	r := w.replica(t, "a.db").awaitReady()
	conn := r.connect(broker.Publisher, func(who broker.Identity) bus.Target {
		return bus.Target{URL: w.broker.URL(), Options: w.broker.Options(who)}
	})
	looking, err := bus.StartPublisher(bus.PublisherConfig{
		Conn: conn, DB: r.db, Keys: r.keys, CheckEvery: 100 * time.Microsecond, Log: quiet(), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer looking.Close(t.Context())
	eventually(t, "ready", func() bool { return looking.Ready() == nil })
	for range 2_000 {
		record, err := r.revokeOne()
		if err != nil {
			t.Fatal(err)
		}
		if d := looking.Deliver(t.Context(), record); d != authority.Delivered {
			t.Fatalf("revocation %d is %s: %v", record.Rev, d, looking.Ready())
		}
	}
}
