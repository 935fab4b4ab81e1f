package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/authsvc/internal/store/storetest"
)

// Two processes with many writers each, some of which fail in every way there
// is. The log must come out gap-free, each record with its event, and a reader
// must never see a revision before all those below it: that is what makes a
// watermark possible.
func TestRevisionsAreGapFreeAndInCommitOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		replicas := []*store.DB{storetest.Open(t, d.address), storetest.Open(t, d.address)}
		failOn(t, d, "revocations", "target")
		const writers, each = 8, 12
		var group, readers sync.WaitGroup
		var committed atomic.Int64
		done, stop := context.WithCancel(t.Context())
		for _, db := range replicas {
			readers.Go(func() { followLog(t, done, db) })
			for n := range writers {
				group.Go(func() {
					random := rand.New(rand.NewPCG(uint64(n), 1))
					for range each {
						if writeSomehow(t, db, random.IntN(5), n) {
							committed.Add(1)
						}
					}
				})
			}
		}
		group.Wait()
		stop()
		readers.Wait()
		if committed.Load() == 0 {
			t.Fatal("nothing was written")
		}
		checkLog(t, replicas[0], int(committed.Load()))
	})
}

// writeSomehow writes a record, or fails in one of four ways, and reports
// whether the record should be there.
func writeSomehow(t *testing.T, db *store.DB, way, writer int) bool {
	target := fmt.Sprintf("u_%d", writer)
	err := db.Write(t.Context(), func(tx *store.Tx) error {
		switch way {
		case 0:
			return emitAfterRevoking("poison")(tx)
		case 1:
			return errors.Join(emitAfterRevoking(target)(tx), errors.New("no"))
		case 2:
			_ = emitAfterRevoking(target)(tx)
			panic("no")
		}
		return emitAfterRevoking(target)(tx)
	})
	if (err == nil) != (way > 2) {
		t.Errorf("way %d: %v", way, err)
	}
	return err == nil
}

// followLog reads as a verifier does, until ctx ends: each page must continue
// without a gap what came before.
func followLog(t *testing.T, ctx context.Context, db *store.DB) { //nolint:revive // t first, as everywhere
	var watermark uint64
	for ctx.Err() == nil {
		page, err := db.Reader(ctx).Range(watermark, 100)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			t.Error(err)
			return
		}
		for _, record := range page.Records {
			if record.Rev != watermark+1 {
				t.Errorf("saw %d right after %d: one in between was committed later", record.Rev, watermark)
				return
			}
			watermark = record.Rev
		}
		if page.Through != watermark {
			t.Errorf("complete through %d, but the records end at %d", page.Through, watermark)
			return
		}
	}
}

// Any sequence of steps in any batches leaves the head that a simple model has.
func TestHeadAgreesWithAModel(t *testing.T) {
	db := storetest.SQLite(t)
	rapid.Check(t, func(rt *rapid.T) {
		begin, err := db.Reader(t.Context()).ReadIndex()
		if err != nil {
			rt.Fatal(err)
		}
		rev, seq, everyone := begin.Rev, begin.EventSeq, begin.EveryoneRev
		rt.Repeat(map[string]func(*rapid.T){
			"commit": func(rt *rapid.T) {
				revocations, all := rapid.IntRange(0, 3).Draw(rt, "revocations"), rapid.Bool().Draw(rt, "everyone")
				if err := db.Write(t.Context(), steps(revocations, all, nil)); err != nil {
					rt.Fatal(err)
				}
				rev, seq = rev+uint64(revocations), seq+uint64(revocations)
				if all {
					rev++
					everyone = rev
				}
			},
			"fail": func(rt *rapid.T) {
				refusal := errors.New("no")
				if err := db.Write(t.Context(), steps(rapid.IntRange(0, 3).Draw(rt, "revocations"), true, refusal)); !errors.Is(err, refusal) {
					rt.Fatal(err)
				}
			},
			"": func(rt *rapid.T) {
				index, err := db.Reader(t.Context()).ReadIndex()
				if err != nil || index.Rev != rev || index.EventSeq != seq || index.EveryoneRev != everyone {
					rt.Fatalf("head %+v, %v, want rev %d, events %d, everyone %d", index, err, rev, seq, everyone)
				}
			},
		})
	})
}

func steps(revocations int, everyone bool, result error) func(tx *store.Tx) error {
	return func(tx *store.Tx) error {
		for range revocations {
			if err := emitAfterRevoking("u_a")(tx); err != nil {
				return err
			}
		}
		if everyone {
			if err := revokeEveryone(tx); err != nil {
				return err
			}
		}
		return result
	}
}
