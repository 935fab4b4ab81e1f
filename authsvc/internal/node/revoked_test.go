package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// certTable is a database of revoked certificates that can be down.
type certTable struct {
	mu   sync.Mutex
	ids  []string
	down error
	slow bool // it does not answer
}

func (c *certTable) list(ctx context.Context) ([]string, error) {
	c.mu.Lock()
	ids, down, slow := c.ids, c.down, c.slow
	c.mu.Unlock()
	if slow {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return ids, down
}

func (c *certTable) change(fn func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn()
}

// withRevoked runs test with a list that is read from table.
func withRevoked(t *testing.T, table *certTable, test func(r *revoked)) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		r := newRevoked(table.list, slog.New(slog.DiscardHandler))
		defer r.Close()
		test(r)
	})
}

func TestARevokedCertificateEndsWithinASecond(t *testing.T) {
	for name, wake := range map[string]bool{"written here": true, "written by another replica": false} {
		t.Run(name, func(t *testing.T) {
			table := &certTable{ids: []string{"old"}}
			withRevoked(t, table, func(r *revoked) {
				bad, cancel := r.WatchCertificate(context.Background(), "bad")
				defer cancel()
				good, cancel := r.WatchCertificate(context.Background(), "good")
				defer cancel()
				if old, _ := r.WatchCertificate(context.Background(), "old"); !errors.Is(context.Cause(old), errCertificateRevoked) {
					t.Errorf("one that was revoked before: %v", context.Cause(old))
				}
				table.change(func() { table.ids = []string{"old", "bad"} })
				if wake {
					r.Wake()
				} else {
					time.Sleep(revokedEvery)
				}
				synctest.Wait()
				if !errors.Is(context.Cause(bad), errCertificateRevoked) || !errors.Is(r.CheckCertificate("bad"), errCertificateRevoked) {
					t.Errorf("the connection: %v; a new one: %v", context.Cause(bad), r.CheckCertificate("bad"))
				}
				if good.Err() != nil || r.CheckCertificate("good") != nil {
					t.Errorf("another certificate: %v, %v", good.Err(), r.CheckCertificate("good"))
				}
			})
		})
	}
}

// Who cannot tell whether a certificate is revoked does not let it in, within the
// bound of 30 s.
func TestADatabaseThatIsDownEndsConnections(t *testing.T) {
	for name, down := range map[string]func(*certTable){
		"it fails":           func(c *certTable) { c.down = errors.New("database down") },
		"it does not answer": func(c *certTable) { c.slow = true },
	} {
		t.Run(name, func(t *testing.T) {
			table := &certTable{}
			withRevoked(t, table, func(r *revoked) {
				watched, cancel := r.WatchCertificate(context.Background(), "good")
				defer cancel()
				table.change(func() { down(table) })
				time.Sleep(revokedStale - revokedEvery)
				synctest.Wait()
				if watched.Err() != nil || r.CheckCertificate("good") != nil {
					t.Errorf("too early: %v, %v", context.Cause(watched), r.CheckCertificate("good"))
				}
				select {
				case <-watched.Done():
				case <-time.After(10 * time.Second):
					t.Fatal("the connection goes on")
				}
				if cause := context.Cause(watched); !errors.Is(cause, errRevokedUnknown) || !errors.Is(r.CheckCertificate("good"), errRevokedUnknown) {
					t.Errorf("the connection: %v; a new one: %v", cause, r.CheckCertificate("good"))
				}
				table.change(func() { table.down, table.slow = nil, false })
				time.Sleep(revokedTimeout + revokedEvery)
				synctest.Wait()
				if err := r.CheckCertificate("good"); err != nil {
					t.Errorf("when it is back: %v", err)
				}
			})
		})
	}
}

// Nobody is let in before the list was read once, though it be empty.
func TestNobodyIsLetInBeforeTheListIsRead(t *testing.T) {
	table := &certTable{down: errors.New("database down")}
	withRevoked(t, table, func(r *revoked) {
		if err := r.CheckCertificate("good"); !errors.Is(err, errRevokedUnknown) {
			t.Errorf("error %v", err)
		}
	})
}

func TestAConnectionThatEndsIsForgotten(t *testing.T) {
	withRevoked(t, &certTable{}, func(r *revoked) {
		ctx, leave := context.WithCancel(context.Background())
		_, cancel := r.WatchCertificate(context.Background(), "a")
		_, cancelOther := r.WatchCertificate(ctx, "b")
		defer cancelOther()
		cancel()
		leave()
		synctest.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.watches) != 0 {
			t.Errorf("%d are still watched", len(r.watches))
		}
	})
}
