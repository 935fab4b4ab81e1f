package authority

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

// The answers to what verifiers ask on the bus. Each leaves the nonce to whoever
// sends it.

// Bounds of a page of the log, so that a reply fits in a NATS message of 1 MiB.
const (
	maxPageRecords = 5000
	maxPageBytes   = 512 << 10
)

// Fresh returns the read index: what the log has committed at some time after the call.
func (a *Authority) Fresh(ctx context.Context) (events.FreshReply, error) {
	index, err := a.db.Reader(ctx).ReadIndex()
	if err != nil {
		return events.FreshReply{}, fmt.Errorf("reading the log's head: %w", err)
	}
	return events.FreshReply{
		Epoch: index.Epoch, Rev: index.Rev, Floor: index.Floor, Keys: index.KeysVersion, Now: time.Now().UnixMilli(),
	}, nil
}

// Range returns one page of the log. Where the request counts in another epoch,
// it starts at the floor.
func (a *Authority) Range(ctx context.Context, req events.RangeRequest) (events.RangeReply, error) {
	limit := max(1, min(req.Limit, maxPageRecords))
	after := req.After
	var page store.Page
	err := a.db.Snapshot(ctx, func(r *store.Reader) error {
		index, err := r.ReadIndex()
		if err != nil {
			return err
		}
		if req.Epoch != index.Epoch {
			after = index.Floor - 1
		}
		page, err = r.Range(after, limit)
		return err
	})
	if err != nil {
		return events.RangeReply{}, fmt.Errorf("reading the log: %w", err)
	}
	return rangeReply(after, page)
}

// rangeReply encodes a page, cut where it would be too long for a message.
func rangeReply(after uint64, page store.Page) (events.RangeReply, error) {
	reply := events.RangeReply{
		Epoch: page.Epoch, After: after, Through: page.Through, Rev: page.Rev,
		Records: make([]json.RawMessage, 0, len(page.Records)),
	}
	size := 0
	for i, record := range inEpoch(page.Epoch, page.Records) {
		doc, err := json.Marshal(record)
		if err != nil {
			return events.RangeReply{}, fmt.Errorf("encoding revocation %d: %w", record.Rev, err)
		}
		if size += len(doc) + 1; size > maxPageBytes && i > 0 {
			reply.Through = page.Records[i-1].Rev
			break
		}
		reply.Records = append(reply.Records, doc)
	}
	return reply, nil
}

// Status returns what decides about a token whose signature the asker has
// verified. It is not active where it is revoked, expired, unknown here, or from
// another state of the log.
func (a *Authority) Status(ctx context.Context, ref events.TokenRef) (events.StatusReply, error) {
	if _, known := a.keys.KeySet().Lookup(ref.KID); !known {
		if err := a.keys.CatchUp(ctx); err != nil {
			return events.StatusReply{}, fmt.Errorf("reading a token's status: %w", err)
		}
	}
	v, err := a.judgeToken(ctx, ref)
	if err != nil {
		return events.StatusReply{}, fmt.Errorf("reading a token's status: %w", err)
	}
	_, published := a.keys.KeySet().Lookup(ref.KID)
	expired := time.Now().After(time.Unix(ref.Exp, 0).Add(leewayCap))
	return events.StatusReply{
		Epoch: v.head.Epoch, Rev: v.head.Rev, Records: v.records,
		Active: v.dead == "" && published && !expired,
	}, nil
}
